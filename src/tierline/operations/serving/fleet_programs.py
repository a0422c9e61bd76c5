"""Where a fleet puts its controls: one program for what all members hold alike, and one for each member of its own.

A member's own program belongs to a group of that member alone, so nobody else is shown it. Both are made when they are first
needed and used again ever after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierline.model.identity import GroupId
from tierline.model.records import GroupRecord
from tierline.model.topology import Group, Tier
from tierline.operations.serving.programs import DERIVED, derived_program
from tierline.operations.serving.topology import Move, membership_records, new_group_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tierline.model.identity import DerId, Mrid
    from tierline.model.records import Record
    from tierline.operations.serving.state import Serving

_CAUSE = "fleet"


class FleetPrograms:
    """The programs of one fleet, as they are known now."""

    def __init__(self, serving: Serving, group_id: GroupId) -> None:
        self._serving = serving
        self._group_id = group_id
        self._in_common = self._derived(group_id)
        self._groups = {
            record.group.name.removeprefix(self._prefix): GroupId(record.group.id)
            for record in serving.groups.values()
            if record.group.parent == group_id and record.group.name.startswith(self._prefix)
        }

    @property
    def _prefix(self) -> str:
        return f"{self._group_id}:"

    def all(self) -> list[Mrid]:
        """Give every program of the fleet, those of former members too."""
        own = [self._derived(group_id) for group_id in self._groups.values()]
        return [mrid for mrid in (self._in_common, *own) if mrid is not None]

    def in_common(self) -> Mrid:
        """Give the program that all members are assigned to."""
        assert self._in_common is not None  # `make` has made it
        return self._in_common

    def of_member(self, der_id: DerId) -> Mrid:
        """Give the program that only one member is assigned to."""
        mrid = self._derived(self._groups[der_id])
        assert mrid is not None  # `make` has made it
        return mrid

    async def make(self, members: Iterable[DerId], *, in_common: bool) -> None:
        """Make what is missing.

        Raises: LinkError when the store refuses.
        """
        serving = self._serving
        async with serving.writing:
            put: list[Record] = []
            if in_common and self._in_common is None:
                program = derived_program(serving, self._group_id)
                put.append(program)
                self._in_common = program.mrid
            joining = []
            for der_id in members:
                if der_id not in self._groups:
                    group = Group(
                        id=new_group_id(serving),
                        tier=Tier.NON_TOPOLOGY,
                        name=f"{self._prefix}{der_id}",
                        parent=self._group_id,
                    )
                    put.append(GroupRecord(party=serving.party, group=group, created_at=serving.clock.now()))
                    put.append(derived_program(serving, group.id))
                    self._groups[der_id] = group.id
                group_id = self._groups[der_id]
                if der_id not in serving.members_of.get(group_id, ()):
                    joining.append(Move(der_id=der_id, leaves=(), joins=(group_id,)))
            if put or joining:
                await serving.commit([*put, *membership_records(serving, joining, _CAUSE)])

    def _derived(self, group_id: GroupId) -> Mrid | None:
        serving = self._serving
        found = (serving.programs[mrid].record for mrid in serving.programs_of.get(group_id, ()))
        return next((record.mrid for record in found if record.description == DERIVED), None)
