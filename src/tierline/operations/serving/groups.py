"""Groups for other reasons than the wires: a contract, a tariff, a pilot, all DERs of a party.

Two rules. Membership is bitemporal here as everywhere: nobody leaves without a row that says when and why. And a group that
was made by a rule, everybody or all of a party, is kept by that rule: its members come and go with their registration, in
the same transaction.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tierline.engine.access import Verb
from tierline.engine.serving_status import is_over
from tierline.model.errors import ConfigError, Conflict
from tierline.model.records import EndDeviceRecord, GroupRecord, MembershipRecord
from tierline.model.topology import Group, Tier
from tierline.operations.serving.access import require
from tierline.operations.serving.audit import entry
from tierline.operations.serving.programs import DERIVED, new_program
from tierline.operations.serving.topology import Move, membership_records, new_group_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tierline.model.identity import DerId, GroupId, PartyId
    from tierline.model.parties import Principal
    from tierline.model.records import Record
    from tierline.operations.serving.state import Consequence, Serving

EVERYBODY = "*"
"""The element of a group of all DERs that are registered here."""
OF_PARTY = "party:"
"""The element of a group of all DERs of a party begins so."""
OF_TARIFF = "tariff:"
"""The element of a group of those begins so whom a relayed tariff concerns: the server above says who they are."""


async def create_group(
    principal: Principal,
    serving: Serving,
    name: str,
    *,
    everybody: bool = False,
    party: PartyId | None = None,
) -> GroupRecord:
    """Make a group: an empty one, or one of everybody or of all DERs of a party, which is kept by that rule.

    Raises: ConfigError for a name that is none; Conflict when it is taken.
    """
    require(principal, Verb.CONFIGURE, f"group {name}")
    if everybody and party is not None:
        raise ConfigError("a group is of everybody or of one party, not both; leave one out")
    element = EVERYBODY if everybody else None if party is None else f"{OF_PARTY}{party}"
    async with serving.writing:
        _check_name(serving, name)
        group = Group(id=new_group_id(serving), tier=Tier.NON_TOPOLOGY, name=name, element=element)
        record = GroupRecord(party=serving.party, group=group, created_at=serving.clock.now())
        detail = {"name": name, "rule": element}
        await serving.commit(
            [
                record,
                new_program(serving, group),
                entry(principal, serving, "group", f"group {group.id}", "created", detail),
            ]
        )
        # Only now is the group known, so that somebody can join it; doing it twice does nothing.
        joining = [Move(der_id=der_id, leaves=(), joins=(group.id,)) for der_id in sorted(_ruled(serving, group))]
        if joining:
            await serving.commit(membership_records(serving, joining, f"group {name} was made"))
    return record


async def rename_group(principal: Principal, serving: Serving, group_id: GroupId, name: str) -> GroupRecord:
    """Give a group another name; its id, program and members stay.

    Raises: ConfigError for a group that is not there or that the grid names; Conflict when the name is taken.
    """
    require(principal, Verb.CONFIGURE, f"group {group_id}")
    async with serving.writing:
        record = _own(serving, group_id)
        _check_name(serving, name, besides=group_id)
        renamed = replace(record, group=replace(record.group, name=name))
        detail = {"name": name, "before": record.group.name}
        await serving.commit([renamed, entry(principal, serving, "group", f"group {group_id}", "renamed", detail)])
    return renamed


async def delete_group(principal: Principal, serving: Serving, group_id: GroupId) -> GroupRecord:
    """Let a group go, with its program, its default and what is over in it; the audit and the memberships are kept.

    Raises: ConfigError for a group that is not there or that the grid names; Conflict while a control is in it or a tariff for it.
    """
    require(principal, Verb.CONFIGURE, f"group {group_id}")
    async with serving.writing:
        record = _own(serving, group_id)
        now = serving.clock.now()
        for tariff in serving.tariffs.values():
            if tariff.group == group_id:
                raise Conflict(f"tariff {tariff.description!r} is for group {record.group.name}; remove it first")
        gone: list[Record] = []
        for mrid in serving.programs_of.get(group_id, []):
            served = serving.programs[mrid]
            for control in served.controls.values():
                if not is_over(control.control, now):
                    raise Conflict(f"control {control.mrid} of group {record.group.name} is not over; cancel it first")
                gone += [control, *serving.responses.get(control.mrid, {}).values()]
            gone += [*served.curves.values(), *([served.default] if served.default is not None else []), served.record]
        members = sorted(serving.members_of.get(group_id, ()))
        leaving = [Move(der_id=der_id, leaves=(group_id,), joins=()) for der_id in members]
        put: list[Record] = [*membership_records(serving, leaving, "the group was deleted")]
        detail = {"name": record.group.name, "members": members}
        put.append(entry(principal, serving, "group", f"group {group_id}", "deleted", detail))
        await serving.commit(put, [*gone, record])
    return record


async def add_members(
    principal: Principal, serving: Serving, group_id: GroupId, ders: Sequence[DerId], *, cause: str = "operator"
) -> list[DerId]:
    """Take DERs into a group; gives those that were not in it.

    Raises: ConfigError, Conflict as `remove_members`.
    """
    return await _move(principal, serving, group_id, ders, cause, join=True)


async def remove_members(
    principal: Principal, serving: Serving, group_id: GroupId, ders: Sequence[DerId], *, cause: str = "operator"
) -> list[DerId]:
    """Take DERs out of a group; gives those that were in it.

    Raises: ConfigError for a group or a DER that is not there, or a group the grid names; Conflict for one kept by a rule.
    """
    return await _move(principal, serving, group_id, ders, cause, join=False)


async def _move(
    principal: Principal, serving: Serving, group_id: GroupId, ders: Sequence[DerId], cause: str, *, join: bool
) -> list[DerId]:
    require(principal, Verb.CONFIGURE, f"group {group_id}")
    async with serving.writing:
        record = _own(serving, group_id)
        if record.group.element is not None:
            raise Conflict(f"the members of group {record.group.name} follow its rule; make another group")
        for der_id in ders:
            device = serving.devices.get(der_id)
            if device is None or device.aggregates is not None:
                raise ConfigError(f"there is no DER {der_id!r}; `tierline device list` shows those that are registered")
        members = serving.members_of.get(group_id, set())
        changed = [der_id for der_id in dict.fromkeys(ders) if (der_id in members) is not join]
        if changed:
            here = (group_id,)
            moves = [Move(der_id=der_id, leaves=() if join else here, joins=here if join else ()) for der_id in changed]
            put: list[Record] = [*membership_records(serving, moves, cause)]
            outcome = "joined" if join else "left"
            put.append(entry(principal, serving, "group", f"group {group_id}", outcome, {"devices": changed}))
            await serving.commit(put)
    return changed


def joining(serving: Serving) -> Consequence:
    """Give the consequence by which who is registered, let in, shut out or moved to a party joins and leaves by the rules."""

    def follow(put: Sequence[Record], _: Sequence[Record]) -> Iterable[Record]:
        devices = [record for record in put if isinstance(record, EndDeviceRecord)]
        if not devices:
            return []
        stated = {
            (record.membership.der_id, record.membership.group_id)
            for record in put
            if isinstance(record, MembershipRecord)
        }
        moves = []
        for group_id, record in serving.groups.items():
            if not is_ruled(record):
                continue
            for device in devices:
                is_member = device.der_id in serving.members_of.get(group_id, ())
                if _belongs(device, record.group) is not is_member and (device.der_id, group_id) not in stated:
                    here = (group_id,)
                    moves.append(
                        Move(
                            der_id=device.der_id,
                            leaves=here if is_member else (),
                            joins=() if is_member else here,
                        )
                    )
        return membership_records(serving, moves, "registered")

    return follow


def is_ruled(record: GroupRecord) -> bool:
    """Tell whether a rule says who belongs to a group."""
    element = record.group.element
    return record.group.tier is Tier.NON_TOPOLOGY and element is not None and not is_of_tariff(record)


def is_of_tariff(record: GroupRecord) -> bool:
    """Tell whether a group is of those whom a relayed tariff concerns; it has no program, and no operator uses it."""
    return record.group.element is not None and record.group.element.startswith(OF_TARIFF)


def is_of_one(serving: Serving, group_id: GroupId) -> bool:
    """Tell whether a group is that of one DER of a fleet, which no operator uses."""
    programs = [serving.programs[mrid].record for mrid in serving.programs_of.get(group_id, [])]
    return serving.groups[group_id].group.parent is not None and all(one.description == DERIVED for one in programs)


def _ruled(serving: Serving, group: Group) -> list[DerId]:
    return [device.der_id for device in serving.devices.values() if _belongs(device, group)]


def _belongs(device: EndDeviceRecord, group: Group) -> bool:
    if not device.enabled or device.aggregates is not None:
        return False
    return group.element in (EVERYBODY, f"{OF_PARTY}{device.managed_by}")


def _own(serving: Serving, group_id: GroupId) -> GroupRecord:
    """Find a group that the operator may change.

    Raises: ConfigError.
    """
    record = serving.groups.get(group_id)
    if record is None:
        raise ConfigError(f"there is no group {group_id!r}; `tierline group list` shows those there are")
    programs = [serving.programs[mrid].record for mrid in serving.programs_of.get(group_id, [])]
    if record.group.tier is not Tier.NON_TOPOLOGY or is_of_one(serving, group_id):
        raise ConfigError(f"group {record.group.name} follows the wires or a fleet; only other groups can be changed")
    if is_of_tariff(record) or any(one.channel is not None for one in programs):
        raise ConfigError(f"group {record.group.name} is that of a server above; only that server changes it")
    return record


def _check_name(serving: Serving, name: str, *, besides: GroupId | None = None) -> None:
    if not name.strip() or name != name.strip() or len(name) > 100 or "/" in name:
        raise ConfigError(f"{name!r} is no name for a group; use 1 to 100 characters without /, no blanks at the ends")
    for record in serving.groups.values():
        if record.group.id != besides and name in (record.group.id, record.group.name, record.group.element):
            raise Conflict(f"there is a group {name!r} already; choose another name")
