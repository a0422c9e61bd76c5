"""Groups follow the wires: membership is computed from confirmed switch positions and is bitemporal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from tierline.engine.access import Verb
from tierline.engine.connectivity import feeder_of, transformer_of
from tierline.model.errors import ConfigError, Conflict
from tierline.model.identity import DerId, GroupId, der_id
from tierline.model.records import GroupRecord, MembershipRecord, SwitchRecord
from tierline.model.topology import Group, Membership, Tier
from tierline.operations.serving.access import require
from tierline.operations.serving.audit import entry
from tierline.operations.serving.programs import new_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierline.model.parties import Principal
    from tierline.model.records import EndDeviceRecord, Record
    from tierline.operations.serving.state import Serving

_MICROSECOND = timedelta(microseconds=1)
"""The resolution of the store."""

SYSTEM = "system"
"""The grid reference of the group of all DERs of the grid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What an operation does to one DER."""

    der_id: DerId
    leaves: tuple[GroupId, ...]
    joins: tuple[GroupId, ...]


async def adopt_grid(principal: Principal, serving: Serving) -> None:
    """Bring groups, programs and memberships in line with the node's grid, which may be new or have changed."""
    require(principal, Verb.CONFIGURE, "grid")
    grid = serving.grid
    if grid is None:
        return
    async with serving.writing:
        known = {record.group.element: record for record in serving.groups.values()}
        put: list[Record] = []
        wanted: list[tuple[str, Tier, str, str | None]] = [(SYSTEM, Tier.SYSTEM, grid.name, None)]
        wanted += [(row.id, Tier.SUBSTATION, row.id, SYSTEM) for row in grid.transformers]
        wanted += [(row.id, Tier.FEEDER, row.id, row.transformer) for row in grid.feeders]
        ids = {element: record.group.id for element, record in known.items()}
        for element, tier, name, parent in wanted:
            if element in known:
                continue
            group = Group(
                id=new_group_id(serving),
                tier=tier,
                name=name,
                parent=None if parent is None else ids[parent],
                element=element,
            )
            ids[element] = group.id
            put.append(GroupRecord(party=serving.party, group=group, created_at=serving.clock.now()))
            put.append(new_program(serving, group))
        if put:
            put.append(entry(principal, serving, "configure", "grid", "done", {"grid": grid.name}))
            await serving.commit(put)
        # Only now are the new groups known, so that somebody can join them; doing it twice does nothing.
        if changes := moves(serving):
            await serving.commit(membership_records(serving, changes, "grid"))


def new_group_id(serving: Serving) -> GroupId:
    """Draw an opaque group id that no other group has; it says nothing about the place."""
    while (drawn := GroupId(der_id(serving.random.bits(64)))) in serving.groups:
        pass
    return drawn


def find_group(serving: Serving, name: str) -> GroupRecord:
    """Find a group by what an operator types: its id, its name or the element of the grid it stands for.

    Raises: ConfigError naming the groups there are.
    """
    for record in serving.groups.values():
        if name in (record.group.id, record.group.name, record.group.element):
            return record
    names = ", ".join(sorted(record.group.name for record in serving.groups.values()))
    raise ConfigError(f"there is no group {name!r}; there are: {names or 'none yet'}")


def elements_of(serving: Serving, service_point: str, switches: Mapping[int, bool] | None = None) -> set[str]:
    """Give the elements of the grid that feed a service point: system, transformer and feeder."""
    return _elements(serving, switches).get(service_point, set())


def _elements(serving: Serving, switches: Mapping[int, bool] | None) -> dict[str, set[str]]:
    if serving.grid is None:
        return {}
    positions = serving.switches if switches is None else switches
    feeders = feeder_of(serving.grid, positions)
    transformers = transformer_of(serving.grid, positions)
    found = {}
    for point in serving.grid.service_points:
        fed_by = {element for element in (feeders[point.id], transformers[point.id]) if element is not None}
        found[point.id] = fed_by | {SYSTEM} if fed_by else set()
    return found


def moves(
    serving: Serving,
    switches: Mapping[int, bool] | None = None,
    *,
    devices: Iterable[EndDeviceRecord] | None = None,
) -> list[Move]:
    """Compute who would leave and join which groups if the switches stood so; other groups are left alone.

    `devices` are all that are registered, unless given: those about to be, for example.
    """
    elements = _elements(serving, switches)
    by_element = {
        record.group.element: GroupId(record.group.id)
        for record in serving.groups.values()
        if record.group.element is not None and record.group.tier in (Tier.SYSTEM, Tier.SUBSTATION, Tier.FEEDER)
    }
    topological = set(by_element.values())
    found = []
    for device in serving.devices.values() if devices is None else devices:
        wanted = {by_element[element] for element in elements.get(device.service_point, ()) if element in by_element}
        has = serving.groups_of.get(device.der_id, set()) & topological
        if wanted != has:
            found.append(
                Move(der_id=device.der_id, leaves=tuple(sorted(has - wanted)), joins=tuple(sorted(wanted - has)))
            )
    return found


def membership_records(serving: Serving, changes: list[Move], cause: str) -> list[MembershipRecord]:
    """Write moves down: the old memberships end now, new ones begin now."""
    now = serving.clock.now()
    records = []
    for move in changes:
        for group_id in move.leaves:
            current = serving.memberships[move.der_id, group_id].membership
            # A clock may have been set back: an end is never before its beginning, nor known before it.
            recorded_at = max(now, current.recorded_at + _MICROSECOND)
            ended = replace(current, valid_to=max(now, current.valid_from), recorded_at=recorded_at)
            records.append(MembershipRecord(party=serving.party, membership=ended, cause=cause))
        for group_id in move.joins:
            begun = Membership(der_id=move.der_id, group_id=group_id, valid_from=now, valid_to=None, recorded_at=now)
            records.append(MembershipRecord(party=serving.party, membership=begun, cause=cause))
    return records


def preview_switching(principal: Principal, serving: Serving, positions: Mapping[int, bool]) -> list[Move]:
    """Show who would move if the named switches stood so, without doing it.

    Raises: ConfigError for a switch the grid does not have.
    """
    require(principal, Verb.READ, "grid")
    return moves(serving, {**serving.switches, **positions})


async def confirm_switching(principal: Principal, serving: Serving, positions: Mapping[int, bool]) -> list[Move]:
    """Take over switch positions that came back from the field; membership follows at once.

    Raises: ConfigError for a switch the grid does not have; Conflict when nothing would change.
    """
    require(principal, Verb.SWITCH, "grid")
    async with serving.writing:
        if serving.grid is None:
            raise ConfigError("this node has no grid; name a grid file under [grid] in its configuration")
        changed = {key: closed for key, closed in positions.items() if serving.switches.get(key) is not closed}
        changes = moves(serving, {**serving.switches, **positions})
        if not changed:
            raise Conflict("all the switches named stand so already")
        now = serving.clock.now()
        cause = ", ".join(f"switch {key} {'closed' if closed else 'opened'}" for key, closed in sorted(changed.items()))
        put: list[Record] = [
            SwitchRecord(party=serving.party, switch_id=key, closed=closed, changed_at=now, recorded_at=now)
            for key, closed in sorted(changed.items())
        ]
        put += membership_records(serving, changes, cause)
        detail = {"switches": changed, "moved": [move.der_id for move in changes]}
        put.append(entry(principal, serving, "switch", "grid", "done", detail))
        await serving.commit(put)
    return changes
