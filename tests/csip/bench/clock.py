"""Civil time that runs fast and waits for those it runs for.

A row lasts minutes of civil time and seconds of the wall's, so a machine that looks elsewhere for half a second would miss
half a minute. Here such a pause does not count: what passes between two turns of the event loop is credited up to a bound.
Everybody in a row, both sides, has this one clock.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

from tierline.env import RealClock

START = datetime(2026, 6, 18, 12, tzinfo=UTC)
TURN_S = 0.005
"""From one turn to the next, when nothing is in the way."""
MOST_S = 0.015
"""What is credited for one turn at most."""


class SteadyClock(RealClock):
    """A scaled clock, to be started inside the event loop it serves."""

    def __init__(self, speed: float) -> None:
        super().__init__(START, time.monotonic(), speed)
        self._credited_s = 0.0
        self._seen = self.m0
        self._next = None

    def start(self):
        self._seen = time.monotonic()
        self._turn()

    def stop(self):
        self._next.cancel()

    def now(self):
        since = min(time.monotonic() - self._seen, MOST_S)
        return self.t0 + timedelta(seconds=(self._credited_s + since) * self.speed)

    async def sleep(self, civil_s):
        await self.sleep_until(self.now() + timedelta(seconds=civil_s))

    async def sleep_until(self, when):
        await asyncio.sleep(0)
        while (left_s := (when - self.now()).total_seconds()) > 0:  # noqa: ASYNC110 - time is looked at anew
            await asyncio.sleep(max(left_s / self.speed, 0.001))

    def _turn(self):
        now = time.monotonic()
        self._credited_s += min(now - self._seen, MOST_S)
        self._seen = now
        self._next = asyncio.get_running_loop().call_later(TURN_S, self._turn)
