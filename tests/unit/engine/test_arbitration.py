import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tierline.engine.arbitration import Claim, Ratings, arbitrate
from tierline.model.control import Curve, CurvePoint, PowerFactor
from tierline.model.functions import FUNCTIONS
from tierline.model.identity import ChannelId, Mrid
from tierline.model.parties import Authority

ALL = frozenset(FUNCTIONS)
TEN_KW = Ratings(set_max_w=Decimal(10_000))


def claim(function, value, channel="u", mrid="A", *, rank=1, authority=Authority.UTILITY, **more):
    return Claim(
        function=function,
        value=Decimal(value) if isinstance(value, int | str) and not isinstance(value, bool) else value,
        channel=ChannelId(channel),
        mrid=Mrid(mrid),
        authority=authority,
        rank=rank,
        **more,
    )


def default(function, value, channel="u", mrid="D", *, rank=1):
    return claim(function, value, channel, mrid, rank=rank, authority=Authority.DEFAULT, is_event=False)


def decide(*claims, ratings=TEN_KW, supported=ALL):
    return arbitrate(claims, ratings=ratings, supported=supported)


def outcome(applied, mrid, function=None):
    return next(e for e in applied.explanation if e.mrid == mrid and function in {None, e.function})


def test_nothing_is_commanded_when_nobody_claims():
    assert dict(decide().setpoints) == {}


def test_of_all_limits_the_tightest_is_applied_and_all_stay_in_force():
    applied = decide(claim("max_lim_w_pct", 50), claim("max_lim_w_pct", 30, "a", "B", rank=2))
    assert dict(applied.setpoints) == {"max_lim_w_pct": Decimal(30)}
    assert [(e.mrid, e.applied, e.binding, e.displaced) for e in applied.explanation] == [
        ("A", False, False, False),
        ("B", True, True, False),
    ]
    assert applied.explanation[0].reason == "not binding: max_lim_w_pct of a is tighter"


def test_limits_in_percent_and_in_watts_meet_in_one_quantity():
    applied = decide(claim("max_lim_w_pct", 50), claim("gen_lim_w", 4000, "a", "B", rank=2))
    assert dict(applied.setpoints) == {"max_lim_w_pct": Decimal(50), "gen_lim_w": Decimal(4000)}
    assert [outcome(applied, mrid).binding for mrid in "AB"] == [False, True]


def test_limits_of_generation_absorption_and_of_the_connection_point_do_not_meet():
    applied = decide(claim("gen_lim_w", 4000), claim("load_lim_w", 1000, mrid="B"), claim("exp_lim_w", 500, mrid="C"))
    assert all(entry.binding for entry in applied.explanation)


def test_a_limit_of_a_facility_meets_those_of_its_connection_point():
    applied = decide(
        claim("max_lim_w_pct", 50), claim("exp_lim_w", 500, mrid="B"), ratings=replace(TEN_KW, at_pcc=True)
    )
    assert [outcome(applied, mrid).binding for mrid in "AB"] == [False, True]


def test_equal_limits_both_bind_and_one_is_the_source():
    applied = decide(claim("max_lim_w_pct", 50), claim("max_lim_w_pct", 50, "a", "B", rank=2))
    assert [(e.mrid, e.applied, e.binding) for e in applied.explanation] == [("A", True, True), ("B", False, True)]


@pytest.mark.parametrize(
    ("stronger", "weaker"),
    [
        ({"authority": Authority.LOCAL_EMERGENCY, "rank": 2}, {"authority": Authority.UTILITY, "rank": 1}),
        ({"rank": 1, "primacy": 9}, {"rank": 2, "primacy": 1}),
        ({"primacy": 1}, {"primacy": 2, "creation_time": datetime(2030, 1, 1, tzinfo=UTC)}),
        ({"creation_time": datetime(2030, 1, 1, tzinfo=UTC)}, {"creation_time": datetime(2029, 1, 1, tzinfo=UTC)}),
    ],
)
def test_one_setpoint_wins_by_authority_then_rank_then_primacy_then_age(stronger, weaker):
    applied = decide(
        claim("target_w", 1000, "a", "A", **({"rank": 1} | stronger)),
        claim("fixed_w_pct", 20, "b", "B", **({"rank": 1} | weaker)),
    )
    assert dict(applied.setpoints) == {"target_w": Decimal(1000)}
    assert applied.displaced == {("b", "B")}
    assert applied.sources == {("a", "A")}


