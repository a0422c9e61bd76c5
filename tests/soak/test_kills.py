"""Fifty kills of a utility under load: run by `make soak`."""

import asyncio
import runpy
import statistics
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
KILLS = runpy.run_path(str(TESTS / "kills.py"))
Spine = runpy.run_path(str(TESTS / "spine.py"))["Spine"]

pytestmark = pytest.mark.soak


async def test_fifty_kills_lose_nothing_that_was_acknowledged_and_double_nothing(tmp_path):
    async with asyncio.timeout(600):
        utility = await KILLS["kill_under_load"](Spine(tmp_path, speed=1.0), tmp_path, 50, seed=1)
    said = utility.acknowledged
    print(f"{len(said.responses)} Responses, {len(said.readings)} readings, {len(said.controls)} controls acknowledged")
    median_s, slowest_s = statistics.median(utility.starts_s), max(utility.starts_s)
    print(f"ready after {median_s:.1f} s in the median, {slowest_s:.1f} s at most; {max(utility.work_s):.1f} s of work")
    assert min(len(said.responses), len(said.readings), len(said.controls)) > 100
    assert median_s <= KILLS["READY_S"]
    assert max(utility.work_s) <= KILLS["READY_S"]
