import asyncio
import sys

from tierline.env import run


async def name_of_the_loop():
    return type(asyncio.get_running_loop()).__module__


def test_uvloop_runs_it_where_installed():
    assert run(name_of_the_loop()).startswith("uvloop")


def test_asyncio_runs_it_elsewhere(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert run(name_of_the_loop()).startswith("asyncio")
