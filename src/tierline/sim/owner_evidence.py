"""What the owner of a simulated DER asked for at his gateway, was told, and what the gateway took in and kept of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierline.engine.following.obey import OWNER
from tierline.model.records import FollowedProgramsRecord, OutboxRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierline.model.control import Setpoints
    from tierline.model.identity import Mrid
    from tierline.model.programs import Program, ResponseStatus
    from tierline.model.records import Record


@dataclass(slots=True, kw_only=True)
class OwnerAsked:
    """One thing the owner asked for: a limit, or that one be cancelled."""

    at_s: float
    clock_s: float
    """The clock of the gateway when he asked."""
    setpoints: Setpoints
    start_s: float = 0.0
    """On the clock of the gateway."""
    duration_s: int = 0
    cancels: Mrid | None = None
    """Not a limit: this one is cancelled."""
    told_at_s: float | None = None
    """When he was told that it is so."""
    mrid: Mrid | None = None
    """Of the limit, as he was told."""
    refused: str = ""
    """With which words it was not done."""


@dataclass(slots=True, kw_only=True)
class OwnerTake:
    """What the machine took in as said by the owner."""

    at_s: float
    clock_s: float
    programs: tuple[Program, ...]
    asked: OwnerAsked
    """What the owner waits for an answer to."""
    is_durable: bool = False


@dataclass(slots=True, kw_only=True)
class OwnerEvidence:
    """All that happened between one owner and his gateway."""

    asked: list[OwnerAsked] = field(default_factory=list)
    takes: list[OwnerTake] = field(default_factory=list)
    answered: list[tuple[Mrid, ResponseStatus]] = field(default_factory=list)
    """Responses to him, in the order in which they became durable."""
    waiting: list[Mrid] = field(default_factory=list)
    """Of those that had not arrived when they became durable."""

    def take(self, at_s: float, clock_s: float, programs: tuple[Program, ...]) -> None:
        """Note that the machine took in what the owner said."""
        self.takes.append(OwnerTake(at_s=at_s, clock_s=clock_s, programs=programs, asked=self.asked[-1]))

    def begin(self) -> None:
        """Note that a life began; what was not durable is gone."""
        self.takes = [take for take in self.takes if take.is_durable]

    def keep(self, put: Sequence[Record]) -> None:
        """Note that records are durable."""
        for record in put:
            if isinstance(record, FollowedProgramsRecord) and record.channel == OWNER:
                for take in self.takes:
                    take.is_durable |= take.programs == record.programs
            elif isinstance(record, OutboxRecord) and record.channel == OWNER:
                self.answered.append((record.mrid, record.status))
                if record.posted_at is None:
                    self.waiting.append(record.mrid)
