"""Tariffs and prices out of what a server says, and what is refused of it."""

from datetime import UTC, datetime

import pytest

from tierline.model.control import EventStatus
from tierline.model.errors import PeerError, Unsupported
from tierline.model.records import Flow
from tierline.protocols.sep2.mapping.tariffs import read_price, read_tariff
from tierline.protocols.sep2.resources import der, metering, objects, pricing

NOON = datetime(2026, 6, 18, 12, tzinfo=UTC)
AT = int(NOON.timestamp())


def profile(**more):
    given = {"mrid": "A" * 32, "description": "day", "currency": 978, "primacy": 1, "service_category_kind": 0}
    return pricing.TariffProfile(**{**given, "price_power_of_ten_multiplier": -5, **more})


def component(**more):
    links = {
        "reading_type_link": objects.Link(href="/rt"),
        "time_tariff_interval_list_link": objects.ListLink(href="/t"),
    }
    return pricing.RateComponent(mrid="B" * 32, role_flags=0, **links, **more)


def unit(**more):
    return metering.ReadingType(**{"uom": 72, "power_of_ten_multiplier": 3, "flow_direction": 1, **more})


def interval(status=0, changed=AT + 60, **more):
    given = {
        "mrid": "C" * 32,
        "creation_time": AT - 3600,
        "event_status": der.EventStatus(current_status=status, date_time=changed, potentially_superseded=False),
        "interval": objects.DateTimeInterval(start=AT, duration=900),
        "tou_tier": 2,
    }
    return pricing.TimeTariffInterval(**(given | more))


def cost(price=12_345, **more):
    return pricing.ConsumptionTariffInterval(**{"consumption_block": 0, "price": price, "start_value": 0, **more})


def test_a_tariff_keeps_its_names_and_how_its_prices_count():
    tariff = read_tariff(profile(), component(), unit())
    assert (tariff.mrid, tariff.rate_component, tariff.description) == ("A" * 32, "B" * 32, "day")
    assert (tariff.currency, tariff.price_power_of_ten, tariff.primacy, tariff.service) == (978, -5, 1, 0)
    assert tariff.flow is Flow.DELIVERED


@pytest.mark.parametrize(("power", "per_kwh"), [(3, -5), (0, -2), (6, -8), (None, -2)])
def test_prices_are_counted_per_kilowatt_hour_whatever_they_are_said_for(power, per_kwh):
    assert read_tariff(profile(), component(), unit(power_of_ten_multiplier=power)).price_power_of_ten == per_kwh


def test_what_a_tariff_leaves_out_is_what_it_is_by_default():
    said = profile(currency=None, description=None, price_power_of_ten_multiplier=None)
    tariff = read_tariff(said, component(), unit(flow_direction=None))
    assert (tariff.currency, tariff.description, tariff.price_power_of_ten) == (0, "", 0)
    assert tariff.flow is Flow.DELIVERED


def test_what_generation_earns_is_told_apart():
    assert read_tariff(profile(), component(), unit(flow_direction=19)).flow is Flow.RECEIVED


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (lambda: (profile(), component(), unit(uom=195)), "unit 195, not for watt-hours"),
        (lambda: (profile(), component(), unit(uom=None)), "unit None"),
        (lambda: (profile(), component(), unit(flow_direction=4)), "flow direction 4"),
        (lambda: (profile(price_power_of_ten_multiplier=9), component(), unit(power_of_ten_multiplier=0)), r"10\^12"),
        (
            lambda: (
                profile(),
                component(flow_rate_start_limit=metering.UnitValueType(multiplier=0, unit=38, value=5000)),
                unit(),
            ),
            "limits of power",
        ),
    ],
)
def test_a_tariff_that_says_more_than_is_kept_is_refused(said, why):
    with pytest.raises(Unsupported, match=why):
        read_tariff(*said())


def test_a_price_keeps_its_name_its_times_and_its_tier():
    price = read_price(interval(), [cost(-5)])
    assert (price.mrid, price.price, price.tou_tier) == ("C" * 32, -5, 2)
    assert (price.start, price.duration_s) == (NOON, 900)
    assert (NOON - price.created_at).total_seconds() == 3600


@pytest.mark.parametrize("status", [0, 1])
def test_that_a_price_became_active_is_no_change_of_it(status):
    price = read_price(interval(status), [cost()])
    assert (price.status, price.status_at) == (EventStatus.SCHEDULED, price.created_at)


@pytest.mark.parametrize(("said", "status"), [(2, 2), (3, 3), (4, 4), (5, 2), (99, 2)])
def test_a_price_that_was_withdrawn_or_replaced_says_since_when(said, status):
    price = read_price(interval(said), [cost()])
    assert (price.status, (price.status_at - NOON).total_seconds()) == (EventStatus(status), 60)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (lambda: (interval(), []), "no price"),
        (lambda: (interval(), [cost(None)]), "no price"),
        (lambda: (interval(), [cost(), cost(2, start_value=1000)]), "how much"),
        (lambda: (interval(), [cost(start_value=1000)]), "how much"),
        (lambda: (interval(interval=objects.DateTimeInterval(start=AT, duration=0)), [cost()]), "no time"),
    ],
)
def test_a_price_that_is_none_by_time_alone_is_refused(said, why):
    with pytest.raises(Unsupported, match=why):
        read_price(*said())


@pytest.mark.parametrize(("start", "duration"), [(-5, 900), (253_370_764_000, 2**32 - 1)])
def test_a_price_of_no_era_is_the_servers_fault(start, duration):
    with pytest.raises(PeerError, match="between 1970 and 9999"):
        read_price(interval(interval=objects.DateTimeInterval(start=start, duration=duration)), [cost()])
