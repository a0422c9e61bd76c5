"""A client we did not write walks our server, takes a control and answers it: py20305, in its own process, in real time."""

import asyncio
import json
import runpy
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tierline.model.control import Setpoints
from tierline.model.programs import ResponseStatus
from tierline.node.compose import prepare
from tierline.operations.serving import dispatch, registry, topology

pytestmark = [pytest.mark.interop, pytest.mark.e2e]

_SPINE = runpy.run_path(str(Path(__file__).parent.parent / "spine.py"))
Spine, OPERATOR = _SPINE["Spine"], _SPINE["OPERATOR"]


def client_config(folder, port, lfdi, pin):
    return {
        "server": {"url": f"https://127.0.0.1:{port}"},
        "tls": {
            "client_cert": f"{folder}/foreign.pem",
            "client_key": f"{folder}/foreign.key",
            "ca_cert": f"{folder}/root.pem",
            "check_hostname": False,
        },
        "devices": [{"type": "print_demo", "lfdi": lfdi}],
        "registration_pins": {lfdi: pin},
        "register_on_start": False,
        "history": {"enabled": False},
    }


async def test_py20305_walks_takes_a_control_and_posts_its_responses(tmp_path):
    spine = Spine(tmp_path, speed=1.0, start=datetime.now(UTC))
    utility = spine.utility(poll_rate_s=10)
    await prepare(utility)
    state = utility.serving.state
    lfdi = spine.device("foreign")
    (device,) = await registry.register(OPERATOR, state, [registry.NewDevice(lfdi=lfdi, service_point="pv_000")])
    feeder = next(iter(topology.elements_of(state, "pv_000") & {f.id for f in state.grid.feeders}))
    async with utility.serving.http as http:
        listener = await http.listen("127.0.0.1", 0)
        config = tmp_path / "client.json"
        config.write_text(json.dumps(client_config(tmp_path, listener.port, lfdi, device.pin)))
        record = await dispatch.create_control(
            OPERATOR,
            state,
            dispatch.Order(
                group_id=topology.find_group(state, feeder).group.id,
                setpoints=Setpoints.of({"max_lim_w_pct": Decimal(50)}),
                start=spine.clock.now() + timedelta(seconds=12),
                duration_s=10,
            ),
        )
        client = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "py20305",
            "-c",
            str(config),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=tmp_path,
        )

        def answers():
            return sorted(status for _, status in state.responses[record.mrid])

        try:
            await spine.until(lambda: ResponseStatus.COMPLETED in answers(), 60)
            await spine.until(lambda: state.mirrors and state.latest, 30)
        finally:
            if client.returncode is None:
                client.terminate()
            said = (await client.communicate())[0].decode()
            print(said)
        assert answers() == [1, 2, 3]
        assert (device.der_id, "dercap") in {(der, kind.value) for der, kind in state.infos}
    await spine.close()
