"""Routes of controls, defaults, curves, programs and Responses."""

import pytest

BODY = {"group": "feeder-1", "setpoints": {"max_lim_w_pct": 50}, "duration_s": 900, "reason": "overload"}


async def create(api, **changes):
    answer = await api.post("/controls", json=BODY | changes)
    assert answer.status_code == 201, answer.text
    return answer.json()["control"]


async def test_a_control_is_created_from_now_on(api):
    answer = await api.post("/controls", json=BODY)
    control = answer.json()["control"]
    assert answer.status_code == 201
    assert len(answer.json()["members"]) == control["members"] == 2
    assert (control["state"], control["start"], control["end"]) == (
        "active",
        "2026-06-18T12:00:00Z",
        "2026-06-18T12:15:00Z",
    )
    assert control["setpoints"] == {"max_lim_w_pct": 50}
    assert control["created_by"] == "utility"


async def test_a_control_may_begin_later(api, clock):
    soon = await create(api, start_in_s=360)
    exact = await create(api, start="2026-06-18T14:06:00+02:00", group="feeder-2", ramp_time_s=10, randomize_start_s=60)
    assert soon["start"] == exact["start"] == "2026-06-18T12:06:00Z"
    assert (soon["state"], exact["ramp_time_s"], exact["randomize_start_s"]) == ("scheduled", 10, 60)
    clock.move(minutes=7)
    assert (await api.get(f"/controls/{soon['mrid']}")).json()["state"] == "active"
    clock.move(minutes=20)
    assert (await api.get(f"/controls/{soon['mrid']}")).json()["state"] == "ended"


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"start": "2026-06-18T12:06:00Z", "start_in_s": 5}, 422, "give one of them"),
        ({"start": "2026-06-18T12:06:00"}, 422, "timezone"),
        ({"start": "2026-06-18T11:00:00Z"}, 422, "start it later"),
        ({"group": "moon"}, 404, "there is no group 'moon'"),
        ({"setpoints": {}}, 422, "nothing is commanded"),
        ({"setpoints": {"max_lim_w_pct": 150}}, 422, "max_lim_w_pct is 150 % of set_max_w"),
        ({"setpoints": {"grad_w_pct_per_s": 1}}, 422, "can only be part of a default"),
        ({"randomize_start_s": 4000}, 422, "at most 3600"),
        ({"duration_s": 0}, 422, "duration_s"),
        ({"start": "9999-12-31T23:59:59Z"}, 422, "the year must be from 1970 to 2199"),
        ({"start": "0001-01-01T00:00:00+14:00"}, 422, "the year must be"),
        ({"ramp_time_s": 700}, 422, "655.35"),
        ({"ramp_time_s": "Infinity"}, 422, "finite"),
        ({"reason": "x" * 1001}, 422, "at most 1000"),
        ({"setpoints": {"target_w": "1e999999"}}, 422, "no device can carry out"),
        ({"setpoints": {"target_w": "1e-99"}}, 422, "no device can carry out"),
    ],
)
async def test_a_control_that_cannot_be_is_refused(api, serving, change, status, words):
    for path in ("/controls", "/controls/preview"):
        answer = await api.post(path, json=BODY | change)
        assert answer.status_code == status, answer.text
        assert words in answer.json()["error"]["message"]
    assert not serving.program_of_control


async def test_a_preview_sends_nothing(api, serving):
    found = (await api.post("/controls/preview", json=BODY | {"group": "feeder-2", "start_in_s": 60})).json()
    assert (found["start"], found["end"]) == ("2026-06-18T12:01:00Z", "2026-06-18T12:16:00Z")
    assert [one["service_point"] for one in found["members"]] == ["pv-3"]
    assert [one["service_point"] for one in found["excluded"]] == ["pv-4"]
    assert "no certificate" in found["excluded"][0]["why"]
    assert (found["rated_w"], found["relief_w"]) == (30_000, 15_000)
    assert not serving.program_of_control


async def test_a_preview_names_who_will_refuse(api, respond):
    control = await create(api, ramp_time_s=5)
    await respond("pv-1", control["mrid"], 252)
    found = (await api.post("/controls/preview", json=BODY | {"ramp_time_s": 9})).json()
    assert [(one["service_point"], "answered 252" in one["why"]) for one in found["refusing"]] == [("pv-1", True)]
    assert found["warnings"] == ["rampTms: a DER that has no such ramp answers 252"]


