"""The tariffs that one server shows, read apart from its programs and at a pace of their own.

The walk of programs says where they are listed (`offer`); from then on the lists are read at their pollRate, and at once when a
notice names them. Intervals do not change in IEEE 2030.5 but for their status, so what they cost is read once, and again
once an hour in case that a server does not keep to it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from tierline.model.errors import PeerError
from tierline.model.prices import TariffsSeen
from tierline.protocols.sep2.client import same_origin
from tierline.protocols.sep2.follow.fleet import Failed, attempt
from tierline.protocols.sep2.follow.prices import MOST_TARIFFS, read_prices, read_tariff_list
from tierline.protocols.sep2.follow.walk import DEFAULT_POLL_S, FASTEST_POLL_S

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from tierline.model.identity import Lfdi, Mrid
    from tierline.model.prices import Tariff
    from tierline.ports import Clock
    from tierline.protocols.sep2.courier import Carrier
    from tierline.protocols.sep2.follow.fleet import Watched
    from tierline.protocols.sep2.follow.prices import Known, TariffList, TariffRead
    from tierline.protocols.sep2.follow.walk import Entry
    from tierline.protocols.sep2.resources.pricing import TariffProfile

log = structlog.get_logger(__name__)

ANEW_AFTER = timedelta(hours=1)
"""After which nothing is taken from memory: a notice may have been lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Where a server lists tariffs, as the walk of its programs found it."""

    everybody: str | None = None
    """The list of DeviceCapability."""
    assigned: Mapping[str, frozenset[Lfdi]] = field(default_factory=dict)
    """Those of function set assignments, and whose these are; of nobody by name where this node stands for itself."""
    members: frozenset[Lfdi] = frozenset()
    """All for whom this node stands."""
    offset_s: float = 0.0
    """The server's clock minus ours."""


@dataclass(slots=True)
class _Found:
    """What one reading found so far."""

    lists: dict[str, TariffList] = field(default_factory=dict)
    profiles: dict[Mrid, TariffProfile] = field(default_factory=dict)
    reads: dict[Mrid, TariffRead] = field(default_factory=dict)
    unread: set[Mrid] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)


