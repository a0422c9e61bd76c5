"""Several servers of one party as one north link.

A DER is registered at every server of the party that may come to serve it (a substation for each way in which it can be
fed). The one that serves it now shows its function set assignments, the others an empty list; while it moves from one to
another both may show them (docs/decisions/0014); for a moment nobody may, from when a substation has read them until it has
made them its own. So what some server shows holds, the same mRID from two of them is the same thing, and that nothing applies
is believed only when every server has said so at two polls in a row.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING

import structlog

from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.model.programs import Program, ProgramsSeen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from tierline.model.control import Control
    from tierline.model.identity import ChannelId, Mrid
    from tierline.model.programs import Response
    from tierline.model.records import FollowedProgramsRecord
    from tierline.model.telemetry import Reading
    from tierline.node.follower import Server
    from tierline.ports import DeviceFacts

log = structlog.get_logger(__name__)

_EVENTS_REMEMBERED = 10_000
"""Of how many events it is remembered who showed them; of an older one all servers are asked in turn."""

_GRACE_S = 1.0
"""Unscaled seconds for which the others are still waited for once one shows assignments, and"""
_GRACE_FACTOR = 2.0
"""times as long as that one took: on a slow line all of them are slow."""

_Failures = dict[str, LinkError | PeerError | Forbidden]


class SharedChannel:
    """The port `Northbound` over several servers, and the pace that they want."""

    def __init__(
        self, channel: ChannelId, servers: Mapping[str, Server], last: FollowedProgramsRecord | None = None
    ) -> None:
        """Take the servers by name, the first ranking first; `last` is what was seen of the channel before a restart."""
        self._channel = channel
        self._servers = dict(servers)
        self._last = ProgramsSeen(channel=channel, programs=())
        if last is not None:
            self._last = replace(self._last, programs=last.programs, clock_offset_s=last.clock_offset_s)
        self._showing: tuple[str, ...] = ()
        """Who showed assignments when it was last asked, the first configured first."""
        self._is_doubtful = False
        """Whether at the last poll, for the first time, nobody showed anything."""
        self._current = next(iter(self._servers))
        """Who takes readings."""
        self._round = 0
        self._shown: dict[Mrid, dict[str, int]] = {}
        """Who showed each event, and in which round last."""
        self._description: tuple[DeviceFacts, Mapping[str, Decimal | int], datetime] | None = None
        self._describing = asyncio.Lock()
        self._said: dict[str, str] = {}
        """What was said of each server that failed, so that it is said once."""

    @property
    def link(self) -> SharedChannel:
        """The link itself."""
        return self

    @property
    def poll_s(self) -> float:
        """Civil seconds between walks: of all servers the shortest."""
        return min(server.poll_s for server in self._servers.values())

    @property
    def post_s(self) -> float:
        """Civil seconds between posts of readings."""
        return self._servers[self._current].post_s

    async def walk(self) -> ProgramsSeen:
        """Ask every server what it shows, and give all of it as that of one.

        Raises: LinkError when nobody was reached; PeerError or Forbidden when nobody could be reached for that reason.
        """
        seen, failures = await self._ask_all()
        if self._last.programs and not _showing(seen) and not _unreached(failures):
            # It may have moved to one that was asked before the one it left: nothing is concluded from one round.
            seen, failures = await self._ask_all()
        self._say(failures)
        if not seen:
            raise _together({name: failures[name] for name in self._servers})
        self._showing = tuple(name for name in self._servers if name in _showing(seen))
        if self._showing:
            self._current = self._showing[0]
            self._last = replace(
                seen[self._current],
                channel=self._channel,
                programs=_union(seen[name].programs for name in self._showing),
            )
            self._is_doubtful = False
        elif not _unreached(failures):
            self._conclude(seen)
        await self._introduce()
        return self._last

    async def respond(self, response: Response) -> None:
        """Deliver one Response to who showed its event last, else to another that showed it; returns when one has it.

        Raises: LinkError (come again); PeerError or Forbidden (refused for good).
        """
        failures: _Failures = {}
        for name in self._by_sight(self._shown.get(response.mrid, {})):
            try:
                await self._servers[name].link.respond(response)
            except (LinkError, PeerError, Forbidden) as error:
                failures[name] = error
            else:
                return
        raise _together(failures)

    async def report(self, readings: Sequence[Reading]) -> None:
        """Deliver readings to the server that shows assignments now.

        Raises: LinkError, PeerError, Forbidden.
        """
        await self._servers[self._current].link.report(readings)

    async def describe(self, facts: DeviceFacts, status: Mapping[str, Decimal | int], now: datetime) -> None:
        """Say what the DER is and does to the server that shows assignments now; to the others when they come to.

        Raises: LinkError, PeerError, Forbidden.
        """
        self._description = (facts, status, now)
        async with self._describing:
            await self._servers[self._current].link.describe(facts, status, now)

    async def close(self) -> None:
        """Let go of all servers."""
        for server in self._servers.values():
            await server.link.close()

    async def _ask_all(self) -> tuple[dict[str, ProgramsSeen], _Failures]:
        """Walk every server at once, first those that showed something.

        Once one shows assignments, the others are not waited for much longer: they may be cut off without a sign of it.
        """
        self._round += 1
        seen: dict[str, ProgramsSeen] = {}
        failures: _Failures = {}
        time = asyncio.get_running_loop().time
        began = time()
        until: float | None = None
        async with asyncio.TaskGroup() as group:
            asked = {
                group.create_task(self._ask(name, seen, failures)): name
                for name in sorted(self._servers, key=lambda name: name not in self._showing)
            }
            waiting = set(asked)
            while waiting:
                left_s = None if until is None else until - time()
                done, waiting = await asyncio.wait(waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                if until is None and _showing(seen):
                    until = time() + _GRACE_S + _GRACE_FACTOR * (time() - began)
                if not done:
                    break
            for task in waiting:
                task.cancel()
                failures[asked[task]] = LinkError("it has not answered when another showed assignments already")
        return seen, failures

    async def _ask(self, name: str, seen: dict[str, ProgramsSeen], failures: _Failures) -> None:
        try:
            seen[name] = await self._servers[name].link.walk()
        except (LinkError, PeerError, Forbidden) as error:
            failures[name] = error
        else:
            self._note(name, seen[name])

    def _conclude(self, seen: Mapping[str, ProgramsSeen]) -> None:
        """Take over that nobody shows anything, when it was so at the last poll as well."""
        if self._last.programs and not self._is_doubtful:
            self._is_doubtful = True
            log.info("nobody_shows_anything", channel=self._channel)
            return
        self._current = self._current if self._current in seen else next(iter(seen))
        self._last = replace(seen[self._current], channel=self._channel, programs=())
        self._is_doubtful = False

    def _note(self, name: str, seen: ProgramsSeen) -> None:
        for program in seen.programs:
            for control in program.controls:
                shown = self._shown.pop(control.mrid, {})
                self._shown[control.mrid] = {**shown, name: self._round}  # the latest stand last
        for mrid in list(islice(self._shown, max(0, len(self._shown) - _EVENTS_REMEMBERED))):
            del self._shown[mrid]

    def _by_sight(self, shown: Mapping[str, int]) -> list[str]:
        """Order the servers that showed an event, the latest first; all of them where none is known to have."""
        known = shown or dict.fromkeys(self._servers, 0)
        return sorted(known, key=lambda name: (-known[name], name != self._current))

    async def _introduce(self) -> None:
        """Describe the DER to those that show assignments: one that has come to may know nothing of it."""
        if self._description is None:
            return
        for name in self._showing:
            try:
                async with self._describing:
                    await self._servers[name].link.describe(*self._description)
            except (LinkError, PeerError, Forbidden) as error:
                log.info("not_introduced", server=name, channel=self._channel, why=str(error))

    def _say(self, failures: _Failures) -> None:
        """Log once what is wrong with a server, and once that nothing is any more."""
        for name in self._servers:
            why = str(failures[name]) if name in failures else ""
            kind = type(failures[name]).__name__ if name in failures else ""
            if kind != self._said.get(name, ""):
                if why:
                    log.warning("server_failed", server=name, channel=self._channel, kind=kind, why=why)
                else:
                    log.info("server_back", server=name, channel=self._channel)
            self._said[name] = kind


def _showing(seen: Mapping[str, ProgramsSeen]) -> frozenset[str]:
    return frozenset(name for name, one in seen.items() if one.programs)


def _unreached(failures: _Failures) -> bool:
    """Say whether some server could not tell what it shows; one that does not know us shows nothing."""
    return any(not isinstance(error, Forbidden) for error in failures.values())


def _together(failures: _Failures) -> LinkError | PeerError | Forbidden:
    """Make one error of those of all servers: a network that failed is worth another try whatever else there was."""
    why = "; ".join(f"{name}: {error}" for name, error in failures.items())
    kinds = {type(error) for error in failures.values()}
    if LinkError in kinds:
        return LinkError(why)
    return PeerError(why) if PeerError in kinds else Forbidden(why)


def _union(shown: Iterable[Sequence[Program]]) -> tuple[Program, ...]:
    """Put together what several servers show: of one program the first says what it is, its events are those of all."""
    found: dict[Mrid, Program] = {}
    for program in chain.from_iterable(shown):
        known = found.get(program.mrid)
        found[program.mrid] = program if known is None else replace(known, controls=_controls(known, program))
    return tuple(found.values())


def _controls(one: Program, other: Program) -> tuple[Control, ...]:
    """Put the events of a program together; a status only ever goes up, so of two the higher is the newer."""
    found = {control.mrid: control for control in one.controls}
    for control in other.controls:
        known = found.get(control.mrid)
        if known is None or known.status < control.status:
            found[control.mrid] = control
    return tuple(found.values())
