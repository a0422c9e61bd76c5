"""The real clock: civil time derived from CLOCK_MONOTONIC, so that it never jumps and may run faster than the wall."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

LONGEST_NAP_S = 600.0
"""A long sleep is cut into naps of this length (wall time): each one looks at the clock again, so no error adds up."""


class RealClock:
    """Civil time = t0 + (monotonic - m0) x speed; hand the same three numbers to every process of one run.

    CLOCK_MONOTONIC is shared by all processes of a machine, hence so is this clock.
    """

    def __init__(self, t0: datetime, m0: float, speed: float = 1.0) -> None:
        if t0.tzinfo is None:
            raise ValueError(f"t0 {t0.isoformat()} has no time zone; give an aware UTC time")
        if not speed > 0:
            raise ValueError(f"speed {speed} is not positive; 1 is real time, 60 a minute per second")
        self.t0 = t0.astimezone(UTC)
        self.m0 = m0
        self.speed = speed

    @classmethod
    def of_this_machine(cls, speed: float = 1.0, *, t0: datetime | None = None) -> RealClock:
        """Start a clock now: at `t0`, or at the machine's own civil time."""
        return cls(t0 or datetime.now(UTC), time.monotonic(), speed)

    def now(self) -> datetime:
        """Tell the civil time, scaled."""
        return self.t0 + timedelta(seconds=(time.monotonic() - self.m0) * self.speed)

    def deadline(self) -> float:
        """Tell the seconds of the monotonic clock, never scaled."""
        return time.monotonic()

    async def sleep(self, civil_s: float) -> None:
        """Sleep for civil seconds: `civil_s / speed` of wall time."""
        await self._nap_until(time.monotonic() + civil_s / self.speed)

    async def sleep_until(self, when: datetime) -> None:
        """Sleep until the civil time `when`; never return before it."""
        await self._nap_until(self.m0 + (when - self.t0).total_seconds() / self.speed)
        while self.now() < when:  # noqa: ASYNC110 - the rounding of microseconds, at most one turn
            await asyncio.sleep(0.001)

    @staticmethod
    async def _nap_until(end: float) -> None:
        await asyncio.sleep(0)
        while (remaining := end - time.monotonic()) > 0:  # noqa: ASYNC110 - no event tells the time
            await asyncio.sleep(min(remaining, LONGEST_NAP_S))
