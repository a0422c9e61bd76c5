"""Civil time that runs fast and waits for those it runs for.

A row lasts minutes of civil time and a second or two of the wall's, so a machine that is busy for half a second would miss a
minute. Here time passes only while the event loop has nothing to do but wait, and each wait is credited up to a bound: neither
the work of the row nor that of other programs makes anybody late. Nor does a disk that takes its time: while something is being
written down (`hold`) no time passes. Everybody in a row, both sides, has this one clock.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

from tierline.env import RealClock

START = datetime(2026, 6, 18, 12, tzinfo=UTC)
TURN_S = 0.004
"""The longest wait in one piece."""
MOST_S = 0.008
"""What is credited for one wait at most."""


class IdleClock(RealClock):
    """A scaled clock, to be started inside the selector event loop it serves."""

    def __init__(self, speed: float) -> None:
        super().__init__(START, time.monotonic(), speed)
        self._waited_s = 0.0
        self._held = 0
        self._loop = None
        self._select = None
        self._next = None

    def start(self):
        self._loop = asyncio.get_running_loop()
        self._select = self._loop._selector.select
        self._loop._selector.select = self._wait
        self._turn()

    def stop(self):
        self._loop._selector.select = self._select
        self._next.cancel()

    def now(self):
        return self.t0 + timedelta(seconds=self._waited_s * self.speed)

    async def sleep(self, civil_s):
        await self.sleep_until(self.now() + timedelta(seconds=civil_s))

    async def sleep_until(self, when):
        await asyncio.sleep(0)
        while (left_s := (when - self.now()).total_seconds()) > 0:  # noqa: ASYNC110 - time is looked at anew
            await asyncio.sleep(max(left_s / self.speed, 0.001))

    def hold(self, done):
        """Let no time pass until a future is done: something works on it outside the event loop."""
        self._held += 1
        done.add_done_callback(self._release)

    def _release(self, _):
        self._held -= 1

    def _wait(self, timeout):
        begun = time.monotonic()
        found = self._select(timeout)
        if not self._held:
            self._waited_s += min(time.monotonic() - begun, MOST_S)
        return found

    def _turn(self):
        self._next = self._loop.call_later(TURN_S, self._turn)
