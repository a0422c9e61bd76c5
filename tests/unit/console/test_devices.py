"""Routes of DERs and groups."""

from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.console.api import devices
from tierline.model.records import DerInfoKind, DerInfoRecord


async def test_devices_are_listed_a_page_at_a_time(api):
    first = (await api.get("/devices", params={"limit": 3})).json()
    second = (await api.get("/devices", params={"limit": 3, "offset": 3})).json()
    assert first["total"] == second["total"] == 4
    listed = [one["service_point"] for one in first["devices"] + second["devices"]]
    assert sorted(listed) == ["pv-1", "pv-2", "pv-3", "pv-4"]
    assert len(first["devices"]) == 3


async def test_devices_of_one_group_are_listed(api):
    found = (await api.get("/devices", params={"group": "feeder-2"})).json()["devices"]
    assert {one["service_point"] for one in found} == {"pv-3", "pv-4"}
    assert (await api.get("/devices", params={"group": "moon"})).status_code == 404


@pytest.mark.parametrize("name", ["pv-1", "0101", "01" * 20])
async def test_a_device_is_found_by_what_an_operator_types(api, name, serving, der):
    serving.last_seen[der("pv-1").der_id] = serving.clock.now().timestamp()
    found = (await api.get(f"/devices/{name}")).json()
    assert found["service_point"] == "pv-1"
    assert found["groups"] == ["feeder-1", "sub-1", "two feeders"]
    assert found["sfdi"] == 2694881444
    assert found["pin"] == 111115
    assert found["rating_w"] == 10_000
    assert found["last_seen"] == "2026-06-18T12:00:00Z"


async def test_the_pin_is_not_shown_in_lists(api):
    assert "pin" not in (await api.get("/devices")).json()["devices"][0]


async def test_an_unknown_device_is_not_found(api):
    answer = await api.get("/devices/moon")
    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "kind": "not_found",
        "message": "there is no device 'moon'; `tierline device list` shows those that are registered",
        "what_to_do": None,
    }
    assert (await api.post("/devices/moon/enable")).status_code == 404


async def test_devices_are_enrolled_all_or_none(api, serving):
    new = [{"lfdi": "AB" * 20, "pin": 111115}, {"lfdi": "cd" * 20, "managed_by": "aggregator"}, {"lfdi": None}]
    answer = await api.post("/devices", json={"devices": new})
    assert answer.status_code == 201
    one, two, silent = answer.json()["devices"]
    assert (one["pin"], one["managed_by"], one["groups"]) == (111115, None, [])
    assert (two["lfdi"], two["managed_by"]) == ("CD" * 20, "aggregator")
    assert silent["sfdi"] is None
    again = await api.post("/devices", json={"devices": [{"lfdi": "EF" * 20}, {"lfdi": "AB" * 20}]})
    assert (again.status_code, again.json()["error"]["kind"]) == (409, "conflict")
    assert len(serving.devices) == 7


@pytest.mark.parametrize(
    "bad",
    [{"lfdi": "xyz"}, {"lfdi": "01"}, {"service_point": "moon"}, {"pin": 1_000_000}, {"a": 1}, {"managed_by": "a b"}],
)
async def test_a_device_that_cannot_be_is_refused(api, bad, serving):
    answer = await api.post("/devices", json={"devices": [bad]})
    assert (answer.status_code, answer.json()["error"]["kind"]) == (422, "invalid")
    assert len(serving.devices) == 4


async def test_a_device_is_shut_out_and_let_in(api, der):
    assert (await api.post("/devices/pv-1/disable")).json()["enabled"] is False
    assert not der("pv-1").enabled
    assert (await api.post("/devices/pv-1/enable")).json()["enabled"] is True
    assert der("pv-1").enabled


async def test_a_device_is_taken_out_and_its_lfdi_is_free(api, serving, der):
    before, lfdi = der("pv-1"), serving.lfdi_of[der("pv-1").der_id]
    gone = (await api.delete("/devices/pv-1")).json()
    assert (gone["der_id"], gone["lfdi"], gone["enabled"], gone["groups"]) == (before.der_id, None, False, [])
    assert (await api.delete(f"/devices/{before.der_id}")).status_code == 409
    assert (await api.delete("/devices/moon")).status_code == 404
    answer = await api.post("/devices", json={"devices": [{"lfdi": lfdi, "service_point": "pv-1"}]})
    assert answer.status_code == 201
    assert answer.json()["devices"][0]["der_id"] != before.der_id


async def test_a_device_is_placed(api, der):
    placed = (await api.post("/devices/pv-1/place", json={"service_point": "pv-3"})).json()
    assert (placed["service_point"], placed["groups"]) == ("pv-3", ["feeder-2", "sub-1", "two feeders"])
    answer = await api.post(f"/devices/{placed['der_id']}/place", json={"service_point": "moon"})
    assert answer.status_code == 422
    assert (await api.post("/devices/moon/place", json={"service_point": ""})).status_code == 404


