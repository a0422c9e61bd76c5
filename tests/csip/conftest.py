"""Where the bench is found, and what a row is played with."""

import asyncio
import sys
from pathlib import Path

import pytest

from tierline.node import compose
from tierline.storage.sqlite import Database

sys.path.insert(0, str(Path(__file__).parent))

SPEED = 120.0
"""Civil seconds in one of the wall's."""
LONGEST_S = 120
"""Seconds of the wall after which a row is given up."""


def pytest_asyncio_loop_factories(config, item):
    """Run on the loop of the standard library."""
    return {"asyncio": asyncio.SelectorEventLoop}


@pytest.fixture
async def clock(monkeypatch):
    """Give the one clock of a row, on which every node that it composes runs."""
    from bench.clock import IdleClock

    made = IdleClock(SPEED)
    monkeypatch.setattr(compose, "clock_of", lambda _: made)
    submit = Database.submit

    def hold(database, call):
        done = submit(database, call)
        made.hold(done)
        return done

    monkeypatch.setattr(Database, "submit", hold)
    made.start()
    given_up = asyncio.get_running_loop().call_later(LONGEST_S, give_up)
    yield made
    given_up.cancel()
    made.stop()


def give_up():
    """End whatever waits for ever, and let it say where it waited."""
    for task in asyncio.all_tasks():
        task.cancel(f"this row was not over after {LONGEST_S} s")


@pytest.fixture
async def der(tmp_path, clock):
    """A DER client under test; its head-end is opened by the row."""
    from bench.der import Der

    made = Der(tmp_path, clock)
    yield made
    await made.close()


@pytest.fixture
async def agg(tmp_path, clock):
    """An aggregator under test with two DERs below it; its head-end is opened by the row."""
    from bench.agg import Aggregator

    made = Aggregator(tmp_path, clock)
    yield made
    await made.close()


@pytest.fixture
async def served(tmp_path, clock):
    """Our server under test, with one DER registered out of band."""
    from bench.served import Served

    made = Served(tmp_path, clock)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def figure(tmp_path, clock):
    """An aggregator with four DERs in a tree of five levels; nothing is polled but by those below."""
    from bench.agg import Aggregator
    from bench.figure import LADDER, Figure

    made, tree = Aggregator(tmp_path, clock, tuple(LADDER)), Figure()
    made.on_open = tree.open
    yield made, tree
    await made.close()
