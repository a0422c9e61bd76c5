"""The rows of `tierline.model.defaults` against the settings EPRI's OpenDER 2.2.0 gives each category."""

from decimal import Decimal

import pytest

pytest.importorskip("opender", reason="OpenDER is part of the test requirements")

from opender import DERCommonFileFormat  # after the skip

from tierline.model.defaults import Category, parameters_for  # after the skip

pytestmark = pytest.mark.interop

PERCENT = 100

OF_NORMAL_CATEGORY = [
    *((f"QV_CURVE_V{n}", "volt_var", f"v{n}_pct", PERCENT) for n in (1, 2, 3, 4)),
    *((f"QV_CURVE_Q{n}", "volt_var", f"q{n}_pct", PERCENT) for n in (1, 2, 3, 4)),
    ("QV_OLRT", "volt_var", "open_loop_s", 1),
    ("QV_VREF", "volt_var", "v_ref_pct", PERCENT),
    ("QV_VREF_AUTO_MODE", "volt_var", "autonomous_v_ref", 1),
    ("QV_VREF_TIME", "volt_var", "autonomous_v_ref_time_constant_s", 1),
    *((f"QP_CURVE_P{n}_GEN", "watt_var", f"p{n}_pct", PERCENT) for n in (1, 2, 3)),
    *((f"QP_CURVE_Q{n}_GEN", "watt_var", f"q{n}_pct", PERCENT) for n in (1, 2, 3)),
    *((f"QP_CURVE_P{n}_LOAD", "watt_var", f"p{n}_load_pct", PERCENT) for n in (1, 2, 3)),
    ("QP_CURVE_Q3_LOAD", "watt_var", "q3_load_pct", PERCENT),
    ("CONST_PF_MODE_ENABLE", "fixed_pf_inject_w", "enabled", 1),
    ("CONST_PF_RT", "fixed_pf_inject_w", "open_loop_s", 1),
    ("CONST_Q_MODE_ENABLE", "fixed_var", "enabled", 1),
    ("CONST_Q_RT", "fixed_var", "open_loop_s", 1),
    ("PV_MODE_ENABLE", "volt_watt", "enabled", 1),
    *((f"PV_CURVE_{axis}{n}", "volt_watt", f"{axis.lower()}{n}_pct", PERCENT) for axis in "VP" for n in (1, 2)),
    ("PV_OLRT", "volt_watt", "open_loop_s", 1),
    ("ES_V_LOW", "es_low_volt_pct", "", PERCENT),
    ("ES_V_HIGH", "es_high_volt_pct", "", PERCENT),
    ("ES_F_LOW", "es_low_freq_hz", "", 1),
    ("ES_F_HIGH", "es_high_freq_hz", "", 1),
    ("ES_DELAY", "es_delay_s", "", 1),
    ("ES_RAMP_RATE", "es_ramp_s", "", 1),
    ("ES_RANDOMIZED_DELAY", "es_random_delay_s", "", 1),
    ("AP_LIMIT_ENABLE", "max_lim_w_pct", "enabled", 1),
    ("AP_LIMIT", "max_lim_w_pct", "", PERCENT),
    ("AP_RT", "max_lim_w_pct", "open_loop_s", 1),
    ("NP_MODE_TRANSITION_TIME", "mode_transition_s", "", 1),
    ("NP_SET_EXE_TIME", "setting_execution_s", "", 1),
]

OF_ABNORMAL_CATEGORY = [
    *(
        (f"{short}{n}_TRIP_{axis}", function, f"{short.lower()}{n}_{suffix}", factor)
        for short, function in (
            ("OV", "hvrt_must_trip"),
            ("UV", "lvrt_must_trip"),
            ("OF", "hfrt_must_trip"),
            ("UF", "lfrt_must_trip"),
        )
        for n in (1, 2)
        for axis, suffix, factor in (
            (short[1], "pct" if short[1] == "V" else "hz", PERCENT if short[1] == "V" else 1),
            ("T", "s", 1),
        )
    ),
    ("MC_ENABLE", "hvrt_momentary_cessation", "enabled", 1),
    ("MC_ENABLE", "lvrt_momentary_cessation", "enabled", 1),
    ("PF_MODE_ENABLE", "freq_droop", "enabled", 1),
    ("PF_DBOF", "freq_droop", "dead_band_over_hz", 1),
    ("PF_DBUF", "freq_droop", "dead_band_under_hz", 1),
    ("PF_KOF", "freq_droop", "slope_over", 1),
    ("PF_KUF", "freq_droop", "slope_under", 1),
    ("PF_OLRT", "freq_droop", "open_loop_s", 1),
]


def settings(normal="B", abnormal="III"):
    return DERCommonFileFormat(NP_NORMAL_OP_CAT=f"CAT_{normal}", NP_ABNORMAL_OP_CAT=f"CAT_{abnormal}")


def theirs(found, name, factor):
    value = getattr(found, name)
    return bool(value) if isinstance(value, bool) else Decimal(str(value)) * factor


@pytest.mark.parametrize("category", ["A", "B"])
@pytest.mark.parametrize(("name", "function", "parameter", "factor"), OF_NORMAL_CATEGORY)
def test_defaults_of_normal_operation_are_those_of_opender(category, name, function, parameter, factor):
    row = parameters_for(function, Category(category))[parameter]
    assert row.value == theirs(settings(normal=category), name, factor)


@pytest.mark.parametrize("category", ["I", "II", "III"])
@pytest.mark.parametrize(("name", "function", "parameter", "factor"), OF_ABNORMAL_CATEGORY)
def test_defaults_of_abnormal_operation_are_those_of_opender(category, name, function, parameter, factor):
    row = parameters_for(function, Category(category))[parameter]
    assert row.value == theirs(settings(abnormal=category), name, factor)


@pytest.mark.parametrize(
    ("name", "function"), [("MC_HVRT_V1", "hvrt_momentary_cessation"), ("MC_LVRT_V1", "lvrt_momentary_cessation")]
)
def test_thresholds_of_momentary_cessation_are_those_of_opender(name, function):
    row = parameters_for(function, Category.III)["threshold_pct"]
    assert row.value == theirs(settings(), name, PERCENT)


def test_the_support_factor_of_dynamic_voltage_support_is_that_of_opender():
    row = parameters_for("dynamic_reactive_current", Category.III)[""]
    assert row.value == theirs(settings(), "DVS_K", 1)