async def test_readings_are_listed_by_time(api, measure, clock):
    await measure("pv-1", "w", 5000)
    clock.move(minutes=90)
    await measure("pv-1", "w", 7000)
    await measure("pv-2", "w", 9000)
    last_hour = (await api.get("/devices/pv-1/readings")).json()["readings"]
    assert [one["value"] for one in last_hour] == [7000]
    since = (clock.now() - timedelta(hours=3)).isoformat()
    both = (await api.get("/devices/pv-1/readings", params={"since": since})).json()["readings"]
    assert [one["value"] for one in both] == [5000, 7000]
    assert both[0]["unit"] == "W"
    assert (await api.get("/devices/pv-1/readings", params={"since": "2026-06-18T12:00:00"})).status_code == 422


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 7, 8, 9, 10_000])
async def test_a_long_answer_is_written_a_batch_at_a_time_and_says_the_same(api, measure, clock, monkeypatch, limit):
    start = clock.now()
    for number in range(9):
        await measure("pv-1", "w", number)
        clock.move(seconds=1)
    asked = {"since": start.isoformat(), "limit": limit}
    whole = await api.get("/devices/pv-1/readings", params=asked)
    monkeypatch.setattr(devices, "_AT_ONCE", 3)
    written = await api.get("/devices/pv-1/readings", params=asked)
    assert [one["value"] for one in written.json()["readings"]] == [*range(min(9, limit))]
    assert (written.json(), written.headers["content-type"]) == (whole.json(), whole.headers["content-type"])


async def test_the_newest_readings_are_listed(api, measure):
    await measure("pv-1", "w", 5000)
    await measure("pv-3", "w", 6000)
    newest = (await api.get("/readings/latest")).json()["readings"]
    assert sorted(one["value"] for one in newest) == [5000, 6000]
    of_group = (await api.get("/readings/latest", params={"group": "feeder-1", "point": "w"})).json()["readings"]
    assert [one["value"] for one in of_group] == [5000]
    assert (await api.get("/readings/latest", params={"point": "hz"})).json()["readings"] == []


async def test_a_device_shows_what_it_last_said(api, serving, der, measure, clock):
    record = DerInfoRecord(
        party=serving.party,
        der_id=der("pv-1").der_id,
        kind=DerInfoKind.STATUS,
        document=b"<x/>",
        changed_at=clock.now(),
    )
    await serving.commit([record])
    await measure("pv-1", "w", 5000)
    found = (await api.get("/devices/pv-1")).json()
    assert found["described"] == {"ders": "2026-06-18T12:00:00Z"}
    assert found["readings"][0]["point"] == "w"


async def test_groups_are_listed_the_widest_first(api):
    groups = (await api.get("/groups")).json()["groups"]
    assert [one["name"] for one in groups] == ["two feeders", "sub-1", "feeder-1", "feeder-2"]
    assert groups[2]["parent"] == "sub-1"
    assert [one["members"] for one in groups] == [4, 4, 2, 2]
    assert groups[0]["rating_w"] == 100_000


async def test_members_are_listed_with_since_when_and_why(api):
    found = (await api.get("/groups/feeder-1/members")).json()
    assert found["group"] == "feeder-1"
    assert [(one["service_point"], one["cause"]) for one in found["members"]] == [
        ("pv-1", "registered"),
        ("pv-2", "registered"),
    ]


async def test_a_device_is_explained(api, send, clock, respond):
    control = await send("feeder-1", start=clock.now(), reason="overload", max_lim_w_pct=Decimal(50))
    await respond("pv-1", control.mrid, 1)
    await respond("pv-1", control.mrid, 2)
    found = (await api.get("/devices/pv-1/explain")).json()
    (function,) = found["functions"]
    assert (function["function"], function["value"], function["unit"]) == ("max_lim_w_pct", "50", "% of set_max_w")
    assert (function["binding"], function["confirmed"]) == (True, True)
    (event,) = found["events"]
    assert event["holds"] == ["max_lim_w_pct"]
    assert event["acts"][0]["reason"] == "overload"
    assert [one["answer"] for one in event["answers"]] == ["received", "started"]
    assert found["programs"][0]["group"] == "feeder-1"
    assert {one["name"] for one in found["groups"]} == {"feeder-1", "sub-1", "two feeders"}


async def test_who_stands_for_others_is_no_der_and_calls_for_them(api, serving):
    before = (await api.get("/status")).json()
    new = [
        {"lfdi": "0A" * 20, "aggregates": "pool"},
        {"lfdi": "0B" * 20, "managed_by": "pool"},
    ]
    added = (await api.post("/devices", json={"devices": new})).json()["devices"]
    assert [one["aggregates"] for one in added] == ["pool", None]
    pool, der = (one["der_id"] for one in added)
    found = (await api.get("/status")).json()
    assert (found["devices"], found["devices_seen"]) == (before["devices"] + 1, before["devices_seen"])
    serving.last_seen[pool] = serving.clock.now().timestamp()
    assert (await api.get("/status")).json()["devices_seen"] == before["devices_seen"] + 1
    assert (await api.get(f"/devices/{der}")).json()["last_seen"] is not None
    await api.delete(f"/devices/{der}")
    assert (await api.get("/status")).json()["devices"] == before["devices"]
