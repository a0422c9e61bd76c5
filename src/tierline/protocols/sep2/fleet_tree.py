"""What one server shows to a node that stands for many, kept in parts and refreshed by parts.

Two rules. A part is read again when a notice named it, and at every poll when the server does not tell of its changes. A part
that cannot be read spoils no other: a member is left out, a program stays as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from tierline.model.errors import LinkError
from tierline.model.programs import FleetMember, FleetSeen
from tierline.protocols.sep2.follow.fleet import (
    Failed,
    MemberRead,
    Shared,
    SharedProgram,
    attempt,
    call_roll,
    pin_key,
    read_member,
    read_shared_program,
)
from tierline.protocols.sep2.follow.walk import DEFAULT_POLL_S, FASTEST_POLL_S, clock_offset

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from tierline.model.identity import Lfdi, Mrid
    from tierline.protocols.sep2.courier import Carrier
    from tierline.protocols.sep2.follow.fleet import Roll, Watched
    from tierline.protocols.sep2.follow.walk import Entry

log = structlog.get_logger(__name__)

_FAILURES = 16
"""Parts whose last state is kept because the server failed over them (5xx); with more, the walk has failed."""


class FleetTree:
    """The roll, the members, the programs."""

    def __init__(self, carrier: Carrier, entry: Entry, at_once: int) -> None:
        self._carrier = carrier
        self._entry = entry
        self._at_once = at_once
        self._log = log.bind(channel=entry.channel)
        self.roll: Roll | None = None
        """Who is listed, None before it was first read."""
        self.seen = FleetSeen(channel=entry.channel)
        """All of it, as of the last refreshing that succeeded."""
        self.reply_to: dict[Mrid, str] = {}
        """Where the events that were read want their Responses; whoever keeps it may empty it."""
        self._members: dict[Lfdi, MemberRead] = {}
        self._programs: dict[Mrid, SharedProgram] = {}
        self._shared = Shared()
        self._changed: set[Lfdi] = set()
        """Members that are new or listed otherwise than when they were read."""
        self._untold: set[Lfdi | Mrid] = set()
        """Members and programs of whose changes the server does not tell us."""
        self._failed: set[Lfdi | Mrid] = set()
        """Members and programs that could not be read; asked for again at the next poll and not before."""

    @property
    def poll_s(self) -> int:
        """How long the server wants us to wait: the list that changes fastest sets the pace."""
        if self.roll is None:
            return DEFAULT_POLL_S
        polls = [self.roll.poll_s, *(member.poll_s for member in self._members.values())]
        return max(FASTEST_POLL_S, min((rate for rate in polls if rate is not None), default=DEFAULT_POLL_S))

    def watched(self) -> Iterable[Watched]:
        """Give all resources whose changes matter, those first that concern most."""
        if self.roll is not None:
            yield self.roll.watched
        for program in self._programs.values():
            yield from program.watched
        for member in self._members.values():
            yield from member.watched

    def events(self) -> set[Mrid]:
        """Give all events that are listed."""
        return {control.mrid for program in self._programs.values() for control in program.read.program.controls}

    def tariffs(self) -> dict[str, frozenset[Lfdi]]:
        """Give where the tariffs of members are listed, and whose they are."""
        found: dict[str, set[Lfdi]] = {}
        for lfdi, member in self._members.items():
            for href in member.tariffs:
                found.setdefault(href, set()).add(lfdi)
        return {href: frozenset(members) for href, members in found.items()}

    def leading_to(self, gone: Collection[str]) -> set[str]:
        """Give the paths of the lists that lead to resources, where these are said to be gone."""
        roll = self.roll
        if roll is None or not gone:
            return set()
        programs = {mrid for mrid, program in self._programs.items() if _are_heard(gone, program.watched)}
        found: set[str] = set()
        for member in self._members.values():
            if not programs.isdisjoint(member.programs):
                found.update(one.path for one in member.watched)
            if _are_heard(gone, member.watched):
                found.add(roll.watched.path)
        return found

    async def refresh(self, *, everything: bool, poll: bool, heard: Collection[str], trusted: Collection[str]) -> None:
        """Read what is stale: all, what is not told of (`poll`), what was heard of, and what follows from that.

        `heard` and `trusted` are paths: of what has changed, and of what the server would have told us.

        Raises: LinkError, PeerError, Forbidden; then everything is to be read the next time.
        """
        roll, offset_s = self.roll, self.seen.clock_offset_s
        if (
            roll is None
            or everything
            or roll.watched.path in heard
            or (poll and not _are_told(trusted, [roll.watched]))
        ):
            roll = await self.call_roll()
            offset_s = roll.offset_s
        elif poll:
            # Asked for at every poll, so that a server out of reach is noticed.
            offset_s = await self._carrier.carry(clock_offset(roll.time))
        self._shared.lists.clear()
        stale = [
            lfdi
            for lfdi in roll.members
            if everything
            or lfdi in self._changed
            or (poll and (lfdi in self._untold or lfdi in self._failed))
            or (lfdi in self._members and _are_heard(heard, self._members[lfdi].watched))
        ]
        await self._read_members(roll, stale, trusted)
        self._shared.lists.clear()
        assigned = dict.fromkeys(mrid for member in self._members.values() for mrid in member.programs)
        self._forget_programs(assigned)
        works = self._stale_programs(everything=everything, poll=poll, heard=heard)
        await self._read_programs(works, trusted)
        self.seen = self._assembled(roll, assigned, offset_s)

    async def call_roll(self) -> Roll:
        """Read who is listed.

        Raises: LinkError, PeerError, Forbidden.
        """
        roll = await self._carrier.carry(call_roll(self._entry))
        if roll.nameless:
            self._log.warning("members_without_lfdi", n=roll.nameless)
        known: Mapping[Lfdi, object] = {} if self.roll is None else self.roll.members
        for lfdi in known.keys() - roll.members.keys():
            self._members.pop(lfdi, None)
            self._changed.discard(lfdi)
            self._untold.discard(lfdi)
            self._failed.discard(lfdi)
        self._changed.update(lfdi for lfdi, device in roll.members.items() if known.get(lfdi) != device)
        pins = self._shared.pins
        keys = [key for device in roll.members.values() if (key := pin_key(device)) in pins]
        self._shared.pins = {key: pins[key] for key in keys}
        self.roll = roll
        return roll

    async def _read_members(self, roll: Roll, lfdis: Sequence[Lfdi], trusted: Collection[str]) -> None:
        borne: list[Lfdi | Mrid] = []

        def take(lfdi: Lfdi, found: MemberRead | Failed) -> None:
            self._changed.discard(lfdi)
            if isinstance(found, Failed):
                self._log.warning("member_unreadable", lfdi=lfdi, why=str(found.reason))
                self._take_failure(lfdi, found, borne, is_known=lfdi in self._members)
                if not isinstance(found.reason, LinkError):
                    self._members.pop(lfdi, None)
            else:
                self._members[lfdi] = found
                self._take_success(lfdi, is_told=_are_told(trusted, found.watched))

        works = ((lfdi, attempt(read_member(self._entry, roll.members[lfdi], self._shared))) for lfdi in lfdis)
        await self._carrier.carry_all(works, take, self._at_once)

    def _forget_programs(self, assigned: Collection[Mrid]) -> None:
        """Keep what is assigned to anybody."""
        for mrid in self._shared.programs.keys() - assigned:
            del self._shared.programs[mrid]
            self._programs.pop(mrid, None)
            self._untold.discard(mrid)
            self._failed.discard(mrid)

    def _stale_programs(self, *, everything: bool, poll: bool, heard: Collection[str]) -> dict[Mrid, bool]:
        """Find the programs to be read, and of each whether it may say something else than where it is listed."""
        works = {}
        for mrid, listed in self._shared.programs.items():
            known = self._programs.get(mrid)
            if everything or (mrid not in self._failed and (known is None or known.listed != listed)):
                works[mrid] = False
            elif (poll and (mrid in self._untold or mrid in self._failed)) or (
                known is not None and _are_heard(heard, known.watched)
            ):
                works[mrid] = True
        return works

    async def _read_programs(self, works: Mapping[Mrid, bool], trusted: Collection[str]) -> None:
        borne: list[Lfdi | Mrid] = []
        listed = self._shared.programs

        def take(mrid: Mrid, found: SharedProgram | Failed) -> None:
            if isinstance(found, Failed):
                self._log.warning("program_unreadable", mrid=mrid, why=str(found.reason))
                self._take_failure(mrid, found, borne, is_known=mrid in self._programs)
            else:
                self._programs[mrid] = found
                listed[mrid] = found.listed
                self.reply_to.update(found.read.reply_to)
                self._take_success(mrid, is_told=_are_told(trusted, found.watched))

        steps = (
            (mrid, attempt(read_shared_program(self._entry, listed[mrid], again=again)))
            for mrid, again in works.items()
        )
        await self._carrier.carry_all(steps, take, self._at_once)

    def _take_success(self, key: Lfdi | Mrid, *, is_told: bool) -> None:
        self._failed.discard(key)
        if is_told:
            self._untold.discard(key)
        else:
            self._untold.add(key)

    def _take_failure(self, key: Lfdi | Mrid, found: Failed, borne: list[Lfdi | Mrid], *, is_known: bool) -> None:
        """Bear with a server that fails over a few of many, whose last state is known."""
        self._failed.add(key)
        if isinstance(found.reason, LinkError):
            borne.append(key)
            if not is_known or len(borne) > _FAILURES:
                raise found.reason

    def _assembled(self, roll: Roll, assigned: Iterable[Mrid], offset_s: float) -> FleetSeen:
        programs = {mrid: self._programs[mrid].read.program for mrid in assigned if mrid in self._programs}
        members = {
            lfdi: FleetMember(
                lfdi=lfdi,
                pin=self._members[lfdi].pin,
                device_category=device.device_category or 0,
                enabled=device.enabled is not False,
                programs=tuple(mrid for mrid in self._members[lfdi].programs if mrid in programs),
                is_assigned=self._members[lfdi].is_assigned,
            )
            for lfdi, device in roll.members.items()
            if lfdi in self._members
        }
        return FleetSeen(channel=self._entry.channel, members=members, programs=programs, clock_offset_s=offset_s)


def _are_told(trusted: Collection[str], watched: Iterable[Watched]) -> bool:
    return all(one.path in trusted for one in watched)


def _are_heard(heard: Collection[str], watched: Iterable[Watched]) -> bool:
    return bool(heard) and any(one.path in heard for one in watched)
