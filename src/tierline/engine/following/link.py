"""One channel as one DER sees it: its schedule, the last walk, and the clock of its server."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from tierline.engine.arbitration import Claim
from tierline.engine.following.schedule import Schedule
from tierline.engine.lifecycle import EventState
from tierline.model.control import FunctionName, Value
from tierline.model.parties import Authority, Channel
from tierline.model.programs import Program, ProgramsSeen
from tierline.model.records import FollowedProgramsRecord

_OFFSET_KEPT = timedelta(seconds=1)
"""A smaller change of a clock offset is not worth a write to the disk."""


class Link:
    """One channel of one DER."""

    def __init__(self, channel: Channel, schedule: Schedule) -> None:
        self.channel = channel
        self.schedule = schedule
        self.walk: ProgramsSeen | None = None
        self._offset = timedelta()
        self._saved: ProgramsSeen | None = None

    def restore(self, events: Iterable[EventState], record: FollowedProgramsRecord | None) -> None:
        """Take up what was persisted of this channel."""
        programs: tuple[Program, ...] = ()
        seen_at: datetime | None = None
        if record is not None:
            programs = record.programs
            self._offset = timedelta(seconds=record.clock_offset_s)
            seen_at = self.time(record.seen_at)
            self.walk = self._saved = ProgramsSeen(
                channel=self.channel.id, programs=programs, clock_offset_s=record.clock_offset_s
            )
        self.schedule.restore(events, programs, seen_at)

    def see(self, walk: ProgramsSeen, now: datetime) -> bool:
        """Take in a walk; says whether it differs from the last one."""
        if walk == self.walk:
            return False
        is_new = self.walk is None or walk.programs != self.walk.programs
        self.walk, self._offset = walk, timedelta(seconds=walk.clock_offset_s)
        if is_new:
            self.schedule.see(walk.programs, self.time(now))
        return True

    def time(self, now: datetime) -> datetime:
        """Give the time of the server."""
        return now + self._offset

    def boundaries(self) -> Iterator[datetime]:
        """Give the next boundary, in the time of this node."""
        boundary = self.schedule.next_boundary()
        if boundary is not None:
            yield boundary - self._offset

    def unsaved_walk(self) -> ProgramsSeen | None:
        """Give the last walk once when it is worth keeping."""
        if self.walk is None or self._is_saved(self.walk):
            return None
        self._saved = self.walk
        return self.walk

    def claims(self, now: datetime) -> list[Claim]:
        """Say what this channel wants now: its events, and its defaults where no event holds the mode (E20)."""
        in_effect = self.schedule.in_effect(now)
        claims = [
            Claim(
                function=mode,
                value=event.control.setpoints[mode],
                channel=self.channel.id,
                mrid=event.mrid,
                authority=self.channel.authority,
                rank=self.channel.rank,
                primacy=event.primacy,
                creation_time=event.control.creation_time,
                ramp_time_s=event.control.ramp_time_s,
            )
            for mode, event in in_effect.items()
        ]
        wanted = set(in_effect)
        for program in self.schedule.programs:
            for mode, value in program.default.setpoints.items() if program.default is not None else ():
                if mode not in wanted:
                    wanted.add(mode)
                    claims.append(self._default_claim(program, mode, value))
        return claims

    def _default_claim(self, program: Program, mode: FunctionName, value: Value) -> Claim:
        assert program.default is not None
        return Claim(
            function=mode,
            value=value,
            channel=self.channel.id,
            mrid=program.default.mrid,
            authority=Authority.DEFAULT,
            rank=self.channel.rank,
            primacy=program.primacy,
            is_event=False,
            program=program.mrid,
        )

    def _is_saved(self, walk: ProgramsSeen) -> bool:
        saved = self._saved
        if saved is None or saved.programs != walk.programs:
            return False
        return timedelta(seconds=abs(saved.clock_offset_s - walk.clock_offset_s)) < _OFFSET_KEPT
