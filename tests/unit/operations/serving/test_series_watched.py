"""Whoever watches readings is told of what is new in them, beyond its thresholds, and of their end."""

from datetime import timedelta

import pytest

from tierline.model.errors import PeerError
from tierline.model.identity import Mrid
from tierline.model.parties import Principal, Role
from tierline.model.telemetry import Reading
from tierline.operations.serving import registry, telemetry
from tierline.operations.serving.series_watched import SeriesWatched, is_beyond
from tierline.operations.serving.tails import Tails
from tierline.operations.serving.watching import Watch, Watched

POWER, VOLTAGE = Mrid("B" * 32), Mrid("C" * 32)


@pytest.mark.parametrize(
    ("value", "thresholds", "told"),
    [
        (5, None, True),
        (4, (5, 9), True),
        (5, (5, 9), False),
        (9, (5, 9), False),
        (10, (5, 9), True),
        (5, (5, 5), False),
    ],
)
def test_what_lies_beyond_the_thresholds_is_told(value, thresholds, told):
    assert is_beyond(value, thresholds) is told


def test_the_index_holds_what_is_watched_and_nothing_after():
    index = SeriesWatched()
    first, second = (Watch(kind, "der", "mup", POWER) for kind in (Watched.READING, Watched.READINGS))
    third = Watch(Watched.READING, "der", "mup", VOLTAGE)
    assert not index
    for watch in (first, second, third, third):
        index.add(watch)
    assert set(index.of("der")) == {first, second, third}
    assert index.of("other") == []
    for watch in (first, third, second):
        assert index
        index.remove(watch)
    assert not index
    assert index.of("der") == []


class Meters:
    """A DER whose readings an aggregator and the DER itself subscribe to."""

    def __init__(self, subscribing, serving, clock, device):
        self.subscribing, self.serving, self.clock, self.device = subscribing, serving, clock, device
        self.names = {}

    @property
    def principal(self):
        return Principal(party=self.device.party, role=Role.DEVICE, name="pv", lfdi=self.serving.lfdi_of[self.der])

    @property
    def der(self):
        return self.device.der_id

    def put(self, *series, mrid="A" * 32):
        return telemetry.put_mirror(self.principal, self.serving, self.der, Mrid(mrid), " ".join(series).encode())

    async def mup(self, *series, mrid="A" * 32):
        return (await self.put(*series, mrid=mrid))[0].mup_id

    async def subscribe(self, name, device, kind, mup, series=POWER, **more):
        record = await self.subscribing.subscribe(device, f"{kind}/{self.der}/{mup}/{series}", **more)
        self.names[record.subscription_id] = name
        return record

    async def told(self, change):
        return {self.names[key] for key in await self.subscribing.told_of(change)}

    def read(self, *values, series=POWER, start=0):
        """Let the DER post values, a second apart."""
        readings = [
            (
                series,
                Reading(
                    der_id=self.der,
                    point="w",
                    value=value,
                    power_of_ten=0,
                    time=self.clock.now() + timedelta(seconds=start + number),
                ),
            )
            for number, value in enumerate(values)
        ]
        return telemetry.record_readings(self.principal, self.serving, self.der, readings)


@pytest.fixture
async def meters(subscribing, serving, der, clock):
    meters = Meters(subscribing, serving, clock, der("pv-1"))
    meters.agg = await subscribing.aggregator(members=["pv-1"])
    meters.device = der("pv-1")
    return meters


async def test_new_readings_are_told_to_those_who_watch_their_series(meters):
    at = await meters.mup(POWER, VOLTAGE)
    await meters.subscribe("latest", meters.agg, "reading", at)
    await meters.subscribe("list", meters.agg, "readings", at)
    await meters.subscribe("own", meters.device, "reading", at, VOLTAGE)
    assert await meters.told(meters.read(1)) == {"latest", "list"}
    assert await meters.told(meters.read(230, series=VOLTAGE)) == {"own"}
    assert await meters.told(meters.read(1)) == set()
    assert await meters.told(meters.read(2)) == {"latest", "list"}
    assert await meters.told(meters.read(3, start=-60)) == {"list"}


