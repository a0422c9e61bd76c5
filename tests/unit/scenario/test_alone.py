"""A scenario of one level: nobody stands above the gateways, and their owners speak."""

import io
import json
from datetime import timedelta

import pytest
from rich.console import Console

from tierline.model.errors import ConfigError, LinkError
from tierline.model.identity import ChannelId, DerId, Mrid, PartyId
from tierline.model.programs import ResponseStatus
from tierline.model.records import OutboxRecord
from tierline.node.config import load_config
from tierline.scenario.enrolment import enrol_all
from tierline.scenario.evidence import Steps, devices_of, stations_of, write_evidence
from tierline.scenario.hierarchy import Enrolled, Hierarchy, Way, enrol
from tierline.scenario.scene import Scene
from tierline.scenario.script import load_script, parse_script
from tierline.scenario.stage import Stage
from tierline.scenario.view import picture
from tierline.storage.sqlite import Database

HEAD = '[scenario]\nabout = "x"\nfield = "oberrhein"\nends_at_min = 30\n'
ALONE = f'hierarchy = "alone"\n{HEAD}'
LIMIT = """
[[limit]]
check = "circuit"
at_min = 1
starts_in_min = 6
lasts_min = 15
element = "system"
setpoints = { max_lim_w_pct = 50 }
"""


@pytest.fixture
def script():
    return parse_script(ALONE + LIMIT, "alone")


class FakeOwners:
    def __init__(self):
        self.said = []
        self.away = 0

    async def limit(self, gateway, setpoints, start, duration_s):
        if self.away:
            self.away -= 1
            raise LinkError("being started")
        self.said.append((gateway.name, setpoints, start, duration_s))
        return f"M{len(self.said)}"


@pytest.fixture
async def stage(plan, script, clock):
    return Stage(
        plan=plan,
        script=script,
        clock=clock,
        clients={},
        switchgear=None,
        owners=FakeOwners(),
        processes=None,
        relay=type("Relay", (), {"cut_off": frozenset()})(),
        scene=Scene(plan),
        steps=Steps(),
        members=await enrol_all(plan, script, {}),
    )


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_with_no_names_there_is_nobody_above(site):
    hierarchy = Hierarchy(utility="")
    assert hierarchy.names == []
    assert set(enrol(site.grid, hierarchy).values()) == {Enrolled(Way.ALONE, "")}


def test_the_scenario_that_is_shipped_says_one_limit():
    script, _ = load_script("alone")
    assert script.hierarchy.names == []
    assert (script.checks, script.events_end_min) == (["circuit"], 21)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            HEAD + LIMIT,
            r'limit: it is said to gateways with nobody above them; use \[\[control\]\], or hierarchy = "alone"',
        ),
        (
            ALONE + '[[control]]\nat_min=0\nstarts_in_min=1\nlasts_min=1\ngroup="g"\nsetpoints={}\n',
            r"control: nobody stands above .*use \[\[limit\]\]",
        ),
        (ALONE + '[[cut]]\nat_min=0\nuntil_min=1\nnode="utility"\n', "cut: nobody stands above"),
        (ALONE + "[[switch]]\nat_min=0\nclose=[1]\n", "switch: nobody stands above"),
        (ALONE + '[[group]]\nnode="pool"\nname="g"\n', "group: nobody stands above"),
        (ALONE + LIMIT.replace("50", '"half"'), "limit.0.setpoints.max_lim_w_pct"),
        (ALONE + '[[part]]\nscenario = "loss"\n', "control: nobody stands above"),
    ],
)
def test_steps_without_anybody_to_take_them_are_refused(text, says):
    with pytest.raises(ConfigError, match=says):
        parse_script(text, "x")


async def test_a_gateway_alone_has_an_identity_and_no_server(plan):
    assert (plan.stations, plan.head, plan.head_name, stations_of(plan)) == ({}, None, "", [])
    made = load_config(plan.files["gateways-1"][0])
    assert (made.north, made.tls is not None, made.follow.mode.value) == ([], True, "single")
    assert {one["way"] for one in devices_of(plan, 1)} == {"alone"}


