from dataclasses import FrozenInstanceError

import pytest

from tierline.model.functions import (
    FUNCTIONS,
    Bound,
    Kind,
    Merge,
    Quantity,
    Rule21Phase,
    Unit,
    ValueType,
    quantity_at,
)

RIDE_THROUGH = {
    *(f"{side}vrt_{zone}" for side in "hl" for zone in ("must_trip", "may_trip", "momentary_cessation")),
    *(f"{side}frt_{zone}" for side in "hl" for zone in ("must_trip", "may_trip")),
}
REACTIVE = {
    "fixed_pf_inject_w",
    "fixed_pf_absorb_w",
    "fixed_var",
    "target_var",
    "volt_var",
    "watt_var",
    "watt_pf",
}
DEFAULTS_ONLY = {
    "grad_w_pct_per_s",
    "soft_grad_w_pct_per_s",
    "es_delay_s",
    "es_high_freq_hz",
    "es_low_freq_hz",
    "es_high_volt_pct",
    "es_low_volt_pct",
    "es_ramp_s",
    "es_random_delay_s",
}
CSIP_AUS = {"exp_lim_w", "imp_lim_w", "gen_lim_w", "load_lim_w", "storage_target_w"}
MODES_OF_2018 = (
    RIDE_THROUGH
    | REACTIVE
    | {
        "connect",
        "energize",
        "max_lim_w_pct",
        "fixed_w_pct",
        "target_w",
        "freq_droop",
        "freq_watt",
        "volt_watt",
    }
)
WITHOUT_A_MODE = {
    "anti_islanding",
    "dynamic_reactive_current",
    "enter_service_permit",
    "min_lim_w_pct",
    "mode_transition_s",
    "monitoring",
    "scheduling",
    "setting_execution_s",
}


def named(**columns):
    return {
        row.name
        for row in FUNCTIONS.values()
        if all(getattr(row, column) == value for column, value in columns.items())
    }


def test_the_table_holds_exactly_the_known_functions():
    assert len(MODES_OF_2018) == 25  # DERControlType of IEEE 2030.5-2018, bits 2 to 26
    assert set(FUNCTIONS) == MODES_OF_2018 | DEFAULTS_ONLY | CSIP_AUS | WITHOUT_A_MODE


def test_each_row_stands_under_its_own_name():
    assert all(name == row.name for name, row in FUNCTIONS.items())


def test_the_table_and_its_rows_cannot_be_changed():
    with pytest.raises(TypeError):
        FUNCTIONS["connect"] = FUNCTIONS["energize"]
    with pytest.raises(FrozenInstanceError):
        FUNCTIONS["connect"].unit = Unit.W


def test_every_function_of_rule_21_phase_1_has_a_row():
    assert {row.phase1 for row in FUNCTIONS.values()} - {None} == set(range(1, 8))


def test_every_function_of_rule_21_phase_3_has_a_row():
    assert {row.phase3 for row in FUNCTIONS.values()} - {None} == set(range(1, 9))


@pytest.mark.parametrize(
    ("phase", "number", "names"),
    [
        ("phase1", 1, {"anti_islanding"}),
        ("phase1", 4, {"volt_var"}),
        ("phase1", 5, {"grad_w_pct_per_s", "soft_grad_w_pct_per_s"}),
        ("phase1", 6, {"fixed_pf_inject_w", "fixed_pf_absorb_w"}),
        ("phase3", 1, {"monitoring"}),
        ("phase3", 2, {"connect", "energize"}),
        ("phase3", 3, {"max_lim_w_pct", "min_lim_w_pct"}),
        ("phase3", 4, {"fixed_w_pct", "target_w"}),
        ("phase3", 5, {"freq_droop", "freq_watt"}),
        ("phase3", 6, {"volt_watt"}),
        ("phase3", 7, {"dynamic_reactive_current"}),
        ("phase3", 8, {"scheduling"}),
    ],
)
def test_the_numbers_of_rule_21_name_these_functions(phase, number, names):
    assert named(**{phase: number}) == names


def test_the_phase_follows_from_the_numbers():
    assert FUNCTIONS["volt_var"].phase is Rule21Phase.PHASE_1
    assert FUNCTIONS["volt_watt"].phase is Rule21Phase.PHASE_3
    assert FUNCTIONS["watt_var"].phase is Rule21Phase.COMMON


def test_no_function_belongs_to_two_phases():
    assert not [row.name for row in FUNCTIONS.values() if row.phase1 is not None and row.phase3 is not None]


