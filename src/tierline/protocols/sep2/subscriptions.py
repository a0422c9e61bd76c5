"""What a client is told of by its server: which subscriptions it has made, when they want renewing, and which it can trust.

Whatever is not subscribed to, for whatever reason, is polled; so nothing here ever fails its caller.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from tierline.model.errors import LinkError, PeerError
from tierline.model.records import KnownRecord
from tierline.protocols.sep2.follow.fleet import Failed, attempt
from tierline.protocols.sep2.follow.subscribe import subscribe, unsubscribe

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tierline.ports import Clock, Store
    from tierline.protocols.sep2.courier import Carrier
    from tierline.protocols.sep2.follow.walk import Entry

log = structlog.get_logger(__name__)

RENEW_AFTER = timedelta(hours=24)
"""Source: CSIP 2.1 P52."""

TRUST_FOR = timedelta(hours=26)
"""How long a subscription is relied upon that could not be renewed."""

REST_FIRST = timedelta(minutes=5)
"""After the second time in a row that a server ends a subscription without a reason; doubled each time, up to a day.

After the first it is made again at once: the server may only have been restarted.
"""

_CHUNK = 200
"""Subscriptions made between two writings to the store."""


@dataclass(frozen=True, slots=True)
class _Made:
    location: str
    uri: str
    """Where its notices go."""
    renewed_at: datetime | None
    """None when it is known to be over."""


@dataclass(frozen=True, slots=True)
class _Rest:
    """A subscription that the server ended without a reason."""

    times: int
    """In a row."""
    until: datetime
    """When it is asked for again."""


class Subscriptions:
    """The subscriptions at one server."""

    def __init__(
        self, *, carrier: Carrier, clock: Clock, store: Store, entry: Entry, uri: str | None, at_once: int
    ) -> None:
        """Remember what was made before a restart; without a `uri` nothing is wanted any more."""
        self._carrier = carrier
        self._clock = clock
        self._store = store
        self._party = entry.party
        self._uri = uri
        self._at_once = at_once
        self._prefix = f"subscription/{entry.channel}/{entry.server}"
        self._made = {
            record.name.removeprefix(self._prefix): _read(record.value)
            for record in store.each(KnownRecord, prefix=f"{self._prefix}/")
        }
        self._ended: set[str] = set()
        """What is over and not written down as such."""
        self._resting: dict[str, _Rest] = {}
        self._under_way: dict[str, bool | None] = {}
        """What is being asked for; where it is over already, whether without a reason."""
        self._refused: dict[str, datetime] = {}
        self._refused_all: datetime | None = None

    def trusted(self) -> frozenset[str]:
        """Give the paths of all resources of whose changes the server tells us."""
        now = self._clock.now()
        return frozenset(
            path
            for path, made in self._made.items()
            if made.uri == self._uri and made.renewed_at is not None and now - made.renewed_at < TRUST_FOR
        )

    def end(self, path: str, *, without_reason: bool = False) -> None:
        """Take note that the server tells no more of a resource; it is asked again, less and less often where it gave no reason."""
        if path in self._under_way:
            self._under_way[path] = without_reason  # the answer that it was made may come later than its end
            return
        made = self._made.get(path)
        if made is None or made.renewed_at is None:
            return
        self._made[path] = replace(made, renewed_at=None)
        self._ended.add(path)
        if without_reason:
            self._rest(path)

    def _rest(self, path: str) -> None:
        now = self._clock.now()
        before = self._resting.get(path)
        times = 1 if before is None or now - before.until >= RENEW_AFTER else before.times + 1
        wait = timedelta() if times == 1 else min(RENEW_AFTER, REST_FIRST * 2 ** min(times - 2, 16))
        self._resting[path] = _Rest(times, now + wait)
        if wait:
            log.warning("subscription_ended_again", resource=path, times=times, again_in_s=int(wait.total_seconds()))

    async def keep(self, list_href: str | None, wanted: Collection[str], is_interrupted: Callable[[], bool]) -> None:
        """Make what is wanted and missing, renew what is old, drop what is not wanted; what was not done is due next time.

        Raises: LinkError when the store refuses.
        """
        paths = frozenset(wanted) if self._uri is not None and list_href is not None else frozenset[str]()
        self._refused = {path: when for path, when in self._refused.items() if path in paths}
        self._resting = {path: rest for path, rest in self._resting.items() if path in paths}
        await self._write_down_ends()
        due = [path for path in wanted if path in paths and self._is_due(path)]
        gone = [path for path in self._made if path not in paths]
        try:
            for start in range(0, len(gone), _CHUNK):
                if is_interrupted():
                    return
                await self._drop(gone[start : start + _CHUNK])
            for start in range(0, len(due), _CHUNK):
                if is_interrupted() or self._is_all_refused():
                    return
                await self._make(list_href or "", due[start : start + _CHUNK])
        except (LinkError, PeerError) as error:
            log.warning("subscribing_failed", why=str(error))

    async def _write_down_ends(self) -> None:
        """Have a restart know what is over, even where it is not made again at once."""
        ended = [path for path in self._ended if path in self._made]
        if ended:
            await self._store.commit([self._record(path, self._made[path]) for path in ended])
        self._ended.difference_update(ended)

    def _is_due(self, path: str) -> bool:
        now = self._clock.now()
        rest = self._resting.get(path)
        if rest is not None and timedelta() < rest.until - now <= RENEW_AFTER:
            return False
        refused_at = self._refused.get(path)
        if refused_at is not None and now - refused_at < RENEW_AFTER:
            return False
        made = self._made.get(path)
        if made is None or made.renewed_at is None or made.uri != self._uri:
            return True
        return not timedelta() <= now - made.renewed_at < RENEW_AFTER

    def _is_all_refused(self) -> bool:
        return self._refused_all is not None and self._clock.now() - self._refused_all < RENEW_AFTER

    async def _make(self, list_href: str, paths: list[str]) -> None:
        made: dict[str, _Made] = {}
        refused: dict[str, str] = {}
        now = self._clock.now()
        uri = self._uri or ""

        def take(path: str, found: str | Failed) -> None:
            if not isinstance(found, Failed):
                made[path] = _Made(found, uri, now)
            elif not isinstance(found.reason, LinkError):
                refused[path] = str(found.reason)

        steps = ((path, attempt(subscribe(list_href, path, uri))) for path in paths)
        self._under_way = dict.fromkeys(paths)
        try:
            await self._carrier.carry_all(steps, take, self._at_once)
        finally:
            try:
                await self._take_over(made, refused, now)
            finally:
                over, self._under_way = self._under_way, {}
                for path, without_reason in over.items():
                    if without_reason is not None:
                        self.end(path, without_reason=without_reason)
        if refused:
            log.warning("subscription_refused", n=len(refused), why=next(iter(refused.values())))
            if len(refused) == _CHUNK:
                self._refused_all = now

    async def _take_over(self, made: dict[str, _Made], refused: Collection[str], now: datetime) -> None:
        ended = [path for path in refused if path in self._made]
        if made or ended:
            await self._store.commit(
                [self._record(path, one) for path, one in made.items()],
                [self._record(path, self._made[path]) for path in ended],
            )
        self._made |= made
        for path in ended:
            del self._made[path]
        self._refused |= dict.fromkeys(refused, now)

    async def _drop(self, paths: list[str]) -> None:
        dropped: list[str] = []

        def take(path: str, found: Failed | None) -> None:
            # What the server refuses to drop it will drop itself, as nobody renews it.
            if found is None or not isinstance(found.reason, LinkError):
                dropped.append(path)

        steps = ((path, attempt(unsubscribe(self._made[path].location))) for path in paths)
        try:
            await self._carrier.carry_all(steps, take, self._at_once)
        finally:
            if dropped:
                await self._store.commit(delete=[self._record(path, self._made[path]) for path in dropped])
            for path in dropped:
                del self._made[path]

    def _record(self, path: str, made: _Made) -> KnownRecord:
        when = None if made.renewed_at is None else made.renewed_at.isoformat()
        return KnownRecord(
            party=self._party, name=f"{self._prefix}{path}", value=json.dumps([made.location, made.uri, when])
        )


def _read(value: str) -> _Made:
    location, uri, when = json.loads(value)
    return _Made(location, uri, None if when is None else datetime.fromisoformat(when))
