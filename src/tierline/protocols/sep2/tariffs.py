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
from tierline.protocols.sep2.follow.fleet import Failed, attempt
from tierline.protocols.sep2.follow.prices import MOST_TARIFFS, read_prices, read_tariff_list
from tierline.protocols.sep2.follow.walk import DEFAULT_POLL_S, FASTEST_POLL_S
from tierline.protocols.sep2.mapping.tariffs import received_mrid

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from tierline.model.identity import Lfdi, Mrid
    from tierline.ports import Clock
    from tierline.protocols.sep2.courier import Carrier
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


class Sep2Tariffs:
    """The tariffs of one server."""

    def __init__(self, carrier: Carrier, entry: Entry, clock: Clock, at_once: int = 1) -> None:
        """Prepare; `at_once` is how many requests may be under way at the same time."""
        self._carrier = carrier
        self._entry = entry
        self._clock = clock
        self._at_once = at_once
        self._offer: Offer | None = None
        self._lists: dict[str, TariffList] = {}
        self._reads: dict[Mrid, TariffRead] = {}
        """Each tariff as it was read last."""
        self._unread: set[Mrid] = set()
        """Those that were not shown as they should be when they were to be read last."""
        self._heard: set[str] = set()
        self._told: set[str] = set()
        """What the server told of already when it was read last: what is not heard of is as it was."""
        self._anew_at: datetime | None = None
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
            self.woken.set()

    def hear(self, path: str) -> None:
        """Take note of a notice, where it is of what is read here."""
        if path in self._paths():
            self._heard.add(path)
            self.woken.set()

    def subscribable(self) -> list[str]:
        """Give the paths of whose changes the server offers to tell."""
        return [path for path, says in self._paths().items() if says]

    async def read(self, trusted: Collection[str] = ()) -> TariffsSeen:
        """Read all tariffs; what the server tells of (`trusted`) and has told nothing of is as it was.

        Raises: LinkError, PeerError, Forbidden.
        """
        offer = self._offer
        if offer is None:
            raise PeerError("the server was not walked yet")
        now = self._clock.now()
        is_anew = self._anew_at is None or not timedelta() <= now - self._anew_at < ANEW_AFTER
        # Whatever is heard while it is read is news for the next time.
        heard, self._heard = self._heard, set()
        fresh = set() if is_anew else (self._told & set(trusted)) - heard
        self._told &= fresh
        await self._read_lists(offer, fresh)
        profiles = self._profiles()
        time = int(now.timestamp() + offer.offset_s)
        await self._read_tariffs(profiles, fresh, time, is_anew=is_anew)
        failed = [one for mrid in self._unread if (one := self._reads.get(mrid)) is not None]
        untold = {watched.path for one in failed for watched in one.watched}
        self._told = (set(trusted) & self._paths().keys()) - untold
        self._anew_at = now if is_anew else self._anew_at
        polls = [one.poll_s for one in self._lists.values() if one.poll_s is not None]
        self.poll_s = max(FASTEST_POLL_S, min(polls, default=DEFAULT_POLL_S)) if self._lists else None
        return self._assembled(offer)

    async def _read_lists(self, offer: Offer, fresh: AbstractSet[str]) -> None:
        """Read the lists that may have changed, and forget those that are not offered any more."""
        hrefs = dict.fromkeys([*offer.assigned, *([offer.everybody] if offer.everybody is not None else [])])
        self._lists = {href: self._lists[href] for href in hrefs if href in self._lists}

        def take(href: str, found: TariffList) -> None:
            self._lists[href] = found

        stale = [href for href in hrefs if href not in self._lists or self._lists[href].watched.path not in fresh]
        works = ((href, read_tariff_list(self._entry, href)) for href in stale)
        await self._carrier.carry_all(works, take, self._at_once)

    def _profiles(self) -> dict[Mrid, TariffProfile]:
        found: dict[Mrid, TariffProfile] = {}
        for listed in self._lists.values():
            for profile in listed.tariffs:
                # A tariff reached by two lists is one tariff.
                found.setdefault(profile.mrid, profile)
        if len(found) > MOST_TARIFFS:
            raise PeerError(f"{self._entry.server} lists {len(found)} tariffs, at most {MOST_TARIFFS} are followed")
        return found

    async def _read_tariffs(
        self, profiles: Mapping[Mrid, TariffProfile], fresh: AbstractSet[str], time: int, *, is_anew: bool
    ) -> None:
        """Read the tariffs that may have changed, and forget those that are not listed any more."""
        self._reads = {mrid: one for mrid, one in self._reads.items() if mrid in profiles}
        self._unread &= profiles.keys()

        def is_fresh(mrid: Mrid) -> bool:
            known = self._reads.get(mrid)
            return (
                known is not None
                and mrid not in self._unread
                and known.known.profile == profiles[mrid]
                and all(one.path in fresh for one in known.watched)
                and not is_anew
            )

        def take(mrid: Mrid, found: TariffRead | Failed) -> None:
            if isinstance(found, Failed):
                log.warning("tariff_unreadable", channel=self._entry.channel, mrid=mrid, why=str(found.reason))
                self._unread.add(mrid)
            else:
                self._reads[mrid] = found
                self._unread.discard(mrid)

        works = (
            (mrid, attempt(read_prices(self._entry, profiles[mrid], None if is_anew else self._known(mrid), time)))
            for mrid in profiles
            if not is_fresh(mrid)
        )
        await self._carrier.carry_all(works, take, self._at_once)

    def _known(self, mrid: Mrid) -> Known | None:
        one = self._reads.get(mrid)
        return None if one is None else one.known

    def _paths(self) -> dict[str, bool]:
        """Give what is read, and whether the server offers to tell of its changes."""
        watched = [one.watched for one in self._lists.values()]
        for one in self._reads.values():
            watched += one.watched
        return {one.path: one.subscribable for one in watched}

    def _assembled(self, offer: Offer) -> TariffsSeen:
        read = {mrid: one for mrid, one in self._reads.items() if mrid not in self._unread}
        refused: dict[str, str] = {}
        for one in read.values():
            refused.update(one.refused)
        tariffs = {tariff.mrid: tariff for one in read.values() for tariff in one.tariffs}
        unread = frozenset(name for mrid in self._unread for name in _names(mrid))
        shown = {name: lfdis for mrid, lfdis in _shown_to(offer, self._lists).items() for name in _names(mrid)}
        return TariffsSeen(
            channel=self._entry.channel,
            tariffs=tariffs,
            shown_to={name: lfdis for name, lfdis in shown.items() if name in tariffs or name in unread},
            unread=unread,
            refused=refused,
        )


def _names(profile: Mrid) -> tuple[Mrid, Mrid]:
    """Give the names under which a TariffProfile is kept here: for one flow, and for the other where it prices both."""
    return profile, received_mrid(profile)


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
