"""What the owner's questions about limits say."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tierline.model.errors import ConfigError
from tierline.node.owner_said import order_of

NOW = datetime(2026, 6, 18, 12, tzinfo=UTC)
LIMIT = {"do": "limit", "setpoints": {"max_lim_w_pct": 50}, "duration_s": 60}


@pytest.mark.parametrize(
    ("when", "start"),
    [
        ({}, NOW),
        ({"start_in_s": 90}, NOW + timedelta(seconds=90)),
        ({"start_in_s": -0.5}, NOW - timedelta(seconds=0.5)),
        ({"start": "2026-06-18T15:00:00+02:00"}, NOW + timedelta(hours=1)),
        ({"start": "2026-06-18T13:00:00Z"}, NOW + timedelta(hours=1)),
    ],
)
def test_an_order_says_when_it_begins(when, start):
    order = order_of(LIMIT | when, NOW)
    assert (order.start, order.start.tzinfo, order.duration_s) == (start, UTC, 60)


@pytest.mark.parametrize("value", [50, "50", 50.0, "5e1"])
def test_numbers_may_be_written_in_any_way(value):
    assert order_of(LIMIT | {"setpoints": {"gen_lim_w": value}}, NOW).setpoints["gen_lim_w"] == Decimal(50)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"setpoints": None}, "setpoints: None gives no limits; write function=value"),
        ({"setpoints": [1]}, "gives no limits"),
        ({"setpoints": {"max_lim_w_pct": "half"}}, "max_lim_w_pct: 'half' is no number"),
        ({"setpoints": {"max_lim_w_pct": True}}, "max_lim_w_pct: True is no number"),
        ({"setpoints": {"max_lim_w_pct": {"a": 1}}}, "is no number"),
        ({"duration_s": None}, "duration_s: None is no whole number of seconds; every limit has an end"),
        ({"duration_s": 1.5}, "duration_s: 1.5 is no whole number"),
        ({"duration_s": True}, "duration_s: True is no whole number"),
        ({"start": "noon"}, "start: 'noon' is no time; write 2026-"),
        ({"start": "2026-06-18T12:00:00"}, "has no time zone; write 2026-06-18T12:00:00Z for UTC"),
        ({"start": "2026-06-18T12:00:00Z", "start_in_s": 0}, "are both given"),
        ({"start_in_s": "6m"}, "start_in_s: '6m' is no number of seconds"),
        ({"start_in_s": True}, "start_in_s: True is no number of seconds"),
        ({"start_in_s": 1e15}, "start_in_s: 1000000000000000.0 is beyond the year 9999"),
        ({"start_in_s": float("nan")}, "is no number of seconds"),
    ],
)
def test_what_cannot_be_read_is_asked_for_again(change, says):
    with pytest.raises(ConfigError, match=says):
        order_of(LIMIT | change, NOW)
