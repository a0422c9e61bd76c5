from decimal import Decimal

import pytest

from tierline.engine.disaggregate import Policy, Share, Tuning, correct, share
from tierline.model.identity import DerId

A, B, C = DerId("a"), DerId("b"), DerId("c")


def member(der_id, rating_w, **more):
    return Share(
        der_id=der_id,
        rating_w=Decimal(rating_w),
        **{name: None if value is None else Decimal(value) for name, value in more.items()},
    )


THREE = (member(A, 10_000), member(B, 20_000), member(C, 30_000))


@pytest.mark.parametrize(
    ("policy", "watts"),
    [
        (Policy.RATING, [2000, 4000, 6000]),
        (Policy.AVAILABLE, [2000, 4000, 6000]),
        (Policy.EQUAL, [4000, 4000, 4000]),
        (Policy.PRICE, [2000, 4000, 6000]),
    ],
)
def test_a_total_is_shared_out_by_the_policy(policy, watts):
    shared = share(Decimal(12_000), THREE, policy)
    assert list(shared.watts.values()) == watts
    assert (shared.total_w, shared.rest_w) == (12_000, 0)


def test_what_one_cannot_take_goes_to_the_others():
    members = (member(A, 10_000, available_w=1000), *THREE[1:])
    assert share(Decimal(26_000), members, Policy.RATING).watts == {A: 1000, B: 10_000, C: 15_000}
    assert share(Decimal(26_000), members, Policy.EQUAL).watts == {A: 1000, B: 12_500, C: 12_500}


def test_more_is_available_than_rated_only_on_paper():
    assert share(Decimal(9000), (member(A, 5000, available_w=8000),), Policy.AVAILABLE).watts == {A: 5000}
    assert share(Decimal(9000), (member(A, 5000, available_w=-20),), Policy.AVAILABLE).watts == {A: 0}


def test_the_cheapest_come_first_and_those_without_a_price_last():
    members = (
        member(A, 10_000, price="0.20"),
        member(B, 20_000, price="0.10"),
        member(C, 30_000),
    )
    assert share(Decimal(24_000), members, Policy.PRICE).watts == {A: 4000, B: 20_000, C: 0}
    assert share(Decimal(31_000), members, Policy.PRICE).watts == {A: 10_000, B: 20_000, C: 1000}


def test_equal_prices_share_by_rating():
    members = (member(A, 10_000, price=1), member(B, 20_000, price=1), member(C, 30_000, price=2))
    assert share(Decimal(3000), members, Policy.PRICE).watts == {A: 1000, B: 2000, C: 0}


def test_of_those_that_absorb_the_dearest_come_first():
    members = (
        member(A, 10_000, absorb_w=5000, price="0.10"),
        member(B, 10_000, absorb_w=5000, price="0.20"),
        member(C, 10_000, absorb_w=5000),
    )
    assert share(Decimal(-6000), members, Policy.PRICE).watts == {A: -1000, B: -5000, C: 0}


@pytest.mark.parametrize("policy", Policy)
def test_only_those_that_can_absorb_are_told_to(policy):
    members = (member(A, 10_000), member(B, 20_000, absorb_w=4000))
    shared = share(Decimal(-5000), members, policy)
    assert shared.watts == {A: 0, B: -4000}
    assert (shared.total_w, shared.rest_w) == (-4000, -1000)


@pytest.mark.parametrize("policy", Policy)
def test_what_nobody_can_take_is_said(policy):
    shared = share(Decimal(70_000), THREE, policy)
    assert shared.watts == {A: 10_000, B: 20_000, C: 30_000}
    assert (shared.total_w, shared.rest_w) == (60_000, 10_000)


def test_nobody_is_told_nothing():
    shared = share(Decimal(100), (), Policy.RATING)
    assert (dict(shared.watts), shared.total_w, shared.rest_w) == ({}, 0, 100)


def test_shares_come_in_steps_of_the_resolution_rounded_towards_zero():
    members = (member(A, 10_000, absorb_w=9000), member(B, 10_000, absorb_w=9000))
    assert share(Decimal(999), members, Policy.RATING).watts == {A: 499, B: 499}
    assert share(Decimal(999), members, Policy.RATING, resolution_w=Decimal("0.1")).watts == {
        A: Decimal("499.5"),
        B: Decimal("499.5"),
    }
    assert share(Decimal(-999), members, Policy.RATING, resolution_w=Decimal(10)).watts == {A: -490, B: -490}


def test_who_is_not_measured_counts_by_its_rating_and_is_marked():
    members = (member(A, 10_000, measured_w=3000), member(B, 10_000))
    shared = share(Decimal(8000), members, Policy.RATING)
    assert shared.watts == {A: 4000, B: 4000}
    assert shared.unmeasured == {B}


TUNING = Tuning(dead_band_w=Decimal(500))


def test_a_small_error_is_left_alone():
    last = share(Decimal(12_000), THREE, Policy.RATING)
    assert correct(Decimal(12_000), Decimal(11_500), last, THREE, Policy.RATING, TUNING) is last


def test_half_of_an_error_is_corrected_at_once():
    last = share(Decimal(12_000), THREE, Policy.RATING)
    assert correct(Decimal(12_000), Decimal(9600), last, THREE, Policy.RATING, TUNING).total_w == 13_200
    assert correct(Decimal(12_000), Decimal(14_400), last, THREE, Policy.RATING, TUNING).total_w == 10_800


def test_who_joins_gets_a_share_however_small_the_error():
    last = share(Decimal(12_000), THREE[:2], Policy.RATING)
    assert correct(Decimal(12_000), Decimal(12_000), last, THREE, Policy.RATING, TUNING).watts == {
        A: 2000,
        B: 4000,
        C: 6000,
    }


def test_a_correction_does_not_wind_up():
    last = share(Decimal(60_000), THREE, Policy.RATING)
    for _ in range(10):
        last = correct(Decimal(60_000), Decimal(0), last, THREE, Policy.RATING, TUNING)
    assert (last.total_w, last.rest_w) == (60_000, 30_000)
    assert correct(Decimal(60_000), Decimal(62_000), last, THREE, Policy.RATING, TUNING).total_w == 59_000


def test_a_share_beyond_what_a_member_is_rated_for_now_is_not_left_alone():
    last = share(Decimal(12_000), THREE, Policy.RATING)
    smaller = (member(A, 1000), *THREE[1:])
    assert correct(Decimal(12_000), Decimal(12_000), last, smaller, Policy.RATING, TUNING).watts[A] <= 1000
    clouded = (member(A, 10_000, available_w=100), *THREE[1:])
    assert correct(Decimal(12_000), Decimal(12_000), last, clouded, Policy.RATING, TUNING) is last


def test_who_joins_may_take_what_the_others_could_not():
    last = share(Decimal(40_000), THREE[:2], Policy.RATING)
    assert last.rest_w == 10_000
    assert correct(Decimal(40_000), Decimal(40_000), last, THREE, Policy.RATING, TUNING).total_w == 40_000
