from decimal import Decimal

import pytest

from tierline.model.control import CurvePoint, Droop, PowerFactor, Reference
from tierline.model.defaults import (
    DEFAULTS,
    Category,
    Profile,
    curve_of,
    default_for,
    parameters_for,
    writable_unasked,
)
from tierline.model.functions import FUNCTIONS
from tierline.model.identity import mrid
from tierline.model.points import POINTS
from tierline.model.validity import fault_of

CURVE_MRID = mrid(1, 2)


def pairs(default):
    return [(str(point.x), str(point.y)) for point in default.value]


def row(function, parameter, category, profile=Profile.IEEE1547_2018):
    return parameters_for(function, category, profile=profile)[parameter]


def test_every_row_belongs_to_a_function_or_a_point():
    assert {each.function for each in DEFAULTS} - set(FUNCTIONS) - set(POINTS) == set()


def test_no_two_rows_say_the_same_thing():
    keys = [
        (each.profile, each.function, each.parameter, category) for each in DEFAULTS for category in each.categories
    ]
    assert len(keys) == len(set(keys))


def test_every_row_says_where_it_was_read():
    assert all(each.source and each.clause and each.categories for each in DEFAULTS)


def test_every_default_lies_in_its_range():
    outside = [
        (each.function, each.parameter)
        for each in DEFAULTS
        if (each.low is not None and each.value < each.low) or (each.high is not None and each.value > each.high)
    ]
    assert outside == [("es_random_delay_s", "")]  # 0 switches it off


def test_every_single_default_is_a_valid_value():
    faults = {
        fault_of(each.function, each.value) for each in DEFAULTS if each.parameter == "" and each.function in FUNCTIONS
    }
    assert faults == {""}


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("category", Category)
def test_every_default_is_a_valid_value(profile, category):
    for function in FUNCTIONS:
        default = default_for(function, category, profile=profile)
        if default is None:
            continue
        value = curve_of(default, CURVE_MRID) if isinstance(default.value, tuple) else default.value
        assert fault_of(function, value) == ""


@pytest.mark.parametrize(
    ("function", "category", "points"),
    [
        ("volt_var", "A", [("90", "25"), ("100", "0"), ("100", "0"), ("110", "-25")]),
        ("volt_var", "B", [("92", "44"), ("98", "0"), ("102", "0"), ("108", "-44")]),
        ("volt_watt", "B", [("106", "100"), ("110", "0")]),
        (
            "watt_var",
            "A",
            [("-100", "44"), ("-50", "0"), ("-20", "0"), ("20", "0"), ("50", "0"), ("100", "-25")],
        ),
        (
            "watt_var",
            "B",
            [("-100", "44"), ("-50", "0"), ("-20", "0"), ("20", "0"), ("50", "0"), ("100", "-44")],
        ),
        ("hvrt_must_trip", "I", [("0.16", "120"), ("2", "120"), ("2", "110")]),
        ("hvrt_must_trip", "II", [("0.16", "120"), ("2", "120"), ("2", "110")]),
        ("hvrt_must_trip", "III", [("0.16", "120"), ("13", "120"), ("13", "110")]),
        ("lvrt_must_trip", "I", [("0.16", "45"), ("2", "45"), ("2", "70")]),
        ("lvrt_must_trip", "II", [("0.16", "45"), ("10", "45"), ("10", "70")]),
        ("lvrt_must_trip", "III", [("2", "50"), ("21", "50"), ("21", "88")]),
        ("hfrt_must_trip", "III", [("0.16", "62.0"), ("300", "62.0"), ("300", "61.2")]),
        ("lfrt_must_trip", "III", [("0.16", "56.5"), ("300", "56.5"), ("300", "58.5")]),
        ("hvrt_momentary_cessation", "III", [("0.083", "110")]),
        ("lvrt_momentary_cessation", "III", [("0.083", "50")]),
    ],
)
def test_the_curves_of_ieee_1547_are_these(function, category, points):
    assert pairs(default_for(function, Category(category))) == points


@pytest.mark.parametrize(
    ("function", "points"),
    [
        ("hvrt_must_trip", [("0.16", "120"), ("13", "120"), ("13", "110")]),
        ("lvrt_must_trip", [("1.5", "50"), ("11", "50"), ("11", "70"), ("21", "70"), ("21", "88")]),
        ("hvrt_may_trip", [("0", "120"), ("12", "120"), ("12", "110")]),
        ("lvrt_may_trip", [("1", "50"), ("10", "50"), ("10", "70"), ("20", "70"), ("20", "88")]),
        ("hfrt_must_trip", [("0.16", "62.0"), ("300", "62.0"), ("300", "60.5")]),
        ("lfrt_must_trip", [("0.16", "57.0"), ("300", "57.0"), ("300", "58.5")]),
        ("hfrt_may_trip", [("0", "62.0"), ("299", "62.0"), ("299", "60.5")]),
        ("lfrt_may_trip", [("0", "57.0"), ("299", "57.0"), ("299", "58.5")]),
        ("hvrt_momentary_cessation", [("0.16", "110")]),
        ("lvrt_momentary_cessation", [("0.16", "50")]),
        ("volt_var", [("92.0", "30"), ("96.7", "0"), ("103.3", "0"), ("107.0", "-30")]),
        ("volt_watt", [("106", "100"), ("110", "0")]),
    ],
)
def test_the_curves_of_rule_21_are_these(function, points):
    assert pairs(default_for(function, Category.B, profile=Profile.RULE21)) == points


