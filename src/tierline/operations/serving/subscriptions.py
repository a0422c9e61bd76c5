"""Who wants to be told of which change, and which changes concern whom.

Three rules. A notice is written in the transaction of the change it tells of, so none is lost between the two. A change
costs what it touches: subscriptions are found by what they watch, never by going through all of them. Wishes that wait at
the same time become durable in one transaction, each with its own link of the audit: who stands for many has many.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from tierline.engine.access import Verb
from tierline.model.errors import Conflict, Forbidden, LinkError, PeerError, TierlineError, Unsupported
from tierline.model.identity import der_id
from tierline.model.records import (
    ControlRecord,
    KnownRecord,
    NoticeRecord,
    NoticeStatus,
    PriceRecord,
    SubscriptionRecord,
)
from tierline.operations.serving.access import require, require_der
from tierline.operations.serving.audit import entry
from tierline.operations.serving.boundaries import Boundaries
from tierline.operations.serving.watching import (
    ACTIVE_BY_TIME,
    BY_TIME,
    LISTED_BY_TIME,
    OF_SERIES,
    Watch,
    Watched,
    Watching,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from tierline.model.identity import DerId, GroupId, Mrid
    from tierline.model.parties import Principal
    from tierline.model.records import AuditRecord, EndDeviceRecord, Record
    from tierline.operations.serving.destinations import Destinations
    from tierline.operations.serving.state import Serving

Locate = Callable[[str], "Watch | None"]
"""Says what a path names, None when it names nothing that can be subscribed to."""

KEPT_FOR: Final = timedelta(hours=36)
"""After that long without renewal a subscription is dropped; clients renew every 24 h (CSIP 2.1 P52)."""

PER_DER: Final = 64
"""How many one EndDevice may hold: itself, its lists, and three for each of 15 programs (CSIP 2.1 P24) with room to spare.

One that stands for others may hold as many again for each of them.
"""

_LEVELS: Final = frozenset({"+S1", "-S1"})
"""Schema 1 with or without extensions: notices hold none, so both are served. Source: IEEE 2030.5-2018 5.4."""
_EXI: Final = 1
_LIMIT_MOST: Final = 2**32 - 1
_TOGETHER: Final = 256
"""Wishes granted in one transaction at most: a handful of milliseconds in which nothing else happens."""
_INSTANT: Final = timedelta(microseconds=1)
_TOLD_UNTIL: Final = "notices/told_until"
"""Where it is written down up to when has been told what time alone changes."""
_EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


class TooMany(Conflict):
    """An EndDevice holds as many subscriptions as it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a peer asks for."""

    resource: str
    """The path of what it wants to be told of, as it wrote it."""
    notification_uri: str
    encoding: int = 0
    """0 XML, 1 EXI."""
    level: str = "+S1"
    limit: int = 0
    """The most list items per notice; 0 asks for notices without a body."""
    lower: int | None = None
    upper: int | None = None
    """Thresholds: only values below the one or above the other are to be told; None for all."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A wish that waits for its transaction."""

    principal: Principal
    der: DerId
    wish: Wish
    outcome: SubscriptionRecord | TierlineError | None = None
    """None until it is granted or refused."""


@dataclass(slots=True)
class _Grants:
    """What is granted in one transaction."""

    records: dict[_Waiting, SubscriptionRecord] = field(default_factory=dict)
    audit: list[AuditRecord] = field(default_factory=list)
    """One link for each that is new."""
    new_of: Counter[DerId] = field(default_factory=Counter)
    """How many are new."""
    new_ids: set[str] = field(default_factory=set)


