"""Following prices: of each channel whose tariffs are followed, a task beside the walk of its programs.

What is read is kept by whoever serves, and so handed on, or by the node for itself. Nothing here is read by what obeys.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import structlog

from tierline.engine.price_status import ends
from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.model.prices import TariffsSeen
from tierline.model.records import KnownRecord
from tierline.node.reporting import next_phase
from tierline.node.supervise import supervise
from tierline.node.waiting import within
from tierline.operations.relay.prices import HandedOnPrices, Shown, keep_only
from tierline.operations.serving.prices import in_currency

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import datetime

    from tierline.model.identity import ChannelId, Lfdi, Mrid
    from tierline.model.parties import Principal
    from tierline.model.prices import Price, Tariff
    from tierline.model.records import Record
    from tierline.operations.following.prices import FollowedPrices, Told
    from tierline.operations.relay.relayed import Relayed
    from tierline.operations.serving.state import Serving
    from tierline.ports import Clock, Random

log = structlog.get_logger(__name__)

_DAY_S = 86_400


class Source(Protocol):
    """One server, as `protocols.sep2.tariffs` reads it."""

    woken: asyncio.Event
    """Set when there is news."""
    poll_s: int | None
    """How long the server wants us to wait between readings; None while it lists no tariffs."""

    @property
    def is_offered(self) -> bool:
        """Whether it is known where to read."""
        ...

    async def read(self, trusted: Collection[str] = ()) -> TariffsSeen:
        """Read all tariffs.

        Raises: LinkError, PeerError, Forbidden.
        """
        ...


class Keeper(Protocol):
    """What keeps the tariffs of a channel."""

    async def take(self, seen: TariffsSeen) -> list[Told]:
        """Keep what was seen.

        Raises: LinkError when the store refuses.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceChannel:
    """One channel whose prices are followed."""

    channel: ChannelId
    sources: Sequence[Source]
    """Its servers; all are read, and what any of them shows is kept."""
    keeper: Keeper
    trusted: Callable[[], Collection[str]] = frozenset
    """Gives what a server tells of by itself."""
    poll_override_s: int | None = None
    phase_s: float = 0.0


class Pricing:
    """The prices that a node follows, over all its channels."""

    def __init__(self, *, clock: Clock, random: Random, followed: FollowedPrices | None) -> None:
        """Prepare; `followed` keeps what a node without a serving half follows."""
        self._clock = clock
        self._random = random
        self.serving: Serving | None = None
        """What keeps and hands on what is followed; None in a node that serves nobody."""
        self._channels: dict[ChannelId, _Following] = {}
        self._shown = Shown()
        self.followed = followed

    def add(self, channel: PriceChannel) -> None:
        """Follow the prices of a channel."""
        self._channels[channel.channel] = _Following(channel, self._clock)

    def keeper(
        self, principal: Principal, channel: ChannelId, *, relayed: Relayed | None = None, fleet: str | None = None
    ) -> Keeper:
        """Make what keeps the tariffs of a channel; news of for whom this node stands are news for it.

        Raises: LinkError when the store cannot be read.
        """
        if self.followed is not None:
            return self.followed
        if self.serving is None:
            raise AssertionError("a node keeps what it follows with its serving half, or by itself")
        if relayed is not None:
            self.serving.observers.append(self._observer(channel))
        return HandedOnPrices(principal, self.serving, channel, relayed=relayed, shown=self._shown, fleet=fleet)

    def told(self) -> list[dict[str, object]]:
        """Give the tariffs that a node keeps for itself, each with its prices that hold now or later."""
        if self.followed is None:
            return []
        now = self._clock.now()
        return [
            {
                "mrid": tariff.mrid,
                "description": tariff.description,
                "followed_from": tariff.followed_from,
                "currency": tariff.currency,
                "flow": tariff.flow.name.lower(),
                "prices": [
                    {
                        "mrid": price.mrid,
                        "start": price.start,
                        "end": ends(price),
                        "duration_s": price.duration_s,
                        "price": in_currency(tariff, price),
                        "created_at": price.created_at,
                    }
                    for price in self.followed.prices(tariff.mrid, now)
                ],
            }
            for tariff in self.followed.tariffs()
        ]

    def _observer(self, channel: ChannelId) -> Callable[[Sequence[Record], Sequence[Record]], None]:
        begin = f"member/{channel}/", f"elsewhere/{channel}/"

        def observe(put: Sequence[Record], delete: Sequence[Record]) -> None:
            following = self._channels.get(channel)
            if following is not None and any(
                isinstance(record, KnownRecord) and record.name.startswith(begin) for record in (*put, *delete)
            ):
                following.woken.set()

        return observe

    async def run(self, me: Principal) -> None:
        """Follow until cancelled, and let go of what was followed from channels that no longer are."""

        async def settle() -> None:
            if self.followed is not None:
                _say(await self.followed.keep_only(self._channels.keys()))
            if self.serving is not None:
                _say(await keep_only(me, self.serving, self._channels.keys()))
            async with asyncio.TaskGroup() as group:
                for following in self._channels.values():
                    group.create_task(
                        supervise(
                            "prices", following.follow, self._clock, self._random, channel=following.channel.channel
                        )
                    )
            await asyncio.Event().wait()  # a node that follows no prices has nothing more to do

        await supervise("prices_kept", settle, self._clock, self._random)


