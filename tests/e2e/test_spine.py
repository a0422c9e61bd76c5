"""A utility node limits a feeder; gateways obey over real TLS, inverters over real Modbus, in one process."""

import asyncio
import runpy
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tierline.model.control import Setpoints
from tierline.model.programs import ResponseStatus
from tierline.node.compose import prepare
from tierline.operations.serving import dispatch, registry, topology

pytestmark = pytest.mark.e2e

_SPINE = runpy.run_path(str(Path(__file__).parent.parent / "spine.py"))
Spine, OPERATOR = _SPINE["Spine"], _SPINE["OPERATOR"]


async def test_a_feeder_is_limited_and_released_and_every_member_answers_once(tmp_path):
    spine = Spine(tmp_path)
    utility = spine.utility()
    await prepare(utility)
    state = utility.serving.state
    inside = "pv_000"
    outside = next(
        point.id
        for point in state.grid.service_points
        if topology.elements_of(state, point.id) != topology.elements_of(state, inside)
    )
    lfdis = {point: spine.device(f"gw-{point}") for point in (inside, outside)}
    devices = await registry.register(
        OPERATOR, state, [registry.NewDevice(lfdi=lfdi, service_point=point) for point, lfdi in lfdis.items()]
    )
    async with utility.serving.http as http, asyncio.TaskGroup() as group:
        listener = await http.listen("127.0.0.1", 0)
        followers = []
        for device in devices:
            port = await spine.inverter(device.service_point)
            node = spine.gateway(f"gw-{device.service_point}", listener.port, port, device.pin)
            followers.append(group.create_task(node.follower.run()))
        feeder = next(iter(topology.elements_of(state, inside) & {f.id for f in state.grid.feeders}))
        await spine.until(lambda: len(state.last_seen) == 2, 120)
        record = await dispatch.create_control(
            OPERATOR,
            state,
            dispatch.Order(
                group_id=topology.find_group(state, feeder).group.id,
                setpoints=Setpoints.of({"max_lim_w_pct": Decimal(50)}),
                start=spine.clock.now() + timedelta(seconds=120),
                duration_s=180,
                reason="test",
            ),
        )

        def enabled(point):
            return spine.inverters[point].image.block(704).code("WMaxLimPctEna")

        def answers():
            return sorted(status for _, status in state.responses[record.mrid])

        await spine.until(lambda: ResponseStatus.STARTED in answers(), 240)
        assert enabled(inside) == 1
        assert spine.inverters[inside].image.block(704).value("WMaxLimPct") == 50
        assert enabled(outside) == 0
        await spine.until(lambda: ResponseStatus.COMPLETED in answers(), 300)
        await spine.until(lambda: enabled(inside) == 0, 30)
        assert answers() == [1, 2, 3]
        assert {der for der, _ in state.responses[record.mrid]} == {devices[0].der_id}
        await spine.until(lambda: len({key[0] for key in state.latest}) == 2, 700)
        for task in followers:
            task.cancel()
    await spine.close()
