import asyncio

import pytest
from structlog.testing import capture_logs

from tierline.model.errors import ConfigError, Forbidden, LinkError, PeerError
from tierline.node.supervise import FIRST_PAUSE_S, supervise
from tierline.sim.loop import VirtualClock, VirtualLoop


class Middle:
    """Randomness that is always in the middle: pauses are as they are written."""

    def fraction(self):
        return 0.5


class Work:
    """Carries out a script: an error is raised, a number is slept first, None returns."""

    def __init__(self, *script):
        self.script, self.calls = list(script), []

    async def __call__(self):
        self.calls.append(asyncio.get_running_loop().time())
        if not self.script:
            await asyncio.sleep(10**9)
        act = self.script.pop(0)
        if isinstance(act, int | float):
            await asyncio.sleep(act)
            act = self.script.pop(0)
        if act is not None:
            raise act


def watch(work, *, for_s, random=None, **options):
    loop = VirtualLoop()

    async def main():
        async with asyncio.timeout(for_s):
            await supervise("link", work, VirtualClock(loop), random or Middle(), **options)

    with capture_logs() as logs, pytest.raises(TimeoutError):
        loop.run_until_complete(main())
    loop.close()
    return logs


def pauses(work):
    return [later - earlier for earlier, later in zip(work.calls, work.calls[1:], strict=False)]


@pytest.mark.parametrize("error", [LinkError("down"), PeerError("odd"), Forbidden("no")])
def test_what_fails_is_told_and_tried_again_after_a_pause(error):
    work = Work(error)
    (line,) = watch(work, for_s=1000, channel="utility")
    assert line == {
        "event": "link_failed",
        "log_level": "warning",
        "task": "link",
        "why": str(error),
        "again_in_s": 5,
        "channel": "utility",
    }
    assert work.calls == [0, FIRST_PAUSE_S]


def test_the_pause_doubles_up_to_the_last_one():
    work = Work(*[LinkError("down")] * 7)
    watch(work, for_s=3000, last_pause_s=60)
    assert pauses(work) == [5, 10, 20, 40, 60, 60, 60]


def test_pauses_are_spread_so_that_many_do_not_come_at_once():
    class Low:
        def fraction(self):
            return 0.0

    work = Work(LinkError("down"))
    watch(work, for_s=100, random=Low())
    assert pauses(work) == [FIRST_PAUSE_S / 2]


def test_after_success_the_pause_begins_anew_and_work_goes_on_at_once():
    work = Work(LinkError("down"), LinkError("down"), 1, None, LinkError("down"))
    watch(work, for_s=1000)
    assert pauses(work) == [5, 10, 1, 5]


def test_a_failure_that_was_long_in_coming_begins_anew():
    work = Work(LinkError("a"), LinkError("b"), 601, LinkError("c"))
    watch(work, for_s=5000, last_pause_s=300)
    assert pauses(work) == [5, 10, 601 + 5]


@pytest.mark.parametrize(("error", "event"), [(ConfigError("odd"), "task_refused"), (KeyError("bug"), "task_failed")])
def test_a_bug_is_logged_whole_and_stops_nobody(error, event):
    work = Work(error)
    (line,) = watch(work, for_s=1000)
    assert line["event"] == event
    assert line["exc_info"] is True
    assert len(work.calls) == 2


def test_work_that_never_waits_does_not_keep_the_others_from_running():
    loop, turns = VirtualLoop(), []

    async def idle():
        turns.append("idle")

    async def other():
        for _ in range(3):
            await asyncio.sleep(0)
        turns.append("other")

    async def main():
        async with asyncio.TaskGroup() as group:
            busy = group.create_task(supervise("idle", idle, VirtualClock(loop), Middle()))
            await group.create_task(other())
            busy.cancel()

    loop.run_until_complete(main())
    loop.close()
    assert turns[-1] == "other" or "other" in turns


def test_a_cancellation_ends_it():
    loop = VirtualLoop()

    async def main():
        async with asyncio.TaskGroup() as group:
            task = group.create_task(supervise("link", Work(), VirtualClock(loop), Middle()))
            await asyncio.sleep(1)
            task.cancel()
        return task.cancelled()

    assert loop.run_until_complete(main())
    loop.close()
