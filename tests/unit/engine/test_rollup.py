from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.engine.rollup import Freshness, roll_up
from tierline.model.identity import DerId
from tierline.model.telemetry import Quality, Reading

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTES = Freshness(max_age=timedelta(minutes=5))


def reading(der, value, *, age_s=0, point="w", ten=0, quality=Quality.VALID, duration_s=0):
    return Reading(
        der_id=DerId(der),
        point=point,
        value=value,
        power_of_ten=ten,
        time=NOW - timedelta(seconds=age_s),
        quality=quality,
        duration_s=duration_s,
    )


def rolled(members, *readings, freshness=MINUTES, **more):
    return roll_up("w", map(DerId, members), {r.der_id: r for r in readings}, NOW, freshness, **more)


def test_what_is_measured_adds_up():
    figure = rolled("abc", reading("a", 5), reading("b", 15, ten=-1, age_s=60), reading("c", -2))
    assert (figure.total, figure.low, figure.high) == (4.5, -2.0, 5.0)
    assert figure.mean == pytest.approx(1.5)
    assert figure.is_complete
    assert figure.oldest == NOW - timedelta(seconds=60)


@pytest.mark.parametrize(
    "stale",
    [
        reading("b", 9, age_s=301),
        reading("b", 9, point="var"),
        reading("b", 9, quality=Quality.VALID | Quality.QUESTIONABLE),
    ],
)
def test_what_is_not_usable_is_missing_and_never_zero(stale):
    figure = rolled("ab", reading("a", 5), stale)
    assert (figure.mean, figure.measured, figure.missing, figure.is_complete) == (5.0, 1, 1, False)


def test_a_period_counts_from_its_end():
    assert rolled("a", reading("a", 5, age_s=600, duration_s=300)).measured == 1


def test_who_is_no_member_is_not_counted():
    assert rolled("a", reading("a", 5), reading("z", 100)).total == 5.0


def test_an_estimate_stands_in_where_there_is_one_and_is_marked():
    figure = rolled("abc", reading("a", 5), estimate={DerId("b"): 2.0, DerId("a"): 99.0}.get)
    assert (figure.total, figure.measured, figure.estimated, figure.missing) == (7.0, 1, 1, 1)


def test_of_nothing_there_is_no_figure():
    figure = rolled("ab")
    assert (figure.total, figure.mean, figure.low, figure.high, figure.oldest) == (None,) * 5
    assert not figure.suppressed


def test_a_figure_of_too_few_members_is_withheld():
    few = Freshness(max_age=timedelta(minutes=5), min_cell=3)
    figure = rolled("abc", reading("a", 5), reading("b", 5), freshness=few)
    assert figure.suppressed
    assert (figure.total, figure.mean, figure.low, figure.high) == (None,) * 4
    assert rolled("abc", *(reading(der, 5) for der in "abc"), freshness=few).total == 15.0


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(-(2**40), 2**40)), st.randoms(use_true_random=False))
def test_every_member_is_measured_estimated_or_missing_in_any_order(values, luck):
    readings = [reading(der, value, ten=-3) for der, value in values.items()]
    luck.shuffle(readings)
    figure = rolled("abcdefgh", *readings)
    assert figure.measured + figure.estimated + figure.missing == figure.members == 8
    assert figure == rolled("abcdefgh", *reversed(readings))
