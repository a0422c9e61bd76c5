"""Wait for something, but not beyond a civil time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from datetime import datetime

    from tierline.ports import Clock

T = TypeVar("T")


class _LateError(Exception):
    """The time has come first."""


async def within(clock: Clock, until: datetime | None, wait: Awaitable[T]) -> T | None:
    """Give what is waited for, or None when the time comes first; None as a time waits for ever.

    The wait goes through the clock, so that a clock that is set or scaled is followed. What comes together with the time
    is given, not lost. With a time, an error of what is waited for comes in an ExceptionGroup.
    """
    if until is None:
        return await wait

    async def alarm() -> None:
        await clock.sleep_until(until)
        raise _LateError

    result: T | None = None
    try:
        async with asyncio.TaskGroup() as group:
            ringing = group.create_task(alarm())
            result = await wait
            ringing.cancel()
    except* _LateError:
        pass  # the result stays what it is: None, or what came at the same moment
    return result
