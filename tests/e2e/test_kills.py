"""A few kills of a utility under load; `make soak` makes fifty."""

import asyncio
import runpy
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
KILLS = runpy.run_path(str(TESTS / "kills.py"))
Spine = runpy.run_path(str(TESTS / "spine.py"))["Spine"]

pytestmark = pytest.mark.e2e


async def test_a_killed_utility_has_all_that_it_acknowledged_and_nothing_twice(tmp_path):
    async with asyncio.timeout(120):
        utility = await KILLS["kill_under_load"](Spine(tmp_path, speed=1.0), tmp_path, 3, seed=7)
    said = utility.acknowledged
    assert said.responses
    assert said.readings
    assert said.controls
    assert said.cancelled
    assert set(said.mirrors) == set(said.statuses) == {device.der_id for device in utility.devices}
