from dataclasses import replace
from decimal import Decimal

import pytest

from tierline.model.control import Curve, CurvePoint, Droop, FixedVar, PowerFactor, Reference, Setpoints
from tierline.model.defaults import DEFAULTS, Category, Profile, curve_of, default_for
from tierline.model.errors import ConfigError
from tierline.model.functions import FUNCTIONS
from tierline.model.identity import mrid
from tierline.model.profiles import (
    NAMES,
    category_of,
    default_set,
    is_on,
    outside_ranges,
    profile_named,
    to_apply,
)

MRID = mrid(1, 2)


def as_value(default):
    return curve_of(default, MRID) if isinstance(default.value, tuple) else default.value


def test_a_profile_is_found_by_its_name():
    assert profile_named("rule21") is Profile.RULE21
    assert profile_named("ieee1547") is profile_named("ieee1547-2018") is Profile.IEEE1547_2018
    assert set(NAMES.values()) == set(Profile)


def test_a_name_that_is_none_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match="no profile 'rule22'; there are ieee1547, ieee1547-2018, rule21"):
        profile_named("rule22")


@pytest.mark.parametrize(
    ("function", "category"),
    [
        ("volt_var", Category.A),
        ("es_delay_s", Category.A),
        ("lvrt_must_trip", Category.II),
        ("freq_droop", Category.II),
    ],
)
def test_ride_through_and_droop_go_by_the_abnormal_category(function, category):
    assert category_of(function, Category.A, Category.II) is category


@pytest.mark.parametrize(("normal", "abnormal"), [(Category.I, Category.III), (Category.B, Category.A)])
def test_categories_of_the_wrong_kind_are_refused(normal, abnormal):
    with pytest.raises(ConfigError, match="the first must be A or B, the second I, II or III"):
        default_set(Profile.RULE21, normal=normal, abnormal=abnormal)


def test_the_same_node_has_another_set_under_another_profile():
    ieee, rule21 = (default_set(profile) for profile in Profile)
    differing = {name for name in ieee.keys() & rule21.keys() if ieee[name].value != rule21[name].value}
    assert {"lvrt_must_trip", "volt_var", "es_delay_s"} <= differing
    assert {"hvrt_may_trip", "soft_grad_w_pct_per_s", "anti_islanding"} <= rule21.keys() - ieee.keys()
    assert {"watt_var", "es_low_volt_pct"} <= ieee.keys() - rule21.keys()
    assert is_on(rule21["volt_watt"])
    assert not is_on(ieee["volt_watt"])


def test_a_set_depends_on_the_categories():
    first = default_set(Profile.IEEE1547_2018, normal=Category.A, abnormal=Category.I)
    second = default_set(Profile.IEEE1547_2018, normal=Category.B, abnormal=Category.III)
    assert {name for name in first if first[name].value != second[name].value} == {
        "volt_var",
        "watt_var",
        "hvrt_must_trip",
        "lvrt_must_trip",
    }
    assert "lvrt_momentary_cessation" in second.keys() - first.keys()


@pytest.mark.parametrize("profile", Profile)
def test_every_default_of_a_profile_is_in_its_set(profile):
    with_rows = {row.function for row in DEFAULTS if row.profile is profile} & FUNCTIONS.keys()
    missing = with_rows - default_set(profile).keys()
    assert all(default_for(name, Category.III, profile=profile) is None for name in missing)


@pytest.mark.parametrize("profile", Profile)
def test_nothing_unverified_is_put_into_a_device_unasked(profile):
    defaults = default_set(profile)
    chosen = to_apply(defaults)
    assert chosen
    assert all(default.verified and is_on(default) for default in chosen.values())
    assert all(not default.verified or not is_on(default) for name, default in defaults.items() if name not in chosen)


def test_what_rule_21_puts_into_a_device_unasked_is_this():
    assert set(to_apply(default_set(Profile.RULE21))) == {
        "hvrt_must_trip",
        "lvrt_must_trip",
        "hvrt_may_trip",
        "lvrt_may_trip",
        "hvrt_momentary_cessation",
        "lvrt_momentary_cessation",
        "volt_watt",
    }


def test_a_confirmed_function_is_added_and_no_other():
    defaults = default_set(Profile.RULE21)
    assert to_apply(defaults, {"hfrt_must_trip"}).keys() - to_apply(defaults).keys() == {"hfrt_must_trip"}


def test_a_confirmation_switches_nothing_on_that_is_off_or_not_said_to_be_on():
    assert not to_apply(default_set(Profile.RULE21), {"volt_var"}).keys() & {"volt_var"}
    assert "volt_watt" not in to_apply(default_set(Profile.IEEE1547_2018), {"volt_watt"})


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("abnormal", [Category.I, Category.II, Category.III])
def test_every_default_lies_within_its_own_ranges(profile, abnormal):
    values = {name: as_value(default) for name, default in default_set(profile, abnormal=abnormal).items()}
    assert outside_ranges(Setpoints.of(values), profile, abnormal=abnormal) == []


DROOP = Droop(
    dead_band_over_hz=Decimal("0.036"),
    dead_band_under_hz=Decimal(2),
    slope_over=Decimal("0.01"),
    slope_under=Decimal("0.05"),
    open_loop_s=Decimal(5),
)


@pytest.mark.parametrize(
    ("function", "value", "faults"),
    [
        ("es_delay_s", Decimal(601), ["es_delay_s is 601 s; ieee1547-2018 allows 600 or less"]),
        (
            "es_low_volt_pct",
            Decimal(80),
            ["es_low_volt_pct is 80 % of the effective voltage; ieee1547-2018 allows 88 or more"],
        ),
        (
            "freq_droop",
            DROOP,
            [
                "freq_droop dead_band_under_hz is 2 Hz; ieee1547-2018 allows 1.0 or less",
                "freq_droop slope_over is 0.01 pu/pu; ieee1547-2018 allows 0.02 or more",
            ],
        ),
        ("fixed_var", FixedVar(value_pct=Decimal(99), reference=Reference.SET_MAX_VAR), []),
        ("fixed_pf_inject_w", PowerFactor(displacement=Decimal("0.5"), absorbing=True), []),
        ("energize", True, []),
    ],
)
def test_a_value_outside_the_range_is_named_with_it(function, value, faults):
    assert outside_ranges(Setpoints.of({function: value}), Profile.IEEE1547_2018) == faults


def test_a_doubtful_range_is_called_doubtful():
    value = PowerFactor(displacement=Decimal("0.5"), absorbing=True)
    (fault,) = outside_ranges(Setpoints.of({"fixed_pf_inject_w": value}), Profile.RULE21)
    assert fault.endswith("allows 0.85 or more (not verified)")


def test_a_curve_is_compared_point_by_point_where_it_has_as_many():
    curve = replace(
        curve_of(default_for("volt_watt", Category.B), MRID),
        points=(CurvePoint(x=Decimal(104), y=Decimal(100)), CurvePoint(x=Decimal(112), y=Decimal(0))),
        open_loop_s=Decimal(70),
        v_ref_pct=Decimal(100),
    )
    faults = outside_ranges(Setpoints.of({"volt_watt": curve}), Profile.IEEE1547_2018)
    assert [fault.split(" is")[0] for fault in faults] == [
        "volt_watt v1_pct",
        "volt_watt v2_pct",
        "volt_watt open_loop_s",
    ]
    longer = Curve(mrid=MRID, points=(*curve.points, CurvePoint(x=Decimal(120), y=Decimal(0))))
    assert outside_ranges(Setpoints.of({"volt_watt": longer}), Profile.IEEE1547_2018) == []
