import os
import signal
import sys

import pytest

from tierline.env import RealProcess
from tierline.model.errors import ConfigError


async def test_a_program_runs_and_its_output_goes_to_the_files(tmp_path):
    out, err = tmp_path / "out", tmp_path / "err"
    program = "import os, sys; print(os.environ['A']); print('oops', file=sys.stderr); sys.exit(3)"
    running = await RealProcess().spawn(
        [sys.executable, "-c", program], env={"A": "one"}, stdout=str(out), stderr=str(err)
    )
    assert await running.wait() == 3
    assert (out.read_text(), err.read_text()) == ("one\n", "oops\n")


async def test_a_signal_reaches_the_children_of_the_program_too(tmp_path):
    out = tmp_path / "out"
    running = await RealProcess().spawn(["/bin/sh", "-c", "sleep 60 & echo $!; wait"], stdout=str(out))
    while not out.read_text().endswith("\n"):
        pass
    assert os.getpgid(running.pid) == running.pid != os.getpgid(0)
    assert os.getpgid(int(out.read_text())) == running.pid
    running.kill(signal.SIGKILL)
    assert await running.wait() == -signal.SIGKILL


async def test_a_signal_to_a_program_that_is_gone_is_harmless():
    running = await RealProcess().spawn(["/bin/true"])
    assert await running.wait() == 0
    running.kill(signal.SIGKILL)


async def test_what_cannot_be_started_or_written_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot start /no/such/program"):
        await RealProcess().spawn(["/no/such/program"])
    with pytest.raises(ConfigError, match=r"cannot write .*/no/log"):
        await RealProcess().spawn(["/bin/true"], stdout=str(tmp_path / "no" / "log"))
