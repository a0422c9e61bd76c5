"""The tariffs that a node follows, as it keeps them: what the server above shows, under the same names, and nothing of its own.

Three rules. A reading is one transaction, and one that brings nothing new writes nothing. What the server lists no more goes,
but only by a list that was read whole; a price that is over stays as a record of what was, until it is old. And what was
published here, or is followed from another server, is never changed by what a server says.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierline.engine.price_status import ends, holds
from tierline.model.records import KnownRecord, PriceRecord, TariffRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from tierline.model.identity import ChannelId, GroupId, Mrid, PartyId
    from tierline.model.prices import Price, Tariff, TariffsSeen
    from tierline.model.records import Record
    from tierline.ports import Clock, Store

MOST_PAST = 3_000
"""Prices of one tariff that are over and kept: a month of quarters of an hour; a server makes no node keep more."""

Prices = dict["Mrid", dict["Mrid", PriceRecord]]
"""By tariff and mRID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of one tariff, or why something of it is not kept."""

    what: str
    outcome: str
    """`followed`, `changed`, `gone` or `refused`."""
    detail: Mapping[str, object]


@dataclass(slots=True)
class Taken:
    """What one reading changes."""

    put: list[Record] = field(default_factory=list)
    delete: list[Record] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """All that cannot be kept now, and why."""

    def refuse_anew(self, party: PartyId, channel: ChannelId, known: Mapping[str, str]) -> None:
        """Tell and write down what is refused for the first time, so that no reading and no restart tells it again."""
        for what, why in self.refused.items():
            if known.get(what) != why:
                self.put.append(_refusal(party, channel, what, why))
                self.told.append(Told(what=what, outcome="refused", detail={"reason": why, "channel": channel}))
        self.delete += [_refusal(party, channel, what, why) for what, why in known.items() if what not in self.refused]


def compared(
    party: PartyId,
    seen: TariffsSeen,
    tariffs: Mapping[Mrid, TariffRecord],
    prices: Mapping[Mrid, Mapping[Mrid, PriceRecord]],
    groups: Mapping[Mrid, GroupId | None],
    now: datetime,
) -> Taken:
    """Say what is to be written so that what is kept is what was seen; `groups` says whom each tariff concerns here."""
    taken = Taken(refused=dict(seen.refused))
    for mrid, tariff in seen.tariffs.items():
        known = tariffs.get(mrid)
        if is_elsewhere(known, tariff, seen.channel):
            continue
        if known is not None and known.followed_from != seen.channel:
            whose = f"is followed from {known.followed_from}" if known.followed_from else "is published by this node"
            taken.refused[f"tariff {mrid}"] = f"a tariff of this name {whose}"
            continue
        created_at = now if known is None else known.created_at
        record = _record(party, seen.channel, tariff, created_at, groups.get(mrid))
        if record != known:
            taken.put.append(record)
        counts = _take_prices(taken, seen, record, prices.get(mrid, {}), now)
        if counts or record != known:
            said = {"channel": seen.channel, "description": tariff.description, "currency": tariff.currency}
            outcome = "followed" if known is None else "changed"
            taken.told.append(Told(what=f"tariff {mrid}", outcome=outcome, detail={**said, **counts}))
    for known in tariffs.values():
        if is_gone(known, seen):
            _drop(taken, known, prices.get(known.mrid, {}))
    return taken


def is_elsewhere(known: TariffRecord | None, tariff: Tariff, channel: ChannelId) -> bool:
    """Tell whether a tariff came by another channel first, which goes on bringing it: the same mRID is the same thing."""
    return (
        known is not None
        and known.followed_from not in ("", channel)
        and (known.flow, known.currency) == (tariff.flow, tariff.currency)
    )


def is_gone(known: TariffRecord, seen: TariffsSeen) -> bool:
    """Tell whether the channel of a tariff lists it no more."""
    is_seen = known.mrid in seen.tariffs or known.mrid in seen.unread
    return seen.is_whole and known.followed_from == seen.channel and not is_seen


def unfollowed(
    channels: Collection[ChannelId],
    tariffs: Mapping[Mrid, TariffRecord],
    prices: Mapping[Mrid, Mapping[Mrid, PriceRecord]],
) -> Taken:
    """Say what is to be written so that nothing is kept of channels whose prices are not followed any more."""
    taken = Taken()
    for known in tariffs.values():
        if known.followed_from and known.followed_from not in channels:
            _drop(taken, known, prices.get(known.mrid, {}))
    return taken


def refusals(store: Store, channel: ChannelId) -> dict[str, str]:
    """Give what was refused of a channel when it was read last.

    Raises: LinkError when the store cannot be read.
    """
    begin = f"price-refused/{channel}/"
    return {record.name.removeprefix(begin): record.value for record in store.each(KnownRecord, prefix=begin)}


def _refusal(party: PartyId, channel: ChannelId, what: str, why: str) -> KnownRecord:
    return KnownRecord(party=party, name=f"price-refused/{channel}/{what}", value=why)


def _record(
    party: PartyId, channel: ChannelId, tariff: Tariff, created_at: datetime, group: GroupId | None
) -> TariffRecord:
    return TariffRecord(
        party=party,
        mrid=tariff.mrid,
        description=tariff.description,
        currency=tariff.currency,
        price_power_of_ten=tariff.price_power_of_ten,
        created_at=created_at,
        rate_component=tariff.rate_component,
        group=group,
        flow=tariff.flow,
        service=tariff.service,
        primacy=tariff.primacy,
        followed_from=channel,
    )


def _take_prices(
    taken: Taken, seen: TariffsSeen, record: TariffRecord, kept: Mapping[Mrid, PriceRecord], now: datetime
) -> dict[str, int]:
    """Bring the prices of a tariff in line; gives how many were added, changed, withdrawn, and gone."""
    prices = seen.tariffs[record.mrid].prices
    counts: Counter[str] = Counter()
    for price in prices:
        one = _price(record.party, record.mrid, price)
        before = kept.get(one.mrid)
        if one != before:
            taken.put.append(one)
            was_valid = before is None or holds(before)
            counts["withdrawn" if was_valid and not holds(one) else "added" if before is None else "changed"] += 1
    listed = {price.mrid for price in prices}
    unlisted = [one for mrid, one in kept.items() if mrid not in listed]
    if seen.is_whole:
        gone = [one for one in unlisted if ends(one) > now]
        taken.delete += gone
        counts["gone"] = len(gone)
    past = sorted((one for one in unlisted if ends(one) <= now), key=lambda one: (one.start, one.mrid))
    taken.delete += past[: max(0, len(past) - MOST_PAST)]
    return {name: count for name, count in counts.items() if count}


def _price(party: PartyId, tariff: Mrid, price: Price) -> PriceRecord:
    return PriceRecord(
        party=party,
        tariff=tariff,
        mrid=price.mrid,
        start=price.start,
        duration_s=price.duration_s,
        price=price.price,
        created_at=price.created_at,
        status=price.status,
        status_at=price.status_at,
        tou_tier=price.tou_tier,
    )


def _drop(taken: Taken, known: TariffRecord, kept: Mapping[Mrid, PriceRecord]) -> None:
    taken.delete += [*kept.values(), known]
    detail = {"channel": known.followed_from, "description": known.description, "prices": len(kept)}
    taken.told.append(Told(what=f"tariff {known.mrid}", outcome="gone", detail=detail))


class FollowedPrices:
    """The tariffs of a node that serves nobody: kept to be looked at."""

    def __init__(self, store: Store, party: PartyId, clock: Clock) -> None:
        """Take up what was known last.

        Raises: LinkError when the store cannot be read.
        """
        self._store = store
        self._party = party
        self._clock = clock
        self._refused: dict[ChannelId, dict[str, str]] = {}
        self._tariffs = {record.mrid: record for record in store.load(TariffRecord)}
        self._prices: Prices = defaultdict(dict)
        for record in store.load(PriceRecord):
            self._prices[record.tariff][record.mrid] = record

    def tariffs(self) -> list[TariffRecord]:
        """List tariffs, the strongest first."""
        return sorted(self._tariffs.values(), key=lambda record: (record.primacy, record.created_at, record.mrid))

    def prices(self, tariff: Mrid, since: datetime) -> list[PriceRecord]:
        """List the prices of a tariff that hold at or after a time, in order; those withdrawn or replaced are left out."""
        known = [one for one in self._prices.get(tariff, {}).values() if holds(one) and ends(one) > since]
        return sorted(known, key=lambda one: (one.start, one.created_at))

    async def take(self, seen: TariffsSeen) -> list[Told]:
        """Keep what was seen; gives what is new of it.

        Raises: LinkError when the store refuses; nothing changed then.
        """
        channel = seen.channel
        if channel not in self._refused:
            self._refused[channel] = refusals(self._store, channel)
        taken = compared(self._party, seen, self._tariffs, self._prices, {}, self._clock.now())
        taken.refuse_anew(self._party, channel, self._refused[channel])
        await self._commit(taken)
        self._refused[channel] = taken.refused
        return taken.told

    async def keep_only(self, channels: Collection[ChannelId]) -> list[Told]:
        """Let go of what was followed from other channels.

        Raises: LinkError when the store refuses; nothing changed then.
        """
        taken = unfollowed(channels, self._tariffs, self._prices)
        await self._commit(taken)
        return taken.told

    async def forget(self, before: datetime) -> None:
        """Drop prices that were over before a time.

        Raises: LinkError when the store refuses; nothing changed then.
        """
        old = [one for kept in self._prices.values() for one in kept.values() if ends(one) < before]
        await self._commit(Taken(delete=[*old]))

    async def _commit(self, taken: Taken) -> None:
        if not taken.put and not taken.delete:
            return
        await self._store.commit(taken.put, taken.delete)
        for record in taken.put:
            if isinstance(record, TariffRecord):
                self._tariffs[record.mrid] = record
            elif isinstance(record, PriceRecord):
                self._prices[record.tariff][record.mrid] = record
        for record in taken.delete:
            if isinstance(record, TariffRecord):
                self._tariffs.pop(record.mrid, None)
                self._prices.pop(record.mrid, None)
            elif isinstance(record, PriceRecord):
                self._prices[record.tariff].pop(record.mrid, None)