def price_phase_s(lfdi: Lfdi) -> float:
    """Give where in its polling interval a node reads prices, so that many do not come at once; the same after a restart."""
    return float(int(lfdi, 16) % _DAY_S)


class _Following:
    """One channel while it runs."""

    def __init__(self, channel: PriceChannel, clock: Clock) -> None:
        self.channel = channel
        self.woken = asyncio.Event()
        self._clock = clock
        self._due: datetime | None = None
        """When to read again; None while no server lists tariffs: then what the walk finds wakes us."""
        for source in channel.sources:
            if source.woken.is_set():
                self.woken.set()
            source.woken = self.woken

    async def follow(self) -> None:
        """Read at the pace the servers want, and whenever there is news."""
        while True:
            await within(self._clock, self._due, self.woken.wait())
            self.woken.clear()
            is_done = False
            try:
                await self._read()
                is_done = True
            finally:
                if not is_done:
                    self.woken.set()
            self._due = self._next()

    def _next(self) -> datetime | None:
        polls = [source.poll_s for source in self.channel.sources if source.poll_s is not None]
        if not polls:
            return None
        poll_s = float(self.channel.poll_override_s or min(polls))
        return next_phase(self._clock.now(), poll_s, self.channel.phase_s)

    async def _read(self) -> None:
        """Read every server; what one of them does not tell is no reason to forget what it told.

        Raises: LinkError, PeerError, Forbidden of one of them, once what the others say is kept.
        """
        seen: list[TariffsSeen] = []
        failures: list[LinkError | PeerError | Forbidden] = []
        trusted = self.channel.trusted()
        for source in self.channel.sources:
            if source.is_offered:
                try:
                    seen.append(await source.read(trusted))
                except (LinkError, PeerError, Forbidden) as error:
                    failures.append(error)
        if seen:
            is_whole = len(seen) == len(self.channel.sources)
            _say(await self.channel.keeper.take(_together(seen, is_whole=is_whole)))
        if failures:
            raise failures[0]


def _say(told: Iterable[Told]) -> None:
    for one in told:
        say = log.warning if one.outcome == "refused" else log.info
        say(f"tariff_{one.outcome}", what=one.what, **one.detail)


def _together(seen: Sequence[TariffsSeen], *, is_whole: bool) -> TariffsSeen:
    """Put together what the servers of one channel show."""
    tariffs: dict[Mrid, Tariff] = {}
    shown: dict[Mrid, frozenset[Lfdi]] = {}
    refused: dict[str, str] = {}
    unread: frozenset[Mrid] = frozenset()
    for one in seen:
        for mrid, tariff in one.tariffs.items():
            known = tariffs.get(mrid)
            tariffs[mrid] = tariff if known is None else replace(known, prices=_union(known.prices, tariff.prices))
            shown[mrid] = shown.get(mrid, frozenset()) | one.shown_to.get(mrid, frozenset())
        unread |= one.unread
        refused.update(one.refused)
    return TariffsSeen(
        channel=seen[0].channel,
        tariffs=tariffs,
        shown_to=shown,
        unread=unread,
        refused=refused,
        is_whole=is_whole and unread.isdisjoint(tariffs),
    )


def _union(some: Iterable[Price], others: Iterable[Price]) -> tuple[Price, ...]:
    """Put prices together; a status only ever goes up, so of two the higher is the newer."""
    found = {price.mrid: price for price in some}
    for price in others:
        known = found.get(price.mrid)
        if known is None or known.status < price.status:
            found[price.mrid] = price
    return tuple(found.values())
