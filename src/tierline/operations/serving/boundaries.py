"""When time alone changes what is watched: of every program and tariff that somebody watches, the next instant.

One rule: a step costs what it touches. A program has one place in the order of time, however many watch it, and nobody looks
at the others when its instant comes. Whatever is said of programs and their controls here goes for tariffs and their prices.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from tierline.engine import price_status
from tierline.engine.serving_status import changed_by_time, next_boundary
from tierline.model.records import PriceRecord

if TYPE_CHECKING:
    from datetime import datetime

    from tierline.engine.serving_status import ChangedByTime
    from tierline.model.control import Control
    from tierline.model.identity import Mrid
    from tierline.model.records import ControlRecord
    from tierline.operations.serving.state import Serving


class Boundaries:
    """The order of time of the programs that are watched."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._order: list[tuple[datetime, Mrid]] = []
        """A heap; what `_next` does not confirm is stale."""
        self._next: dict[Mrid, datetime] = {}
        self._since: dict[Mrid, datetime] = {}
        """Up to when each has been told; every program that is followed is here."""

    @property
    def first(self) -> datetime | None:
        """The next instant of all; it may have passed."""
        while self._order:
            at, program = self._order[0]
            if self._next.get(program) == at:
                return at
            heappop(self._order)
        return None

    def follow(self, program: Mrid, since: datetime) -> None:
        """Follow a program, whatever time has changed of it up to an instant being known."""
        if program in self._since and self._since[program] <= since:
            return
        self._since[program] = since
        self._put(program, self._next_of(program, since))

    def hasten(self, record: ControlRecord | PriceRecord, now: datetime) -> None:
        """Follow that an event came or changed: its program may have an earlier instant now, a later one shows in time."""
        program = record.tariff if isinstance(record, PriceRecord) else record.program
        if program not in self._since:
            return
        if isinstance(record, PriceRecord):
            at = price_status.next_boundary([record], now)
        else:
            at = next_boundary([record.control], now)
        known = self._next.get(program)
        if at is not None and (known is None or at < known):
            self._put(program, at)

    def due(self, now: datetime) -> list[Mrid]:
        """Give the programs whose instant has come; they stay due until they are passed."""
        return sorted({program for at, program in self._upto(now)})

    def changed(self, program: Mrid, now: datetime) -> ChangedByTime:
        """Say what time has changed of a program since it was last told."""
        since = self._since[program]
        if program in self._serving.tariffs:
            return price_status.changed_by_time(self._prices(program), since, now)
        return changed_by_time(self._controls(program), since, now)

    def passed(self, program: Mrid, now: datetime, *, is_watched: bool) -> None:
        """Go on to the next instant of a program; one that nobody watches any more is left."""
        self._next.pop(program, None)
        if is_watched:
            self._since[program] = now
            self._put(program, self._next_of(program, now))
        else:
            self._since.pop(program, None)

    def _upto(self, now: datetime) -> list[tuple[datetime, Mrid]]:
        """Give what is due: taken out of the order and put back, as it may have to be asked for again."""
        found = []
        while (first := self.first) is not None and first <= now:
            found.append(heappop(self._order))
        for item in found:
            heappush(self._order, item)
        return found

    def _put(self, program: Mrid, at: datetime | None) -> None:
        if at is None:
            self._next.pop(program, None)
        else:
            self._next[program] = at
            heappush(self._order, (at, program))

    def _next_of(self, program: Mrid, now: datetime) -> datetime | None:
        if program in self._serving.tariffs:
            return price_status.next_boundary(self._prices(program), now)
        return next_boundary(self._controls(program), now)

    def _prices(self, tariff: Mrid) -> list[PriceRecord]:
        return list(self._serving.prices.get(tariff, {}).values())

    def _controls(self, program: Mrid) -> list[Control]:
        served = self._serving.programs.get(program)
        return [] if served is None else [record.control for record in served.controls.values()]
