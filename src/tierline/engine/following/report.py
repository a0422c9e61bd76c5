"""When what is measured at one DER is delivered to one channel: a machine without input or output.

The readings wait in a durable buffer; this machine knows how many they are, and asks for the oldest. They are posted at the
rate of the server, each follower at its own phase; a backlog after an outage goes out batch after batch as fast as it is
acknowledged. What the DER is and does is described when it changed, and again whenever the server may have missed it. One
delivery of each kind is outstanding, and each is tried again by itself.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar, assert_never

from tierline.engine.lifecycle import Draw
from tierline.model.errors import ConfigError

D = TypeVar("D")
"""A description of the DER: any value that can be compared."""

_FASTEST = timedelta(seconds=1)
"""A server may ask for 0 s; its rate is in whole seconds. Source: IEEE 2030.5-2018, MirrorUsagePoint.postRate."""
_RETRY_FIRST_S = 5
_RETRY_LAST_S = 60
"""Longer pauses would keep a backlog back after the server has returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often, and how much at once."""

    post_every: timedelta = timedelta(minutes=5)
    """Source: CSIP 2.1 G19."""
    batch: int = 500
    """Readings in one delivery."""

    def __post_init__(self) -> None:
        if self.post_every <= timedelta() or self.batch < 1:
            raise ConfigError(f"the pace of reports must be above 0 throughout, not {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Generic[D]):
    """The DER was measured, and its readings are durable."""

    waiting: int
    """How many readings wait now."""
    description: D
    """What the DER is and does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostRate:
    """The server asks for this rate."""

    post_every: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """The server may have lost what it was told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The server has acknowledged a delivery."""

    sequence: int
    waiting: int
    """How many readings wait still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDelivered:
    """A delivery failed, or it is not known whether it arrived."""

    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time has passed."""


ReportEvent = Measured[D] | PostRate | Forgotten | Delivered | NotDelivered | Tick


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """Deliver the oldest readings that wait, and strike them out."""

    sequence: int
    limit: int
    """At most this many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe(Generic[D]):
    """Put what the DER is and does."""

    sequence: int
    description: D


ReportEffect = Post | Describe[D]


class Report(Generic[D]):
    """The reports of one DER to one channel."""

    def __init__(self, pace: Pace, draw: Draw, *, first_post_at: datetime, waiting: int = 0) -> None:
        self.pace = pace
        """Changed by `PostRate`."""
        self._draw = draw
        self._post_at = first_post_at
        self._waiting = waiting
        self._is_draining = False
        self._description: D | None = None
        self._described: D | None = None
        """What the server has, as far as is known."""
        self._posting = _Errand()
        self._describing = _Errand()
        self._under_way: D | None = None
        self._sequence = 0

    def handle(self, event: ReportEvent[D], now: datetime) -> tuple[ReportEffect[D], ...]:
        """Take in what happened and say what to do."""
        match event:
            case Measured():
                self._waiting, self._description = event.waiting, event.description
            case PostRate():
                post_every = max(event.post_every, _FASTEST)
                self._post_at += post_every - self.pace.post_every  # the phase stays
                self.pace = replace(self.pace, post_every=post_every)
            case Forgotten():
                self._described = None
            case Delivered():
                self._done(event)
            case NotDelivered():
                self._failed(event.sequence, now)
            case Tick():
                pass
            case _:
                assert_never(event)
        return (*self._describe(now), *self._post(now))

    def wake_at(self) -> datetime:
        """Say when to hand in a Tick at the latest."""
        retries = [errand.retry_at for errand in (self._posting, self._describing)]
        return min([self._post_at, *(time for time in retries if time is not None)])

    def _describe(self, now: datetime) -> tuple[Describe[D], ...]:
        description = self._description
        if description is None or description == self._described:
            self._describing.retry_at = None
            return ()
        if not self._describing.may_begin(now):
            return ()
        self._under_way = description
        return (Describe(sequence=self._begin(self._describing), description=description),)

    def _post(self, now: datetime) -> tuple[Post, ...]:
        if now >= self._post_at:
            every = self.pace.post_every
            self._post_at += every * ((now - self._post_at) // every + 1)  # those slept through are left out
            self._is_draining = True
        self._is_draining &= self._waiting > 0
        if not self._is_draining:
            self._posting.retry_at = None
            return ()
        if not self._posting.may_begin(now):
            return ()
        return (Post(sequence=self._begin(self._posting), limit=self.pace.batch),)

    def _begin(self, errand: "_Errand") -> int:
        self._sequence += 1
        errand.sequence, errand.retry_at = self._sequence, None
        return self._sequence

    def _done(self, event: Delivered) -> None:
        errand = self._outstanding(event.sequence)
        if errand is not None:
            errand.sequence, errand.failures, self._waiting = None, 0, event.waiting
            if errand is self._describing:
                self._described = self._under_way

    def _failed(self, sequence: int, now: datetime) -> None:
        errand = self._outstanding(sequence)
        if errand is None:
            return
        pause_s = min(_RETRY_LAST_S, _RETRY_FIRST_S * 2 ** min(errand.failures, 10))
        errand.retry_at = now + timedelta(seconds=self._draw(pause_s // 2, pause_s + pause_s // 2))
        errand.sequence, errand.failures = None, errand.failures + 1
        self._described = None  # a server that was away may have lost it
        if self._describing.may_begin(now):
            self._describing.retry_at = errand.retry_at

    def _outstanding(self, sequence: int) -> "_Errand | None":
        return next((errand for errand in (self._posting, self._describing) if errand.sequence == sequence), None)


@dataclass(slots=True)
class _Errand:
    """One kind of delivery."""

    sequence: int | None = None
    """Of what is outstanding."""
    retry_at: datetime | None = None
    failures: int = 0

    def may_begin(self, now: datetime) -> bool:
        """Say whether nothing is outstanding, and the pause after a failure is over."""
        return self.sequence is None and (self.retry_at is None or self.retry_at <= now)