class Sep2Tariffs:
    """The tariffs of one server."""

    def __init__(self, carrier: Carrier, entry: Entry, clock: Clock) -> None:
        self._carrier = carrier
        self._entry = entry
        self._clock = clock
        self._offer: Offer | None = None
        self._known: dict[Mrid, Known] = {}
        self._paths: dict[str, bool] = {}
        """What was read, and whether the server offers to tell of its changes."""
        self._last: TariffsSeen | None = None
        self._read_anew_at: datetime | None = None
        self._is_stale = True
        self._trusted: frozenset[str] = frozenset()
        """What the server told of when it was read last."""
        self.woken = asyncio.Event()
        """Set when there is news, so that the next reading does not wait."""
        self.poll_s: int | None = None
        """How long the server wants us to wait between readings, as of the last one; None while it lists no tariffs."""

    @property
    def is_offered(self) -> bool:
        """Tell whether the server was walked, so that it is known where to read."""
        return self._offer is not None

    def offer(self, offer: Offer) -> None:
        """Take over where tariffs are listed; other places, or other members, are news."""
        known, self._offer = self._offer, offer
        if known is None or _places(known) != _places(offer):
            self._is_stale = True
            self.woken.set()

    def hear(self, path: str) -> None:
        """Take note of a notice, where it is of what is read here."""
        if path in self._paths:
            self._is_stale = True
            self.woken.set()

    def subscribable(self) -> list[str]:
        """Give the paths of whose changes the server offers to tell."""
        return [path for path, says in self._paths.items() if says]

    async def read(self, trusted: Collection[str] = ()) -> TariffsSeen:
        """Read all tariffs; what the server tells of (`trusted`) and has told nothing of is as it was.

        Raises: LinkError, PeerError, Forbidden.
        """
        offer = self._offer
        if offer is None:
            raise PeerError("the server was not walked yet")
        now = self._clock.now()
        is_anew = self._read_anew_at is None or not timedelta() <= now - self._read_anew_at < ANEW_AFTER
        # What was not told of when it was read last may have changed before it was.
        told = frozenset(trusted) & self._trusted
        if self._last is not None and not is_anew and not self._is_stale and told.issuperset(self._paths):
            return self._last
        # Whatever is heard while it is read is news for the next time.
        self._is_stale, is_done = False, False
        try:
            found = await self._read_all(offer, {} if is_anew else self._known, now)
            is_done = True
        finally:
            self._is_stale |= not is_done
        self._take(found)
        self._trusted = frozenset(trusted)
        self._read_anew_at = now if is_anew else self._read_anew_at
        self._last = self._assembled(offer, found)
        return self._last

    async def _read_all(self, offer: Offer, known: Mapping[Mrid, Known], now: datetime) -> _Found:
        found = _Found()
        for href in dict.fromkeys([*offer.assigned, *([offer.everybody] if offer.everybody is not None else [])]):
            listed = found.lists[href] = await self._carrier.carry(read_tariff_list(self._entry, href))
            for profile in listed.tariffs:
                # A tariff reached by two lists is one tariff.
                found.profiles.setdefault(profile.mrid, profile)
        if len(found.profiles) > MOST_TARIFFS:
            raise PeerError(
                f"{self._entry.server} lists {len(found.profiles)} tariffs, at most {MOST_TARIFFS} are followed"
            )
        time = int(now.timestamp() + offer.offset_s)
        for mrid, profile in found.profiles.items():
            steps = attempt(read_prices(self._entry, profile, known.get(mrid), time))
            one = await self._carrier.carry(steps, one_of_many=True)
            if isinstance(one, Failed):
                log.warning("tariff_unreadable", channel=self._entry.channel, mrid=mrid, why=str(one.reason))
                found.unread.add(mrid)
            else:
                found.reads[mrid] = one
                found.refused.update(one.refused)
        return found

    def _take(self, found: _Found) -> None:
        """Remember what need not be asked for again, and what the server offers to tell of."""
        polls = [one.poll_s for one in found.lists.values() if one.poll_s is not None]
        self.poll_s = max(FASTEST_POLL_S, min(polls, default=DEFAULT_POLL_S)) if found.lists else None
        self._known = {
            **{mrid: self._known[mrid] for mrid in found.unread if mrid in self._known},
            **{mrid: one.known for mrid, one in found.reads.items()},
        }
        watched: list[Watched] = [one.watched for one in found.lists.values()]
        for one in found.reads.values():
            watched += one.watched
        kept = {path for mrid, one in self._known.items() if mrid in found.unread for path in self._paths_of(one)}
        self._paths = {path: says for path, says in self._paths.items() if path in kept}
        self._paths |= {one.path: one.subscribable for one in watched}
        if found.unread:
            # Nothing will tell of what was not read.
            self._is_stale = True

    def _paths_of(self, known: Known) -> list[str]:
        return [same_origin(known.intervals, self._entry.server)] if known.intervals else []

    def _assembled(self, offer: Offer, found: _Found) -> TariffsSeen:
        tariffs: dict[Mrid, Tariff] = {mrid: one.tariff for mrid, one in found.reads.items() if one.tariff is not None}
        return TariffsSeen(
            channel=self._entry.channel,
            tariffs=tariffs,
            shown_to=_shown_to(offer, found.lists),
            unread=frozenset(found.unread),
            refused=found.refused,
        )


def _places(offer: Offer) -> tuple[object, ...]:
    return offer.everybody, dict(offer.assigned), offer.members


def _shown_to(offer: Offer, lists: Mapping[str, TariffList]) -> dict[Mrid, frozenset[Lfdi]]:
    """Say whom each tariff concerns: who is assigned to it; where nobody is, everybody.

    What DeviceCapability lists is for whoever has no assignments of it: one that some are assigned to is theirs alone.
    """
    shown: dict[Mrid, frozenset[Lfdi]] = {}
    for href, members in offer.assigned.items():
        for profile in lists[href].tariffs:
            shown[profile.mrid] = shown.get(profile.mrid, frozenset()) | members
    if offer.everybody is not None:
        for profile in lists[offer.everybody].tariffs:
            shown.setdefault(profile.mrid, offer.members)
    return shown
