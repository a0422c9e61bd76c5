"""An inverter that takes four points: what it does not keep is refused of that control alone, and nothing waits for it."""

import asyncio
import runpy
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tierline.env import SeededRandom
from tierline.model.control import Curve, CurvePoint, Reference, Setpoints
from tierline.model.identity import Mrid
from tierline.node.compose import prepare
from tierline.node.owner import Desk
from tierline.operations.serving import dispatch, programs, registry, topology
from tierline.protocols.sunspec.modbus import ModbusFault

pytestmark = pytest.mark.e2e

_SPINE = runpy.run_path(str(Path(__file__).parent.parent / "spine.py"))
Spine, OPERATOR = _SPINE["Spine"], _SPINE["OPERATOR"]
POINT = "pv_000"
POLL_S = 60


def curve(*points, number=1):
    return Curve(
        mrid=Mrid(f"{number:032X}"),
        points=tuple(CurvePoint(x=Decimal(x), y=Decimal(y)) for x, y in points),
        y_reference=Reference.SET_MAX_VAR,
    )


FOUR = curve((92, 44), (98, 0), (102, 0), (108, -44))
EIGHT = curve((90, 44), (92, 40), (94, 30), (98, 0), (102, 0), (106, -30), (108, -40), (110, -44), number=2)


class Site:
    """A utility and one gateway, its inverter in this process."""

    def __init__(self, folder):
        self.spine = Spine(folder)
        self.utility = self.spine.utility(poll_rate_s=POLL_S)
        self.state = self.utility.serving.state
        self.gateway = None

    @asynccontextmanager
    async def running(self, **inverter):
        await prepare(self.utility)
        lfdi = self.spine.device("gw")
        (device,) = await registry.register(OPERATOR, self.state, [registry.NewDevice(lfdi=lfdi, service_point=POINT)])
        port = await self.spine.inverter(POINT, **inverter)
        async with self.utility.serving.http as http, asyncio.TaskGroup() as group:
            listener = await http.listen("127.0.0.1", 0)
            self.gateway = self.spine.gateway("gw", listener.port, port, device.pin)
            following = group.create_task(self.gateway.follower.run())
            await self.spine.until(lambda: self.state.last_seen, 120)
            try:
                yield self
            finally:
                following.cancel()
                await self.spine.close()

    @property
    def image(self):
        return self.spine.inverters[POINT].image

    @property
    def group_id(self):
        (feeder, *_) = sorted(topology.elements_of(self.state, POINT) & {f.id for f in self.state.grid.feeders})
        return topology.find_group(self.state, feeder).group.id

    async def reasons(self):
        return {entry["function"]: entry["reason"] for entry in (await self.explained())["explanation"]}

    async def send(self, *, duration_s=3600, **setpoints):
        order = dispatch.Order(
            group_id=self.group_id,
            setpoints=Setpoints.of(setpoints),
            start=self.spine.clock.now(),
            duration_s=duration_s,
            reason="test",
        )
        return (await dispatch.create_control(OPERATOR, self.state, order)).mrid

    def answers(self, mrid):
        return sorted(int(status) for _, status in self.state.responses.get(mrid, ()))

    async def explained(self):
        desk = Desk(self.gateway.follower, self.gateway.store, self.spine.clock, SeededRandom(1), 0, None)
        return desk._explain(self.gateway.follower.obey)


async def test_a_curve_with_too_many_points_is_refused_within_a_poll_and_the_limit_beside_it_is_written(tmp_path):
    site = Site(tmp_path)
    async with site.running(curve_points=4):
        sent_at = site.spine.clock.now()
        with capture_logs() as logs:
            limit = await site.send(max_lim_w_pct=Decimal(50))
            long = await site.send(volt_var=EIGHT)
            await site.spine.until(lambda: site.answers(long) and 2 in site.answers(limit), 3 * POLL_S)
        assert site.answers(long) == [252]
        assert (site.spine.clock.now() - sent_at) < timedelta(seconds=2 * POLL_S)
        assert site.image.block(704).value("WMaxLimPct") == 50
        assert site.image.block(705).code("Ena") == 0
        assert [line["event"] for line in logs if line["event"] in {"write_failed", "refused_by_device"}] == []
        (told,) = (await site.explained())["refused"]
        assert (told["mrid"], told["why"]) == (long, "volt_var has 8 points; the device takes at most 4")

        short = await site.send(volt_var=FOUR)
        tighter = await site.send(max_lim_w_pct=Decimal(30))
        await site.spine.until(lambda: 2 in site.answers(short) and 2 in site.answers(tighter), 3 * POLL_S)
        assert site.image.block(704).value("WMaxLimPct") == 30
        assert site.image.block(705).code("Ena") == 1


async def test_a_default_with_too_many_points_is_left_out_and_the_rest_of_it_is_kept(tmp_path):
    site = Site(tmp_path)
    async with site.running(curve_points=4):
        default = Setpoints.of({"volt_var": EIGHT, "max_lim_w_pct": Decimal(70)})
        await programs.set_default(OPERATOR, site.state, site.group_id, default)
        await site.spine.until(lambda: site.image.block(704).code("WMaxLimPctEna") == 1, 3 * POLL_S)
        assert site.image.block(704).value("WMaxLimPct") == 70
        assert site.image.block(705).code("Ena") == 0
        async with asyncio.timeout(10):  # what is explained is kept after the register was written and read back
            while "volt_var" not in (reasons := await site.reasons()):  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.02)
        assert reasons["volt_var"] == "volt_var has 8 points; the device takes at most 4"


async def test_what_the_device_declines_only_at_the_write_is_given_up_alone(tmp_path):
    site = Site(tmp_path)
    async with site.running():
        model = site.image.models[704]
        locked = model.address + model.layout.place("WSetPct").offset
        inverter, taken = site.spine.inverters[POINT], site.spine.inverters[POINT].write

        def write(address, data):
            if address <= locked < address + len(data) // 2:
                raise ModbusFault(3)
            taken(address, data)

        inverter.write = write
        limit = await site.send(max_lim_w_pct=Decimal(50))
        level = await site.send(fixed_w_pct=Decimal(20))
        both = await site.send(volt_var=FOUR)
        await site.spine.until(lambda: 2 in site.answers(limit) and 2 in site.answers(both), 3 * POLL_S)
        await site.spine.until(lambda: 252 in site.answers(level), 2 * POLL_S)
        assert site.answers(level) == [1, 252]
        assert site.image.block(704).value("WMaxLimPct") == 50
        assert site.image.block(705).code("Ena") == 1
        assert site.image.block(704).code("WSetEna") == 0
        (told,) = (await site.explained())["refused"]
        assert told["mrid"] == level
        assert told["why"].startswith("the device refused it: 127.0.0.1:")
