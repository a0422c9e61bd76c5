from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tierline.engine.rollup import Figure
from tierline.model.control import PowerFactor, Setpoints
from tierline.model.identity import DerId
from tierline.model.telemetry import Quality
from tierline.operations.serving.fleet_values import (
    by_rating,
    estimates_w,
    moved_w,
    percent,
    quality,
    resolution_w,
    set_to,
    set_w,
)
from tierline.operations.serving.members import Member

NOON = datetime(2026, 6, 18, 12, tzinfo=UTC)


def member(name="a", rating_w=10_000, absorb_w=0, measured_w=None, functions=None, **values):
    said = {"set_max_w": Decimal(rating_w)} | {key: Decimal(value) for key, value in values.items()}
    if absorb_w:
        said["set_max_charge_rate_w"] = Decimal(absorb_w)
    return Member(
        der_id=DerId(name),
        values=said,
        functions=None if functions is None else frozenset(functions),
        measured_w=None if measured_w is None else Decimal(measured_w),
        price=None,
    )


TWO = (member("a", 10_000, measured_w=6000), member("b", 20_000, absorb_w=5000))


@pytest.mark.parametrize(
    ("given", "watts"),
    [
        ({"target_w": Decimal(-5)}, -5),
        ({"fixed_w_pct": Decimal(50)}, 15_000),
        ({"fixed_w_pct": Decimal(-50)}, -2500),
        ({"max_lim_w_pct": Decimal(50)}, None),
    ],
)
def test_what_all_are_to_do_together(given, watts):
    assert set_w(Setpoints.of(given), TWO) == watts


@pytest.mark.parametrize(
    ("name", "value", "watts"),
    [
        # 6 kW are measured; b may do anything from 0 to 20 kW.
        ("target_w", Decimal(10_000), 16_000),
        ("target_w", Decimal(26_000), 20_000),
        ("fixed_w_pct", Decimal(100), 24_000),
        ("gen_lim_w", Decimal(20_000), 6000),
        ("gen_lim_w", Decimal(30_000), 0),
        ("max_lim_w_pct", Decimal(50), 1000 + 10_000),
        ("connect", False, 26_000),
        ("energize", False, 26_000),
        ("connect", True, 0),
        ("fixed_pf_inject_w", PowerFactor(displacement=Decimal("0.9"), absorbing=True), 0),
    ],
)
def test_how_much_a_value_moves_at_most(name, value, watts):
    assert moved_w(name, value, TWO) == watts


def test_a_member_is_told_by_the_best_function_it_has():
    assert set_to(member(), Decimal(5000)) == ("target_w", 5000)
    storage = member(absorb_w=5000, functions=["fixed_w_pct", "max_lim_w_pct"])
    assert set_to(storage, Decimal(5000)) == ("fixed_w_pct", 50)
    assert set_to(storage, Decimal(-1000)) == ("fixed_w_pct", -20)
    assert set_to(member(functions=["max_lim_w_pct"]), Decimal(3333)) == ("max_lim_w_pct", Decimal("33.33"))


def test_a_percentage_is_rounded_towards_zero():
    assert percent(Decimal("-6666.6"), Decimal(10_000)) == Decimal("-66.66")
    assert percent(Decimal(5), Decimal(0)) == 0


def test_a_limit_counts_what_a_member_may_do_not_what_it_could_do_now():
    assert by_rating(member(stat_w_avail=100, measured_w=50)).most_w == 10_000


@pytest.mark.parametrize(("rating_w", "step"), [(0, 1), (32_767, 1), (32_768, 10), (327_671, 100)])
def test_shares_come_in_steps_that_the_wire_carries(rating_w, step):
    assert resolution_w([member(rating_w=rating_w)]) == step
    assert resolution_w([]) == 1


@pytest.mark.parametrize(
    ("measured", "estimated", "expected"),
    [
        (4, 0, Quality.VALID | Quality.DERIVED),
        (2, 2, Quality.VALID | Quality.DERIVED | Quality.ESTIMATED_LINEAR),
        (1, 3, Quality.DERIVED | Quality.QUESTIONABLE),
        (3, 0, Quality.DERIVED | Quality.QUESTIONABLE),
    ],
)
def test_a_sum_says_how_much_of_it_was_measured(measured, estimated, expected):
    figure = Figure(
        point="w",
        time=NOON,
        members=4,
        measured=measured,
        estimated=estimated,
        missing=4 - measured - estimated,
        suppressed=False,
        total=1.0,
        mean=None,
        low=None,
        high=None,
        oldest=None,
    )
    assert quality(figure) == expected


def test_who_was_not_measured_is_taken_to_do_as_told_or_as_the_others():
    assert estimates_w(TWO, {DerId("a"): Decimal(1), DerId("b"): Decimal(2)}) == {"a": 1.0, "b": 2.0}
    assert estimates_w(TWO, None) == {"a": 6000.0, "b": 12_000.0}
    assert estimates_w(TWO[1:], None) == {}