class Subscriptions:
    """The subscriptions of a serving node and the notices that follow from its changes."""

    def __init__(self, serving: Serving, allowed: Destinations, locate: Locate) -> None:
        """Watch the changes of a node from now on; `recall` takes over what it keeps."""
        self.news = asyncio.Event()
        """Set whenever there are notices that were not there before; whoever sends them clears it."""
        self.newest: dict[str, NoticeRecord] = {}
        """The last notice that was made for a subscription, whether or not it is durable yet."""
        self._fresh: dict[str, None] = {}
        self._waiting: dict[_Waiting, None] = {}
        self._serving = serving
        self._allowed = allowed
        self._locate = locate
        self._watching = Watching(serving)
        self._boundaries = Boundaries(serving)
        self._told_until: datetime | None = None
        """None before it was read from the store."""
        serving.consequences.append(self.consequence)
        serving.observers.append(self._observe)
        self.recall()

    def recall(self) -> None:
        """Take over all subscriptions that the node keeps, as after a start."""
        self._watching = Watching(self._serving)
        self._boundaries = Boundaries(self._serving)
        for record in sorted(self._serving.subscriptions.values(), key=lambda one: one.created_at):
            self._index(record)
        waiting = sorted(self._serving.notices.values(), key=lambda notice: (notice.next_at, notice.since))
        self._fresh = dict.fromkeys(notice.subscription_id for notice in waiting)
        self.news.set()

    def take_fresh(self) -> list[str]:
        """Give the subscriptions that have a notice since this was asked last, in the order in which they got it."""
        fresh, self._fresh = list(self._fresh), {}
        return fresh

    async def subscribe(self, principal: Principal, der: DerId, wish: Wish) -> SubscriptionRecord:
        """Keep a wish; the same resource and URI again renews what there is: `created_at` is then before `renewed_at`.

        Raises: Forbidden when the principal is not that EndDevice, or the URI leads where notices may not go; PeerError when
        there is no such resource for it, or the URI is none; Unsupported for thresholds where there are no values, EXI and
        other levels; TooMany.
        """
        self._own(principal, der)
        _check(wish)
        destination = self._allowed.judge(wish.notification_uri)
        self._located(der, wish)
        try:
            await self._allowed.addresses(destination)
        except LinkError as error:
            raise PeerError(f"{destination.host} cannot be resolved", path="Subscription/notificationURI") from error
        # A renewal changes nothing for anybody else, so it does not wait for other writers.
        if (known := self._known(der, wish)) is not None:
            record = self._renewed(known, wish)
            await self._serving.commit([record])
            return record
        waiting = _Waiting(principal, der, wish)
        self._waiting[waiting] = None
        try:
            async with self._serving.writing:
                # Whoever is first grants what all the others wait for; they find it done.
                if waiting.outcome is None:
                    await self._grant(waiting)
        finally:
            del self._waiting[waiting]
        if isinstance(waiting.outcome, TierlineError):
            raise waiting.outcome
        assert waiting.outcome is not None  # whoever has no outcome is granted or refused, or has raised
        return waiting.outcome

    async def cancel(self, principal: Principal, subscription_id: str) -> None:
        """End a subscription at the wish of its EndDevice; what it was still to be told goes with it.

        Raises: Forbidden, also when there is no such subscription.
        """
        async with self._serving.writing:
            record = self._serving.subscriptions.get(subscription_id)
            if record is None:
                raise Forbidden(f"{principal.name} has no subscription {subscription_id}")
            self._own(principal, record.der_id)
            await self._end(principal, [record], "unsubscribe", {})

    async def drop(self, principal: Principal, records: Sequence[SubscriptionRecord], why: str) -> None:
        """End subscriptions on this node's own account; those that ended meanwhile are passed over.

        Raises: Forbidden; LinkError when the store refuses.
        """
        require(principal, Verb.CONFIGURE, "subscriptions")
        async with self._serving.writing:
            known = [record for record in records if record.subscription_id in self._serving.subscriptions]
            if known:
                await self._end(principal, known, "drop", {"why": why})

    def of(self, der: DerId) -> list[SubscriptionRecord]:
        """Give the subscriptions that stand under an EndDevice, in the order of their hrefs."""
        own = self._serving.subscriptions_of.get(der, {})
        return [own[key] for key in sorted(own)]

    def expired(self, now: datetime) -> list[SubscriptionRecord]:
        """Give those that were not renewed in time."""
        return [record for record in self._serving.subscriptions.values() if is_expired(record, now)]

    def sees(self, device: EndDeviceRecord, watch: Watch) -> bool:
        """Tell whether an EndDevice may see what is watched: it is its own, or that of one it stands for."""
        serving, party = self._serving, device.aggregates
        match watch.kind:
            case Watched.END_DEVICES:
                return True
            case Watched.TARIFFS if not watch.of:
                return True
            case Watched.PRICES | Watched.ACTIVE_PRICES:
                tariff = serving.tariffs.get(watch.program)
                return tariff is not None and (tariff.group is None or self._is_of(device, tariff.group))
            case Watched.READING | Watched.READINGS:
                mirror = serving.mirrors.get(watch.mup)
                is_there = mirror is not None and mirror.der_id == watch.der
                is_its = watch.der == device.der_id or party in serving.standing.shown_to(watch.der)
                return is_there and is_its
            case Watched.PROGRAMS | Watched.TARIFFS if watch.der != device.der_id:
                return party is not None and party in serving.standing.shown_to(watch.der)
            case Watched.END_DEVICE | Watched.ASSIGNMENTS | Watched.PROGRAMS | Watched.TARIFFS:
                if watch.der == device.der_id:
                    return (
                        party is None or watch.kind is Watched.END_DEVICE
                    )  # who stands for others is assigned nothing
                return party is not None and party in serving.standing.parties(watch.der)
            case _:
                served = serving.programs.get(watch.program)
                return served is not None and self._is_of(device, served.record.group_id)

    def _is_of(self, device: EndDeviceRecord, group: GroupId) -> bool:
        """Tell whether an EndDevice, or one whose assignments it is shown, belongs to a group."""
        party = device.aggregates
        return device.der_id in self._serving.members_of.get(group, ()) or (
            party is not None and self._serving.standing.is_member(party, group)
        )

    def consequence(self, put: Sequence[Record], delete: Sequence[Record]) -> Iterable[NoticeRecord]:
        """Say which subscribers are to be told of a change: one notice each, however much of it there is to tell."""
        now = self._serving.clock.now()
        touched = self._watching.touched(put, delete, now)
        for der in self._watching.leaving(put, delete):
            touched.update(self._serving.subscriptions_of.get(der, ()))
        for subscription_id in sorted(touched):
            record = self._serving.subscriptions.get(subscription_id)
            if record is not None and not is_expired(record, now):
                yield self._notice(record, now)

    @property
    def changes_at(self) -> datetime | None:
        """When time alone changes next what is subscribed to; it may have passed."""
        return self._boundaries.first

    async def tell_what_time_changed(self) -> None:
        """Write notices for what time alone has changed since this was done last, before a restart or after it.

        Raises: LinkError when the store refuses; all of it is still due then.
        """
        now = self._serving.clock.now()
        due = self._boundaries.due(now)
        told = sorted({found for program in due for found in self._touched_by_time(program, now)})
        if told:
            notices = [self._notice(self._serving.subscriptions[subscription_id], now) for subscription_id in told]
            mark = KnownRecord(party=self._serving.party, name=_TOLD_UNTIL, value=now.isoformat())
            await self._serving.commit([*notices, mark])
            self._told_until = now
        for program in due:
            is_watched = any(self._watching.to(Watch(kind, program)) for kind in BY_TIME)
            self._boundaries.passed(program, now, is_watched=is_watched)

    def _touched_by_time(self, program: Mrid, now: datetime) -> Iterable[str]:
        """Find who is to be told of what time changed of a program; who subscribed after it has seen it."""
        changed = self._boundaries.changed(program, now)
        instants = [(kind, changed.listed) for kind in LISTED_BY_TIME]
        for kind, at in [*instants, *((kind, changed.active) for kind in ACTIVE_BY_TIME)]:
            if at is None:
                continue
            for subscription_id in self._watching.to(Watch(kind, program)):
                record = self._serving.subscriptions[subscription_id]
                if record.created_at < at and not is_expired(record, now):
                    yield subscription_id

    def _notice(self, record: SubscriptionRecord, now: datetime) -> NoticeRecord:
        pending = self._serving.notices.get(record.subscription_id)
        # A notice that waits for its next try goes on waiting: news do not make a dead listener live.
        notice = NoticeRecord(
            party=self._serving.party,
            subscription_id=record.subscription_id,
            status=NoticeStatus.CHANGED,
            since=now if pending is None else pending.since,
            attempts=0 if pending is None else pending.attempts,
            next_at=now if pending is None else pending.next_at,
        )
        self.newest[record.subscription_id] = notice
        return notice

    def _observe(self, put: Sequence[Record], delete: Sequence[Record]) -> None:
        first = self.changes_at
        for record in put:
            if isinstance(record, SubscriptionRecord):
                self._index(record)
            elif isinstance(record, NoticeRecord):
                self._fresh[record.subscription_id] = None
                self.news.set()
            elif isinstance(record, ControlRecord | PriceRecord):
                self._boundaries.hasten(record, self._serving.clock.now())
        for record in delete:
            if isinstance(record, SubscriptionRecord):
                self._watching.remove(record.subscription_id)
                self.newest.pop(record.subscription_id, None)
        if self.changes_at != first:
            self.news.set()

    def _index(self, record: SubscriptionRecord) -> None:
        if (watch := self._locate(record.resource)) is None:
            return
        thresholds = None
        if record.lower_threshold is not None and record.upper_threshold is not None:
            thresholds = record.lower_threshold, record.upper_threshold
        self._watching.add(record.subscription_id, record.der_id, watch, thresholds)
        if watch.kind in BY_TIME:
            self._boundaries.follow(watch.program, max(self._known_told_until(), record.created_at))

    def _known_told_until(self) -> datetime:
        """Give up to when was told what time changes, as it was written down at the latest."""
        if self._told_until is None:
            known = (record.value for record in self._serving.store.each(KnownRecord, of=(_TOLD_UNTIL,)))
            written = max((datetime.fromisoformat(value) for value in known), default=_EVER)
            # Not beyond now: a clock that was set back makes times come again.
            self._told_until = min(written, self._serving.clock.now())
        return self._told_until

    def _own(self, principal: Principal, der: DerId) -> EndDeviceRecord:
        """Give the EndDevice of a peer: it subscribes for itself, also to what it sees of those it stands for.

        Raises: Forbidden.
        """
        device = require_der(principal, self._serving, Verb.SUBSCRIBE, der)
        if self._serving.lfdi_of.get(der) != principal.lfdi:
            raise Forbidden(f"{principal.name} subscribes under its own EndDevice, not under {der}")
        return device

    def _located(self, der: DerId, wish: Wish) -> Watch:
        resource = wish.resource
        watch = self._locate(resource)
        if watch is None or not self.sees(self._serving.devices[der], watch):
            raise PeerError(f"{resource[:100]!r} cannot be subscribed to", path="Subscription/subscribedResource")
        if wish.lower is not None and watch.kind not in OF_SERIES:
            raise Unsupported(f"{resource[:100]!r} has no values, so no thresholds; subscribe to it as a whole")
        return watch

    def _known(self, der: DerId, wish: Wish) -> SubscriptionRecord | None:
        watch = self._locate(wish.resource)
        own = () if watch is None else self._watching.of(watch, der)
        same = (wish.resource, wish.notification_uri)
        records = (self._serving.subscriptions[key] for key in own)
        return next((record for record in records if (record.resource, record.notification_uri) == same), None)

    def _renewed(self, known: SubscriptionRecord, wish: Wish) -> SubscriptionRecord:
        now = max(self._serving.clock.now(), known.created_at + _INSTANT)
        return replace(
            known,
            encoding=wish.encoding,
            level=wish.level,
            limit=wish.limit,
            renewed_at=now,
            lower_threshold=wish.lower,
            upper_threshold=wish.upper,
        )

    async def _grant(self, first: _Waiting) -> None:
        """Grant a wish together with what else waits, in one transaction; the caller holds `serving.writing`.

        Raises: LinkError when the store refuses; the others try for themselves then.
        """
        grants = _Grants()
        seen: set[tuple[DerId, str, str]] = set()
        others = (one for one in self._waiting if one is not first and one.outcome is None)
        for waiting in islice(chain([first], others), _TOGETHER):
            key = (waiting.der, waiting.wish.resource, waiting.wish.notification_uri)
            if key in seen:
                continue  # the same again renews what is granted now: when its turn comes
            seen.add(key)
            try:
                self._consider(waiting, grants)
            except TierlineError as refused:
                waiting.outcome = refused
        if grants.records:
            await self._serving.commit([*grants.records.values(), *grants.audit])
        for waiting, record in grants.records.items():
            waiting.outcome = record

    def _consider(self, waiting: _Waiting, grants: _Grants) -> None:
        """Add to what is granted a new subscription, or one renewed.

        Raises: Forbidden; PeerError; TooMany.
        """
        wish = waiting.wish
        device = self._own(waiting.principal, waiting.der)
        self._located(waiting.der, wish)
        known = self._known(waiting.der, wish)
        if known is not None:
            grants.records[waiting] = self._renewed(known, wish)
            return
        record = grants.records[waiting] = self._new(device, wish, grants)
        grants.new_of[record.der_id] += 1
        grants.new_ids.add(record.subscription_id)
        detail: dict[str, object] = {"resource": wish.resource, "uri": wish.notification_uri, "limit": wish.limit}
        if wish.lower is not None:
            detail |= {"below": wish.lower, "above": wish.upper}
        after = grants.audit[-1] if grants.audit else None
        what = f"device {record.der_id}"
        grants.audit.append(entry(waiting.principal, self._serving, "subscribe", what, "done", detail, after=after))

    def _new(self, device: EndDeviceRecord, wish: Wish, grants: _Grants) -> SubscriptionRecord:
        serving = self._serving
        stands_for = 0 if device.aggregates is None else len(serving.standing.ders(device.aggregates))
        most = PER_DER * (1 + stands_for)
        if len(serving.subscriptions_of.get(device.der_id, ())) + grants.new_of[device.der_id] >= most:
            raise TooMany(f"device {device.der_id} has {most} subscriptions, which is as many as it may have")
        now = serving.clock.now()
        return SubscriptionRecord(
            party=serving.party,
            subscription_id=self._new_id(grants.new_ids),
            der_id=device.der_id,
            resource=wish.resource,
            notification_uri=wish.notification_uri,
            encoding=wish.encoding,
            level=wish.level,
            limit=wish.limit,
            created_at=now,
            renewed_at=now,
            lower_threshold=wish.lower,
            upper_threshold=wish.upper,
        )

    async def _end(
        self, principal: Principal, records: Sequence[SubscriptionRecord], verb: str, more: dict[str, object]
    ) -> None:
        """End some; the caller holds `serving.writing`."""
        serving = self._serving
        detail = {"resources": [record.resource for record in records], **more}
        what = ", ".join(sorted({f"device {record.der_id}" for record in records}))
        gone: list[Record] = [*records, *(self._notice_of(record) for record in records)]
        await serving.commit([entry(principal, serving, verb, what, "done", detail)], gone)

    def _notice_of(self, record: SubscriptionRecord) -> NoticeRecord:
        """Name the notice of a subscription, whether there is one or not: deleting goes by key."""
        time = record.created_at
        return NoticeRecord(
            party=record.party,
            subscription_id=record.subscription_id,
            status=NoticeStatus.CHANGED,
            since=time,
            attempts=0,
            next_at=time,
        )

    def _new_id(self, taken: AbstractSet[str]) -> str:
        known = self._serving.subscriptions
        while (drawn := str(der_id(self._serving.random.bits(64)))) in known or drawn in taken:
            pass
        return drawn


def is_expired(record: SubscriptionRecord, now: datetime) -> bool:
    """Tell whether a subscription was not renewed in time."""
    return now - record.renewed_at > KEPT_FOR


def _check(wish: Wish) -> None:
    if (wish.lower is None) != (wish.upper is None):
        raise PeerError("both thresholds are needed, or none", path="Subscription/Condition")
    if wish.lower is not None and wish.upper is not None and wish.lower > wish.upper:
        raise PeerError(
            f"the lower threshold {wish.lower} is above the upper, {wish.upper}", path="Subscription/Condition"
        )
    if wish.encoding == _EXI:
        raise Unsupported("notices are sent as XML, not as EXI; ask for encoding 0")
    if wish.encoding != 0:
        raise PeerError(f"there is no encoding {wish.encoding}", path="Subscription/encoding")
    if wish.level not in _LEVELS:
        raise Unsupported(f"the level {wish.level[:16]!r} is not spoken here; ask for +S1")
    if not 0 <= wish.limit <= _LIMIT_MOST:
        raise PeerError(f"{wish.limit} is no limit", path="Subscription/limit")
