"""Routes of tariffs and prices."""

from dataclasses import replace

import pytest

from tierline.model.identity import GroupId, Mrid

NOON = "2026-06-18T12:00:00Z"


@pytest.fixture
async def tariff(api):
    made = await api.post("/tariffs", json={"description": "day ahead", "currency": 978})
    assert made.status_code == 201
    return made.json()["mrid"]


async def test_prices_are_published_and_listed(api, tariff):
    new = [
        {"start": "2026-06-18T13:00:00Z", "duration_s": 3600, "price": "-0.01"},
        {"start": "2026-06-18T14:00:00+02:00", "duration_s": 3600, "price": 0.12345},
    ]
    set_ = (await api.put(f"/tariffs/{tariff}/prices", json={"prices": new})).json()
    assert (set_["tariff"], set_["currency"]) == (tariff, 978)
    found = (await api.get(f"/tariffs/{tariff[:8]}/prices")).json()
    assert len({one.pop("mrid") for one in found["prices"]}) == 2
    first = {"start": NOON, "end": "2026-06-18T13:00:00Z", "price": 0.12345, "status": "active"}
    second = {"start": "2026-06-18T13:00:00Z", "end": "2026-06-18T14:00:00Z", "price": -0.01, "status": "scheduled"}
    assert found["prices"] == [one | {"duration_s": 3600, "created_at": NOON} for one in (first, second)]
    (shown,) = (await api.get("/tariffs")).json()["tariffs"]
    assert (shown["audience"], shown["group"], shown["flow"], shown["primacy"]) == ("everybody", None, "delivered", 2)
    assert shown["followed_from"] == ""
    assert (shown["description"], shown["prices"], shown["price_power_of_ten"]) == ("day ahead", 2, -5)
    late = await api.get(f"/tariffs/{tariff}/prices", params={"since": "2026-06-18T13:00:00Z"})
    assert len(late.json()["prices"]) == 1


async def test_a_tariff_for_a_group_names_it_and_what_is_withdrawn_is_shown_when_asked_for(api):
    group = (await api.post("/groups", json={"name": "contract 7"})).json()["id"]
    new = {"description": "feed-in", "currency": 978, "group": "contract 7", "flow": "received"}
    made = (await api.post("/tariffs", json=new)).json()
    assert (made["audience"], made["group"], made["flow"], made["primacy"]) == ("contract 7", group, "received", 1)
    assert (await api.delete("/groups/contract 7")).status_code == 409
    path = f"/tariffs/{made['mrid']}/prices"
    price = {"start": NOON, "duration_s": 3600, "price": "0.08"}
    (published,) = (await api.put(path, json={"prices": [price]})).json()["prices"]
    (gone,) = (await api.post(f"{path}/withdraw", json={"starts": [NOON]})).json()["prices"]
    assert gone == published | {"status": "cancelled"}
    assert (await api.get(path)).json()["prices"] == []
    assert (await api.get(path, params={"ended": "true"})).json()["prices"] == [gone]
    (replaced,) = (await api.put(path, json={"prices": [price]})).json()["prices"]
    assert (replaced["status"], replaced["mrid"] == gone["mrid"]) == ("active", False)
    assert (await api.delete(f"/tariffs/{made['mrid']}")).status_code == 409
    assert (await api.post(f"{path}/withdraw", json={"starts": [NOON]})).status_code == 200
    assert (await api.delete(f"/tariffs/{made['mrid']}")).json()["prices"] == 0
    assert (await api.get("/tariffs")).json()["tariffs"] == []
    assert (await api.delete("/groups/contract 7")).status_code == 200


async def test_a_tariff_that_is_followed_says_from_where_and_is_not_changed(api, tariff, serving):
    record = serving.tariffs[tariff]
    await serving.commit([replace(record, followed_from="market", group=GroupId("a" * 13))])
    (shown,) = (await api.get("/tariffs")).json()["tariffs"]
    assert (shown["followed_from"], shown["audience"]) == ("market", "nobody any more")
    assert (await api.delete(f"/tariffs/{tariff}")).status_code == 409


@pytest.mark.parametrize("name", ["moon", "0" * 32])
async def test_a_tariff_that_is_not_there_is_404(api, name):
    assert (await api.get(f"/tariffs/{name}/prices")).status_code == 404
    assert (await api.delete(f"/tariffs/{name}")).status_code == 404
    new = {"description": "x", "currency": 978, "group": name}
    assert (await api.post("/tariffs", json=new)).status_code == 404


async def test_a_beginning_that_does_not_say_which_tariff_is_answered_why(api, tariff, serving):
    short = await api.get(f"/tariffs/{tariff[:5]}/prices")
    assert (short.status_code, "it is too short" in short.text) == (404, True)
    twin = tariff[:31] + ("0" if tariff[31] != "0" else "1")
    serving.tariffs[Mrid(twin)] = replace(serving.tariffs[Mrid(tariff)], mrid=Mrid(twin))
    both = await api.get(f"/tariffs/{tariff[:31]}/prices")
    assert (both.status_code, "2 of them begin with it" in both.text) == (404, True)
    assert (await api.get(f"/tariffs/{twin.lower()}/prices")).status_code == 200


async def test_what_cannot_be_is_refused(api, tariff):
    price = {"start": NOON, "duration_s": 3600, "price": "0.1"}
    odd = await api.put(f"/tariffs/{tariff}/prices", json={"prices": [price | {"price": "0.1234567"}]})
    assert odd.status_code == 422
    for wrong in ({"flow": "sideways"}, {"primacy": 3}, {"description": "x" * 33}):
        new = {"description": "x", "currency": 978} | wrong
        assert (await api.post("/tariffs", json=new)).status_code == 422
    missing = await api.post(f"/tariffs/{tariff}/prices/withdraw", json={"starts": [NOON]})
    assert missing.status_code == 422
    twice = await api.put(f"/tariffs/{tariff}/prices", json={"prices": [price, price]})
    assert twice.status_code == 409
