"""When one DER is measured and when what it said is posted to one channel: a machine without input or output.

Readings are posted in the order they were measured, in batches, at the rate the server asks for; a backlog after an outage
goes out batch after batch as fast as it is acknowledged. An alarm goes out when it begins and when it returns to normal, at
once and in order. A status is put when it changed, and again whenever the server may have missed it. One delivery of each
kind is outstanding.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import assert_never

from tierline.model.errors import ConfigError
from tierline.model.identity import DerId
from tierline.model.telemetry import Alarm, PointName, Reading

_FASTEST = timedelta(seconds=1)
"""A server may ask for 0 s; its rate is in whole seconds. Source: IEEE 2030.5-2018, MirrorUsagePoint.postRate."""
_RETRY_FIRST = timedelta(seconds=15)
_RETRY_LAST = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often, and how much at once."""

    measure_every: timedelta
    post_every: timedelta = timedelta(minutes=5)
    """Source: CSIP 2.1 G19."""
    batch: int = 500
    """Readings in one delivery."""
    capacity: int = 50_000
    """Readings kept while the server does not take them; beyond it the oldest are given up."""

    def __post_init__(self) -> None:
        if min(self.measure_every, self.post_every) <= timedelta() or min(self.batch, self.capacity) < 1:
            raise ConfigError(f"the pace of reports must be above 0 throughout, not {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The DER was measured."""

    readings: tuple[Reading, ...]
    alarms: frozenset[PointName]
    """All that are active now."""
    status: Mapping[str, Decimal | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostRate:
    """The server asks for another rate."""

    post_every: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The server has acknowledged a delivery."""

    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDelivered:
    """A delivery failed, or it is not known whether it arrived."""

    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time has passed."""


ReportEvent = Measured | PostRate | Delivered | NotDelivered | Tick


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """Measure the DER, then hand in `Measured`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """Deliver readings."""

    sequence: int
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Raise:
    """Deliver one alarm, or its return to normal."""

    sequence: int
    alarm: Alarm


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe:
    """Put the status."""

    sequence: int
    status: Mapping[str, Decimal | int]


Delivery = Post | Raise | Describe
ReportEffect = Measure | Delivery


class Report:
    """The reports of one DER to one channel."""

    def __init__(
        self, der_id: DerId, pace: Pace, *, backlog: Iterable[Reading] = (), alarms: Iterable[PointName] = ()
    ) -> None:
        self.pace = pace
        """Changed by `PostRate`."""
        self.given_up = 0
        """How many readings were lost because the backlog was full."""
        self._der_id = der_id
        self._backlog = deque(backlog)
        self._edges: deque[Alarm] = deque()
        self._active = frozenset(alarms)
        self._status: Mapping[str, Decimal | int] | None = None
        self._status_put: Mapping[str, Decimal | int] | None = None
        self._outstanding: dict[type[Delivery], Delivery] = {}
        self._is_draining = False
        self._sequence = 0
        self._times: _Times | None = None
        self._retry_at: datetime | None = None
        self._failures = 0

    @property
    def backlog(self) -> tuple[Reading, ...]:
        """The readings that wait, those being delivered included, oldest first."""
        return (*self._posting, *self._backlog)

    @property
    def _posting(self) -> tuple[Reading, ...]:
        post = self._outstanding.get(Post)
        return post.readings if isinstance(post, Post) else ()

    def handle(self, event: ReportEvent, now: datetime) -> tuple[ReportEffect, ...]:
        """Take in what happened and say what to do."""
        if self._times is None:
            self._times = _Times(measure_at=now, post_at=now + self.pace.post_every)
        match event:
            case Measured():
                self._take(event, now)
            case PostRate():
                post_every = max(event.post_every, _FASTEST)
                self._times.post_at += post_every - self.pace.post_every
                self.pace = replace(self.pace, post_every=post_every)
            case Delivered():
                self._done(event.sequence)
            case NotDelivered():
                self._failed(event.sequence, now)
            case Tick():
                pass
            case _:
                assert_never(event)
        return (*self._measure(self._times, now), *self._deliver(self._times, now))

    def wake_at(self) -> datetime | None:
        """Say when to hand in a Tick at the latest; None before the first event."""
        if self._times is None:
            return None
        times = (self._times.measure_at, self._times.post_at, self._retry_at)
        return min(time for time in times if time is not None)

    def _take(self, event: Measured, now: datetime) -> None:
        self._backlog.extend(event.readings)
        while len(self._backlog) > self.pace.capacity:
            self._backlog.popleft()
            self.given_up += 1
        for point in sorted(event.alarms ^ self._active):
            self._edges.append(Alarm(der_id=self._der_id, point=point, active=point in event.alarms, time=now))
        self._active = event.alarms
        self._status = event.status

    def _measure(self, times: "_Times", now: datetime) -> tuple[Measure, ...]:
        if now < times.measure_at:
            return ()
        times.measure_at = _next(times.measure_at, self.pace.measure_every, now)
        return (Measure(),)

    def _deliver(self, times: "_Times", now: datetime) -> tuple[Delivery, ...]:
        if now >= times.post_at:
            times.post_at = _next(times.post_at, self.pace.post_every, now)
            self._is_draining = True
        if self._retry_at is not None and now < self._retry_at:
            return ()
        self._retry_at = None
        return (*self._raise(), *self._describe(), *self._post())

    def _raise(self) -> tuple[Raise, ...]:
        if Raise in self._outstanding or not self._edges:
            return ()
        effect = Raise(sequence=self._next_sequence(), alarm=self._edges[0])
        self._outstanding[Raise] = effect
        return (effect,)

    def _describe(self) -> tuple[Describe, ...]:
        if Describe in self._outstanding or self._status is None or self._status == self._status_put:
            return ()
        effect = Describe(sequence=self._next_sequence(), status=self._status)
        self._outstanding[Describe] = effect
        return (effect,)

    def _post(self) -> tuple[Post, ...]:
        if Post in self._outstanding or not self._is_draining:
            return ()
        if not self._backlog:
            self._is_draining = False
            return ()
        batch = tuple(self._backlog.popleft() for _ in range(min(self.pace.batch, len(self._backlog))))
        effect = Post(sequence=self._next_sequence(), readings=batch)
        self._outstanding[Post] = effect
        return (effect,)

    def _done(self, sequence: int) -> None:
        match self._take_outstanding(sequence):
            case Raise():
                self._edges.popleft()
            case Describe(status=status):
                self._status_put = status
            case _:
                pass
        self._failures = 0

    def _failed(self, sequence: int, now: datetime) -> None:
        delivery = self._take_outstanding(sequence)
        if delivery is None:
            return
        if isinstance(delivery, Post):
            self._backlog.extendleft(reversed(delivery.readings))
        self._retry_at = now + min(_RETRY_LAST, _RETRY_FIRST * 2 ** min(self._failures, 10))
        self._failures += 1

    def _take_outstanding(self, sequence: int) -> Delivery | None:
        for kind, delivery in self._outstanding.items():
            if delivery.sequence == sequence:
                return self._outstanding.pop(kind)
        return None

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence


@dataclass(slots=True, kw_only=True)
class _Times:
    measure_at: datetime
    post_at: datetime


def _next(due: datetime, every: timedelta, now: datetime) -> datetime:
    """Give the next moment of a rhythm after now; those slept through are left out."""
    return due + every * ((now - due) // every + 1)
