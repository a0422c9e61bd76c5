"""Sends the notices of a serving node: woken by its changes, patient with its listeners, fair between them.

Three rules. A listener is one subscriber at one host and port: its notices go out in order, and while it cannot be reached
only it waits. Connections go to the very address that was judged a moment before, and no redirection is followed. A notice
leaves the store after the listener has taken it, so it may come twice but never not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from tierline.env import RealNetwork, look_up
from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.model.identity import PartyId
from tierline.model.parties import Principal, Role
from tierline.node.waiting import within
from tierline.operations.serving.destinations import Destination, Destinations
from tierline.operations.serving.notices import LAST_PAUSE_S, Outbox
from tierline.operations.serving.subscriptions import Subscriptions
from tierline.protocols.sep2.notifier import Locator, Notifier
from tierline.protocols.sep2.transport import HttpClient, Limits
from tierline.security import tls

if TYPE_CHECKING:
    from datetime import datetime

    from tierline.model.identity import DerId, Lfdi
    from tierline.model.records import NoticeRecord, SubscriptionRecord
    from tierline.node.compose import Identity
    from tierline.node.config import NodeConfig, NotifyPart
    from tierline.operations.serving.state import Serving
    from tierline.ports import Clock
    from tierline.protocols.sep2.notifier import Told
    from tierline.protocols.sep2.views import Views

log = structlog.get_logger(__name__)

AT_ONCE: Final = 16
"""Listeners that are being told at the same time; the others wait for a place."""
_LONGEST_PAUSE: Final = timedelta(seconds=LAST_PAUSE_S)
TIDY_EVERY: Final = timedelta(hours=1)
SETTLING: Final = 64
"""Notices that have arrived and are being taken out of the store together while the next ones are under way."""
STORE_PAUSE_S: Final = 10
"""Civil seconds to wait when the store refuses."""


class Line(Protocol):
    """A line to one listener."""

    async def post(self, path: str, body: bytes) -> int:
        """Send one notice; gives the status of the answer.

        Raises: LinkError when it does not get through; PeerError when the listener is not believed.
        """
        ...

    async def aclose(self) -> None:
        """Hang up."""
        ...


Dial = Callable[["Destination", str, Callable[["Lfdi"], bool]], Line]
"""Gives a line to a destination at one address, to be used by whoever has an LFDI for which a question is answered yes."""


@dataclass(frozen=True, slots=True)
class _Listener:
    """One subscriber at one place: what is told to it is told in order."""

    der_id: DerId
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class _Due:
    notice: NoticeRecord
    subscription: SubscriptionRecord
    at: datetime
    """Not before this time: its own, or that of a listener that rests."""


class Notifying:
    """The task of a serving node that tells its subscribers."""

    def __init__(
        self,
        *,
        subscriptions: Subscriptions,
        outbox: Outbox,
        destinations: Destinations,
        notifier: Notifier,
        dial: Dial,
        clock: Clock,
    ) -> None:
        self._subscriptions = subscriptions
        self._outbox = outbox
        self._destinations = destinations
        self._notifier = notifier
        self._dial = dial
        self._clock = clock
        self._queues: dict[_Listener, dict[str, None]] = {}
        """Who is still to be told of which subscriptions, in order."""
        self._resting: dict[_Listener, datetime] = {}
        """Until when nothing is sent to a listener that could not be reached."""
        self._busy: set[_Listener] = set()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._settling = asyncio.Semaphore(SETTLING)

    async def run(self) -> None:
        """Send what is due until cancelled."""
        self._busy.clear()
        self._places, self._settling = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(SETTLING)
        self._subscriptions.recall()
        tidy_at = self._clock.now()
        async with asyncio.TaskGroup() as group:
            while True:
                self._subscriptions.news.clear()
                try:
                    await self._subscriptions.tell_what_time_changed()
                    await self._sort_in()
                    if self._clock.now() >= tidy_at:
                        await self._outbox.tidy()
                        tidy_at = self._clock.now() + TIDY_EVERY
                except LinkError as error:
                    log.warning("store_refused", what="subscriptions", why=str(error))
                    await self._clock.sleep(STORE_PAUSE_S)
                    self._subscriptions.recall()
                    continue
                wake_at = [tidy_at, *self._begin(group)]
                if (changes_at := self._subscriptions.changes_at) is not None:
                    wake_at.append(changes_at)
                await within(self._clock, min(wake_at), self._subscriptions.news.wait())

    def _begin(self, group: asyncio.TaskGroup) -> Iterator[datetime]:
        """Begin to tell the listeners that are due; gives when the others are."""
        for listener in [listener for listener in self._queues if listener not in self._busy]:
            head = self._head(listener)
            if head is not None and head.at <= self._clock.now():
                self._busy.add(listener)
                group.create_task(self._tell(listener))
            elif head is not None:
                yield head.at

    async def _sort_in(self) -> None:
        """Put new notices behind those their listener is still to be told."""
        for key in self._subscriptions.take_fresh():
            found = self._outbox.find(key)
            if found is None:
                continue
            notice, subscription = found
            try:
                listener = _listener(subscription.der_id, self._destinations.judge(subscription.notification_uri))
            except (PeerError, Forbidden) as error:
                # It was good when it was subscribed with: the operator has changed what is allowed since.
                await self._outbox.end(notice, str(error))
                continue
            self._queues.setdefault(listener, {})[key] = None

    def _head(self, listener: _Listener) -> _Due | None:
        """Give what a listener is to be told next, and when."""
        queue = self._queues.get(listener, {})
        while queue:
            key = next(iter(queue))
            if (found := self._outbox.find(key)) is not None:
                notice, subscription = found
                at, now = max(notice.next_at, self._resting.get(listener, notice.next_at)), self._clock.now()
                # No pause is that long: the clock was set back.
                return _Due(notice, subscription, now if at - now > _LONGEST_PAUSE else at)
            del queue[key]
        self._queues.pop(listener, None)
        return None

    async def _tell(self, listener: _Listener) -> None:
        """Tell one listener what is due, in order, until nothing is or it cannot be reached."""
        try:
            async with self._places, asyncio.TaskGroup() as group, aclosing(_Lines(self._dial)) as lines:
                while (due := self._head(listener)) is not None and due.at <= self._clock.now():
                    with self._store_refusing(listener):
                        await self._tell_one(listener, due, lines, group)
        finally:
            self._busy.discard(listener)
            self._subscriptions.news.set()

    async def _tell_one(self, listener: _Listener, due: _Due, lines: _Lines, group: asyncio.TaskGroup) -> None:
        """Send one notice; once it arrived, the store is left to its own pace.

        Raises: LinkError when the store refuses.
        """
        notice, subscription = due.notice, due.subscription
        device = self._outbox.recipient(subscription)
        if device is None:
            await self._outbox.end(notice, "its EndDevice is not let in any more")
            return
        told = self._notifier.tell(subscription, notice, device, self._clock.now())
        try:
            status = await self._post(due, told, lines)
        except (LinkError, PeerError, Forbidden) as error:
            await self._failed(listener, due, str(error))
            return
        if 200 <= status < 300:
            log.info("notice_sent", attempts=due.notice.attempts + 1, **_named(due))
            self._out_of_queue(listener, due)
            await self._settling.acquire()
            group.create_task(self._settle(listener, due, told))
        elif 400 <= status < 500 and status not in _COME_AGAIN:
            await self._refused(listener, due, told, f"it answers {status}")
        else:
            await self._failed(listener, due, f"it answers {status}")

    async def _post(self, due: _Due, told: Told, lines: _Lines) -> int:
        destination = self._destinations.judge(due.subscription.notification_uri)
        addresses = await self._destinations.addresses(destination)
        # Another one each time: a listener may be reachable by one of its addresses only.
        address = addresses[due.notice.attempts % len(addresses)]
        line = await lines.to(destination, address, lambda lfdi: self._outbox.may_hear(due.subscription, lfdi))
        return await line.post(destination.path, told.document)

    async def _settle(self, listener: _Listener, due: _Due, told: Told) -> None:
        """Take a notice that has arrived out of the store."""
        with self._store_refusing(listener, due):
            try:
                if told.is_last:
                    await self._outbox.end(due.notice, "what was subscribed to is gone")
                else:
                    await self._outbox.delivered(due.notice)
            finally:
                self._settling.release()

    async def _refused(self, listener: _Listener, due: _Due, told: Told, why: str) -> None:
        self._out_of_queue(listener, due)
        with self._store_refusing(listener, due):
            if told.is_last:
                await self._outbox.end(due.notice, "what was subscribed to is gone")
                return
            is_over = await self._outbox.refused(due.notice, why)
            log.warning("notice_refused", why=why, subscription_ended=is_over, **_named(due))

    async def _failed(self, listener: _Listener, due: _Due, why: str) -> None:
        again_at = await self._outbox.failed(due.notice, why)
        log.warning(
            "notice_not_sent",
            host=listener.host,
            port=listener.port,
            why=why,
            again_at=None if again_at is None else again_at.isoformat(),
            **_named(due),
        )
        if again_at is not None:
            self._rest(listener, again_at)

    def _out_of_queue(self, listener: _Listener, due: _Due) -> None:
        """Take a notice out of its queue before it leaves the store: one that comes meanwhile goes to the end."""
        self._queues.get(listener, {}).pop(due.notice.subscription_id, None)

    @contextmanager
    def _store_refusing(self, listener: _Listener, due: _Due | None = None) -> Iterator[None]:
        """Bear with a store that refuses: what is not written down is sent once more, later."""
        try:
            yield
        except LinkError as error:
            log.warning("store_refused", what="notice", why=str(error))
            if due is not None:
                self._queues.setdefault(listener, {})[due.notice.subscription_id] = None
            self._rest(listener, self._clock.now() + timedelta(seconds=STORE_PAUSE_S))

    def _rest(self, listener: _Listener, until: datetime) -> None:
        now = self._clock.now()
        self._resting = {other: end for other, end in self._resting.items() if end > now}
        self._resting[listener] = until


class _Lines:
    """The one line that is open to a listener; another address means another line."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._address = ""
        self._line: Line | None = None

    async def to(self, destination: Destination, address: str, may_hear: Callable[[Lfdi], bool]) -> Line:
        """Give the line to an address."""
        if self._line is None or self._address != address:
            await self.aclose()
            self._line, self._address = self._dial(destination, address, may_hear), address
        return self._line

    async def aclose(self) -> None:
        """Hang up."""
        line, self._line = self._line, None
        if line is not None:
            await line.aclose()


