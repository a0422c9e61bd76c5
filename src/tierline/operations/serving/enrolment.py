"""Onboarding in band: a party takes DERs in that it stands for, and takes them out again; an operator takes out anyone.

One rule: a DER that was taken out is not forgotten. Its readings, Responses and memberships stay, and when the same party
takes it in again it is the same DER, so that its history goes on. Only its usage points go, whose names are free again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tierline.engine.access import Grants, Resource, ResourceKind, Verb, may
from tierline.engine.verdict import Deny
from tierline.model.errors import Conflict, Forbidden
from tierline.model.identity import DerId, pin
from tierline.model.parties import Role
from tierline.model.records import EndDeviceRecord, IdentityRecord
from tierline.operations.serving.access import require
from tierline.operations.serving.audit import entry
from tierline.operations.serving.registry import check_free, is_removed, new_der_id
from tierline.operations.serving.topology import Move, membership_records

if TYPE_CHECKING:
    from tierline.model.identity import Lfdi
    from tierline.model.parties import Principal
    from tierline.model.records import Record
    from tierline.operations.serving.state import Serving

DEVICES_PER_PARTY = 100_000
"""The most DERs a party may have taken in."""

_ANY = DerId("")
"""One that a party would stand for."""


class TooManyDevices(Conflict):
    """A party has taken in as many DERs as it may have."""


async def enrol(
    principal: Principal, serving: Serving, lfdi: Lfdi, device_category: int
) -> tuple[EndDeviceRecord, bool]:
    """Take a DER in for a party that stands for it; tells whether it is new. Those it stands for already are given as they are.

    Raises: Forbidden for another's DER; Conflict when the LFDI or SFDI is taken, or the party has too many.
    """
    _require(principal, _ANY)
    async with serving.writing:
        known = _of_lfdi(serving, lfdi)
        if known is not None and not is_removed(serving, known):
            if not _is_already_theirs(principal, serving, known, lfdi):
                raise Forbidden(f"LFDI {lfdi} is not one that {principal.party} may register")
            return known, False
        check_free(serving, lfdi)
        if len(serving.standing.ders(principal.party)) >= DEVICES_PER_PARTY:
            raise TooManyDevices(f"{principal.party} has {DEVICES_PER_PARTY} DERs registered, which is the most")
        now = serving.clock.now()
        if known is not None and known.managed_by == principal.party:
            record = replace(known, enabled=True, device_category=device_category, registered_at=now, changed_at=now)
        else:
            record = EndDeviceRecord(
                party=serving.party,
                der_id=new_der_id(serving),
                service_point="",
                pin=pin(serving.random.bits(32)),
                device_category=device_category,
                managed_by=principal.party,
                enabled=True,
                registered_at=now,
                changed_at=now,
            )
        put: list[Record] = [
            record,
            IdentityRecord(party=serving.party, der_id=record.der_id, lfdi=lfdi, valid_from=now),
            entry(
                principal,
                serving,
                "register",
                f"device {record.der_id}",
                "done",
                {"lfdi": lfdi, "for": principal.party},
            ),
        ]
        await serving.commit(put)
    return record, True


async def remove(principal: Principal, serving: Serving, der: DerId) -> None:
    """Take out a DER that the party manages, or any as an operator: nobody is let in by its LFDI, and it leaves its groups.

    Raises: Forbidden for any other DER, also when there is none, so that nobody learns which there are; Conflict for one that
    was taken out already.
    """
    if principal.role in {Role.OPERATOR, Role.SELF}:
        require(principal, Verb.REGISTER, f"device {der}")
    else:
        _require(principal, der)
    async with serving.writing:
        device = serving.devices.get(der)
        if device is None or not _may_remove(principal, device):
            raise Forbidden(f"{principal.name} does not manage this device")
        if is_removed(serving, device):
            raise Conflict(f"device {der} was taken out already")
        now = serving.clock.now()
        groups = tuple(sorted(serving.groups_of.get(der, ())))
        # Without its place, else the next switching operation would bring it back into the groups of that place.
        put: list[Record] = [replace(device, enabled=False, service_point="", changed_at=now)]
        lfdi = serving.lfdi_of.get(der)
        if lfdi is not None:
            identity = serving.identities[lfdi]
            put.append(replace(identity, valid_to=max(now, identity.valid_from)))
        put += membership_records(serving, [Move(der_id=der, leaves=groups, joins=())], "removed")
        detail = {"lfdi": lfdi, "for": device.managed_by, "service_point": device.service_point, "groups": groups}
        put.append(entry(principal, serving, "remove", f"device {der}", "done", detail))
        await serving.commit(put, list(serving.mirrors_of.get(der, {}).values()))


def _of_lfdi(serving: Serving, lfdi: Lfdi) -> EndDeviceRecord | None:
    identity = serving.identities.get(lfdi)
    return None if identity is None else serving.devices[identity.der_id]


def _is_already_theirs(principal: Principal, serving: Serving, device: EndDeviceRecord, lfdi: Lfdi) -> bool:
    """Tell whether it is the party's own entry or a DER it stands for, let in under this very LFDI."""
    if not device.enabled or serving.lfdi_of.get(device.der_id) != lfdi:
        return False
    return lfdi == principal.lfdi or principal.party in serving.standing.parties(device.der_id)


def _may_remove(principal: Principal, device: EndDeviceRecord) -> bool:
    return principal.role is not Role.AGGREGATOR or (device.enabled and device.managed_by == principal.party)


def _require(principal: Principal, der: DerId) -> None:
    """Stop whoever is no party that stands for others.

    Raises: Forbidden.
    """
    verdict = may(principal, Verb.REGISTER, Resource(kind=ResourceKind.DER, der_id=der), Grants(ders=frozenset({der})))
    if principal.role is not Role.AGGREGATOR or isinstance(verdict, Deny):
        raise Forbidden(f"{principal.name} may not register devices in band; have them registered out of band")
