import json

from tierline.scenario.scene import Scene, clock_text


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        for line in lines:
            file.write(json.dumps(line) + "\n")


def response(lfdi, status, mrid="AB", t=1.0):
    return {"event": "response_received", "t": t, "lfdi": lfdi, "mrid": mrid, "status": status, "created_t": 1}


async def test_it_sees_what_started_and_who_walked(plan):
    scene = Scene(plan)
    write(plan.log("utility"), {"event": "operator_api_listens"}, {"event": "ready"})
    write(plan.log("plant"), {"event": "field_ready"})
    write(
        plan.log("gateways-1"),
        {"event": "walked", "lfdi": plan.gateways[0].lfdi, "channel": "utility"},
        {"event": "write_failed"},
    )
    scene.look()
    assert scene.started == {"utility", "plant"}
    assert scene.walked == {plan.gateways[0].lfdi}
    assert scene.failed_writes == 1


async def test_it_counts_each_answer_of_a_der_once(plan):
    scene = Scene(plan)
    write(plan.log("utility"), response("A1", 1), response("A1", 1), response("A2", 1), response("A1", 2))
    scene.look()
    assert scene.answered("ab", 1) == 2
    assert scene.counts("ab") == {1: 2, 2: 1}
    assert len(scene.last_answers) == 4


async def test_it_keeps_the_newest_power_flow(plan):
    scene = Scene(plan)
    scene.look()
    assert scene.power is None
    flow = {"kind": "flow", "v": [1.0], "p": [5.0], "q": [0.0]}
    write(plan.journal, {**flow, "t": 1}, {**flow, "t": 11, "p": [6.0]}, {"kind": "request", "t": 12})
    scene.look()
    assert (scene.power.t, scene.power.watts) == (11, (6.0,))


def test_times_of_day_are_utc():
    assert clock_text(1_782_835_200.0) == "16:00:00"