def _listener(der_id: DerId, destination: Destination) -> _Listener:
    return _Listener(der_id, destination.host, destination.port)


def _named(due: _Due) -> dict[str, str]:
    return {"resource": due.subscription.resource, "subscription": due.subscription.subscription_id}


_COME_AGAIN: Final = frozenset({408, 425, 429})
"""Statuses of class 4 that say later, not never."""


class HttpLine:
    """A line over mutual TLS."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    async def post(self, path: str, body: bytes) -> int:
        """Send one notice; a redirection is an answer like any other.

        Raises: LinkError, PeerError.
        """
        return (await self._client.request("POST", path, body)).status

    async def aclose(self) -> None:
        """Hang up."""
        await self._client.close()


LIMITS: Final = Limits(answer_s=15.0, body_s=15.0, write_s=15.0, body_bytes=64 * 1024)
"""What a listener may take and say: its answer has no body worth reading."""


@dataclass(slots=True, kw_only=True)
class Telling:
    """What a serving node needs to tell its subscribers."""

    subscriptions: Subscriptions
    task: Notifying


def telling_of(config: NodeConfig, part: NotifyPart, identity: Identity, serving: Serving, views: Views) -> Telling:
    """Put together what tells the subscribers of a serving node.

    Raises: ConfigError for certificates that cannot be used.
    """
    allow = frozenset((address.host, address.port) for address in part.allow)
    destinations = Destinations(allow, look_up)
    subscriptions = Subscriptions(serving, destinations, Locator(serving))
    context = tls.client_context(identity.certificate, identity.key, identity.anchors)
    principal = Principal(party=PartyId(config.node.party), role=Role.SELF, name=config.node.name)

    def dial(destination: Destination, address: str, may_hear: Callable[[Lfdi], bool]) -> HttpLine:
        client = HttpClient(
            host=destination.host,
            port=destination.port,
            context=context,
            trust=identity.trust,
            clock=serving.clock,
            network=RealNetwork(),
            limits=LIMITS,
            believes=may_hear,
            address=address,
        )
        return HttpLine(client)

    task = Notifying(
        subscriptions=subscriptions,
        outbox=Outbox(principal, serving, subscriptions),
        destinations=destinations,
        notifier=Notifier(views.resource),
        dial=dial,
        clock=serving.clock,
    )
    return Telling(subscriptions=subscriptions, task=task)
