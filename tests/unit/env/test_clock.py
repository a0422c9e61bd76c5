import asyncio
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tierline.env import RealClock
from tierline.env import clock as clock_module

T0 = datetime(2026, 6, 1, tzinfo=UTC)


def test_civil_time_runs_speed_times_as_fast_as_the_wall():
    clock = RealClock(T0, time.monotonic() - 2, speed=60)
    assert timedelta(seconds=120) <= clock.now() - T0 < timedelta(seconds=150)


def test_two_processes_with_the_same_three_numbers_show_the_same_time():
    m0 = time.monotonic()
    one, other = RealClock(T0, m0, 10), RealClock(T0.astimezone(timezone(timedelta(hours=2))), m0, 10)
    before, between, after = one.now(), other.now(), one.now()
    assert before <= between <= after
    assert between.utcoffset() == timedelta(0)


def test_the_deadline_clock_is_not_scaled():
    clock = RealClock.of_this_machine(speed=1000)
    assert abs(clock.deadline() - time.monotonic()) < 0.1


def test_a_clock_of_this_machine_shows_civil_time_or_the_start_it_is_given():
    assert abs(RealClock.of_this_machine().now() - datetime.now(UTC)) < timedelta(seconds=1)
    assert RealClock.of_this_machine(t0=T0).now() - T0 < timedelta(seconds=1)


def test_a_sleep_is_shortened_by_the_speed():
    clock = RealClock.of_this_machine(speed=36_000)
    began = time.monotonic()
    asyncio.run(clock.sleep(3600))
    assert 0.1 <= time.monotonic() - began < 0.5


def test_a_civil_time_is_never_reached_early():
    clock = RealClock.of_this_machine(speed=1000)

    async def many():
        for _ in range(10):
            when = clock.now() + timedelta(seconds=3)
            await clock.sleep_until(when)
            assert clock.now() >= when

    asyncio.run(many())


def test_a_past_time_is_not_waited_for():
    clock = RealClock.of_this_machine()
    began = time.monotonic()
    asyncio.run(clock.sleep_until(clock.now() - timedelta(days=1)))
    assert time.monotonic() - began < 0.1


def test_a_long_sleep_is_cut_into_naps(monkeypatch):
    monkeypatch.setattr(clock_module, "LONGEST_NAP_S", 0.01)
    naps = []
    real_sleep = asyncio.sleep

    async def counting(seconds):
        naps.append(seconds)
        await real_sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", counting)
    asyncio.run(RealClock.of_this_machine().sleep(0.05))
    assert len(naps) > 3
    assert max(naps) <= 0.01


def test_a_rounded_microsecond_is_waited_out(monkeypatch):
    clock = RealClock(T0, time.monotonic() - 10)
    shown = [T0 + timedelta(seconds=1), T0 + timedelta(seconds=1, microseconds=-1)]
    monkeypatch.setattr(clock, "now", shown.pop)
    asyncio.run(clock.sleep_until(T0 + timedelta(seconds=1)))
    assert shown == []


def test_a_start_without_time_zone_is_refused():
    with pytest.raises(ValueError, match="no time zone"):
        RealClock(datetime(2026, 1, 1), 0.0)  # noqa: DTZ001


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
def test_a_clock_that_stands_still_or_runs_backwards_is_refused(speed):
    with pytest.raises(ValueError, match="not positive"):
        RealClock(T0, 0.0, speed)
