import asyncio
import os
import runpy
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tierline.model.errors import ConfigError
from tierline.node import run
from tierline.node.run import check_files, run_files

SPINE = runpy.run_path(str(Path(__file__).parents[2] / "spine.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nodes")
    spine = SPINE["Spine"](folder)
    (folder / "utility.toml").write_text(
        spine.common("utility", 4, "utility")
        + '[identity]\npen = 1\n[serve.sep2]\nlisten = ["127.0.0.1:0"]\n[operator]\nlisten = "127.0.0.1:0"\n'
    )
    (folder / "gateway.toml").write_text(
        '[node]\nname = "gw"\nlevel = 2\nparty = "p"\n[[south]]\nprotocol = "sunspec"\naddress = "127.0.0.1:1"\n'
    )
    return folder


async def stopped(paths, console=None, *, by=signal.SIGTERM):
    """Run nodes until they are ready, then send ourselves a signal."""

    async def stop():
        async with asyncio.timeout(10):
            while not any(line["event"] == "ready" for line in logs):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        os.kill(os.getpid(), by)

    with capture_logs() as logs:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(stop())
            await run_files(paths, console)
    return logs


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
async def test_nodes_run_until_they_are_told_to_stop(folder, by):
    logs = await stopped([folder / "utility.toml", folder / "gateway.toml"], by=by)
    (ready,) = [line for line in logs if line["event"] == "ready"]
    assert ready["nodes"] == ["utility", "gw"]
    assert any(line["event"] == "stopping" for line in logs)
    databases = [folder / "state" / "tierline.db"]
    assert [path for path in databases if path.exists()] == databases


async def test_what_is_simulated_runs_until_it_is_told_to_stop(tmp_path):
    small = runpy.run_path(str(Path(__file__).parent / "test_field.py"))
    (tmp_path / "small.json").write_text(small["GRID"])
    (tmp_path / "small.toml").write_text(small["PLANT"])
    plant = tmp_path / "plant.toml"
    plant.write_text(
        '[node]\nname = "plant"\nlevel = 1\nparty = "owners"\nstate = "."\n[field]\nscenario = "./small.toml"\nports = [0, 0]\n'
    )
    logs = await stopped([plant])
    assert [line["fields"] for line in logs if line["event"] == "ready"] == [1]


def test_who_simulates_nothing_imports_no_arrays():
    script = "import sys, tierline.node.run; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


async def test_a_console_is_added_where_an_operator_part_stands(folder):
    served = []

    async def console(node):
        served.append(node.name)
        await asyncio.Event().wait()

    await stopped([folder / "utility.toml", folder / "gateway.toml"], console)
    assert served == ["utility"]


async def test_a_relay_tries_its_server_as_long_as_it_runs(folder):
    north = '[[north]]\nprotocol = "sep2"\nchannel = "up"\nparty = "p"\nserver = "https://127.0.0.1:1/dcap"\nuse = "relay"\n'
    (folder / "relay.toml").write_text((folder / "utility.toml").read_text() + north)
    waiting = []

    async def console(node):
        waiting.append(node.relaying.unwalked())
        await asyncio.Event().wait()

    await stopped([folder / "relay.toml"], console)
    assert waiting == [["up"]]


async def test_an_address_that_is_taken_is_told_as_it_is(folder):
    blocker = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = blocker.sockets[0].getsockname()[1]
    text = (folder / "utility.toml").read_text().replace('listen = ["127.0.0.1:0"]', f'listen = ["127.0.0.1:{port}"]')
    (folder / "taken.toml").write_text(text)
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1 port {port}"):
        await run_files([folder / "taken.toml"])
    blocker.close()
    await blocker.wait_closed()


async def test_the_same_node_does_not_run_twice(folder):
    with pytest.raises(ConfigError, match="this node runs already"):
        await run_files([folder / "gateway.toml", folder / "gateway.toml"])


async def test_old_records_are_dropped_day_by_day(folder, monkeypatch):
    asked = []

    async def forget_old(principal, serving, retention):
        asked.append((principal.name, retention.readings, retention.controls))

    async def forget_posted(store, before):
        asked.append(before)

    monkeypatch.setattr(run, "forget_old", forget_old)
    monkeypatch.setattr(run, "forget_posted", forget_posted)
    await stopped([folder / "utility.toml", folder / "gateway.toml"])
    assert ("utility", timedelta(days=30), timedelta(days=400)) in asked
    assert len(asked) == 2


def test_files_are_checked_without_running_them(folder):
    assert [config.node.name for config in check_files([folder / "utility.toml"])] == ["utility"]
    with pytest.raises(ConfigError, match="cannot be read"):
        check_files([folder / "none.toml"])
