import asyncio
import os
import sys

import pytest

from tierline.env import RealProcess
from tierline.model.errors import ConfigError
from tierline.scenario.processes import Processes

SLEEP = "import time; time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
FAIL = "import sys; print('it went wrong'); sys.exit(3)"


def processes(tmp_path):
    return Processes(RealProcess(), (sys.executable, "-c"), tmp_path)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_process_runs_until_it_is_stopped(tmp_path):
    started = processes(tmp_path)
    await started.start("one", [SLEEP])
    pid = started.pids["one"]
    assert is_alive(pid)
    await started.stop()
    assert not is_alive(pid)
    assert started.pids == {}


async def test_a_killed_process_may_be_started_again_without_alarm(tmp_path):
    started = processes(tmp_path)
    watching = asyncio.create_task(started.watch())
    await started.start("one", [SLEEP])
    first = started.pids["one"]
    await started.kill("one")
    await started.start("one", [SLEEP])
    await asyncio.sleep(0.05)
    assert started.pids["one"] != first
    assert not watching.done()
    await started.stop("one")
    watching.cancel()


async def test_a_process_that_ends_by_itself_is_an_alarm_with_the_end_of_its_log(tmp_path):
    started = processes(tmp_path)
    await started.start("one", [FAIL])
    with pytest.raises(ExceptionGroup) as failures:
        async with asyncio.timeout(20):
            await started.watch()
    (failure,) = failures.value.exceptions
    assert isinstance(failure, ConfigError)
    assert "the process one ended with status 3" in str(failure)
    assert "it went wrong" in str(failure)


async def test_a_process_that_does_not_hear_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("tierline.scenario.processes._GRACE_S", 0.2)
    started = processes(tmp_path)
    await started.start("one", [DEAF])
    while "deaf" not in started.log("one").read_text():  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    pid = started.pids["one"]
    await started.stop()
    assert not is_alive(pid)


async def test_a_process_may_run_to_its_end(tmp_path):
    started = processes(tmp_path)
    await started.run_to_end("one", ["print('done')"])
    assert started.log("one").read_text() == "done\n"
    with pytest.raises(ConfigError, match="status 3"):
        await started.run_to_end("two", [FAIL])


async def test_stopping_what_does_not_run_is_nothing(tmp_path):
    await processes(tmp_path).stop("one")
