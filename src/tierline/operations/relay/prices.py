"""The tariffs that a node follows and hands on: kept where it keeps its own, so those below are served them under the same names.

What a server shows to some of those for whom this node stands is shown here to them alone: each relayed tariff has a group
of exactly those. What a market shows to a fleet concerns all of the fleet.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tierline.model.errors import ConfigError, LinkError
from tierline.model.records import GroupRecord, TariffRecord
from tierline.model.topology import Group, Tier
from tierline.operations.following.prices import compared, refusals, unfollowed
from tierline.operations.serving.audit import entry
from tierline.operations.serving.topology import Move, find_group, membership_records, new_group_id

if TYPE_CHECKING:
    from collections.abc import Collection

    from tierline.model.identity import ChannelId, DerId, GroupId, Mrid
    from tierline.model.parties import Principal
    from tierline.model.prices import TariffsSeen
    from tierline.model.records import Record
    from tierline.operations.following.prices import Taken, Told
    from tierline.operations.relay.relayed import Relayed
    from tierline.operations.serving.state import Serving


_RELAYED = "relayed tariff "
"""How the names of the groups begin that are made with relayed tariffs."""


class HandedOnPrices:
    """The tariffs of one channel, in the serving half of this node."""

    def __init__(
        self,
        principal: Principal,
        serving: Serving,
        channel: ChannelId,
        *,
        relayed: Relayed | None = None,
        fleet: str | None = None,
    ) -> None:
        """Prepare; `relayed` says for whom this node stands there, `fleet` which group is obeyed with.

        Without either, what is followed concerns everybody this node serves.
        Raises: LinkError when the store cannot be read.
        """
        self._principal = principal
        self._serving = serving
        self._relayed = relayed
        self._fleet = fleet
        self._refused = refusals(serving.store, channel)

    async def take(self, seen: TariffsSeen) -> list[Told]:
        """Keep what was seen and serve it from now on; gives what is new of it.

        Raises: LinkError when the store refuses; nothing changed then.
        """
        serving = self._serving
        async with serving.writing:
            new: list[Record] = []
            groups = {mrid: self._group(mrid, new) for mrid in seen.tariffs}
            taken = compared(serving.party, seen, serving.tariffs, serving.prices, groups, serving.clock.now())
            taken.refuse_anew(serving.party, seen.channel, self._refused)
            await self._commit(taken, new, self._moves(seen, groups))
        self._refused = taken.refused
        return taken.told

    def _group(self, mrid: Mrid, new: list[Record]) -> GroupId | None:
        """Give whom a tariff concerns here; for one that is relayed a group is made with it."""
        if self._relayed is None:
            return None if self._fleet is None else _fleet(self._serving, self._fleet)
        known = self._serving.tariffs.get(mrid)
        if known is not None:
            return known.group  # one of its own, or a tariff that is not this channel's to change
        digest = hashlib.sha256(mrid.encode()).hexdigest()
        group = Group(id=new_group_id(self._serving), tier=Tier.NON_TOPOLOGY, name=f"{_RELAYED}{digest[:8]}")
        new.append(GroupRecord(party=self._serving.party, group=group, created_at=self._serving.clock.now()))
        return group.id

    def _moves(self, seen: TariffsSeen, groups: dict[Mrid, GroupId | None]) -> list[Move]:
        """Let the group of each relayed tariff have exactly those to whom it is shown."""
        if self._relayed is None:
            return []
        members = self._relayed.members
        leaves: dict[DerId, list[GroupId]] = {}
        joins: dict[DerId, list[GroupId]] = {}
        for mrid, group in groups.items():
            known = self._serving.tariffs.get(mrid)
            if group is None or (known is not None and known.followed_from != seen.channel):
                continue
            wanted = {members[lfdi] for lfdi in seen.shown_to.get(mrid, ()) if lfdi in members}
            has = self._serving.members_of.get(group, set())
            for der in has - wanted:
                leaves.setdefault(der, []).append(group)
            for der in wanted - has:
                joins.setdefault(der, []).append(group)
        return [
            Move(der_id=der, leaves=tuple(sorted(leaves.get(der, ()))), joins=tuple(sorted(joins.get(der, ()))))
            for der in sorted(leaves.keys() | joins.keys())
        ]

    async def _commit(self, taken: Taken, new: list[Record], moves: list[Move]) -> None:
        cause = "" if self._relayed is None else f"tariff relayed from {self._relayed.channel}"
        put = [*new, *membership_records(self._serving, moves, cause), *taken.put]
        await commit_told(self._principal, self._serving, put, taken)


async def keep_only(principal: Principal, serving: Serving, channels: Collection[ChannelId]) -> list[Told]:
    """Let go of tariffs that were followed from other channels.

    Raises: LinkError when the store refuses; nothing changed then.
    """
    async with serving.writing:
        taken = unfollowed(channels, serving.tariffs, serving.prices)
        await commit_told(principal, serving, [], taken)
    return taken.told


async def commit_told(principal: Principal, serving: Serving, put: list[Record], taken: Taken) -> None:
    """Write what was taken, with the groups that go with their tariffs, and one line of the audit for each change."""
    gone = [record for record in taken.delete if isinstance(record, TariffRecord)]
    emptied, groups = _emptied(serving, gone)
    put += membership_records(serving, emptied, "the tariff relayed to them is gone")
    tail = serving.audit_tail
    for told in taken.told:
        tail = entry(principal, serving, "follow", told.what, told.outcome, told.detail, after=tail)
        put.append(tail)
    if put or taken.delete:
        await serving.commit(put, [*taken.delete, *groups])


def _emptied(serving: Serving, gone: Collection[TariffRecord]) -> tuple[list[Move], list[GroupRecord]]:
    """Give who leaves, and the groups that go, with tariffs that were relayed; a group that has come to be used stays."""
    used = {record.group for record in serving.tariffs.values() if record not in gone}
    groups = [
        serving.groups[record.group]
        for record in gone
        if record.group is not None
        and record.group in serving.groups
        and record.group not in used
        and not serving.programs_of.get(record.group)
        and serving.groups[record.group].group.name.startswith(_RELAYED)
    ]
    leaves: dict[DerId, list[GroupId]] = {}
    for group in groups:
        for der in serving.members_of.get(group.group.id, ()):
            leaves.setdefault(der, []).append(group.group.id)
    return [Move(der_id=der, leaves=tuple(sorted(ids)), joins=()) for der, ids in sorted(leaves.items())], groups


def _fleet(serving: Serving, name: str) -> GroupId:
    """Find the group of the fleet.

    Raises: LinkError while there is none.
    """
    try:
        return find_group(serving, name).group.id
    except ConfigError as error:
        raise LinkError(f"the group of the fleet was not made yet: {error}") from error
