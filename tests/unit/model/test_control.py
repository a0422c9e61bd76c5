from dataclasses import FrozenInstanceError, fields, replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.model.control import (
    Control,
    ControlGrant,
    Curve,
    CurvePoint,
    Droop,
    EventStatus,
    FixedVar,
    Interval,
    PowerFactor,
    Provenance,
    Reference,
    ResponseRequired,
    Setpoints,
)
from tierline.model.identity import ChannelId, PartyId, mrid

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
VALUES = st.dictionaries(st.text(max_size=8), st.decimals(allow_nan=False))


def control(**changed):
    values = {
        "mrid": mrid(1, 2),
        "creation_time": NOON,
        "interval": Interval(start=NOON, duration_s=60),
        "setpoints": Setpoints.of({"max_lim_w_pct": Decimal(50)}),
    }
    return Control(**(values | changed))


@given(VALUES)
def test_setpoints_are_the_mapping_they_are_made_of(values):
    assert dict(Setpoints.of(values)) == values


@given(VALUES)
def test_setpoints_do_not_depend_on_the_order_they_are_made_in(values):
    turned = dict(reversed(values.items()))
    assert Setpoints.of(turned) == Setpoints.of(values)
    assert list(Setpoints.of(turned)) == sorted(values)


def test_setpoints_of_setpoints_are_the_same():
    setpoints = Setpoints.of({"connect": True})
    assert Setpoints.of(setpoints) == setpoints


def test_equal_setpoints_have_equal_hashes():
    one, other = (Setpoints.of({"connect": True, "energize": False}) for _ in range(2))
    assert hash(one) == hash(other)
    assert len({one, other}) == 1


def test_a_name_that_is_not_set_is_missing():
    setpoints = Setpoints.of({"connect": True})
    assert "energize" not in setpoints
    assert setpoints.get("energize") is None
    with pytest.raises(KeyError, match="energize"):
        setpoints["energize"]


def test_no_setpoints_are_empty():
    assert len(Setpoints()) == 0
    assert not Setpoints()


def test_setpoints_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Setpoints().items_by_name = ()


def test_an_interval_ends_its_duration_after_its_start():
    assert Interval(start=NOON, duration_s=90).end == datetime(2026, 6, 1, 12, 1, 30, tzinfo=UTC)


def test_a_control_can_be_put_in_a_set():
    one = control()
    changed = replace(one, status=EventStatus.CANCELLED)
    assert len({one, control(), changed}) == 2


def test_a_control_asks_for_received_and_specific_responses_unless_said_otherwise():
    assert control().response_required == ResponseRequired.RECEIVED | ResponseRequired.SPECIFIC
    assert control().response_required == 3


def test_a_control_is_scheduled_not_randomized_and_for_all_devices_unless_said_otherwise():
    made = control()
    assert made.status is EventStatus.SCHEDULED
    assert (made.randomize_start_s, made.randomize_duration_s, made.device_category) == (0, 0, 0)
    assert made.invalid == ""


@pytest.mark.parametrize(
    "value",
    [
        PowerFactor(displacement=Decimal("0.95"), absorbing=True),
        Droop(
            dead_band_over_hz=Decimal("0.036"),
            dead_band_under_hz=Decimal("0.036"),
            slope_over=Decimal("0.05"),
            slope_under=Decimal("0.05"),
            open_loop_s=Decimal(5),
        ),
        FixedVar(value_pct=Decimal(-30), reference=Reference.STAT_VAR_AVAIL),
        Curve(mrid=mrid(1, 2), points=(CurvePoint(x=Decimal(92), y=Decimal(44)),)),
        Provenance(party=PartyId("utility"), channel=ChannelId("north")),
        ControlGrant(party=PartyId("market"), functions=frozenset({"target_w"}), power_w=Decimal(5), until=NOON),
    ],
)
def test_values_are_frozen_and_hashable(value):
    assert hash(value) == hash(replace(value))
    with pytest.raises(FrozenInstanceError):
        setattr(value, fields(value)[0].name, None)


@pytest.mark.parametrize(
    ("enumeration", "numbers"),
    [(Reference, range(8)), (EventStatus, range(5)), (ResponseRequired, (1, 2, 4))],
)
def test_the_numbers_are_those_of_the_standard(enumeration, numbers):
    assert [member.value for member in enumeration] == list(numbers)
