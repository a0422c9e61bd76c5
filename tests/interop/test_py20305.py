"""A client we did not write walks our server, takes a control and answers it: py20305, in its own process, in real time."""

import asyncio
import inspect
import json
import runpy
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tierline.model.control import Setpoints
from tierline.model.programs import ResponseStatus
from tierline.model.records import DerInfoKind
from tierline.node.compose import prepare
from tierline.operations.serving import dispatch, registry, topology
from tierline.protocols.sep2.codec import parse
from tierline.protocols.sep2.hrefs import parse_path
from tierline.protocols.sep2.resources import DERCapability, MirrorUsagePoint

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


def watch(handler):
    """Note every request: method, the pattern of its path, status."""
    seen, handle = [], handler.handle

    async def later(request, answer):
        return note(request, await answer)

    def note(request, answer):
        href = parse_path(request.path)
        seen.append((request.method, request.path if href is None else href.place.value, answer.status))
        return answer

    def watched(request, now):
        answer = handle(request, now)
        return later(request, answer) if inspect.isawaitable(answer) else note(request, answer)

    handler.handle = watched
    return seen


async def test_py20305_walks_takes_a_control_answers_it_and_mirrors_its_meter(tmp_path):
    spine = Spine(tmp_path, speed=1.0, start=datetime.now(UTC))
    # 30 s is the fastest pace at which this client posts readings, whatever a server says
    utility = spine.utility(poll_rate_s=10, post_rate_s=30)
    await prepare(utility)
    state = utility.serving.state
    seen = watch(utility.serving.handler)
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
                start=spine.clock.now() + timedelta(seconds=15),
                duration_s=10,
            ),
        )
        with (tmp_path / "client.log").open("wb") as log:
            command = (sys.executable, "-m", "py20305", "-c", str(config))
            client = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, cwd=tmp_path)
            try:
                await spine.until(
                    lambda: (
                        (record.mrid in state.responses and len(state.responses[record.mrid]) >= 3)
                        or client.returncode is not None
                    ),
                    60,
                )
                await spine.until(lambda: state.latest or client.returncode is not None, 60)
            finally:
                if client.returncode is None:
                    client.terminate()
                await client.wait()
                print((tmp_path / "client.log").read_text()[-20_000:])
    walked = {place for method, place, status in seen if method == "GET" and status == 200}
    # from the entry to the control, with the PIN on the way
    assert {"/dcap", "/edev", "/edev/{der}/rg", "/edev/{der}/fsa", "/edev/{der}/fsa/{fsa}/derp"} <= walked
    assert {"/derp/{program}/derc", "/mup/{mup}"} <= walked
    assert sorted(status for _, status in state.responses[record.mrid]) == [
        ResponseStatus.RECEIVED,
        ResponseStatus.STARTED,
        ResponseStatus.COMPLETED,
    ]
    assert {der for der, _ in state.responses[record.mrid]} == {device.der_id}
    capability = parse(state.infos[device.der_id, DerInfoKind.CAPABILITY].document, DERCapability)
    assert capability.rtg_max_w.value > 0
    (mirror,) = state.mirrors.values()
    meters = parse(mirror.document, MirrorUsagePoint).mirror_meter_readings
    assert {38, 33} <= {meter.reading_type.uom for meter in meters}
    assert {point for _, point, _ in state.latest} >= {"w", "hz"}
    # what was not there yet may be looked for; nothing that was sent was refused
    assert [line for line in seen if line[0] != "GET" and line[2] >= 400] == []
    await spine.close()