async def test_who_speaks_goes_by_the_wires(plan, script):
    members = await enrol_all(plan, script, {})
    assert members["system"] == {gateway.lfdi.upper() for gateway in plan.gateways}
    feeders = [members[feeder.id] for feeder in plan.site.grid.feeders]
    assert sum(map(len, feeders)) == len(plan.gateways)
    assert frozenset().union(*feeders) == members["system"]


async def test_every_owner_says_the_same_and_each_name_is_written_down(stage, clock):
    ready = clock.now()
    stage.owners.away = 3
    for number in range(1, 9):
        stage.scene.answers[f"M{number}"] = {(stage.plan.gateways[number - 1].lfdi, 3)}
    await stage.play(ready)
    start = ready + timedelta(minutes=7)
    assert {said[1:] for said in ((name, tuple(s), at, d) for name, s, at, d in stage.owners.said)} == {
        (("max_lim_w_pct",), start, 900)
    }
    (line,) = stage.steps.lines
    said = line.pop("said")
    assert set(said) == {gateway.lfdi for gateway in stage.plan.gateways}
    assert sorted(said.values()) == [f"M{number}" for number in range(1, 9)]
    assert line.pop("t") < line["start_t"]
    assert line == {
        "kind": "limit", "check": "circuit", "group": "system", "start_t": start.timestamp(), "duration_s": 900,
        "setpoints": {"max_lim_w_pct": 50},
    }  # fmt: skip
    assert clock.now() == ready + timedelta(minutes=24), "everybody has answered"
    console = Console(file=io.StringIO(), width=140, height=60)
    console.print(picture(stage))
    shown = console.file.getvalue()
    assert "owners speak at their gateways" in shown
    assert "completed 8/8" in shown


async def test_an_element_that_feeds_nobody_has_no_owners(stage, clock):
    stage.members = {name: frozenset() for name in stage.members}
    await stage.play(clock.now())
    assert stage.owners.said == []
    assert "system has no DER" in stage.scene.said[0][1]


async def test_a_gateway_is_ready_with_its_device_and_its_answers_are_seen(plan):
    scene = Scene(plan)
    gateway = plan.gateways[0]
    answer = {"event": "response_due", "t": 5.0, "lfdi": gateway.lfdi, "mrid": "ab", "status": 1, "channel": "owner"}
    write(
        plan.log(gateway.process), {"event": "device_found", "lfdi": gateway.lfdi}, answer, {**answer, "channel": "x"}
    )
    scene.look()
    assert scene.walked == {gateway.lfdi}
    assert scene.counts("AB") == {1: 1}
    assert len(scene.last_answers) == 1


async def test_the_evidence_holds_what_the_gateways_keep(plan, tmp_path, clock):
    for path in (plan.journal, plan.replay):
        path.write_text('{"kind":"start","t":1}\n')
    now = clock.now()
    for number, gateway in enumerate(plan.gateways[:2]):
        (plan.folder / gateway.process).mkdir()
        database = Database(str(plan.folder / gateway.process / "tierline.db"))
        record = OutboxRecord(
            party=PartyId("owners"), channel=ChannelId("owner"), der_id=DerId("d"), mrid=Mrid("AB"), status=ResponseStatus.RECEIVED,
            lfdi=gateway.lfdi, created_at=now, posted_at=now + timedelta(seconds=2 - number),
        )  # fmt: skip
        waiting = OutboxRecord(
            party=PartyId("owners"), channel=ChannelId("utility"), der_id=DerId("d"), mrid=Mrid("CD"), status=ResponseStatus.RECEIVED,
            lfdi=gateway.lfdi, created_at=now,
        )  # fmt: skip
        await database.store(gateway.name).commit([record, waiting])
        database.close()
    for process in plan.gateway_processes[2:]:
        (plan.folder / process).mkdir()
    out = tmp_path / "evidence"
    write_evidence(out, plan, Steps(), {"alone": True})
    first, second = plan.gateways[:2]
    t = now.timestamp()
    assert [json.loads(line) for line in (out / "responses.jsonl").read_text().splitlines()] == [
        {"t": t + 1, "lfdi": second.lfdi, "peer": second.lfdi, "mrid": "AB", "status": 1, "created_t": t},
        {"t": t + 2, "lfdi": first.lfdi, "peer": first.lfdi, "mrid": "AB", "status": 1, "created_t": t},
    ]
    assert not (out / "audit.jsonl").exists()
