"""A node that serves over a store in memory, with a clock that stands still until it is moved."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import pytest

from tierline.console.api.app import make_app
from tierline.env import SeededRandom
from tierline.model.control import Setpoints
from tierline.model.identity import Lfdi, Mrid, PartyId
from tierline.model.parties import Principal, Role
from tierline.model.programs import ResponseStatus
from tierline.model.telemetry import Reading
from tierline.model.topology import Feeder, Grid, Line, Node, ServicePoint, Source, Switch, SwitchKind, Transformer
from tierline.node.health import Health
from tierline.operations.serving import dispatch, registry, telemetry, tokens, topology
from tierline.operations.serving.state import Serving
from tierline.storage.memory import MemoryStore

NOON = datetime(2026, 6, 18, 12, 0, tzinfo=UTC)
UTILITY = PartyId("utility")
OPERATOR = Principal(party=UTILITY, role=Role.OPERATOR, name="ada")
LFDIS = {f"pv-{number}": Lfdi(f"{number:02X}" * 20) for number in range(1, 5)}


class FakeClock:
    """Stands still until it is told otherwise."""

    def __init__(self, now=NOON):
        self.time = now

    def now(self):
        return self.time

    def deadline(self):
        return 0.0

    async def sleep(self, civil_s):
        self.time += timedelta(seconds=civil_s)

    async def sleep_until(self, when):
        self.time = max(self.time, when)

    def move(self, **parts):
        self.time += timedelta(**parts)


class FakeFiles:
    """Files in a dictionary."""

    def __init__(self):
        self.content = {}
        self.modes = {}

    def write(self, path, data, *, mode=0o644):
        self.content[path], self.modes[path] = data, mode


def small_grid():
    """Two feeders with two PV units each; switch 3 ties them, switch 2 opens the second one's middle."""
    line = {"length_km": Decimal(1), "r_ohm_per_km": Decimal("0.1"), "x_ohm_per_km": Decimal("0.1"),
            "c_nf_per_km": Decimal(0), "i_max_a": Decimal(300)}  # fmt: skip
    kv = {"kv": Decimal(20)}
    return Grid(
        name="two feeders",
        source="made for tests",
        licence="Apache-2.0",
        nodes=(
            Node(id="hv", kv=Decimal(110)),
            *(Node(id=name, **kv) for name in ("bus", "a1", "a2", "b1", "b2")),
        ),
        lines=(
            Line(id="la1", from_node="bus", to_node="a1", **line),
            Line(id="la2", from_node="a1", to_node="a2", **line),
            Line(id="lb1", from_node="bus", to_node="b1", **line),
            Line(id="lb2", from_node="b1", to_node="b2", **line),
            Line(id="tie", from_node="a2", to_node="b2", **line),
        ),
        transformers=(
            Transformer(
                id="sub-1",
                hv_node="hv",
                lv_node="bus",
                sn_mva=Decimal(25),
                hv_kv=Decimal(110),
                lv_kv=Decimal(20),
                vk_percent=Decimal(11),
                vkr_percent=Decimal("0.3"),
            ),
        ),
        sources=(Source(id="up", node="hv"),),
        switches=(
            Switch(id=1, node="bus", element="la1", kind=SwitchKind.BREAKER, closed=True),
            Switch(id=2, node="b1", element="lb2", kind=SwitchKind.SECTIONALISER, closed=True),
            Switch(id=3, node="a2", element="tie", kind=SwitchKind.TIE, closed=False, normally_open=True),
        ),
        service_points=tuple(
            ServicePoint(id=f"pv-{number}", node=node, p_w=Decimal(10_000 * number))
            for number, node in enumerate(("a1", "a2", "b1", "b2"), 1)
        ),
        feeders=(
            Feeder(id="feeder-1", transformer="sub-1", node="bus", branch="la1", breaker=1),
            Feeder(id="feeder-2", transformer="sub-1", node="bus", branch="lb1"),
        ),
    )


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def files():
    return FakeFiles()


@pytest.fixture
def operator():
    return OPERATOR


@pytest.fixture
async def serving(clock, operator):
    """Four PV units on two feeders: pv-1 and pv-2 on feeder-1, pv-3 and pv-4 on feeder-2; pv-4 has no certificate."""
    state = Serving(
        party=UTILITY, store=MemoryStore(), clock=clock, random=SeededRandom(7), pen=37244, grid=small_grid()
    )
    state.load()
    await topology.adopt_grid(operator, state)
    new = [
        registry.NewDevice(lfdi=LFDIS[name] if name != "pv-4" else None, service_point=name, pin=111115)
        for name in LFDIS
    ]
    await registry.register(operator, state, new)
    return state


@pytest.fixture
def der(serving):
    """Give the record of the DER at a service point."""
    return lambda point: registry.find_device(serving, point)


@pytest.fixture
def send(serving, operator):
    """Create a control: `await send("feeder-1", start=clock.now(), max_lim_w_pct=Decimal(50))`."""

    async def create(group, *, start, duration_s=900, reason="", ramp_time_s=None, **setpoints):
        record = topology.find_group(serving, group)
        order = dispatch.Order(
            group_id=record.group.id,
            setpoints=Setpoints.of(setpoints),
            start=start,
            duration_s=duration_s,
            ramp_time_s=ramp_time_s,
            reason=reason,
        )
        return (await dispatch.create_control(operator, serving, order)).control

    return create


@pytest.fixture
def respond(serving, der, clock):
    """Answer an event as a DER: `await respond("pv-1", control.mrid, 2)`."""

    async def answer(point, mrid, status):
        device = der(point)
        lfdi = serving.lfdi_of[device.der_id]
        who = Principal(party=UTILITY, role=Role.DEVICE, name=lfdi, lfdi=lfdi)
        await telemetry.record_response(who, serving, device.der_id, mrid, ResponseStatus(status), clock.now())

    return answer


@pytest.fixture
def measure(serving, der, clock):
    """Report a reading as a DER: `await measure("pv-1", "w", 7000)`."""

    async def report(point, name, value):
        device = der(point)
        lfdi = serving.lfdi_of[device.der_id]
        who = Principal(party=UTILITY, role=Role.DEVICE, name=lfdi, lfdi=lfdi)
        reading = Reading(der_id=device.der_id, point=name, value=value, power_of_ten=0, time=clock.now())
        await telemetry.record_readings(who, serving, device.der_id, [(Mrid(f"{int(point[-1]):032X}"), reading)])

    return report


@pytest.fixture
async def token(serving, files):
    await tokens.ensure_token(serving, files, "state/operator.token")
    return files.content["state/operator.token"].decode().strip()


@pytest.fixture
def health(serving):
    return Health(name="utility", level=4, serving=serving, speed=60.0, poll_s=600)


@pytest.fixture
def app(health):
    return make_app(health)


@pytest.fixture
async def api(app, token):
    """The operator's browser or program."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://node", headers={"Authorization": f"Bearer {token}"}
    ) as client:
        yield client