async def test_only_values_beyond_the_thresholds_are_told(meters):
    at = await meters.mup(POWER)
    for kind in ("reading", "readings"):
        await meters.subscribe(kind, meters.agg, kind, at, lower=10, upper=20)
    assert await meters.told(meters.read(10, 20)) == set()
    assert await meters.told(meters.read(9, start=2)) == {"reading", "readings"}
    assert await meters.told(meters.read(21, 15, start=3)) == {"readings"}
    assert await meters.told(meters.read(15, 21, start=5)) == {"reading", "readings"}
    await meters.subscribe("reading", meters.agg, "reading", at)
    assert await meters.told(meters.read(15, start=7)) == {"reading"}


async def test_thresholds_outlive_a_restart(meters, restarted):
    at = await meters.mup(POWER)
    record = await meters.subscribe("latest", meters.agg, "reading", at, lower=10, upper=20)
    assert (record.lower_threshold, record.upper_threshold) == (10, 20)
    meters.serving = restarted()
    meters.subscribing.restart(meters.serving)
    assert await meters.told(meters.read(15)) == set()
    assert await meters.told(meters.read(25, start=1)) == {"latest"}


async def test_a_series_that_is_dropped_is_told_to_those_who_watched_it(meters, serving):
    at, other = await meters.mup(POWER, VOLTAGE), await meters.mup(POWER, mrid="E" * 32)
    await meters.subscribe("power", meters.agg, "reading", at)
    await meters.subscribe("voltage", meters.agg, "readings", at, VOLTAGE)
    await meters.subscribe("elsewhere", meters.agg, "reading", other)
    assert await meters.told(meters.put(POWER, VOLTAGE)) == set()
    assert await meters.told(meters.put(POWER)) == {"voltage"}
    assert await meters.told(telemetry.drop_mirror(meters.principal, serving, at)) == {"power", "voltage"}


async def test_who_no_longer_stands_for_a_der_is_told_and_the_der_is_not(meters):
    at = await meters.mup(POWER)
    await meters.subscribe("agg", meters.agg, "reading", at)
    await meters.subscribe("own", meters.device, "reading", at)
    assert await meters.told(meters.subscribing.manage("pv-1", "other")) == {"agg"}


async def test_a_der_that_is_shut_out_is_told_of_to_all(meters, serving, operator):
    at = await meters.mup(POWER)
    await meters.subscribe("agg", meters.agg, "readings", at)
    await meters.subscribe("own", meters.device, "reading", at)
    assert await meters.told(registry.enable(operator, serving, meters.der, enabled=False)) == {"agg", "own"}


async def test_readings_of_others_and_of_nobody_cannot_be_subscribed_to(meters, der):
    at = await meters.mup(POWER)
    for device, mup in ((der("pv-3"), at), (meters.agg, "nowhere")):
        with pytest.raises(PeerError, match="cannot be subscribed to"):
            await meters.subscribe("", device, "reading", mup)
    meters.device = der("pv-2")
    with pytest.raises(PeerError, match="cannot be subscribed to"):
        await meters.subscribe("", der("pv-2"), "reading", at)


async def test_a_cancelled_subscription_to_readings_leaves_nothing_behind(meters, subscribing):
    at = await meters.mup(POWER)
    record = await meters.subscribe("latest", meters.agg, "reading", at, lower=1, upper=2)
    await subscribing.all.cancel(subscribing.principal(meters.agg), record.subscription_id)
    watching = subscribing.all._watching
    assert (dict(watching._watchers), dict(watching._thresholds), bool(watching._series)) == ({}, {}, False)
    assert await meters.told(meters.read(9)) == set()


def test_what_is_no_reading_changes_no_series():
    index = SeriesWatched()
    index.add(Watch(Watched.READING, "der", "mup", POWER))
    assert index.changed([object()], Tails()) == {}
