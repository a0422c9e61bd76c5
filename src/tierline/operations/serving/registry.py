"""Who is known: EndDevices keyed by DerId, their identities with validity times, onboarding out of band.

An EndDevice is a DER, or the own entry of a party that stands for many DERs and is none itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from tierline.engine.access import Verb
from tierline.model.errors import ConfigError, Conflict
from tierline.model.identity import DerId, der_id, pin, sfdi_of
from tierline.model.parties import Principal, Role
from tierline.model.records import EndDeviceRecord, IdentityRecord
from tierline.operations.serving.access import require
from tierline.operations.serving.audit import entry
from tierline.operations.serving.topology import membership_records, moves

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tierline.model.identity import Lfdi, PartyId
    from tierline.model.records import Record
    from tierline.model.topology import ServicePoint
    from tierline.operations.serving.state import Serving

PV_CATEGORY = 1 << 21
"""DeviceCategoryType bit 21: photovoltaic system. Source: IEEE 2030.5-2018, DeviceCategoryType."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDevice:
    """What is needed to enrol a DER before it first calls."""

    lfdi: Lfdi | None
    """None for a DER that does not communicate."""
    service_point: str = ""
    """Where it hangs in the grid, by the grid file's id."""
    pin: int | None = None
    """Six digits; drawn when absent."""
    device_category: int = PV_CATEGORY
    managed_by: PartyId | None = None
    """The aggregator that stands for it."""
    aggregates: PartyId | None = None
    """The party whose own entry this is, through which it speaks for those it stands for; None for a DER."""


async def register(principal: Principal, serving: Serving, devices: Sequence[NewDevice]) -> list[EndDeviceRecord]:
    """Enrol DERs out of band, all or none, and put them into the groups that feed them.

    Raises: Conflict when an LFDI or SFDI is taken; ConfigError for an unknown service point or PIN.
    """
    require(principal, Verb.REGISTER, "devices")
    async with serving.writing:
        _check(serving, devices)
        now = serving.clock.now()
        records = []
        put: list[Record] = []
        for device in devices:
            record = EndDeviceRecord(
                party=serving.party,
                der_id=new_der_id(serving),
                service_point=device.service_point,
                pin=pin(serving.random.bits(32)) if device.pin is None else device.pin,
                device_category=device.device_category,
                managed_by=device.managed_by,
                aggregates=device.aggregates,
                enabled=True,
                registered_at=now,
                changed_at=now,
            )
            records.append(record)
            put.append(record)
            if device.lfdi is not None:
                put.append(IdentityRecord(party=serving.party, der_id=record.der_id, lfdi=device.lfdi, valid_from=now))
        put += membership_records(serving, moves(serving, devices=records), "registered")
        detail = {"lfdi": [device.lfdi for device in devices]}
        put.append(entry(principal, serving, "register", f"{len(devices)} devices", "done", detail))
        await serving.commit(put)
    return records


def new_der_id(serving: Serving) -> DerId:
    """Draw the key of a new EndDevice."""
    while (drawn := der_id(serving.random.bits(64))) in serving.devices:
        pass
    return drawn


def _check(serving: Serving, devices: Sequence[NewDevice]) -> None:
    points: set[str] = set() if serving.grid is None else {point.id for point in serving.grid.service_points}
    taken: dict[int, Lfdi] = {}
    for device in devices:
        if device.aggregates is not None and (device.lfdi is None or device.service_point or device.managed_by):
            raise ConfigError(
                f"the entry of {device.aggregates} stands for others and is no DER: it needs an LFDI, "
                "and has neither a service point nor somebody who manages it"
            )
        if device.service_point and device.service_point not in points:
            raise ConfigError(f"there is no service point {device.service_point!r} in the grid of this node")
        if device.pin is not None and not 0 <= device.pin <= 999_999:
            raise ConfigError(f"a PIN has six digits, {device.pin} has not")
        if device.lfdi is None:
            continue
        check_free(serving, device.lfdi, taken)
        taken[sfdi_of(device.lfdi)] = device.lfdi


def check_free(serving: Serving, lfdi: Lfdi, taken: Mapping[int, Lfdi] = MappingProxyType({})) -> None:
    """Make sure that an LFDI and its SFDI are nobody's, here or among those `taken` by their SFDI.

    Raises: Conflict.
    """
    sfdi = sfdi_of(lfdi)
    other = taken.get(sfdi)
    if other is None and (known := serving.lfdi_of_sfdi.get(sfdi)) is not None and not is_free(serving, known):
        other = known
    if other == lfdi or not is_free(serving, lfdi):
        raise Conflict(f"LFDI {lfdi} is registered already; give this device another certificate")
    if other is not None:
        raise Conflict(f"LFDI {lfdi} has the SFDI {sfdi} of {other}; give this device another certificate")


