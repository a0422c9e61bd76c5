"""The mirror of a DER's meter at our own server in memory, and at servers that show less."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tierline.model.errors import Forbidden, PeerError
from tierline.model.records import ReadingRecord
from tierline.model.telemetry import Qualifier, Reading
from tierline.protocols.sep2.client import Answer
from tierline.protocols.sep2.codec import parse
from tierline.protocols.sep2.follow.mirror import PER_POST, post_readings
from tierline.protocols.sep2.resources import MirrorUsagePoint, metering
from tierline.protocols.sep2.resources.rows import Value

NOON = datetime(2026, 6, 18, 12, tzinfo=UTC)
LFDI = "0A" * 20
EMPTY = b'<MirrorUsagePointList xmlns="urn:ieee:std:2030.5:ns" href="/mup" all="0" results="0"/>'


async def test_readings_arrive_whole_and_the_pace_is_learnt(bench, above):
    await above.north.walk()
    readings = [
        above.reading("w", 5000, 60),
        above.reading("w", 4000, 0),
        above.reading("v_an", 2771, 0, -1),
        above.reading("hz", 6000, 0, -2, qualifier=Qualifier.AVERAGE, duration_s=60),
        above.reading("heat_sink_c", 1),
    ]
    await above.north.report(readings)
    assert above.north.post_s == 300
    found = {(one.reading.point, one.reading.scaled) for one in bench.store.load(ReadingRecord)}
    assert found == {("w", 5000), ("w", 4000), ("v_an", Decimal("277.1")), ("hz", 60)}
    latest = bench.state.latest[bench.der(), "w", 0].reading
    assert (latest.value, latest.time) == (5000, bench.clock.now() + timedelta(seconds=60))


async def test_a_type_never_changes_another_power_of_ten_is_another_series(bench, above):
    await above.north.walk()
    await above.north.report([above.reading(value=5)])
    await above.north.report([above.reading(value=51, power=-1, after_s=60)])
    (mirror,) = bench.state.mirrors.values()
    meters = parse(mirror.document, MirrorUsagePoint).mirror_meter_readings
    assert [meter.reading_type.power_of_ten_multiplier for meter in meters] == [0, -1]
    assert [
        one.reading.scaled for one in sorted(bench.store.load(ReadingRecord), key=lambda one: one.reading.time)
    ] == [
        5,
        Decimal("5.1"),
    ]


async def test_the_same_mirror_is_found_again_after_a_restart(bench, above):
    await above.north.walk()
    await above.north.report([above.reading()])
    above.start()
    await above.north.walk()
    await above.north.report([above.reading(after_s=60)])
    assert len(bench.state.mirrors) == 1
    assert len(bench.store.load(ReadingRecord)) == 2


async def test_a_mirror_the_server_has_forgotten_is_made_again(bench, above):
    await above.north.walk()
    await above.north.report([above.reading()])
    (mirror,) = bench.state.mirrors.values()
    assert (await bench.ask("DELETE", f"/mup/{mirror.mup_id}")).status == 204
    with pytest.raises(Forbidden, match="404 to /mup/"):
        await above.north.report([above.reading(after_s=60)])
    await above.north.report([above.reading(after_s=60)])
    assert len(bench.state.mirrors) == 1
    assert len(bench.store.load(ReadingRecord)) == 2


async def test_readings_nobody_mirrors_are_not_sent(above):
    await above.north.walk()
    await above.north.report([])
    await above.north.report([above.reading("heat_sink_c")])
    assert above.courier.writes() == []


async def test_many_readings_go_in_several_messages(bench, above):
    await above.north.walk()
    await above.north.report([above.reading(after_s=second) for second in range(PER_POST + 1)])
    assert len(above.courier.writes()) == 3
    assert len(bench.store.load(ReadingRecord)) == PER_POST + 1


async def test_a_server_that_does_not_show_mirrors_still_gets_readings(bench, above, brought):
    await above.north.walk()
    above.courier.instead["GET"] = lambda _: brought(405)
    await above.north.report([above.reading()])
    assert above.north.post_s is None
    assert len(bench.store.load(ReadingRecord)) == 1


async def test_a_server_that_updates_without_saying_where_is_searched(bench, above, brought):
    await above.north.walk()
    await above.north.report([above.reading()])
    above.start()
    await above.north.walk()
    above.courier.instead[("POST", "/mup")] = lambda answer: brought(answer.status)
    await above.north.report([above.reading(after_s=60)])
    assert len(bench.store.load(ReadingRecord)) == 2
    above.courier.instead[("GET", "/mup?s=0&l=255")] = lambda _: brought(200, EMPTY)
    above.start()
    await above.north.walk()
    with pytest.raises(PeerError, match="does not say where it is"):
        await above.north.report([above.reading(after_s=120)])


async def test_a_server_without_mirror_metering_is_told_apart(bench, above, brought):
    above.courier.instead[("GET", "/dcap")] = lambda answer: brought(
        200, answer.body.replace(b'<MirrorUsagePointListLink href="/mup" all="0"/>', b"")
    )
    await above.north.walk()
    with pytest.raises(Forbidden, match="offers no MirrorUsagePointList"):
        await above.north.report([above.reading()])


def several(count, points=("w", "var", "hz")):
    return [
        Reading(der_id="aaaaaaaaaaaaa", point=point, value=n, power_of_ten=0, time=NOON + timedelta(minutes=n))
        for point in points
        for n in range(count)
    ]


def told(asks):
    """Give what each message holds: its type, and the number of readings of each series."""
    found = []
    for ask in asks:
        document = parse(ask.body, Value)
        meters = document.items if isinstance(document, metering.MirrorMeterReadingList) else (document,)
        found.append([len(meter.mirror_reading_sets[0].readings) for meter in meters])
    return found


def driven(steps, *statuses):
    """Answer the steps with these statuses, then with 201; gives what they asked."""
    asks, left = [], list(statuses)
    try:
        ask = next(steps)
        while True:
            asks.append(ask)
            status = left.pop(0) if left else 201
            ask = steps.send(Answer(status=status, body=b"", location="", asked_at=NOON, answered_at=NOON))
    except StopIteration:
        return asks


def test_all_series_go_in_one_message():
    asks = driven(post_readings("/mup/a", LFDI, several(5), 1))
    assert [(ask.method, ask.path) for ask in asks] == [("POST", "/mup/a")]
    assert told(asks) == [[5, 5, 5]]


def test_a_message_holds_no_more_than_a_server_takes():
    assert told(driven(post_readings("/mup/a", LFDI, several(90), 1))) == [[90, 90], [90]]
    assert told(driven(post_readings("/mup/a", LFDI, several(450, ["w"]), 1))) == [[PER_POST], [PER_POST], [50]]


def test_a_server_that_takes_no_list_gets_one_series_after_the_other():
    assert told(driven(post_readings("/mup/a", LFDI, several(2), 1), 400)) == [[2, 2, 2], [2], [2], [2]]


def test_a_mirror_that_is_not_known_any_more_is_said_at_once():
    with pytest.raises(Forbidden):
        driven(post_readings("/mup/a", LFDI, several(2), 1), 404)
