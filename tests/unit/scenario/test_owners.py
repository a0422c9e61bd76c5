"""Owners at the sockets of their gateways."""

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from tierline.env import serve_local
from tierline.model.errors import ConfigError, LinkError
from tierline.scenario.owners import Owners

GATEWAY = SimpleNamespace(name="gw-1", process="gateways-1")
START = datetime(2026, 6, 18, 12, tzinfo=UTC)


async def said(folder, answer):
    """Say a limit to a gateway that answers; gives what it heard and what came of it."""
    heard = []

    async def listen(line):
        heard.append(json.loads(line))
        return json.dumps(answer).encode()

    (folder / "gateways-1").mkdir()
    path = folder / "gateways-1" / "gw-1.owner"
    serving = asyncio.create_task(serve_local(str(path), listen))
    while not path.is_socket():  # noqa: ASYNC110 - the file system tells nobody
        await asyncio.sleep(0.001)
    try:
        return heard, await Owners(folder).limit(GATEWAY, {"max_lim_w_pct": 50.0}, START, 900)
    finally:
        serving.cancel()
        await asyncio.wait([serving])


async def test_a_limit_is_said_and_its_name_comes_back(tmp_path):
    heard, mrid = await said(tmp_path, {"mrid": "AB", "state": "received"})
    assert mrid == "AB"
    assert heard == [
        {
            "do": "limit",
            "setpoints": {"max_lim_w_pct": 50.0},
            "start": "2026-06-18T12:00:00+00:00",
            "duration_s": 900,
        }
    ]


async def test_a_refusal_names_the_gateway(tmp_path):
    with pytest.raises(ConfigError, match="gw-1 refuses the limit: its time is over"):
        await said(tmp_path, {"error": "ConfigError", "says": "its time is over"})


async def test_a_gateway_that_is_away_can_be_asked_again(tmp_path):
    with pytest.raises(LinkError):
        await Owners(tmp_path).limit(GATEWAY, {}, START, 900)
