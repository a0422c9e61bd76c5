"""Who is known: EndDevices keyed by DerId, their identities with validity times, onboarding out of band."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tierline.engine.access import Verb
from tierline.model.errors import ConfigError, Conflict
from tierline.model.identity import DerId, der_id, pin, sfdi_of
from tierline.model.records import EndDeviceRecord, IdentityRecord
from tierline.operations.serving.access import require
from tierline.operations.serving.audit import entry
from tierline.operations.serving.topology import membership_records, moves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierline.model.identity import Lfdi, PartyId
    from tierline.model.parties import Principal
    from tierline.model.records import Record
    from tierline.model.topology import ServicePoint
    from tierline.operations.serving.state import Serving

PV_CATEGORY = 1 << 20
"""DeviceCategoryType bit 20: photovoltaic system. Source: IEEE 2030.5-2018, DeviceCategoryType."""


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
                der_id=_new_der_id(serving),
                service_point=device.service_point,
                pin=pin(serving.random.bits(32)) if device.pin is None else device.pin,
                device_category=device.device_category,
                managed_by=device.managed_by,
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


def _new_der_id(serving: Serving) -> DerId:
    while (drawn := der_id(serving.random.bits(64))) in serving.devices:
        pass
    return drawn


def _check(serving: Serving, devices: Sequence[NewDevice]) -> None:
    points: set[str] = set() if serving.grid is None else {point.id for point in serving.grid.service_points}
    lfdis = set(serving.identities)
    sfdis = {sfdi_of(lfdi): lfdi for lfdi in serving.identities}
    for device in devices:
        if device.service_point and device.service_point not in points:
            raise ConfigError(f"there is no service point {device.service_point!r} in the grid of this node")
        if device.pin is not None and not 0 <= device.pin <= 999_999:
            raise ConfigError(f"a PIN has six digits, {device.pin} has not")
        if device.lfdi is None:
            continue
        if device.lfdi in lfdis:
            raise Conflict(f"LFDI {device.lfdi} is registered already; give this device another certificate")
        sfdi = sfdi_of(device.lfdi)
        if sfdi in sfdis:
            raise Conflict(
                f"LFDI {device.lfdi} has the SFDI {sfdi} of {sfdis[sfdi]}; give this device another certificate"
            )
        lfdis.add(device.lfdi)
        sfdis[sfdi] = device.lfdi


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
    """Find the enabled DER that a certificate stands for now."""
    identity = serving.identities.get(lfdi)
    if identity is None or serving.lfdi_of.get(identity.der_id) != lfdi:
        return None
    device = serving.devices[identity.der_id]
    return device if device.enabled else None


def rating_w(serving: Serving, device: EndDeviceRecord) -> float:
    """Give the rating of the service point of a DER; 0 when unknown. Units: W."""
    point = _point(serving, device.service_point)
    return 0.0 if point is None else float(point.p_w)


def _point(serving: Serving, service_point: str) -> ServicePoint | None:
    if serving.grid is None:
        return None
    return next((point for point in serving.grid.service_points if point.id == service_point), None)
