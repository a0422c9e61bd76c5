"""Wait for something, but not beyond a civil time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from datetime import datetime

    from tierline.ports import Clock

T = TypeVar("T")


async def within(clock: Clock, until: datetime | None, wait: Awaitable[T]) -> T | None:
    """Give what is waited for, or None when the time comes first; None as a time waits for ever.

    The wait goes through the clock, so that a clock that is set or scaled is followed. With a time, an error of what is
    waited for comes in an ExceptionGroup.
    """
    if until is None:
        return await wait
    loop = asyncio.get_running_loop()
    result: T | None = None
    waiting = True
    async with asyncio.TaskGroup() as group:
        ringing = group.create_task(clock.sleep_until(until))
        try:
            # Not by an error of the alarm: a group that ends with one forgets that it was cancelled meanwhile.
            async with asyncio.timeout(None) as limit:

                def ring(_: asyncio.Task[None]) -> None:
                    if waiting:
                        limit.reschedule(loop.time())

                ringing.add_done_callback(ring)
                result = await wait
        except TimeoutError:
            if not limit.expired():
                raise
        finally:
            waiting = False
            ringing.cancel()
    return result