def is_free(serving: Serving, lfdi: Lfdi) -> bool:
    """Tell whether an LFDI is nobody's: it never was, or its DER was removed. One that was replaced is never free."""
    identity = serving.identities.get(lfdi)
    return identity is None or is_removed(serving, serving.devices[identity.der_id])


def is_removed(serving: Serving, device: EndDeviceRecord) -> bool:
    """Tell whether a DER was taken out, and not only shut out."""
    return not device.enabled and device.der_id not in serving.lfdi_of


async def enable(principal: Principal, serving: Serving, name: str, *, enabled: bool) -> EndDeviceRecord:
    """Let a DER in, or shut it out from its next request on.

    Raises: ConfigError when there is no such DER.
    """
    require(principal, Verb.REGISTER, "devices")
    async with serving.writing:
        device = find_device(serving, name)
        record = replace(device, enabled=enabled, changed_at=serving.clock.now())
        verb = "enable" if enabled else "disable"
        await serving.commit([record, entry(principal, serving, verb, f"device {record.der_id}", "done", {})])
    return record


async def place(principal: Principal, serving: Serving, name: str, service_point: str) -> EndDeviceRecord:
    """Say where a DER hangs in the grid, nowhere when empty; it leaves and joins groups in the same transaction.

    Raises: ConfigError when there is no such DER or service point; Conflict for one that was taken out.
    """
    require(principal, Verb.REGISTER, "devices")
    async with serving.writing:
        device = find_device(serving, name)
        if device.aggregates is not None:
            raise ConfigError(
                f"the entry of {device.aggregates} stands for others and is no DER: it has no service point"
            )
        if is_removed(serving, device):
            raise Conflict(f"device {device.der_id} was taken out; it gets a place when it is registered again")
        if service_point and _point(serving, service_point) is None:
            raise ConfigError(f"there is no service point {service_point!r} in the grid of this node")
        record = replace(device, service_point=service_point, changed_at=serving.clock.now())
        put: list[Record] = [record, *membership_records(serving, moves(serving, devices=[record]), "placed")]
        detail = {"service_point": service_point, "before": device.service_point}
        put.append(entry(principal, serving, "place", f"device {record.der_id}", "done", detail))
        await serving.commit(put)
    return record


def find_device(serving: Serving, name: str) -> EndDeviceRecord:
    """Find a DER by what an operator types: its DerId, its LFDI (or the beginning of it) or its service point.

    Raises: ConfigError when none or several match.
    """
    if (exact := serving.devices.get(DerId(name.lower()))) is not None:
        return exact
    wanted = name.upper()
    found = [
        device
        for device in serving.devices.values()
        if device.service_point == name
        or (len(wanted) >= 4 and serving.lfdi_of.get(device.der_id, "").startswith(wanted))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"{name!r} stands for {len(found)} devices; give more of the LFDI")
    raise ConfigError(f"there is no device {name!r}; `tierline device list` shows those that are registered")


def device_of(serving: Serving, lfdi: Lfdi) -> EndDeviceRecord | None:
    """Find the enabled EndDevice that a certificate is of now."""
    identity = serving.identities.get(lfdi)
    if identity is None or serving.lfdi_of.get(identity.der_id) != lfdi:
        return None
    device = serving.devices[identity.der_id]
    return device if device.enabled else None


def principal_of(device: EndDeviceRecord, lfdi: Lfdi) -> Principal:
    """Give the principal that a peer is, known by its certificate: its DER alone, or a party that stands for many."""
    if device.aggregates is not None:
        return Principal(party=device.aggregates, role=Role.AGGREGATOR, name=lfdi, lfdi=lfdi)
    return Principal(party=device.party, role=Role.DEVICE, name=lfdi, lfdi=lfdi)


def rating_w(serving: Serving, device: EndDeviceRecord) -> float:
    """Give the rating of the service point of a DER; 0 when unknown. Units: W."""
    point = _point(serving, device.service_point)
    return 0.0 if point is None else float(point.p_w)


def _point(serving: Serving, service_point: str) -> ServicePoint | None:
    if serving.grid is None:
        return None
    return next((point for point in serving.grid.service_points if point.id == service_point), None)
