"""The north face: one server above, as the port `Northbound`; it drives the sans-IO steps over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import structlog

from tierline.model.errors import Forbidden, PeerError
from tierline.model.records import KnownRecord
from tierline.protocols.sep2.client import Answer, post, same_origin
from tierline.protocols.sep2.codec import render
from tierline.protocols.sep2.follow.describe import Sent, describe
from tierline.protocols.sep2.follow.mirror import create_mirror, post_readings, series_of
from tierline.protocols.sep2.follow.walk import DEFAULT_POLL_S, walk
from tierline.protocols.sep2.resources import exchange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from tierline.model.identity import Lfdi, Mrid
    from tierline.model.programs import ProgramsSeen, Response
    from tierline.model.telemetry import Reading
    from tierline.ports import Clock, DeviceFacts, Store
    from tierline.protocols.sep2.client import Steps
    from tierline.protocols.sep2.follow.walk import Entry, Tree

log = structlog.get_logger(__name__)

T = TypeVar("T")

_REPLY = "reply_to"
"""Prefix of the names under which the paths for Responses are remembered."""


class Answered(Protocol):
    """What a courier brings back."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def body(self) -> bytes:
        """The whole body."""
        ...

    @property
    def location(self) -> str:
        """The Location header, empty when there is none."""
        ...


class Courier(Protocol):
    """What carries a request: `transport.HttpClient`, or a simulation."""

    async def request(self, method: str, path: str, body: bytes = b"") -> Answered:
        """Send and wait for the answer.

        Raises: LinkError, PeerError.
        """
        ...

    async def close(self) -> None:
        """Let go."""
        ...


class Sep2North:
    """One server above one DER."""

    def __init__(self, *, courier: Courier, entry: Entry, clock: Clock, store: Store, lfdi: Lfdi, pen: int) -> None:
        self._courier = courier
        self._entry = entry
        self._clock = clock
        self._store = store
        self._lfdi = lfdi
        self._pen = pen
        self._tree: Tree | None = None
        self._sent = Sent()
        self._mirror = ""
        self.poll_s = DEFAULT_POLL_S
        """How long the server wants us to wait between walks; as of the last one."""
        self.post_s: int | None = None
        """postRate of our mirror, once it is known."""
        self._reply_to: dict[str, str] = {
            record.name: record.value for record in store.load(KnownRecord) if record.name.startswith(self._prefix)
        }

    @property
    def _prefix(self) -> str:
        return f"{_REPLY}/{self._entry.channel}/"

    async def walk(self) -> ProgramsSeen:
        """Read the whole tree once.

        Raises: LinkError, PeerError, Forbidden.
        """
        try:
            tree = await self._drive(walk(self._entry))
        except Forbidden:
            # A server that let us go knows nothing of us when it takes us back.
            self._sent, self._mirror = Sent(), ""
            raise
        await self._remember(tree.reply_to)
        self._tree = tree
        self.poll_s = tree.poll_s
        return tree.seen

    async def respond(self, response: Response) -> None:
        """Deliver one Response; returns when the server has acknowledged it.

        Raises: LinkError (come again); PeerError or Forbidden (the server refuses it for good).
        """
        href = self._reply_to.get(self._name(response.mrid))
        if href is None:
            raise PeerError(f"event {response.mrid} has no replyTo", path="DERControl/@replyTo")
        document = exchange.DERControlResponse(
            created_date_time=int(response.created_at.timestamp()),
            end_device_lfdi=response.lfdi or self._lfdi,
            status=response.status.value,
            subject=response.mrid,
        )
        await self._drive(post(href, render(document)))

    async def report(self, readings: Sequence[Reading]) -> None:
        """Deliver readings of points that can be mirrored; returns when the server has acknowledged all.

        Raises: LinkError, PeerError, Forbidden.
        """
        tree = self._known_tree()
        series = series_of(readings)
        if not series:
            return
        if not self._mirror:
            mirror = await self._drive(create_mirror(tree.mirror_list, self._lfdi, series, self._pen))
            self._mirror = mirror.href or ""
            self.post_s = mirror.post_rate
        try:
            await self._drive(post_readings(self._mirror, self._lfdi, readings, self._pen))
        except Forbidden:
            self._mirror = ""
            raise

    async def describe(self, facts: DeviceFacts, status: Mapping[str, Decimal | int], now: datetime) -> None:
        """Put capability, settings, status and availability where they changed.

        Raises: LinkError, PeerError, Forbidden.
        """
        tree = self._known_tree()
        time = int(now.timestamp())
        self._sent = await self._drive(describe(tree, self._lfdi, facts, status, time, self._sent))

    async def close(self) -> None:
        """Let go of the link."""
        await self._courier.close()

    async def forget(self, mrids: Sequence[Mrid]) -> None:
        """Drop where events wanted their Responses, once the last one was posted."""
        gone = [name for name in map(self._name, mrids) if name in self._reply_to]
        if gone:
            await self._store.commit(delete=[self._record(name) for name in gone])
            for name in gone:
                del self._reply_to[name]

    def _known_tree(self) -> Tree:
        if self._tree is None:
            raise PeerError("the server was not walked yet")
        return self._tree

    def _name(self, mrid: Mrid) -> str:
        return f"{self._prefix}{mrid}"

    def _record(self, name: str) -> KnownRecord:
        return KnownRecord(party=self._entry.party, name=name, value=self._reply_to[name])

    async def _remember(self, reply_to: Mapping[Mrid, str]) -> None:
        """Keep where Responses go before the event is known to anybody: they may be due after the server is out of reach."""
        new = {self._name(mrid): href for mrid, href in reply_to.items()}
        new = {name: href for name, href in new.items() if self._reply_to.get(name) != href}
        if new:
            await self._store.commit(
                [KnownRecord(party=self._entry.party, name=name, value=href) for name, href in new.items()]
            )
            self._reply_to |= new

    async def _drive(self, steps: Steps[T]) -> T:
        try:
            ask = next(steps)
            while True:
                asked_at = self._clock.now()
                answered = await self._courier.request(ask.method, same_origin(ask.path, self._entry.server), ask.body)
                ask = steps.send(
                    Answer(
                        status=answered.status,
                        body=answered.body,
                        location=answered.location,
                        asked_at=asked_at,
                        answered_at=self._clock.now(),
                    )
                )
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            steps.close()
