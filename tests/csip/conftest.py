"""Where the bench is found, and the two sides that a row may need."""

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_asyncio_loop_factories(config, item):
    """Run on the loop of the standard library."""
    return {"asyncio": asyncio.SelectorEventLoop}


@pytest.fixture
async def der(tmp_path):
    """A DER client under test; its head-end is opened by the row."""
    from bench.der import Der

    made = Der(tmp_path)
    async with asyncio.timeout(60):
        yield made
    await made.close()


@pytest.fixture
async def served(tmp_path):
    """Our server under test, with one DER registered out of band."""
    from bench.served import Served

    made = Served(tmp_path)
    await made.open()
    async with asyncio.timeout(60):
        yield made
    await made.close()


@pytest.fixture
async def agg(tmp_path):
    """An aggregator under test with two DERs below it; its head-end is opened by the row."""
    from bench.agg import Aggregator

    made = Aggregator(tmp_path)
    async with asyncio.timeout(60):
        yield made
    await made.close()
