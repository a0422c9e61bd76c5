from dataclasses import replace
from datetime import timedelta

import engine_player as p
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.engine.serving_status import (
    ChangedByTime,
    changed_by_time,
    earliest_start,
    listed_until,
    next_boundary,
    served_status,
)
from tierline.model.control import EventStatus


def shown(control, t, *siblings):
    return int(served_status(control, [control, *siblings], p.at(t)))


@pytest.mark.parametrize(("rs", "turns"), [(0, 100), (30, 100), (-30, 70)])
def test_an_event_is_active_from_its_earliest_effective_start(rs, turns):
    control = p.limit("A", 100, 50, rs=rs)
    assert [shown(control, t) for t in (turns - 1, turns, turns + 1)] == [0, 1, 1]


@pytest.mark.parametrize("status", [2, 3, 4])
def test_what_was_set_stays(status):
    assert shown(p.limit("A", 100, 50, status=status), 500, p.limit("B", 100, 50, created=1)) == status


def test_a_newer_event_of_the_same_modes_supersedes_from_its_earliest_start():
    old, new = p.limit("A", 100, 100), p.limit("B", 150, 100, created=1, rs=-10)
    assert [shown(old, t, new) for t in (139, 140, 149, 150)] == [1, 4, 4, 4]
    assert [shown(new, t, old) for t in (139, 140, 300)] == [0, 1, 1]


@pytest.mark.parametrize(
    "other",
    [
        p.limit("B", 200, 100, created=1),
        p.limit("B", 150, 100, created=-1),
        p.limit("B", 150, 100, created=1, device_category=4),
        p.event("B", 150, 100, {"max_lim_w_pct": 1, "target_w": 1}, created=1),
        p.limit("B", 150, 100, created=1, status=2),
        p.limit("B", 150, 100, created=1, status=2, status_time=p.at(149)),
    ],
    ids=["successive", "older", "other devices", "other modes", "cancelled", "cancelled before its start"],
)
def test_other_events_do_not_supersede(other):
    assert shown(p.limit("A", 100, 100), 160, other) == 1


def test_what_was_taken_once_is_not_given_back():
    taker = p.limit("B", 150, 100, created=1, status=2, status_time=p.at(155))
    assert shown(p.limit("A", 100, 100), 160, taker) == 4


def test_the_higher_mrid_supersedes_at_equal_age():
    assert shown(p.limit("A", 100, 100), 160, p.limit("B", 150, 100)) == 4
    assert shown(p.limit("B", 100, 100), 160, p.limit("A", 150, 100)) == 1


@pytest.mark.parametrize(
    ("rs", "rd", "latest"), [(0, 0, 150), (30, 0, 180), (-30, 20, 170), (30, 20, 200), (30, -20, 180)]
)
def test_an_event_is_listed_until_ten_seconds_after_its_latest_possible_end(rs, rd, latest):
    assert listed_until(p.limit("A", 100, 50, rs=rs, rd=rd)) == p.at(latest + 10)


def test_boundaries_are_starts_and_the_ends_of_listing():
    controls = [p.limit("A", 100, 50), p.limit("B", 120, 10, rs=-5)]
    times, now = [], p.at(0)
    while (now := next_boundary(controls, now)) is not None:
        times.append(p.seconds(now))
    assert times == [100, 115, 140, 160]
    assert replace(controls[0]).status is EventStatus.SCHEDULED


def by_time(controls, after, until):
    return changed_by_time(controls, p.at(after), p.at(until))


def listed(controls, t):
    return [
        (control.mrid, served_status(control, controls, p.at(t)))
        for control in controls
        if p.at(t) < listed_until(control)
    ]


EVENTS = st.lists(
    st.builds(
        lambda start, duration, rs, rd, created, status: (start, duration, rs, rd, created, status),
        st.integers(0, 60),
        st.integers(1, 30),
        st.integers(-10, 10),
        st.integers(0, 10),
        st.integers(-9, 0),
        st.sampled_from([0, 0, 0, 2, 3, 4]),
    ),
    max_size=5,
)


@given(EVENTS)
def test_whatever_time_changes_is_said_and_of_plain_events_nothing_else(events):
    controls = [
        p.limit(str(number), start, duration, rs=rs, rd=rd, created=created, status=status)
        for number, (start, duration, rs, rd, created, status) in enumerate(events)
    ]
    # One that is superseded before it begins is told of once more when it begins: a notice too many, never one too few.
    is_plain = all(
        control.status is EventStatus.SCHEDULED
        and served_status(control, controls, earliest_start(control) - timedelta(seconds=1)) is EventStatus.SCHEDULED
        for control in controls
    )
    for t in range(-12, 130):
        before, after = listed(controls, t - 1), listed(controls, t)
        said = by_time(controls, t - 1, t)
        assert said.listed in {None, p.at(t)}
        if before != after:
            assert said.listed == p.at(t)
        elif is_plain:
            assert said.listed is None
        actives = [[mrid for mrid, status in shown if status is EventStatus.ACTIVE] for shown in (before, after)]
        if actives[0] != actives[1]:
            assert said.active == p.at(t)


def test_the_last_change_of_a_span_is_said():
    controls = [p.limit("A", 100, 50), p.limit("B", 300, 50)]
    assert by_time(controls, 0, 1000) == ChangedByTime(listed=p.at(360), active=p.at(360))
    assert by_time(controls, 99, 159) == ChangedByTime(listed=p.at(100), active=p.at(100))
    assert by_time(controls, 100, 159) == ChangedByTime(listed=None, active=None)


def test_what_was_cancelled_before_begins_for_nobody_and_leaves_only_the_list_of_all():
    cancelled = [p.limit("A", 100, 50, status=2, status_time=p.at(10))]
    assert by_time(cancelled, 50, 120) == ChangedByTime(listed=None, active=None)
    assert by_time(cancelled, 50, 160) == ChangedByTime(listed=p.at(160), active=None)
