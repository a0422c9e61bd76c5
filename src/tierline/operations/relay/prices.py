"""The tariffs that a node follows and hands on: kept where it keeps its own, so those below are served them under the same names.

What a server shows to some of those for whom this node stands is shown here to them alone: each relayed tariff has a group
of exactly those. What a market shows to a fleet concerns all of the fleet.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierline.model.errors import ConfigError, LinkError
from tierline.model.identity import GroupId
from tierline.model.records import GroupRecord, TariffRecord
from tierline.model.topology import Group, Tier
from tierline.operations.following.prices import compared, is_elsewhere, is_gone, refusals, unfollowed
from tierline.operations.serving.audit import entry
from tierline.operations.serving.groups import OF_TARIFF, is_of_tariff
from tierline.operations.serving.topology import Move, find_group, membership_records, new_group_id

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tierline.model.identity import ChannelId, DerId, Mrid
    from tierline.model.parties import Principal
    from tierline.model.prices import TariffsSeen
    from tierline.model.records import Record
    from tierline.operations.following.prices import Taken, Told
    from tierline.operations.relay.relayed import Relayed
    from tierline.operations.serving.state import Serving


@dataclass(slots=True)
class Shown:
    """To whom relayed tariffs are shown, over all channels: one that comes by several is for those of each."""

    relayed: dict[ChannelId, Relayed] = field(default_factory=dict)
    """For whom this node stands at each."""
    by_channel: dict[ChannelId, dict[Mrid, set[DerId]]] = field(default_factory=dict)

    def all(self, mrid: Mrid) -> set[DerId]:
        """Give all to whom a tariff is shown, as far as is known."""
        return {der for shown in self.by_channel.values() for der in shown.get(mrid, ())}

    def may_leave(self, der: DerId) -> bool:
        """Tell whether all channels were read since the start that may show a tariff to a DER."""
        return not any(der in one.ders for channel, one in self.relayed.items() if channel not in self.by_channel)


class HandedOnPrices:
    """The tariffs of one channel, in the serving half of this node."""

    def __init__(
        self,
        principal: Principal,
        serving: Serving,
        channel: ChannelId,
        *,
        relayed: Relayed | None = None,
        shown: Shown | None = None,
        fleet: str | None = None,
    ) -> None:
        """Prepare; `relayed` says for whom this node stands there, `shown` what all relayed channels have in common.

        `fleet` is the group that is obeyed with. Without either, what is followed concerns everybody this node serves.
        Raises: LinkError when the store cannot be read.
        """
        self._principal = principal
        self._serving = serving
        self._relayed = relayed
        self._fleet = fleet
        self._shown = shown or Shown()
        if relayed is not None:
            self._shown.relayed[channel] = relayed
        self._refused = refusals(serving.store, channel)

    async def take(self, seen: TariffsSeen) -> list[Told]:
        """Keep what was seen and serve it from now on; gives what is new of it.

        Raises: LinkError when the store refuses; nothing changed then.
        """
        serving = self._serving
        async with serving.writing:
            new: list[GroupRecord] = []
            groups = {mrid: self._group(mrid, new) for mrid in seen.tariffs}
            taken = compared(serving.party, seen, serving.tariffs, serving.prices, groups, serving.clock.now())
            taken.refuse_anew(serving.party, seen.channel, self._refused)
            await self._commit(taken, new, self._moves(seen, groups, [GroupId(one.group.id) for one in new]))
        self._refused = taken.refused
        return taken.told

    def _group(self, mrid: Mrid, new: list[GroupRecord]) -> GroupId | None:
        """Give whom a tariff concerns here; for one that is relayed a group is made with it."""
        if self._relayed is None:
            return None if self._fleet is None else _fleet(self._serving, self._fleet)
        serving = self._serving
        known = serving.tariffs.get(mrid)
        if known is not None and (known.followed_from != self._relayed.channel or _is_relayed(serving, known)):
            return known.group
        digest = hashlib.sha256(mrid.encode()).hexdigest()
        group = Group(
            id=new_group_id(serving),
            tier=Tier.NON_TOPOLOGY,
            name=f"relayed tariff {digest[:8]}",
            element=f"{OF_TARIFF}{mrid}",
        )
        new.append(GroupRecord(party=serving.party, group=group, created_at=serving.clock.now()))
        return group.id

    def _moves(self, seen: TariffsSeen, groups: Mapping[Mrid, GroupId | None], new: Sequence[GroupId]) -> list[Move]:
        """Let the group of each relayed tariff have exactly those to whom any channel shows it."""
        if self._relayed is None:
            return []
        self._shown.by_channel[seen.channel] = self._shown_now(seen, self._relayed)
        tariffs = self._serving.tariffs
        followed = {mrid: known for mrid, known in tariffs.items() if known.followed_from}
        relayed = {mrid: known.group for mrid, known in followed.items() if _is_relayed(self._serving, known)}
        relayed |= {mrid: group for mrid, group in groups.items() if group in new}
        leaves: dict[DerId, list[GroupId]] = {}
        joins: dict[DerId, list[GroupId]] = {}
        for mrid, group in relayed.items():
            if group is None or (mrid in tariffs and is_gone(tariffs[mrid], seen)):
                continue
            wanted, has = self._shown.all(mrid), self._serving.members_of.get(group, set())
            for der in filter(self._shown.may_leave, has - wanted):
                leaves.setdefault(der, []).append(group)
            for der in wanted - has:
                joins.setdefault(der, []).append(group)
        return [
            Move(der_id=der, leaves=tuple(sorted(leaves.get(der, ()))), joins=tuple(sorted(joins.get(der, ()))))
            for der in sorted(leaves.keys() | joins.keys())
        ]

    def _shown_now(self, seen: TariffsSeen, relayed: Relayed) -> dict[Mrid, set[DerId]]:
        """Give to whom this channel shows each tariff; what it may not show under that name it shows to nobody."""
        before = self._shown.by_channel.get(seen.channel, {})
        shown: dict[Mrid, set[DerId]] = {}
        for mrid, lfdis in seen.shown_to.items():
            known, tariff = self._serving.tariffs.get(mrid), seen.tariffs.get(mrid)
            if (
                (known is not None and known.followed_from == seen.channel)
                or (tariff is None and mrid in before)
                or (tariff is not None and (known is None or is_elsewhere(known, tariff, seen.channel)))
            ):
                members = {relayed.members[lfdi] for lfdi in lfdis if lfdi in relayed.members}
                shown[mrid] = members - relayed.elsewhere
        return shown

    async def _commit(self, taken: Taken, new: Sequence[Record], moves: list[Move]) -> None:
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
        and _is_relayed(serving, record)
    ]
    leaves: dict[DerId, list[GroupId]] = {}
    for group in groups:
        for der in serving.members_of.get(group.group.id, ()):
            leaves.setdefault(der, []).append(group.group.id)
    return [Move(der_id=der, leaves=tuple(sorted(ids)), joins=()) for der, ids in sorted(leaves.items())], groups


def _is_relayed(serving: Serving, tariff: TariffRecord | None) -> bool:
    """Tell whether the group of a tariff is that of those to whom it is relayed."""
    record = None if tariff is None or tariff.group is None else serving.groups.get(tariff.group)
    return record is not None and is_of_tariff(record)


def _fleet(serving: Serving, name: str) -> GroupId:
    """Find the group of the fleet.

    Raises: LinkError while there is none.
    """
    try:
        return find_group(serving, name).group.id
    except ConfigError as error:
        raise LinkError(f"the group of the fleet was not made yet: {error}") from error
