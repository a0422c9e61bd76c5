"""Routes of tariffs and prices."""

import pytest

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
    assert found["prices"] == [
        {"start": NOON, "end": "2026-06-18T13:00:00Z", "duration_s": 3600, "price": 0.12345},
        {"start": "2026-06-18T13:00:00Z", "end": "2026-06-18T14:00:00Z", "duration_s": 3600, "price": -0.01},
    ]
    (shown,) = (await api.get("/tariffs")).json()["tariffs"]
    assert (shown["description"], shown["prices"], shown["price_power_of_ten"]) == ("day ahead", 2, -5)
    late = await api.get(f"/tariffs/{tariff}/prices", params={"since": "2026-06-18T13:00:00Z"})
    assert len(late.json()["prices"]) == 1


@pytest.mark.parametrize("name", ["moon", "0" * 32])
async def test_a_tariff_that_is_not_there_is_404(api, name):
    assert (await api.get(f"/tariffs/{name}/prices")).status_code == 404


async def test_what_cannot_be_is_refused(api, tariff):
    price = {"start": NOON, "duration_s": 3600, "price": "0.1"}
    odd = await api.put(f"/tariffs/{tariff}/prices", json={"prices": [price | {"price": "0.1234567"}]})
    assert odd.status_code == 422
    twice = await api.put(f"/tariffs/{tariff}/prices", json={"prices": [price, price]})
    assert twice.status_code == 409