async def test_a_preview_shows_what_it_meets(api):
    control = await create(api, group="sub-1", duration_s=3600)
    found = (await api.post("/controls/preview", json=BODY)).json()
    (overlap,) = found["overlaps"]
    assert (overlap["mrid"], overlap["group"], overlap["functions"]) == (control["mrid"], "sub-1", ["max_lim_w_pct"])
    assert (overlap["shared_members"], overlap["new_one_wins"]) == (2, True)


async def test_controls_are_listed_the_newest_first(api):
    one = await create(api)
    two = await create(api, start_in_s=7200, group="sub-1")
    listed = (await api.get("/controls")).json()["controls"]
    assert [control["mrid"] for control in listed] == [two["mrid"], one["mrid"]]
    active = (await api.get("/controls", params={"state": "active"})).json()["controls"]
    assert [control["mrid"] for control in active] == [one["mrid"]]
    of_group = (await api.get("/controls", params={"group": "sub-1"})).json()["controls"]
    assert [control["mrid"] for control in of_group] == [two["mrid"]]


async def test_a_control_is_shown_with_every_der(api, respond, clock):
    control = await create(api)
    clock.move(seconds=3)
    await respond("pv-1", control["mrid"], 1)
    await respond("pv-1", control["mrid"], 2)
    found = (await api.get(f"/controls/{control['mrid'][:8].lower()}")).json()
    assert found["answers"] == {"received": 1, "started": 1}
    one, two = sorted(found["devices"], key=lambda device: device["service_point"])
    assert (one["answers"], one["answered_at"]) == (["received", "started"], "2026-06-18T12:00:03Z")
    assert (two["answers"], two["is_member"]) == ([], True)
    assert found["acts"][0]["reason"] == "overload"
    answers = (await api.get("/responses")).json()["responses"]
    assert [one["answer"] for one in answers] == ["received", "started"]
    assert (await api.get("/responses", params={"since": "2026-06-18T12:00:04Z"})).json()["responses"] == []


async def test_a_control_is_cancelled_once(api):
    control = await create(api)
    cancelled = await api.post(f"/controls/{control['mrid']}/cancel", json={"reason": "mistake"})
    assert cancelled.json()["state"] == "cancelled"
    again = await api.post(f"/controls/{control['mrid']}/cancel", json={})
    assert (again.status_code, again.json()["error"]["kind"]) == (409, "conflict")
    acts = (await api.get(f"/controls/{control['mrid']}")).json()["acts"]
    assert [(act["verb"], act["reason"]) for act in acts] == [("control", "overload"), ("cancel", "mistake")]


async def test_a_newer_control_supersedes(api, clock):
    old = await create(api)
    clock.move(seconds=10)
    await create(api, setpoints={"max_lim_w_pct": 20})
    assert (await api.get(f"/controls/{old['mrid']}")).json()["state"] == "superseded"


@pytest.mark.parametrize("mrid", ["0" * 32, "moon", "ABC"])
async def test_an_unknown_control_is_not_found(api, mrid):
    assert (await api.get(f"/controls/{mrid}")).status_code == 404
    assert (await api.post(f"/controls/{mrid}/cancel", json={})).status_code == 404


async def test_a_default_is_set_and_shown(api):
    empty = (await api.get("/groups/feeder-1/default")).json()
    assert (empty["mrid"], empty["setpoints"], empty["changed_at"]) == (None, {}, None)
    curve = {"points": [[92, 44], [98, 0], [102, 0], [108, -44]], "y_ref": "set_max_var", "open_loop_s": 5}
    setpoints = {"volt_var": curve, "grad_w_pct_per_s": 0.5}
    put = await api.put("/groups/feeder-1/default", json={"setpoints": setpoints})
    assert put.status_code == 200, put.text
    assert put.json() == (await api.get("/groups/feeder-1/default")).json()
    assert put.json()["setpoints"] == setpoints
    (shown,) = (await api.get("/curves")).json()["curves"]
    assert (shown["function"], shown["group"], shown["curve"]) == ("volt_var", "feeder-1", curve)
    programs = (await api.get("/programs")).json()["programs"]
    assert programs[0]["default"] == setpoints
    assert [program["primacy"] for program in programs] == [100, 100, 110, 130]