def test_the_higher_mrid_decides_last():
    assert outcome(decide(claim("target_w", 1, mrid="A"), claim("target_w", 2, mrid="B")), "B").applied


def test_an_event_outweighs_every_default():
    applied = decide(default("target_w", 1), claim("target_w", 2, "a", "B", rank=2, authority=Authority.OWNER))
    assert dict(applied.setpoints) == {"target_w": Decimal(2)}
    assert applied.displaced == set()


def test_an_event_that_lost_to_its_own_channel_is_not_displaced():
    applied = decide(claim("target_var", 1, mrid="B"), claim("fixed_pf_absorb_w", PF, mrid="A"))
    assert applied.displaced == set()
    assert applied.sources == {("u", "B")}


def test_an_event_of_which_something_is_carried_out_is_not_displaced():
    applied = decide(
        claim("target_w", 1),
        claim("target_w", 2, "a", "B", rank=2),
        claim("max_lim_w_pct", 50, "a", "B", rank=2),
    )
    assert applied.displaced == set()
    assert outcome(applied, "B", "target_w").reason == "not applied: target_w of u ranks first"


PF = PowerFactor(displacement=Decimal("0.9"), absorbing=False)
CURVE = Curve(mrid=Mrid("C"), points=(CurvePoint(x=Decimal(95), y=Decimal(30)),))


def test_one_function_of_reactive_power_at_a_time():
    applied = decide(claim("volt_var", CURVE), claim("fixed_pf_inject_w", PF, "a", "B", rank=2))
    assert tuple(applied.setpoints) == ("volt_var",)


def test_the_two_power_factors_of_one_control_are_one_function():
    both = (claim("fixed_pf_inject_w", PF), claim("fixed_pf_absorb_w", PF))
    assert set(decide(*both).setpoints) == {"fixed_pf_inject_w", "fixed_pf_absorb_w"}
    assert len(decide(both[0], replace(both[1], mrid=Mrid("B"))).setpoints) == 1


def test_settings_of_defaults_stand_beside_each_other():
    applied = decide(default("es_delay_s", 300), default("es_ramp_s", 300), default("es_ramp_s", 10, "a", rank=2))
    assert dict(applied.setpoints) == {"es_delay_s": Decimal(300), "es_ramp_s": Decimal(300)}


def test_of_defaults_for_one_quantity_the_one_of_the_first_ranked_program_is_carried_out():
    first = replace(default("target_var", 100, mrid="A"), program=Mrid("2"))
    second = replace(default("volt_var", CURVE, mrid="B"), program=Mrid("1"))
    assert tuple(decide(first, second).setpoints) == ("target_var",)
    assert tuple(decide(first, replace(second, primacy=-1)).setpoints) == ("volt_var",)


@pytest.mark.parametrize(
    ("function", "value", "limit", "left"),
    [
        ("target_w", 8000, claim("max_lim_w_pct", 50, mrid="L"), 5000),
        ("target_w", 8000, claim("gen_lim_w", 3000, mrid="L"), 3000),
        ("target_w", -8000, claim("load_lim_w", 3000, mrid="L"), -3000),
        ("target_w", -8000, claim("gen_lim_w", 3000, mrid="L"), -8000),
        ("target_w", 2000, claim("gen_lim_w", 3000, mrid="L"), 2000),
        ("fixed_w_pct", 80, claim("max_lim_w_pct", 50, mrid="L"), 50),
        ("fixed_w_pct", 80, claim("gen_lim_w", "3333.35", mrid="L"), "33.33"),
        ("fixed_w_pct", -80, claim("load_lim_w", "1000.09", mrid="L"), "-20.00"),
        ("fixed_w_pct", 80, claim("exp_lim_w", 10, mrid="L"), 80),
    ],
)
def test_a_setpoint_is_clipped_by_the_limits(function, value, limit, left):
    ratings = replace(TEN_KW, set_max_charge_rate_w=Decimal(5000))
    applied = decide(claim(function, value), limit, ratings=ratings)
    assert applied.setpoints[function] == Decimal(left)
    entry = outcome(applied, "A")
    assert (entry.value, entry.applied_value) == (Decimal(value), Decimal(left))
    assert ("clipped by" in entry.reason) == (Decimal(left) != Decimal(value))