@pytest.mark.parametrize(
    ("function", "parameter", "category", "expected"),
    [
        ("volt_var", "v1_pct", "A", ("90", "82", None)),
        ("volt_var", "v2_pct", "B", ("98", "97", "100")),
        ("volt_var", "v3_pct", "B", ("102", "100", "103")),
        ("volt_var", "v4_pct", "B", ("108", None, "118")),
        ("volt_var", "open_loop_s", "A", ("10", "1", "90")),
        ("volt_var", "open_loop_s", "B", ("5", "1", "90")),
        ("volt_var", "v_ref_pct", "B", ("100", "95", "105")),
        ("volt_var", "autonomous_v_ref_time_constant_s", "B", ("300", "300", "5000")),
        ("watt_var", "p2_pct", "B", ("50", "40", "80")),
        ("volt_watt", "v1_pct", "B", ("106", "105", "109")),
        ("volt_watt", "open_loop_s", "B", ("10", "0.5", "60")),
        ("es_low_volt_pct", "", "B", ("91.7", "88", "95")),
        ("es_high_volt_pct", "", "B", ("105", "105", "106")),
        ("es_low_freq_hz", "", "B", ("59.5", "59.0", "59.9")),
        ("es_high_freq_hz", "", "B", ("60.1", "60.1", "61.0")),
        ("es_delay_s", "", "B", ("300", "0", "600")),
        ("es_ramp_s", "", "B", ("300", "1", "1000")),
        ("es_random_delay_s", "", "B", ("0", "1", "1000")),
        ("max_lim_w_pct", "", "B", ("100", "0", "100")),
        ("max_lim_w_pct", "open_loop_s", "B", ("15", None, "30")),
        ("fixed_pf_inject_w", "open_loop_s", "B", ("5", "0", "10")),
        ("fixed_var", "open_loop_s", "B", ("5", "0", "10")),
        ("rtg_max_var", "", "A", ("44", None, None)),
        ("rtg_max_var_neg", "", "A", ("-25", None, None)),
        ("rtg_max_var_neg", "", "B", ("-44", None, None)),
        ("mode_transition_s", "", "B", ("15", "5", "300")),
        ("setting_execution_s", "", "B", ("0", "0", "30")),
        ("hvrt_must_trip", "ov1_pct", "I", ("110", "110", "120")),
        ("hvrt_must_trip", "ov1_s", "I", ("2", "1", "13")),
        ("lvrt_must_trip", "uv1_s", "II", ("10", "2", "50")),
        ("lvrt_must_trip", "uv2_s", "III", ("2", "0.16", "21")),
        ("hfrt_must_trip", "of1_hz", "I", ("61.2", "61.0", "66")),
        ("hfrt_must_trip", "of2_s", "I", ("0.16", "0.16", "1000")),
        ("lfrt_must_trip", "uf1_hz", "I", ("58.5", "50", "59")),
        ("lfrt_must_trip", "uf2_hz", "I", ("56.5", "50", "57")),
        ("freq_droop", "dead_band_over_hz", "III", ("0.036", "0.017", "1.0")),
        ("freq_droop", "slope_under", "III", ("0.05", "0.02", "0.05")),
        ("freq_droop", "open_loop_s", "III", ("5", "0.2", "10")),
        ("lvrt_momentary_cessation", "restore_s", "III", ("0.4", None, "0.4")),
        ("dynamic_reactive_current", "", "III", ("2", "2", "6")),
    ],
)
def test_the_values_and_ranges_of_ieee_1547_are_these(function, parameter, category, expected):
    found = row(function, parameter, Category(category))
    assert (str(found.value), *(None if end is None else str(end) for end in (found.low, found.high))) == expected


@pytest.mark.parametrize(
    ("function", "value", "low", "high"),
    [
        ("grad_w_pct_per_s", "100", "1", "100"),
        ("soft_grad_w_pct_per_s", "2", "1", "100"),
        ("es_delay_s", "15", None, None),
        ("es_random_delay_s", "15", None, "15"),
    ],
)
def test_the_settings_of_rule_21_are_these(function, value, low, high):
    found = row(function, "", Category.A, Profile.RULE21)
    assert (str(found.value), *(None if end is None else str(end) for end in (found.low, found.high))) == (
        value,
        low,
        high,
    )


