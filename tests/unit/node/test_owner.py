"""What the owner of a site may ask and order at the gateway."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from tierline.engine.arbitration import Ratings
from tierline.engine.following.obey import OWNER, Obey, ObeyRules, Persist, Persisted, Seen, WriteDone, owner_channel
from tierline.env import SeededRandom, ask_local
from tierline.model.capability import ANYTHING, Firmness, Refusal
from tierline.model.control import Control, EventStatus, FixedVar, Interval, Reference, Setpoints
from tierline.model.errors import Conflict
from tierline.model.functions import FUNCTIONS
from tierline.model.identity import ChannelId, DerId, Lfdi, Mrid, PartyId
from tierline.model.parties import Authority, Channel, ChannelMode
from tierline.model.programs import Program, ProgramsSeen
from tierline.node.config import parse_config
from tierline.node.owner import Desk, serve_owner, socket_of
from tierline.operations.following.owner_limits import program_of
from tierline.sim.loop import START, VirtualClock, VirtualLoop
from tierline.storage.memory import MemoryStore

UTILITY = Channel(id=ChannelId("utility"), party=PartyId("u"), authority=Authority.UTILITY, rank=0)
AGGREGATOR = Channel(id=ChannelId("aggregator"), party=PartyId("a"), authority=Authority.AGGREGATOR, rank=1)


def event(mrid, pct, **setpoints):
    return Control(
        mrid=Mrid(mrid),
        creation_time=START,
        interval=Interval(start=START, duration_s=600),
        setpoints=Setpoints.of({"max_lim_w_pct": Decimal(pct), **setpoints}),
    )


class Follower:
    """As far as the owner knows it."""

    def __init__(self):
        self.store = MemoryStore()
        self.obey = None
        self.refused = []
        self.declines = {}
        """What the device does not take, by function, and how."""
        self.trouble = None
        self.late_s = 0
        """Seconds that pass between the checking of a limit and its being heard."""

    def begin(self):
        rules = ObeyRules(
            der_id=DerId("d"),
            lfdi=Lfdi("AB" * 20),
            party=PartyId("owner"),
            channels=(UTILITY, AGGREGATOR, owner_channel(PartyId("owner"))),
            mode=ChannelMode.DUAL,
            supported=frozenset(FUNCTIONS),
            ratings=Ratings(set_max_w=Decimal(10_000)),
        )
        self.obey = Obey(rules, lambda low, _: low)

    def see(self, channel, *events):
        program = Program(mrid=Mrid("F"), primacy=1, controls=events)
        self.feed(Seen(walk=ProgramsSeen(channel=channel.id, programs=(program,))))

    def feed(self, happened, later_s=0):
        for effect in self.obey.handle(happened, START + timedelta(seconds=later_s)):
            if isinstance(effect, Persist):
                self.store.apply(effect.put, effect.delete)
                self.feed(Persisted(sequence=effect.sequence), later_s)
            else:
                kept = {name: value for name, value in effect.setpoints.items() if name not in self.declines}
                refused = {name: why for name, why in self.declines.items() if name in effect.setpoints}
                done = WriteDone(sequence=effect.sequence, read_back=Setpoints.of(kept), refused=refused)
                self.feed(done, later_s)

    async def opt_out(self, mrid):
        if self.trouble is not None:
            raise self.trouble
        self.refused.append(mrid)

    async def say(self, change):
        facts = type("Facts", (), {"functions": frozenset({"max_lim_w_pct", "gen_lim_w"}), "capability": ANYTHING})()
        program = change(program_of(self.obey.seen(OWNER), PartyId("owner"), DerId("d"), 9), facts)
        if self.trouble is None:
            self.feed(Seen(walk=ProgramsSeen(channel=OWNER, programs=(program,))), later_s=self.late_s)

    def waiting_responses(self):
        return 3


@pytest.fixture
def follower():
    return Follower()


class Prices:
    def told(self):
        return [{"mrid": "AB", "prices": [{"price": Decimal("0.10"), "start": START}]}]


@pytest.fixture
def ask(follower):
    loop = VirtualLoop()
    desk = Desk(follower, follower.store, VirtualClock(loop), SeededRandom(1), 9, Prices())

    def ask(question):
        line = question if isinstance(question, bytes) else json.dumps(question).encode()
        return json.loads(loop.run_until_complete(desk.answer(line)))

    yield ask
    loop.close()


def test_the_owner_sees_the_prices_that_are_followed_whether_the_device_was_found_or_not(ask):
    price = {"price": "0.10", "start": str(START)}
    assert ask({"do": "prices"}) == {"tariffs": [{"mrid": "AB", "prices": [price]}]}


def test_the_owner_sees_what_was_refused_and_why(follower, ask):
    follower.begin()
    late = replace(event("AB05", 50), interval=Interval(start=START - timedelta(seconds=60), duration_s=30))
    follower.see(UTILITY, event("AB01", 50), event("AB03", 101), late)
    found = ask({"do": "explain"})
    assert found["held_back"] == {}
    (told,) = found["refused"]
    assert (told["mrid"], told["channel"], told["answers"]) == ("AB03", "utility", [253])
    assert told["why"] == "max_lim_w_pct is 101 % of set_max_w; the most is 100"
    assert told["ends_at"] == str(START + timedelta(seconds=600))


def test_the_owner_sees_what_the_device_refuses_and_why(follower, ask):
    follower.declines = {"max_lim_w_pct": Refusal(reason="exception 3", firmness=Firmness.DECLINED)}
    follower.begin()
    follower.see(UTILITY, event("AB01", 50))
    found = ask({"do": "explain"})
    assert found["held_back"] == {"max_lim_w_pct": "exception 3"}
    assert [entry["reason"] for entry in found["explanation"]] == ["refused by the device: exception 3"]


def test_the_owner_sees_who_binds_and_what_he_may_refuse(follower, ask):
    follower.begin()
    follower.see(UTILITY, event("AB01", 50))
    follower.see(AGGREGATOR, event("AB02", 30))
    found = ask({"do": "explain"})
    assert found["setpoints"] == {"max_lim_w_pct": "30"}
    assert found["is_held"] is True
    assert found["applied_at"] == str(START)
    assert {entry["channel"]: entry["binding"] for entry in found["explanation"]} == {
        "utility": False,
        "aggregator": True,
    }
    assert [(one["mrid"], one["state"], one["may_opt_out"]) for one in found["events"]] == [
        ("AB01", "started", False),
        ("AB02", "started", True),
    ]
    assert found["events"][0]["setpoints"] == {"max_lim_w_pct": "50"}
    assert found["responses_waiting"] == 3


def test_before_anything_was_written_that_is_what_is_said(follower, ask):
    follower.begin()
    found = ask({"do": "explain"})
    assert (found["is_held"], found["applied_at"], found["setpoints"], found["events"]) == (False, None, {}, [])


def test_values_of_every_kind_can_be_told(follower, ask):
    follower.begin()
    var = FixedVar(value_pct=Decimal(5), reference=Reference.SET_MAX_VAR)
    follower.see(UTILITY, event("A", 50, fixed_var=var))
    ((told,),) = ([one["setpoints"]["fixed_var"] for one in ask({"do": "explain"})["events"]],)
    assert told["value_pct"] == "5"


def test_before_the_device_was_found_there_is_nothing_to_say(ask):
    assert ask({"do": "explain"})["error"] == "LinkError"


@pytest.mark.parametrize("name", ["AB02", "ab02", "AB02" + "0" * 28])
def test_an_event_is_refused_by_its_mrid_or_the_beginning_of_it(follower, ask, name):
    follower.begin()
    follower.see(AGGREGATOR, event("AB01" + "0" * 28, 50), event("AB02" + "0" * 28, 30))
    assert ask({"do": "opt_out", "mrid": name}) == {"mrid": "AB02" + "0" * 28, "state": "opted_out"}
    assert follower.refused == ["AB02" + "0" * 28]


def test_of_events_that_begin_alike_the_one_that_is_not_over_is_meant(follower, ask):
    follower.begin()
    gone = replace(event("AB01", 50), status=EventStatus.CANCELLED)
    follower.see(AGGREGATOR, gone, event("AB02", 30))
    assert ask({"do": "opt_out", "mrid": "AB"})["mrid"] == "AB02"
    follower.see(AGGREGATOR, gone)
    assert ask({"do": "opt_out", "mrid": "AB01"})["mrid"] == "AB01", "the follower says why not"


@pytest.mark.parametrize(("name", "says"), [("AB", "2 events begin with 'AB'"), ("C", "no event begins with 'C'")])
def test_an_event_that_cannot_be_told_from_others_is_asked_for_again(follower, ask, name, says):
    follower.begin()
    follower.see(UTILITY, event("AB01", 50))
    follower.see(AGGREGATOR, event("AB02", 30))
    found = ask({"do": "opt_out", "mrid": name})
    assert (found["error"], found["says"]) == ("Conflict", f"{says}; give more of its mRID")


def test_why_it_cannot_be_refused_is_told(follower, ask):
    follower.begin()
    follower.see(UTILITY, event("AB01", 50))
    follower.trouble = Conflict("the utility may not be refused")
    assert ask({"do": "opt_out", "mrid": "AB01"}) == {"error": "Conflict", "says": "the utility may not be refused"}


LIMIT = {"do": "limit", "setpoints": {"max_lim_w_pct": 40}, "start_in_s": 60, "duration_s": 600}


def test_the_owner_limits_his_device_for_a_time(follower, ask):
    follower.begin()
    first, second = ask(LIMIT), ask(LIMIT | {"setpoints": {"gen_lim_w": "700.5"}, "start_in_s": 0})
    assert first["mrid"].endswith("00000009")
    assert (first["state"], first["answers"], first["setpoints"]) == ("received", [1], {"max_lim_w_pct": "40"})
    assert first["starts_at"] == str(START + timedelta(seconds=60))
    assert first["ends_at"] == str(START + timedelta(seconds=660))
    assert (second["state"], second["answers"]) == ("started", [1, 2])
    assert [one["mrid"] for one in ask({"do": "limits"})["limits"]] == [second["mrid"], first["mrid"]]
    (told,) = [one for one in ask({"do": "explain"})["events"] if one["mrid"] == second["mrid"]]
    assert (told["channel"], told["may_opt_out"]) == ("owner", True)


def test_the_owner_cancels_his_limit_and_nobody_elses(follower, ask):
    follower.begin()
    follower.see(UTILITY, event("AB01", 50))
    name = ask(LIMIT)["mrid"]
    assert ask({"do": "cancel", "mrid": name[:12].lower()})["state"] == "cancelled"
    assert ask({"do": "limits"})["limits"][0]["answers"] == [1, 6]
    assert "is cancelled already" in ask({"do": "cancel", "mrid": name})["says"]
    assert ask({"do": "cancel", "mrid": "AB01"}) == {
        "error": "Conflict", "says": "no event begins with 'AB01'; give more of its mRID",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"setpoints": {"max_lim_w_pct": 150}}, "ConfigError", "the most is 100"),
        ({"setpoints": {"connect": 1}}, "ConfigError", "'connect' is no limit; use gen_lim_w, max_lim_w_pct"),
        ({"setpoints": {"imp_lim_w": 1}}, "Unsupported", "does not carry out imp_lim_w"),
        ({"start_in_s": -900}, "ConfigError", "which is over"),
        ({"duration_s": "10"}, "ConfigError", "no whole number of seconds"),
    ],
)
def test_a_limit_that_cannot_be_is_refused_and_nothing_is_kept(follower, ask, change, error, says):
    follower.begin()
    found = ask(LIMIT | change)
    assert found["error"] == error
    assert says in found["says"]
    assert ask({"do": "limits"}) == {"limits": []}


def test_a_limit_whose_time_passed_before_it_was_heard_is_no_limit(follower, ask):
    follower.begin()
    follower.late_s = 700
    assert ask(LIMIT) == {"error": "Conflict", "says": "the limit was refused with 254: its time has passed"}


def test_a_limit_that_was_forgotten_in_a_fault_is_asked_for_again(follower, ask):
    follower.begin()
    follower.trouble = "a new machine"
    assert ask(LIMIT)["error"] == "LinkError"


@pytest.mark.parametrize("line", [b"", b"[", b"[1]", b"\xff", {"do": "dance"}, {"do": "opt_out", "mrid": 5}])
def test_what_is_no_question_is_answered_as_such(follower, ask, line):
    follower.begin()
    assert ask(line)["error"] == "PeerError"


class Node:
    def __init__(self, folder, loop):
        text = '[node]\nname = "gw"\nlevel = 2\nparty = "p"\n[[south]]\nprotocol = "sunspec"\naddress = "127.0.0.1:1"\n'
        self.config = parse_config(text, folder / "gw.toml")
        self.name, self.store, self.pricing = "gw", MemoryStore(), Prices()
        self.clock, self.random = loop, type("R", (), {"fraction": lambda _: 0.5})()
        self.files = type("F", (), {"make_folder": lambda _, path: folder.joinpath(path).mkdir(exist_ok=True)})()


class RealEnough:
    """A clock on the running loop."""

    def now(self):
        return START + timedelta(seconds=asyncio.get_running_loop().time())

    async def sleep(self, civil_s):
        await asyncio.sleep(civil_s)


async def test_a_node_listens_in_its_state_folder(tmp_path, follower):
    node = Node(tmp_path, RealEnough())
    path = socket_of(node.config)
    assert path == tmp_path / "state" / "gw.owner"
    serving = asyncio.create_task(serve_owner(node, follower))
    while not path.is_socket():  # noqa: ASYNC110 - the file system tells nobody
        await asyncio.sleep(0.001)
    answer = json.loads(await ask_local(str(path), b'{"do": "explain"}'))
    assert answer["error"] == "LinkError"
    serving.cancel()
    await asyncio.wait([serving])


async def test_that_nobody_can_be_heard_there_is_told_and_keeps_the_node_from_nothing(tmp_path, follower):
    node = Node(tmp_path, RealEnough())
    (tmp_path / "state").mkdir()
    socket_of(node.config).write_text("in the way")
    with capture_logs() as logs:
        serving = asyncio.create_task(serve_owner(node, follower))
        await asyncio.sleep(0.05)
        assert not serving.done()
        serving.cancel()
        await asyncio.wait([serving])
    assert [line["event"] for line in logs] == ["link_failed"]
    assert "cannot listen at" in logs[0]["why"]
