"""Nameplate, settings and status of a device as DERCapability, DERSettings, DERStatus and DeviceInformation."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tierline.model.errors import PeerError
from tierline.protocols.sep2.mapping.functions import modes_bitmap
from tierline.protocols.sep2.mapping.numbers import fitted
from tierline.protocols.sep2.resources import der, devices, objects
from tierline.protocols.sep2.resources.rows import Value, rows_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierline.model.identity import Lfdi
    from tierline.ports import DeviceFacts

PHOTOVOLTAIC = 4
"""DERType."""

_DEFAULT_GRADIENT = 0
"""setGradW: 0.01 % of setMaxW per second; 0 is no limit."""


def _quantity_fields(kind: type[Value]) -> dict[str, type[Value]]:
    """Give the fields of a resource that are numbers with a power of ten, by canonical point name: they are the same."""
    wanted = (objects.SignedQuantity, objects.UnsignedQuantity, objects.PowerFactor)
    return {row.field: row.kind for row in rows_of(kind) if isinstance(row.kind, type) and issubclass(row.kind, wanted)}


_RATINGS = _quantity_fields(der.DERCapability)
_SETTINGS = _quantity_fields(der.DERSettings)
_CODES = ("rtg_normal_category", "rtg_abnormal_category")


def write_capability(facts: DeviceFacts, href: str | None = None) -> der.DERCapability:
    """Write the nameplate.

    Raises: PeerError when the device states no active power rating, which the standard requires.
    """
    _require(facts)
    elements: dict[str, Any] = _quantities(_RATINGS, facts.nameplate)  # Any: one wire type per element
    elements |= {name: int(facts.nameplate[name]) for name in _CODES if name in facts.nameplate}
    return der.DERCapability(
        href=href,
        modes_supported=modes_bitmap(facts.functions),
        type=int(facts.nameplate.get("der_type", PHOTOVOLTAIC)),
        **elements,
    )


def write_settings(facts: DeviceFacts, updated: int, href: str | None = None) -> der.DERSettings:
    """Write the settings; what is not set apart from the nameplate is left to it.

    Raises: PeerError when the device states no active power rating, which the standard requires.
    """
    _require(facts)
    values = {name.replace("rtg_", "set_", 1): value for name, value in facts.nameplate.items()} | dict(facts.settings)
    elements: dict[str, Any] = _quantities(_SETTINGS, values)  # Any: one wire type per element
    return der.DERSettings(
        href=href,
        modes_enabled=modes_bitmap(facts.functions),
        set_grad_w=_DEFAULT_GRADIENT,
        updated_time=updated,
        **elements,
    )


def write_status(status: Mapping[str, Decimal | int], time: int, href: str | None = None) -> der.DERStatus:
    """Write the status."""

    def coded(name: str) -> der.CodedStatus | None:
        value = status.get(name)
        return None if value is None else der.CodedStatus(date_time=time, value=int(value))

    connected = status.get("connect_status")
    alarms = status.get("alarm_status")
    charge = status.get("soc_pct")
    return der.DERStatus(
        href=href,
        alarm_status=None if alarms is None else int(alarms),
        gen_connect_status=None if connected is None else der.ConnectStatusType(date_time=time, value=int(connected)),
        inverter_status=coded("inverter_status"),
        local_control_mode_status=coded("local_control_mode"),
        operational_mode_status=coded("operational_mode"),
        reading_time=time,
        state_of_charge_status=None
        if charge is None
        else der.StateOfChargeStatusType(date_time=time, value=int(charge * 100)),
        storage_mode_status=coded("storage_mode"),
    )


def write_availability(status: Mapping[str, Decimal | int], time: int, href: str | None = None) -> der.DERAvailability:
    """Write what the DER could do now."""
    watts, vars_ = status.get("stat_w_avail"), status.get("stat_var_avail")
    return der.DERAvailability(
        href=href,
        reading_time=time,
        stat_var_avail=None if vars_ is None else _quantity(objects.ReactivePower, Decimal(vars_)),
        stat_w_avail=None if watts is None else _quantity(objects.ActivePower, Decimal(watts)),
    )


def write_device_information(facts: DeviceFacts, lfdi: Lfdi, href: str | None = None) -> devices.DeviceInformation:
    """Write the maker's data; mfID is a private enterprise number, 0 when the device states only a name."""
    return devices.DeviceInformation(
        href=href,
        lfdi=lfdi,
        mf_date=0,
        mf_hw_ver="",
        mf_id=int(facts.nameplate.get("manufacturer_pen", 0)),
        mf_info=facts.manufacturer[:32] or None,
        mf_model=facts.model[:32],
        mf_ser_num=facts.serial[:32],
        primary_power=1,
        secondary_power=0,
        sw_act_time=0,
        sw_ver=facts.version[:32],
    )


def read_status(status: der.DERStatus) -> dict[str, int]:
    """Read the codes of a status, by point name."""
    found: dict[str, int] = {}
    if status.inverter_status is not None:
        found["inverter_status"] = status.inverter_status.value
    if status.gen_connect_status is not None:
        found["connect_status"] = status.gen_connect_status.value
    if status.operational_mode_status is not None:
        found["operational_mode"] = status.operational_mode_status.value
    if status.alarm_status is not None:
        found["alarm_status"] = status.alarm_status
    return found


def _require(facts: DeviceFacts) -> None:
    if "rtg_max_w" not in facts.nameplate:
        raise PeerError(
            f"the device {facts.model} states no rtg_max_w; DERCapability cannot do without", path="rtgMaxW"
        )


def _quantities(kinds: Mapping[str, type[Value]], values: Mapping[str, Decimal | int]) -> dict[str, Value]:
    return {name: _quantity(kind, Decimal(values[name])) for name, kind in kinds.items() if name in values}


def _quantity(kind: Any, value: Decimal) -> Any:  # Any: the constructors have nothing in common but two fields
    if issubclass(kind, objects.PowerFactor):
        number, power = fitted(abs(value), low=0, high=2**16 - 1)
        return kind(displacement=number, multiplier=power)
    low, high = (0, 2**16 - 1) if issubclass(kind, objects.UnsignedQuantity) else (-(2**15), 2**15 - 1)
    number, power = fitted(value, low=low, high=high)
    return kind(value=number, multiplier=power)