@pytest.mark.parametrize(
    ("utility", "owner", "result", "source"),
    [(True, True, True, "A"), (False, True, False, "A"), (True, False, False, "B")],
)
def test_connected_is_what_all_permit(utility, owner, result, source):
    applied = decide(claim("connect", utility), claim("connect", owner, "o", "B", rank=9, authority=Authority.OWNER))
    assert applied.setpoints["connect"] is result
    assert outcome(applied, source).applied
    assert [outcome(applied, "A").binding, outcome(applied, "B").binding] == [not utility, not owner]
    assert applied.displaced == set()


def test_what_the_der_does_not_carry_out_is_said():
    applied = decide(
        claim("target_w", 1), claim("min_lim_w_pct", 1), claim("unheard_of", 1), default("max_lim_w_pct", 101),
        supported=ALL - {"target_w"},
    )  # fmt: skip
    assert dict(applied.setpoints) == {}
    assert [e.reason for e in applied.explanation] == [
        "max_lim_w_pct is 101 % of set_max_w; the most is 100",
        *["not carried out by this DER"] * 3,
    ]
    assert applied.displaced == set()


def test_a_default_with_a_ramp_that_the_der_does_not_keep_to_is_said_and_left_out():
    points = (CurvePoint(x=Decimal(98), y=Decimal(0)), CurvePoint(x=Decimal(102), y=Decimal(-44)))
    ramped = Curve(mrid=Mrid("1"), points=points, ramp_increase_pct_per_s=Decimal(5))
    told = [default("volt_var", ramped), default("max_lim_w_pct", 50)]
    applied = arbitrate(told, ratings=TEN_KW, supported=ALL, carries_ramp_time=False)
    assert set(applied.setpoints) == {"max_lim_w_pct"}
    assert "its rampIncTms is not carried out by this DER" in [entry.reason for entry in applied.explanation]
    assert "volt_var" in arbitrate(told, ratings=TEN_KW, supported=ALL, carries_ramp_time=True).setpoints


def test_the_ramp_time_is_that_of_the_first_ranked_control_that_has_one():
    applied = decide(
        claim("max_lim_w_pct", 50, ramp_time_s=None),
        claim("target_w", 1, "a", "B", rank=2, ramp_time_s=Decimal(7)),
        claim("target_var", 1, "a", "C", rank=3, ramp_time_s=Decimal(9)),
    )
    assert applied.ramp_time_s == Decimal(7)


def test_the_same_claim_twice_is_one():
    assert len(decide(claim("target_w", 1), claim("target_w", 1)).explanation) == 1


def test_the_explanation_is_json_a_person_can_read():
    applied = decide(claim("max_lim_w_pct", 50), claim("fixed_pf_inject_w", PF), claim("connect", True))
    told = json.loads(applied.to_json())
    assert told["setpoints"] == {
        "connect": True,
        "fixed_pf_inject_w": {"absorbing": False, "displacement": "0.9"},
        "max_lim_w_pct": "50",
    }
    assert told["explanation"][2] == {
        "applied": True,
        "applied_value": "50",
        "binding": True,
        "channel": "u",
        "displaced": False,
        "function": "max_lim_w_pct",
        "is_event": True,
        "mrid": "A",
        "reason": "binding",
        "value": "50",
    }
    assert told["ramp_time_s"] is None
