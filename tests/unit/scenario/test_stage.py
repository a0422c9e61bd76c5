import io
from datetime import timedelta

import pytest
from rich.console import Console

from tierline.model.errors import LinkError
from tierline.scenario.evidence import Steps
from tierline.scenario.scene import Answer, Power, Scene
from tierline.scenario.script import CutStep, SwitchStep
from tierline.scenario.stage import Issued, Stage
from tierline.scenario.view import picture


class FakeSwitchgear:
    """A plant whose switch 9 does not move."""

    async def operate(self, number, *, closed):
        return closed and number != 9


class FakeClient:
    def __init__(self, clock):
        self.clock = clock
        self.requests = []
        self.confirmed = []

    async def confirm_switching(self, positions):
        self.confirmed.append(positions)
        return {"moves": [{}, {}]}

    async def create_control(self, request):
        self.requests.append(request)
        now = self.clock.now()
        return {
            "control": {
                "mrid": f"M{len(self.requests)}",
                "start": (now + timedelta(seconds=request.start_in_s)).isoformat(),
                "created_at": now.isoformat(),
                "duration_s": request.duration_s,
            },
            "members": [],
        }


class FakeProcesses:
    def __init__(self):
        self.done = []

    async def kill(self, name):
        self.done.append(("kill", name))

    async def start(self, name, files):
        self.done.append(("start", name, len(files)))


class FakeRelay:
    def __init__(self):
        self.cut_off = frozenset()
        self.done = []

    def cut(self, names):
        self.cut_off |= set(names)

    def restore(self, names):
        self.cut_off -= set(names)


@pytest.fixture
async def stage(plan, script, clock):
    lfdis = frozenset(gateway.lfdi for gateway in plan.gateways)
    feeders = {feeder.id: frozenset() for feeder in plan.site.grid.feeders}
    return Stage(
        plan=plan,
        script=script,
        clock=clock,
        clients={"utility": FakeClient(clock)},
        switchgear=FakeSwitchgear(),
        owners=None,
        processes=FakeProcesses(),
        relay=FakeRelay(),
        scene=Scene(plan),
        steps=Steps(),
        members=feeders | {"system": lfdis, "feeder-2": lfdis, "feeder-3": lfdis},
    )


async def test_every_step_happens_at_its_time_and_is_written_down(stage, clock):
    ready = clock.now()
    await stage.play(ready)
    steps = [(line["kind"], round((line["t"] - ready.timestamp()) / 60, 2)) for line in stage.steps.lines]
    assert steps == [
        ("control", 0), ("control", 0.5), ("cut", 12), ("kill", 25), ("restart", 25.5), ("kill", 29), ("restart", 29.5),
        ("restore", 42), ("control", 43),
    ]  # fmt: skip
    assert stage.processes.done == [
        ("kill", "gateways-2"), ("start", "gateways-2", 2), ("kill", "utility"), ("start", "utility", 1),
    ]  # fmt: skip
    assert stage.down == set()


async def test_a_control_is_written_down_as_it_was_issued(stage, clock):
    ready = clock.now()
    await stage.play(ready)
    line = stage.steps.lines[0]
    assert line == {
        "kind": "control", "t": ready.timestamp(), "check": "circuit", "node": "utility", "mrid": "M1", "group": "feeder-3",
        "start_t": ready.timestamp() + 360, "duration_s": 900, "setpoints": {"max_lim_w_pct": 50},
    }  # fmt: skip
    assert stage.clients["utility"].requests[0].reason == "canary-reason-of-utility"


async def test_a_cut_spares_one_process_and_takes_the_first_others(stage, script):
    chosen = stage.chosen(script.cut[0])
    assert [gateway.process for gateway in chosen] == ["gateways-1", "gateways-3", "gateways-4"] * 2


