"""What is said of a price at an instant, and when time alone changes it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.engine.price_status import changed_by_time, ends, holds, listed_until, next_boundary, served_status
from tierline.engine.serving_status import ChangedByTime
from tierline.model.control import EventStatus
from tierline.model.identity import Mrid, PartyId
from tierline.model.records import PriceRecord


def at(second):
    return datetime(2026, 6, 18, tzinfo=UTC) + timedelta(seconds=second)


def price(name, start, duration_s, created=0, status=0, status_at=None):
    """Make a price; times are in seconds."""
    return PriceRecord(
        party=PartyId("utility"),
        tariff=Mrid("F" * 32),
        mrid=Mrid(name * 32),
        start=at(start),
        duration_s=duration_s,
        price=1,
        created_at=at(created),
        status=EventStatus(status),
        status_at=at(created if status_at is None else status_at),
    )


def shown(one, second, *siblings):
    status, since = served_status(one, [one, *siblings], at(second))
    return int(status), int((since - at(0)).total_seconds())


def test_a_price_is_scheduled_and_then_active_and_says_since_when():
    one = price("A", 100, 50, created=10)
    assert [shown(one, t) for t in (10, 99, 100, 155)] == [(0, 10), (0, 10), (1, 100), (1, 100)]
    assert ends(one) == at(150)
    assert listed_until(one) == at(160)


def test_one_that_is_published_late_is_active_since_it_was_published():
    assert shown(price("A", 100, 50, created=120), 120) == (1, 120)


@pytest.mark.parametrize("status", [2, 3, 4])
def test_what_its_publisher_did_stays(status):
    one = price("A", 100, 50, status=status, status_at=70)
    assert [shown(one, t, price("B", 100, 50, created=1)) for t in (70, 120)] == [(status, 70)] * 2
    assert not holds(one)
    assert holds(price("A", 100, 50))


def test_of_two_for_one_time_the_newer_holds_from_its_start_on():
    old, new = price("A", 100, 100), price("B", 150, 100, created=1)
    assert [shown(old, t, new) for t in (149, 150)] == [(1, 100), (4, 150)]
    assert [shown(new, t, old) for t in (149, 150)] == [(0, 1), (1, 150)]
    late = price("C", 90, 20, created=120)
    assert [shown(old, t, late) for t in (120, 130)] == [(4, 120), (4, 120)]


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (price("B", 200, 100, created=1), "begins when it ends"),
        (price("B", 50, 100, created=-1), "is older"),
        (price("B", 50, 100, created=1, status=2, status_at=49), "was withdrawn before it began"),
        (price("B", 50, 100, created=1, status=2, status_at=60), "was withdrawn"),
        (price("B", 50, 100, status=4, status_at=60), "was made in the same second and has been replaced"),
    ],
)
def test_what_takes_nothing_of_another_leaves_it_as_it_is(other, what):
    assert shown(price("A", 100, 100), 190, other) == (1, 100), what


def test_the_lists_change_when_a_price_begins_and_when_it_leaves():
    one, gone = price("A", 100, 50), price("B", 100, 50, status=2, status_at=60)
    assert next_boundary([one], at(0)) == at(100)
    assert next_boundary([one], at(100)) == at(160)
    assert next_boundary([one], at(160)) is None
    assert changed_by_time([one], at(0), at(99)) == ChangedByTime(listed=None, active=None)
    assert changed_by_time([one], at(99), at(100)) == ChangedByTime(listed=at(100), active=at(100))
    assert changed_by_time([one], at(100), at(160)) == ChangedByTime(listed=at(160), active=at(160))
    assert changed_by_time([gone], at(99), at(159)) == ChangedByTime(listed=None, active=None)
    assert changed_by_time([gone], at(159), at(160)) == ChangedByTime(listed=at(160), active=None)


@st.composite
def known_prices(draw):
    found = []
    for name in draw(st.lists(st.sampled_from("ABCDEF"), unique=True, max_size=5)):
        one = price(name, draw(st.integers(0, 100)), draw(st.integers(1, 60)), draw(st.integers(-20, 60)))
        if draw(st.booleans()):
            status = draw(st.sampled_from([EventStatus.CANCELLED, EventStatus.SUPERSEDED]))
            one = replace(one, status=status, status_at=max(one.created_at, at(draw(st.integers(0, 100)))))
        found.append(one)
    return found


def lists(prices, second):
    now = at(second)
    listed = {one.mrid: served_status(one, prices, now) for one in prices if listed_until(one) > now}
    return listed, {mrid for mrid, (status, _) in listed.items() if status is EventStatus.ACTIVE}


@given(known_prices(), st.integers(60, 200))
def test_between_two_boundaries_nothing_changes_and_what_changes_is_told(prices, second):
    known = [one for one in prices if max(one.created_at, one.status_at) <= at(second)]
    before, after = lists(known, second), lists(known, second + 1)
    boundary = next_boundary(known, at(second))
    told = changed_by_time(known, at(second), at(second + 1))
    if before[0] != after[0]:
        assert boundary == told.listed == at(second + 1)
    if before[1] != after[1]:
        assert told.active == at(second + 1)


@given(known_prices(), st.integers(0, 200))
def test_what_is_said_began_in_the_past_and_only_one_price_is_active_at_most(prices, second):
    known = [one for one in prices if max(one.created_at, one.status_at) <= at(second)]
    for one in known:
        _, since = served_status(one, known, at(second))
        assert since <= at(second)
    running = [one for one in known if one.start <= at(second) < ends(one)]
    active = [one for one in running if served_status(one, known, at(second))[0] is EventStatus.ACTIVE]
    assert len(active) <= 1
