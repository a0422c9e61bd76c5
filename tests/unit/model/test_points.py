import pytest

from tierline.model.functions import FUNCTIONS, Unit
from tierline.model.points import (
    POINTS,
    AbnormalCategory,
    AlarmStatus,
    ConnectStatus,
    DerType,
    DoeModes,
    InverterStatus,
    Label,
    LocalControlMode,
    NormalCategory,
    OperationalMode,
    PointKind,
    PointType,
    StorageMode,
    VppModes,
)
from tierline.model.telemetry import Phase

# The elements of IEEE 2030.5-2018 by their canonical names; what the setES and ramp elements say stands in FUNCTIONS.
RATINGS = {
    "max_a",
    "max_ah",
    "max_charge_rate_va",
    "max_charge_rate_w",
    "max_discharge_rate_va",
    "max_discharge_rate_w",
    "max_v",
    "max_va",
    "max_var",
    "max_var_neg",
    "max_w",
    "max_wh",
    "min_pf_over_excited",
    "min_pf_under_excited",
    "min_v",
    "over_excited_pf",
    "over_excited_w",
    "under_excited_pf",
    "under_excited_w",
    "v_nom",
}
STATUS = {
    "alarm_status",
    "connect_status",
    "stor_connect_status",
    "inverter_status",
    "local_control_mode",
    "manufacturer_status",
    "operational_mode",
    "soc_pct",
    "storage_mode",
}
AVAILABILITY = {
    "availability_duration_s",
    "max_charge_duration_s",
    "reserve_charge_pct",
    "reserve_pct",
    "stat_var_avail",
    "stat_w_avail",
}


def of_kind(kind):
    return {row.name for row in POINTS.values() if row.kind is kind}


def test_each_row_stands_under_its_own_name():
    assert all(name == row.name for name, row in POINTS.items())


def test_no_point_has_the_name_of_a_function():
    assert not set(POINTS) & set(FUNCTIONS)


def test_every_rating_of_the_nameplate_has_a_row():
    assert {f"rtg_{name}" for name in RATINGS} <= of_kind(PointKind.RATING)
    assert {
        "rtg_normal_category",
        "rtg_abnormal_category",
        "rtg_reactive_susceptance",
        "modes_supported",
        "der_type",
        "doe_modes_supported",
        "vpp_modes_supported",
    } == of_kind(PointKind.RATING) - {f"rtg_{name}" for name in RATINGS}


def test_every_setting_has_a_row():
    assert {f"set_{name}" for name in RATINGS} | {
        "set_v_ref",
        "set_v_ref_ofs",
        "set_min_wh",
        "modes_enabled",
        "doe_modes_enabled",
        "vpp_modes_enabled",
    } == of_kind(PointKind.SETTING)


def test_a_setting_names_the_rating_that_bounds_it():
    bounded = {row.name: row.rating for row in POINTS.values() if row.rating}
    assert all(rating in POINTS for rating in bounded.values())
    assert all(POINTS[name].unit is POINTS[rating].unit for name, rating in bounded.items())
    assert of_kind(PointKind.SETTING) - set(bounded) == {"set_v_ref", "set_v_ref_ofs", "set_min_wh"}


def test_every_element_of_der_status_has_a_row():
    assert of_kind(PointKind.STATUS) == STATUS | {"es_delay_remaining_s"}


def test_every_element_of_der_availability_has_a_row():
    assert of_kind(PointKind.AVAILABILITY) == AVAILABILITY


def test_rule_21_monitoring_covers_power_voltage_frequency_states_alarms_and_charge():
    monitored = {row.name for row in POINTS.values() if row.phase3 == 1}
    assert {
        "w",
        "var",
        "hz",
        "v_an",
        "v_ab",
        "inverter_status",
        "operational_mode",
        "connect_status",
        "soc_pct",
        "alarm_status",
    } <= monitored
    assert of_kind(PointKind.ALARM) <= monitored


@pytest.mark.parametrize("pair", ["an", "bn", "cn", "ab", "bc", "ca"])
def test_every_voltage_has_its_phase(pair):
    row = POINTS[f"v_{pair}"]
    assert (row.phase, row.unit) == (Phase[pair.upper()], Unit.V)
    assert row.description.startswith(f"Voltage between {pair[0].upper()} and ")


def test_every_der_alarm_has_one_row():
    alarms = [row.alarm for row in POINTS.values() if row.kind is PointKind.ALARM and row.alarm is not None]
    assert sorted(alarms) == sorted(AlarmStatus)
    assert all(POINTS[f"alarm_{alarm.name.lower()}"].alarm is alarm for alarm in AlarmStatus)


def test_other_faults_are_of_the_hardware_or_software():
    assert {row.name for row in POINTS.values() if row.kind is PointKind.ALARM and row.alarm is None} == {
        "alarm_hardware",
        "alarm_software",
    }


def test_states_have_an_enumeration_and_nothing_else_has():
    assert all((row.value is PointType.STATE) == (row.state is not None) for row in POINTS.values())


@pytest.mark.parametrize(
    ("state", "numbers"),
    [
        (InverterStatus, range(11)),
        (ConnectStatus, (1, 2, 4, 8, 16)),
        (OperationalMode, (0, 1, 2, 3, *range(100, 109))),
        (LocalControlMode, (0, 1)),
        (StorageMode, (0, 1, 2)),
        (DerType, (0, 1, 2, 3, 4, 5, 6, 80, 81, 82, 83)),
        (NormalCategory, (0, 1, 2)),
        (AbnormalCategory, (0, 1, 2, 3)),
        (AlarmStatus, [1 << bit for bit in range(11)]),
        (DoeModes, (1, 2, 4, 8)),
        (VppModes, (1,)),
    ],
)
def test_states_have_the_numbers_of_the_standard(state, numbers):
    assert [member.value for member in state] == list(numbers)


@pytest.mark.parametrize(
    ("label", "names"),
    [
        (Label.LOCATION, {"gps_latitude", "gps_longitude"}),
        (Label.IDENTITY, {"serial_number", "lfdi", "connection_point_id"}),
        (Label.SECRET, {"registration_pin"}),
    ],
)
def test_what_says_who_and_where_is_labelled_so(label, names):
    assert {row.name for row in POINTS.values() if row.label is label} == names


@pytest.mark.parametrize("name", ["w", "var", "a", "wh_absorbed", "site_w", "soc_pct", "storage_mode"])
def test_what_reveals_how_people_live_is_personal(name):
    assert POINTS[name].label is Label.PERSONAL


@pytest.mark.parametrize("name", ["hz", "v_an", "site_v", "inverter_status", "alarm_over_voltage"])
def test_what_the_grid_needs_and_people_do_not_make_is_operational(name):
    assert POINTS[name].label is Label.OPERATIONAL


def test_every_row_is_described():
    assert all(row.description.endswith(".") for row in POINTS.values())


def test_numbers_have_a_unit_unless_they_are_counts_or_degrees():
    bare = {row.name for row in POINTS.values() if row.value is PointType.NUMBER and row.unit is Unit.NONE}
    assert bare == {"manufacturer_pen", "gps_latitude", "gps_longitude", "registration_pin"}