async def test_it_waits_for_answers_and_not_for_ever(stage, clock, script):
    ready = clock.now()
    await stage.play(ready)
    assert clock.now() >= ready + timedelta(minutes=script.scenario.ends_at_min)
    clock.time = ready
    stage.issued.clear()
    stage.steps.lines.clear()
    for number in (4, 5, 6):
        stage.scene.answers[f"M{number}"] = {(gateway.lfdi, 3) for gateway in stage.plan.gateways}
    await stage.play(ready)
    assert clock.now() == ready + timedelta(minutes=script.events_end_min + 2)


async def test_nothing_is_sent_to_a_group_without_ders(stage, clock):
    stage.members = {name: frozenset() for name in stage.members}
    await stage.play(clock.now())
    assert stage.clients["utility"].requests == []
    assert "has no DER" in stage.scene.said[0][1]


def drawn(stage):
    console = Console(file=io.StringIO(), width=140, height=60)
    console.print(picture(stage))
    return console.file.getvalue()


async def test_the_picture_shows_a_stage_on_which_nothing_has_happened(stage):
    text = drawn(stage)
    assert "no power flow yet" in text
    assert "feeder-4" in text
    assert "none yet" in text


async def test_the_picture_shows_power_limit_voltages_and_answers(stage, clock):
    gateway = stage.plan.gateways[0]
    watts = tuple(float(point.p_w) / 2 for point in stage.plan.site.grid.service_points)
    stage.scene.power = Power(t=1_782_835_200.0, volts=(1.06, 1.0, 0.94, 0.0), watts=watts)
    lfdis = stage.members["feeder-2"]
    stage.issued.append(
        Issued(
            mrids=frozenset(["m1"]), group="feeder-2", text="at most 60 %", limit_pct=60.0, start=clock.now(),
            end=clock.now() + timedelta(hours=1), members=lfdis,
        )
    )  # fmt: skip
    stage.scene.answers["M1"] = {(gateway.lfdi, 1), (gateway.lfdi, 2)}
    stage.scene.last_answers.append(Answer(t=1_782_835_200.0, lfdi=gateway.lfdi, mrid="M1", status=2))
    stage.scene.last_answers.append(Answer(t=1_782_835_200.0, lfdi="FF", mrid="M2", status=77))
    stage.scene.say(clock.now(), "something happened")
    stage.down.add("utility")
    text = drawn(stage)
    assert "60 %" in text
    assert "8 of 8" in text
    assert "2 of 3 nodes outside" in text
    assert "above 1.05" in text
    assert f"{gateway.service_point} started (feeder-2)" in text
    assert "received 1/8, started 1/8" in text
    assert "something happened" in text
    assert "away" in text


async def test_switches_are_operated_in_the_field_and_confirmed_as_read_back(stage, clock):
    await stage._switch(SwitchStep(at_min=1, close=[34, 9], open=[12], check="switching"))
    assert stage.clients["utility"].confirmed == [{34: True, 9: False, 12: False}]
    operated, confirmed = stage.steps.lines
    assert (operated["kind"], operated["close"], operated["open"]) == ("switch", [34, 9], [12])
    assert (confirmed["kind"], confirmed["moved"], confirmed["check"]) == ("switched", 2, "switching")


async def test_a_node_is_cut_off_with_all_its_uplinks(stage):
    step = CutStep(at_min=1, until_min=2, node="substation-a", check="island")
    await stage._cut(step)
    assert stage.relay.cut_off == {"substation-a"}
    await stage._restore(step)
    assert not stage.relay.cut_off
    assert [(line["kind"], line["node"]) for line in stage.steps.lines] == [
        ("cut", "substation-a"),
        ("restore", "substation-a"),
    ]


async def test_a_node_that_is_being_started_is_asked_again_but_not_for_ever(stage, clock):
    client = stage.clients["utility"]
    away = [True, True]

    async def confirm(positions):
        if away:
            away.pop()
            raise LinkError("not yet")
        return {"moves": []}

    client.confirm_switching = confirm
    began = clock.now()
    await stage._switch(SwitchStep(at_min=1, close=[34]))
    assert clock.now() - began == timedelta(seconds=30)
    away += [True] * 100
    with pytest.raises(LinkError):
        await stage._switch(SwitchStep(at_min=1, open=[34]))
