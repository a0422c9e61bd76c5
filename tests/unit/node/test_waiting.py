import asyncio
from datetime import timedelta

import pytest

from tierline.node.waiting import within
from tierline.sim.loop import VirtualClock, VirtualLoop


@pytest.fixture
def run():
    """Run a test under virtual time: `run(lambda clock: ...)`."""
    loop = VirtualLoop()
    clock = VirtualClock(loop)
    yield lambda work: loop.run_until_complete(work(clock))
    loop.close()


async def soon(value, after_s):
    await asyncio.sleep(after_s)
    return value


def test_what_comes_in_time_is_given(run):
    async def work(clock):
        began = clock.now()
        assert await within(clock, began + timedelta(seconds=9), soon("x", 5)) == "x"
        assert clock.now() == began + timedelta(seconds=5)

    run(work)


def test_when_the_time_comes_first_it_is_none_and_the_wait_is_over(run):
    async def work(clock):
        began, event = clock.now(), asyncio.Event()
        assert await within(clock, began + timedelta(seconds=5), event.wait()) is None
        assert clock.now() == began + timedelta(seconds=5)

    run(work)


def test_without_a_time_it_waits_for_ever(run):
    async def work(clock):
        assert await within(clock, None, soon("x", 10**6)) == "x"

    run(work)


def test_a_time_that_is_past_ends_the_wait_at_once(run):
    async def work(clock):
        began = clock.now()
        assert await within(clock, began - timedelta(days=1), asyncio.Event().wait()) is None
        assert clock.now() == began

    run(work)


def test_a_cancellation_at_the_very_moment_is_not_swallowed(run):
    """Else a node that is told to stop at that moment would go on."""

    async def work(clock):
        for after_s in (4, 5, 6):
            waiting = asyncio.get_running_loop().create_task(forever(clock))
            await asyncio.sleep(after_s)
            waiting.cancel()
            await asyncio.wait([waiting], timeout=60)
            assert waiting.cancelled(), after_s

    async def forever(clock):
        while True:
            await within(clock, clock.now() + timedelta(seconds=5), asyncio.Event().wait())

    run(work)


def test_a_deadline_of_what_is_waited_for_is_told_from_ours(run):
    async def late():
        async with asyncio.timeout(1):
            await asyncio.sleep(10)

    async def work(clock):
        with pytest.raises(ExceptionGroup) as caught:
            await within(clock, clock.now() + timedelta(seconds=5), late())
        assert isinstance(caught.value.exceptions[0], TimeoutError)

    run(work)


def test_a_clock_that_is_set_forward_ends_the_wait(run):
    async def work(clock):
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(within(clock, clock.now() + timedelta(days=1), asyncio.Event().wait()))
            await asyncio.sleep(1)
            clock.jump(timedelta(days=2))
        assert waiting.result() is None
        assert asyncio.get_running_loop().time() == 1

    run(work)


def test_an_error_of_what_is_waited_for_is_not_swallowed(run):
    async def fail():
        await asyncio.sleep(1)
        raise KeyError("x")

    async def work(clock):
        with pytest.raises(ExceptionGroup) as caught:
            await within(clock, clock.now() + timedelta(days=1), fail())
        assert isinstance(caught.value.exceptions[0], KeyError)

    run(work)