def test_the_settings_of_a_default_stand_in_defaults_only():
    assert {row.name for row in FUNCTIONS.values() if row.default_only} == DEFAULTS_ONLY
    assert all(FUNCTIONS[name].kind is Kind.SETTING for name in DEFAULTS_ONLY)


def test_the_tightest_limit_binds_and_nothing_else_merges_so():
    assert named(merge=Merge.TIGHTEST) == {"max_lim_w_pct", "gen_lim_w", "load_lim_w", "exp_lim_w", "imp_lim_w"}


def test_every_limit_says_which_side_it_bounds_and_nothing_else_does():
    assert named(kind=Kind.LIMIT) == {row.name for row in FUNCTIONS.values() if row.bound is not None}


def test_high_bounds_generation_and_low_bounds_absorption():
    assert named(bound=Bound.MAX_GENERATION) == {"max_lim_w_pct", "gen_lim_w", "exp_lim_w"}
    assert named(bound=Bound.MAX_ABSORPTION) == {"load_lim_w", "imp_lim_w"}
    assert named(bound=Bound.MIN_GENERATION) == {"min_lim_w_pct"}


def test_a_limit_is_never_negative():
    assert all(row.low == 0 for row in FUNCTIONS.values() if row.bound is not None)


def test_permissions_of_all_channels_are_anded():
    assert named(merge=Merge.ALL_PERMIT) == {"connect", "energize"}


def test_one_reactive_power_function_wins_at_a_time():
    assert named(quantity=Quantity.REACTIVE_POWER) == REACTIVE
    assert all(FUNCTIONS[name].merge is Merge.ONE_WINNER for name in REACTIVE)


def test_each_ride_through_curve_is_a_quantity_of_its_own():
    quantities = [FUNCTIONS[name].quantity for name in RIDE_THROUGH]
    assert len(set(quantities)) == len(RIDE_THROUGH) == 10
    assert all(FUNCTIONS[name].merge is Merge.ONE_WINNER for name in RIDE_THROUGH)


@pytest.mark.parametrize("name", sorted(RIDE_THROUGH))
def test_high_is_high_and_low_is_low(name):
    row = FUNCTIONS[name]
    side = "high" if name[0] == "h" else "low"
    of = "voltage" if name[1] == "v" else "frequency"
    assert row.quantity.value == f"{side}_{of}_{name[5:]}"
    assert row.key.startswith({"high": "DH", "low": "DL"}[side] + of[0].upper())
    assert f"a {side} {of}" in row.description


@pytest.mark.parametrize("name", sorted(RIDE_THROUGH))
def test_ride_through_curves_have_time_as_x(name):
    row = FUNCTIONS[name]
    assert (row.x_unit, row.unit) == (Unit.S, Unit.PCT_VREF if name[1] == "v" else Unit.HZ)


def test_only_curves_have_an_x():
    assert {row.name for row in FUNCTIONS.values() if row.x_unit is not Unit.NONE} == named(value=ValueType.CURVE)
    assert named(value=ValueType.CURVE) == named(kind=Kind.CURVE)


@pytest.mark.parametrize(
    ("suffix", "unit"),
    [
        ("_lim_w_pct", Unit.PCT_WMAX),
        ("_lim_w", Unit.W),
        ("target_w", Unit.W),
        ("_hz", Unit.HZ),
        ("_volt_pct", Unit.PCT_VREF),
        ("_pct_per_s", Unit.PCT_WMAX_PER_S),
        ("target_var", Unit.VAR),
    ],
)
def test_the_suffix_of_a_name_is_its_unit(suffix, unit):
    units = {row.unit for name, row in FUNCTIONS.items() if name.endswith(suffix)}
    assert units == {unit}


def test_every_row_is_described_and_numbers_have_a_unit():
    assert all(row.description.endswith(".") for row in FUNCTIONS.values())
    assert not [row.name for row in FUNCTIONS.values() if row.value is ValueType.NUMBER and row.unit is Unit.NONE]


def test_an_uncertain_61850_name_is_marked_and_never_empty():
    assert not [row.name for row in FUNCTIONS.values() if row.key_uncertain and not row.key]


def test_a_limit_sent_to_a_gateway_acts_at_its_connection_point():
    assert quantity_at("max_lim_w_pct", at_pcc=False) is Quantity.ACTIVE_POWER_DER
    assert quantity_at("max_lim_w_pct", at_pcc=True) is Quantity.ACTIVE_POWER_PCC


def test_other_quantities_do_not_depend_on_what_the_end_device_stands_for():
    assert quantity_at("volt_var", at_pcc=True) is Quantity.REACTIVE_POWER
    assert quantity_at("exp_lim_w", at_pcc=False) is Quantity.ACTIVE_POWER_PCC
