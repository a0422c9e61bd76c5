"""The north face of a node that stands for many EndDevices at one server, as the port `FleetNorthbound`.

How it is used, round after round: `walk()`, take what was seen, `subscribe()`; then wait for `poll_s`, or until a notice was
handed to `hear()`. A walk reads everything at the first time and after a failure, and once an hour. In between, one for which
there is news reads what the news is of, and one without news is a poll: it reads what the server does not tell of.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import structlog

from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.model.records import NoticeStatus
from tierline.protocols.sep2.answering import Answering
from tierline.protocols.sep2.client import FLEET_LONGEST, head, same_origin
from tierline.protocols.sep2.courier import Carrier
from tierline.protocols.sep2.fleet_mirrors import FleetMirrors
from tierline.protocols.sep2.fleet_tree import FleetTree
from tierline.protocols.sep2.follow.enrol import register, take_out
from tierline.protocols.sep2.follow.fleet import Failed, attempt
from tierline.protocols.sep2.follow.hand_on import find_places, put_document
from tierline.protocols.sep2.follow.walk import DEFAULT_POLL_S
from tierline.protocols.sep2.subscriptions import Subscriptions
from tierline.protocols.sep2.tariffs import Offer, Sep2Tariffs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from tierline.model.identity import Lfdi, Mrid
    from tierline.model.programs import FleetMember, FleetSeen, Response
    from tierline.model.records import DerInfoKind
    from tierline.model.telemetry import Reading
    from tierline.ports import Clock, Store
    from tierline.protocols.sep2.client import Steps
    from tierline.protocols.sep2.courier import Courier
    from tierline.protocols.sep2.follow.fleet import Roll
    from tierline.protocols.sep2.follow.hand_on import Places
    from tierline.protocols.sep2.follow.walk import Entry
    from tierline.protocols.sep2.resources import devices

log = structlog.get_logger(__name__)

AT_ONCE = 8
"""Requests under way at the same time."""

EVERYTHING_AFTER = timedelta(hours=1)
"""After which all is read again, however well the server tells of changes: a notice may have been lost."""


_REFUSALS = 16
"""After so many refusals, and nothing accepted, no more EndDevices are offered in this round."""


class Heard(Protocol):
    """What a notice says: `listener.Notice`."""

    @property
    def subscribed_resource(self) -> str:
        """The resource that changed."""
        ...

    @property
    def status(self) -> int:
        """Why the notice was sent."""
        ...

    @property
    def new_resource_uri(self) -> str:
        """Where the resource has moved to; empty where that is not stated."""
        ...


class Sep2FleetNorth:
    """One server above a node that stands for many."""

    def __init__(
        self,
        *,
        courier: Courier,
        entry: Entry,
        clock: Clock,
        store: Store,
        pen: int,
        notification_uri: str | None = None,
        at_once: int = AT_ONCE,
    ) -> None:
        """Prepare; nothing is sent.

        The entry's LFDI is that of this node. Without a `notification_uri` everything is polled. The courier should carry
        `at_once` requests side by side (`HttpClient(connections=8)`); one that carries fewer makes them wait.
        """
        self._carrier = Carrier(courier, clock, entry.server)
        self._answering = Answering(store, entry.party, entry.channel)
        self._tree = FleetTree(self._carrier, entry, at_once)
        self._subscriptions = Subscriptions(
            carrier=self._carrier, clock=clock, store=store, entry=entry, uri=notification_uri, at_once=at_once
        )
        self._mirrors = FleetMirrors(carrier=self._carrier, store=store, entry=entry, pen=pen)
        self._entry = entry
        self._clock = clock
        self._at_once = at_once
        self._busy = asyncio.Lock()
        self._heard: set[str] = set()
        self._gone: set[str] = set()
        """What was heard to be deleted."""
        self._is_all_stale = True
        self._polled_at: datetime | None = None
        self._read_all_at: datetime | None = None
        self._places: dict[Lfdi, tuple[devices.EndDevice, Places]] = {}
        self._refused: dict[tuple[str, Lfdi | None], str] = {}
        """What the server refused to register (POST) or to take out (DELETE), and why."""
        self.tariffs = Sep2Tariffs(self._carrier, entry, clock, at_once)
        """What the server shows of tariffs, once it was walked."""
        self.poll_s = DEFAULT_POLL_S
        """How long the server wants us to wait between walks; as of the last one."""

    @property
    def post_s(self) -> int | None:
        """The postRate that the server states: of the mirror made last, else of the members; None while it is not known."""
        roll = self._tree.roll
        return self._mirrors.post_s or (None if roll is None else roll.post_s)

    def hear(self, notice: Heard) -> None:
        """Take note of what changed; the next walk reads it."""
        try:
            path = same_origin(notice.subscribed_resource, self._entry.server)
        except PeerError as error:
            log.warning("notice_not_understood", channel=self._entry.channel, why=str(error))
            return
        self.tariffs.hear(path)
        self._heard.add(path)
        if notice.status == NoticeStatus.DELETED:
            self._gone.add(path)
        elif notice.status != NoticeStatus.CHANGED:
            # Cancelled, moved, redefined: what hangs together how must be found out anew.
            self._is_all_stale = True
        if notice.status == NoticeStatus.MOVED:
            self._follow(path, notice.new_resource_uri)
        if notice.status != NoticeStatus.CHANGED:
            self._subscriptions.end(path, without_reason=notice.status == NoticeStatus.CANCELLED)
        if len(self._heard) > FLEET_LONGEST:
            self._is_all_stale = True
            self._heard.clear()
            self._gone.clear()

    def _follow(self, path: str, uri: str) -> None:
        """Read where something has moved to as well; that is only ever read from the same server."""
        try:
            new = same_origin(uri, self._entry.server) if uri else ""
        except PeerError as error:
            log.warning("move_not_followed", channel=self._entry.channel, resource=path, why=str(error))
            return
        log.info("resource_moved", channel=self._entry.channel, resource=path, to=new or None)
        if new:
            self._heard.add(new)

    def has_news(self) -> bool:
        """Tell whether there is something to read before the next poll."""
        return bool(self._heard) or self._is_all_stale

    async def walk(self) -> FleetSeen:
        """Read everything once, shared programs once each; what did not change since is taken from memory.

        A member of which the server does not show what it should is left out; a program stays as it was. What is named in a
        member's programs is always among the programs.

        Raises: LinkError, PeerError, Forbidden (this node is not known there).
        """
        async with self._busy:
            now = self._clock.now()
            trusted = self._subscriptions.trusted()
            # News that never end may not keep us from polling.
            poll = not self.has_news() or _is_over(self._polled_at, now, timedelta(seconds=self.poll_s))
            everything = self._is_all_stale or _is_over(self._read_all_at, now, EVERYTHING_AFTER)
            # Where the server tells of nothing, everything is read at every poll.
            everything |= poll and not trusted
            heard = self._heard | self._tree.leading_to(self._gone)
            self._heard, self._gone = set(), set()
            self._is_all_stale, is_done = False, False
            try:
                await self._tree.refresh(everything=everything, poll=poll or everything, heard=heard, trusted=trusted)
                # Before anybody knows of the events: Responses may be due after the server is out of reach.
                await self._answering.remember(self._tree.reply_to)
                self._tree.reply_to.clear()
                await self._answering.keep_only(self._tree.events(), now)
                is_done = True
            finally:
                # Whatever was missed while nothing could be read: the next walk begins anew.
                self._is_all_stale |= not is_done
            await self._mirrors.keep_only(self._known_roll().members)
            self._polled_at = now if poll or everything else self._polled_at
            self._read_all_at = now if everything else self._read_all_at
            self.poll_s = self._tree.poll_s
            self._offer_tariffs(self._known_roll())
            return self._tree.seen

    def _offer_tariffs(self, roll: Roll) -> None:
        self.tariffs.offer(
            Offer(
                everybody=roll.tariffs,
                assigned=self._tree.tariffs(),
                members=frozenset(self._tree.seen.members),
                offset_s=self._tree.seen.clock_offset_s,
            )
        )

    async def _confirm(self, path: str) -> None:
        """Give our word that what was read is kept: a server hands its DERs over when it has that of one who serves them.

        No standard has a word for it, so it is one that asks for nothing. Lost or not understood it does no harm.
        """
        try:
            await self._carrier.carry(head(path))
        except (LinkError, PeerError, Forbidden) as error:
            log.info("not_confirmed", channel=self._entry.channel, why=str(error))

    def trusted(self) -> frozenset[str]:
        """Give the paths of all resources of whose changes the server tells this node."""
        return self._subscriptions.trusted()

    async def subscribe(self) -> None:
        """Say that what the last walk saw is kept, and ask to be told of it, and no more of what has gone; to be called when it is.

        It gives way to a notice: what is left is done after the next walk. What the server refuses is polled.

        Raises: LinkError when the store refuses.
        """
        async with self._busy:
            roll = self._tree.roll
            if roll is not None:
                await self._confirm(roll.watched.path)
                link = roll.own.subscription_list_link
                wanted = dict.fromkeys(one.path for one in self._tree.watched() if one.subscribable)
                # Last: prices may wait where a server takes so many subscriptions and no more.
                wanted |= dict.fromkeys(self.tariffs.subscribable())
                await self._subscriptions.keep(None if link is None else link.href, wanted, self.has_news)

    async def enrol(self, members: Sequence[FleetMember]) -> None:
        """Register EndDevices that the server does not list yet, and take out those it lists and we do not name.

        What the server refused is not asked again, and is refused again here.

        Raises: LinkError, PeerError, Forbidden.
        """
        async with self._busy:
            roll = self._tree.roll
            if roll is None or self._is_all_stale or roll.watched.path in self._heard:
                roll = await self._tree.call_roll()
            named = {member.lfdi: member for member in members}
            new = [one for lfdi, one in named.items() if lfdi not in roll.members]
            gone = [device for lfdi, device in roll.members.items() if lfdi not in named]
            works: dict[tuple[str, Lfdi | None], Steps[None]] = {
                ("POST", one.lfdi): register(roll.watched.path, one, self._server_time(roll)) for one in new
            }
            works |= {("DELETE", one.lfdi): take_out(one.href) for one in gone if one.href is not None}
            self._refused = {key: why for key, why in self._refused.items() if key in works}
            await self._enrol(roll, {key: steps for key, steps in works.items() if key not in self._refused})
            if self._refused:
                (verb, lfdi), why = next(iter(self._refused.items()))
                raise PeerError(f"the server refuses {len(self._refused)} EndDevices, first {verb} of {lfdi}: {why}")

    async def _enrol(self, roll: Roll, works: Mapping[tuple[str, Lfdi | None], Steps[None]]) -> None:
        if not works:
            return
        self._heard.add(roll.watched.path)
        done: list[tuple[str, Lfdi | None]] = []

        def take(key: tuple[str, Lfdi | None], found: Failed | None) -> None:
            if found is None:
                done.append(key)
            elif isinstance(found.reason, LinkError):
                raise found.reason
            else:
                self._refused[key] = str(found.reason)
                if not done and len(self._refused) >= _REFUSALS:
                    # This server registers out of band: the others would not fare better.
                    raise found.reason

        await self._carrier.carry_all(((key, attempt(steps)) for key, steps in works.items()), take, self._at_once)
        log.info("enrolled", channel=self._entry.channel, n=len(done), refused=len(self._refused))

    def _server_time(self, roll: Roll) -> int:
        return int(self._clock.now().timestamp() + roll.offset_s)

    async def respond(self, response: Response) -> None:
        """Deliver the Response of one member, under the member's own LFDI.

        Raises: LinkError (come again); PeerError or Forbidden (refused for good).
        """
        if response.lfdi is None:
            raise PeerError(f"the Response to {response.mrid} does not say whose it is", path="Response/endDeviceLFDI")
        await self._carrier.carry(self._answering.answer(response, response.lfdi))

    async def forget(self, mrids: Sequence[Mrid]) -> None:
        """Drop where events wanted their Responses, once the last one was posted.

        Raises: LinkError when the store refuses.
        """
        await self._answering.forget(mrids)

    async def report(self, lfdi: Lfdi, readings: Sequence[Reading]) -> None:
        """Deliver readings of one member that can be mirrored; returns when the server has acknowledged all.

        Raises: LinkError, PeerError, Forbidden.
        """
        await self._mirrors.report(self._known_roll().mirrors, lfdi, readings)

    async def put_info(self, lfdi: Lfdi, kind: DerInfoKind, document: bytes) -> None:
        """Hand on what a member said of itself, as it was received.

        Raises: LinkError, PeerError, Forbidden.
        """
        device = self._known_roll().members.get(lfdi)
        if device is None:
            self._places.pop(lfdi, None)
            raise Forbidden(f"the server {self._entry.server} does not list LFDI {lfdi}")
        known = self._places.get(lfdi)
        if known is None or known[0] != device:
            known = self._places[lfdi] = (device, await self._carrier.carry(find_places(device)))
        if kind not in known[1]:
            raise Forbidden(f"the server {self._entry.server} has no place for {kind.name} of LFDI {lfdi}")
        try:
            await self._carrier.carry(put_document(known[1][kind], kind, document))
        except Forbidden:
            self._places.pop(lfdi, None)
            raise

    async def close(self) -> None:
        """Let go of the link."""
        await self._carrier.close()

    def _known_roll(self) -> Roll:
        if self._tree.roll is None:
            raise PeerError("the server was not walked yet")
        return self._tree.roll


def _is_over(since: datetime | None, now: datetime, after: timedelta) -> bool:
    """Tell whether a time has passed; a clock that was set back says nothing, so it has."""
    return since is None or not timedelta() <= now - since < after
