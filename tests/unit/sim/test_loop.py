import asyncio
import time
from datetime import timedelta

import pytest

from tierline.sim.loop import START, DeadlockError, VirtualClock, VirtualLoop, _where


@pytest.fixture
def loop():
    virtual = VirtualLoop()
    yield virtual
    virtual.close()


def test_a_day_of_sleeps_takes_well_under_a_second(loop):
    async def tick():
        for _ in range(24 * 60):
            await asyncio.sleep(60)

    began = time.perf_counter()
    loop.run_until_complete(tick())
    assert loop.time() == pytest.approx(86_400)
    assert time.perf_counter() - began < 0.9


def test_a_sleep_longer_than_asyncios_longest_wait_ends_on_time(loop):
    loop.run_until_complete(asyncio.sleep(40 * 86_400))
    assert loop.time() == 40 * 86_400


def test_timers_fire_in_the_order_of_their_times(loop):
    fired = []

    async def one(delay):
        await asyncio.sleep(delay)
        fired.append((delay, loop.time()))

    async def every():
        async with asyncio.TaskGroup() as group:
            for delay in (3, 1, 2):
                group.create_task(one(delay))

    loop.run_until_complete(every())
    assert fired == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_a_deadlock_names_the_tasks_that_wait(loop):
    async def wait_for_godot():
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match=r"virtual second 0.000000(.|\n)*wait_for_godot"):
        loop.run_until_complete(wait_for_godot())
    _cancel_all(loop)


def test_a_deadlock_without_tasks_is_reported_too(loop):
    with pytest.raises(DeadlockError, match="no task at all"):
        loop.run_until_complete(loop.create_future())


def test_a_deadlock_says_where_a_task_that_waits_stands(loop):
    async def outer():
        await inner()

    async def inner():
        await asyncio.Event().wait()

    task = loop.create_task(outer(), name="stuck")
    with pytest.raises(DeadlockError, match=r"stuck at .*test_loop.py"):
        loop.run_until_complete(loop.create_future())
    assert not task.done()
    _cancel_all(loop)


def test_a_task_that_has_ended_is_nowhere(loop):
    async def nothing():
        pass

    task = loop.create_task(nothing())
    loop.run_until_complete(task)
    assert _where(task) == "no line"


def test_there_is_no_second_thread_and_no_socket(loop):
    with pytest.raises(RuntimeError, match="no second thread"):
        loop.call_soon_threadsafe(print)
    with pytest.raises(NotImplementedError):
        loop.add_reader(0, print)


def test_a_task_group_cancels_its_children_in_the_order_they_were_made(loop):
    cancelled = []

    async def child(n):
        try:
            await asyncio.sleep(10)
        finally:
            cancelled.append(n)

    async def fail():
        await asyncio.sleep(1)
        raise ValueError

    async def main():
        async with asyncio.TaskGroup() as group:
            for n in range(50):
                group.create_task(child(n))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup):
        loop.run_until_complete(main())
    assert cancelled == list(range(50))


def test_every_task_is_noticed(loop):
    noticed = []
    loop.on_task(noticed.append)
    loop.run_until_complete(asyncio.sleep(1))
    assert len(noticed) == 1
    assert noticed[0] == noticed[0]
    assert noticed[0] != object()


def test_the_civil_clock_shows_start_skew_and_elapsed_time(loop):
    clock = VirtualClock(loop, skew=timedelta(seconds=-5))
    loop.run_until_complete(clock.sleep(10))
    assert clock.now() == START + timedelta(seconds=5)
    assert clock.deadline() == 10


def test_sleeping_until_a_past_time_returns_at_once(loop):
    clock = VirtualClock(loop)
    loop.run_until_complete(clock.sleep_until(START - timedelta(days=1)))
    assert clock.deadline() == 0


@pytest.mark.parametrize(("jump_s", "woken_at_s"), [(0, 100), (30, 70), (-30, 130), (3600, 10)])
def test_a_jump_moves_the_moment_a_civil_time_is_reached(loop, jump_s, woken_at_s):
    clock = VirtualClock(loop)
    loop.call_later(10, lambda: clock.jump(timedelta(seconds=jump_s)))
    loop.run_until_complete(clock.sleep_until(START + timedelta(seconds=100)))
    assert clock.deadline() == woken_at_s


def test_a_jump_does_not_disturb_a_sleep_of_so_many_seconds(loop):
    clock = VirtualClock(loop)
    loop.call_later(10, lambda: clock.jump(timedelta(hours=1)))
    loop.run_until_complete(clock.sleep(100))
    assert clock.deadline() == 100


def test_a_jump_at_the_moment_of_waking_is_harmless(loop):
    clock = VirtualClock(loop)

    def jump_twice():
        clock.jump(timedelta(hours=1))
        clock.jump(timedelta(hours=1))

    loop.call_later(10, jump_twice)
    loop.run_until_complete(clock.sleep_until(START + timedelta(seconds=100)))
    assert clock.deadline() == 10


def test_a_civil_time_is_never_reached_early(loop):
    clock = VirtualClock(loop, skew=timedelta(microseconds=1))

    async def many():
        for n in range(1, 500):
            when = START + timedelta(seconds=n * 7.3, microseconds=n)
            await clock.sleep_until(when)
            assert clock.now() == when

    loop.run_until_complete(many())


def _cancel_all(loop):
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
