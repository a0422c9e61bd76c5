"""An asyncio event loop whose time is virtual: when nothing is ready, it jumps to the next timer.

Two rules. Nothing here waits for the real world: no socket, no signal, no thread, no real clock. And nothing depends
on memory addresses or on PYTHONHASHSEED: tasks hash by their number, so that even asyncio's own sets of tasks (a
TaskGroup cancels its children in set order) are walked in the same order in every run.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Sequence

    Awaited = Coroutine[Any, Any, Any] | Generator[Any, None, Any]
    # Any: what a coroutine yields to asyncio and what it returns are asyncio's business, and its caller's.

T = TypeVar("T")

START = datetime(2026, 1, 1, tzinfo=UTC)
"""The civil time of virtual second 0, unless a simulation names another."""


class DeadlockError(RuntimeError):
    """Everything waits and no timer is set: virtual time has nowhere to jump to."""


class VirtualTask(asyncio.Task[T]):
    """A task that hashes by its number instead of its address."""

    def __init__(self, coro: Awaited, *, loop: VirtualLoop, **options: Any) -> None:
        # Any: whatever keyword arguments the running version of asyncio hands to a task factory.
        self.number = loop.number_task()
        super().__init__(coro, loop=loop, **options)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class _NoSelector:
    """Stand where the selector stands; waiting means moving the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> Sequence[object]:
        if timeout is None:
            raise DeadlockError(self._loop.explain_deadlock())
        if timeout > 0:
            self._loop.jump()
        return ()

    def close(self) -> None:
        """Close nothing: no file is open."""


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop of a simulation: single-threaded, without sockets, as fast as its callbacks.

    `BaseEventLoop` rather than `SelectorEventLoop`, because the latter opens a socket pair for signals and threads;
    here everything that would need a socket raises NotImplementedError.
    """

    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        super().__init__()
        self._selector = _NoSelector(self)
        self._now_s = 0.0
        self._tasks_made = 0
        self._on_task: Callable[[VirtualTask[Any]], None] | None = None
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Tell the virtual seconds since the loop was made."""
        return self._now_s

    def jump(self) -> None:
        """Move the clock to exactly the next timer (asyncio has dropped the cancelled ones in front)."""
        self._now_s = max(self._now_s, self._scheduled[0].when())

    def number_task(self) -> int:
        """Give the next task its number."""
        self._tasks_made += 1
        return self._tasks_made

    def on_task(self, notice: Callable[[VirtualTask[Any]], None]) -> None:
        """Have `notice` called with every task as it is made."""
        self._on_task = notice

    def explain_deadlock(self) -> str:
        """Name the tasks that wait, and what for."""
        waiting = sorted(
            (task for task in asyncio.all_tasks(self) if isinstance(task, VirtualTask)), key=lambda task: task.number
        )
        lines = [f"  {task.get_name()} at {_where(task)}" for task in waiting]
        what = "\n".join(lines) or "  (no task at all)"
        return (
            f"deadlock at virtual second {self._now_s:.6f}: nothing is ready and no timer is set. Waiting:\n{what}\n"
            "Something these tasks wait for never happens; give the wait a timeout or wake it."
        )

    def _make_task(self, _loop: asyncio.AbstractEventLoop, coro: Awaited, /, **options: Any) -> VirtualTask[Any]:
        task: VirtualTask[Any] = VirtualTask(coro, loop=self, **options)
        if self._on_task is not None:
            self._on_task(task)
        return task

    def _process_events(self, event_list: Sequence[object]) -> None:
        """Do nothing: no file is watched, so there are no events."""

    def _write_to_self(self) -> None:
        raise RuntimeError("a simulation has no second thread: call_soon_threadsafe and executors belong to env")


class VirtualClock:
    """The civil clock of one simulated machine: wrong by `skew`, and it may jump.

    Sleeping for a number of seconds is not disturbed by a jump (it counts the monotonic clock); sleeping *until* a
    civil time is: a jump forward past it wakes the sleeper, a jump backward makes it sleep longer.
    """

    def __init__(self, loop: VirtualLoop, *, start: datetime = START, skew: timedelta = timedelta()) -> None:
        self._loop = loop
        self._start = start + skew
        self._sleepers: dict[asyncio.Future[None], None] = {}

    def now(self) -> datetime:
        """Tell the civil time as this machine believes it."""
        return self._start + timedelta(seconds=self._loop.time())

    def deadline(self) -> float:
        """Tell the seconds of a clock that never jumps."""
        return self._loop.time()

    async def sleep(self, civil_s: float) -> None:
        """Sleep for civil seconds."""
        await asyncio.sleep(max(0.0, civil_s))

    async def sleep_until(self, when: datetime) -> None:
        """Sleep until this machine's clock shows `when`, whatever jumps it makes."""
        while (remaining := (when - self.now()).total_seconds()) > 0:
            woken = self._loop.create_future()
            timer = self._loop.call_later(remaining, _wake, woken)
            self._sleepers[woken] = None
            try:
                await woken
            finally:
                timer.cancel()
                del self._sleepers[woken]
        await asyncio.sleep(0)

    def jump(self, by: timedelta) -> None:
        """Step the clock, forward or (negative) backward, and let the sleepers look again."""
        self._start += by
        for sleeper in list(self._sleepers):
            _wake(sleeper)


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


def _where(task: asyncio.Task[Any]) -> str:
    frames = task.get_stack(limit=1)
    if not frames:
        return "no line"
    code = frames[-1].f_code
    return f"{code.co_qualname} ({code.co_filename}:{frames[-1].f_lineno})"