@pytest.mark.parametrize("profile", Profile)
def test_droop_is_on_and_has_five_percent(profile):
    default = default_for("freq_droop", Category.III, profile=profile)
    assert default.value == Droop(
        dead_band_over_hz=Decimal("0.036"),
        dead_band_under_hz=Decimal("0.036"),
        slope_over=Decimal("0.05"),
        slope_under=Decimal("0.05"),
        open_loop_s=Decimal(5),
    )
    assert default.enabled is True


def test_the_power_factor_of_rule_21_is_one():
    default = default_for("fixed_pf_inject_w", Category.A, profile=Profile.RULE21)
    assert default.value == PowerFactor(displacement=Decimal("1.0"), absorbing=False)


def test_anti_islanding_is_on_in_rule_21():
    assert default_for("anti_islanding", Category.A, profile=Profile.RULE21).value is True


@pytest.mark.parametrize(
    ("function", "category", "profile", "enabled"),
    [
        ("volt_watt", "B", Profile.IEEE1547_2018, False),
        ("volt_watt", "B", Profile.RULE21, True),
        ("max_lim_w_pct", "B", Profile.IEEE1547_2018, False),
        ("lvrt_momentary_cessation", "III", Profile.IEEE1547_2018, True),
        ("volt_var", "B", Profile.IEEE1547_2018, None),
    ],
)
def test_a_default_says_whether_the_function_is_on(function, category, profile, enabled):
    assert default_for(function, Category(category), profile=profile).enabled is enabled


def test_a_function_that_is_only_off_has_no_default_value():
    assert row("lvrt_momentary_cessation", "enabled", Category.I).value is False
    assert default_for("lvrt_momentary_cessation", Category.I) is None


@pytest.mark.parametrize("function", ["fixed_w_pct", "no_such_function"])
def test_a_function_without_rows_has_no_default(function):
    assert default_for(function, Category.B) is None


def test_a_recalled_or_model_value_is_not_written_unasked():
    assert not writable_unasked(default_for("volt_var", Category.B, profile=Profile.RULE21))
    assert not writable_unasked(row("mode_transition_s", "", Category.B))
    assert not writable_unasked(default_for("freq_droop", Category.B, profile=Profile.RULE21))


def test_a_value_that_was_read_may_be_written_unasked():
    assert writable_unasked(default_for("volt_var", Category.B))
    assert writable_unasked(default_for("lvrt_must_trip", Category.B, profile=Profile.RULE21))


def test_a_single_number_is_judged_by_its_own_row():
    assert not row("max_lim_w_pct", "open_loop_s", Category.B).verified
    assert writable_unasked(default_for("max_lim_w_pct", Category.B))


def test_exactly_these_rows_of_rule_21_are_unverified():
    unverified = {each.function for each in DEFAULTS if each.profile is Profile.RULE21 and not each.verified}
    assert unverified == {
        "anti_islanding",
        "hfrt_must_trip",
        "lfrt_must_trip",
        "hfrt_may_trip",
        "lfrt_may_trip",
        "volt_var",
        "grad_w_pct_per_s",
        "soft_grad_w_pct_per_s",
        "fixed_pf_inject_w",
        "fixed_pf_absorb_w",
        "es_delay_s",
        "es_random_delay_s",
        "freq_droop",
    }


def test_the_two_profiles_differ_in_low_voltage_ride_through():
    ieee = default_for("lvrt_must_trip", Category.III)
    rule21 = default_for("lvrt_must_trip", Category.III, profile=Profile.RULE21)
    assert pairs(ieee) != pairs(rule21)


def test_a_curve_takes_its_parameters_from_the_rows():
    curve = curve_of(default_for("volt_var", Category.B), CURVE_MRID)
    assert curve.mrid == CURVE_MRID
    assert (curve.open_loop_s, curve.v_ref_pct, curve.autonomous_v_ref) == (5, 100, False)
    assert curve.autonomous_v_ref_time_constant_s == 300


def test_a_curve_leaves_out_what_no_row_says():
    curve = curve_of(default_for("hvrt_must_trip", Category.III), CURVE_MRID)
    assert (curve.open_loop_s, curve.v_ref_pct, curve.autonomous_v_ref) == (None, None, False)


def test_reactive_power_is_brought_from_the_rating_to_set_max_var():
    default = default_for("volt_var", Category.B)
    curve = curve_of(default, CURVE_MRID, y_reference=Reference.SET_MAX_VAR, y_scale=Decimal(100) / Decimal(44))
    assert curve.y_reference is Reference.SET_MAX_VAR
    assert curve.points[0].x == 92
    assert round(curve.points[0].y, 10) == 100
    assert curve.points[1] == CurvePoint(x=Decimal(98), y=Decimal(0))


def test_what_has_no_points_is_no_curve():
    with pytest.raises(TypeError, match="es_delay_s is no curve: 300"):
        curve_of(default_for("es_delay_s", Category.B), CURVE_MRID)
