from datetime import UTC, datetime, timedelta

import pytest

from tierline.engine.following.report import (
    Delivered,
    Describe,
    Measure,
    Measured,
    NotDelivered,
    Pace,
    Post,
    PostRate,
    Raise,
    Report,
    Tick,
)
from tierline.model.errors import ConfigError
from tierline.model.identity import DerId
from tierline.model.telemetry import Reading

T0 = datetime(2026, 7, 1, tzinfo=UTC)
DER = DerId("aaaaaaaaaaaaa")


def at(seconds):
    return T0 + timedelta(seconds=seconds)


def seconds(time):
    return (time - T0).total_seconds()


def pace(measure=10, post=60, **more):
    return Pace(measure_every=timedelta(seconds=measure), post_every=timedelta(seconds=post), **more)


def readings(*values):
    return tuple(Reading(der_id=DER, point="w", value=value, power_of_ten=0, time=at(value)) for value in values)


def measured(*values, alarms=(), status=None):
    return Measured(readings=readings(*values), alarms=frozenset(alarms), status=status or {"inverter_status": 4})


def kinds(effects):
    return [type(effect) for effect in effects]


def values(effect):
    return [reading.value for reading in effect.readings]


def done(effect):
    return Delivered(sequence=effect.sequence)


def failed(effect):
    return NotDelivered(sequence=effect.sequence)


def settled(report):
    """Begin, measure once and have the status acknowledged."""
    (_,) = report.handle(Tick(), at(0))
    (describe,) = report.handle(measured(0), at(0))
    assert report.handle(done(describe), at(0)) == ()
    return report


def test_it_measures_at_once_and_then_in_its_rhythm():
    report = Report(DER, pace())
    assert report.wake_at() is None
    assert [kinds(report.handle(Tick(), at(t))) for t in (0, 5, 10, 11, 20)] == [
        [Measure],
        [],
        [Measure],
        [],
        [Measure],
    ]
    assert seconds(report.wake_at()) == 30


def test_moments_slept_through_are_left_out():
    report = Report(DER, pace())
    report.handle(Tick(), at(0))
    assert kinds(report.handle(Tick(), at(57))) == [Measure]
    assert seconds(report.wake_at()) == 60


def test_readings_are_posted_at_the_rate_of_the_server_in_order():
    report = settled(Report(DER, pace(measure=1000)))
    assert report.handle(measured(1, 2), at(30)) == ()
    (post,) = report.handle(Tick(), at(60))
    assert values(post) == [0, 1, 2]
    assert report.handle(measured(61), at(61)) == ()
    assert [reading.value for reading in report.backlog] == [0, 1, 2, 61]
    (rest,) = report.handle(done(post), at(62))
    assert values(rest) == [61]
    assert report.handle(done(rest), at(63)) == ()
    assert report.handle(measured(64), at(64)) == ()
    assert report.backlog == readings(64)


def test_a_server_changes_the_rate():
    report = settled(Report(DER, pace(measure=1000)))
    report.handle(PostRate(post_every=timedelta(seconds=20)), at(5))
    assert seconds(report.wake_at()) == 20
    assert kinds(report.handle(Tick(), at(20))) == [Post]
    report.handle(PostRate(post_every=timedelta()), at(21))
    assert report.pace.post_every == timedelta(seconds=1)


def test_a_backlog_goes_out_batch_after_batch_in_order():
    report = Report(DER, pace(measure=1000, batch=2), backlog=readings(1, 2, 3, 4, 5))
    report.handle(Tick(), at(0))
    (post,) = report.handle(Tick(), at(60))
    sent = [values(post)]
    while effects := report.handle(done(post), at(61)):
        (post,) = effects
        sent.append(values(post))
    assert sent == [[1, 2], [3, 4], [5]]
    assert report.backlog == ()


def test_what_failed_is_tried_again_later_and_first():
    report = Report(DER, pace(measure=10_000), backlog=readings(1, 2))
    report.handle(Tick(), at(0))
    (post,) = report.handle(Tick(), at(60))
    assert report.handle(failed(post), at(61)) == ()
    assert report.backlog == readings(1, 2)
    assert report.handle(Tick(), at(70)) == ()
    assert seconds(report.wake_at()) == 76
    (again,) = report.handle(Tick(), at(76))
    assert values(again) == [1, 2]
    assert again.sequence != post.sequence
    report.handle(failed(again), at(77))
    assert report.handle(Tick(), at(106)) == ()
    assert kinds(report.handle(Tick(), at(107))) == [Post]


def test_a_full_backlog_gives_up_the_oldest_and_says_how_many():
    report = settled(Report(DER, pace(measure=1000, capacity=2)))
    report.handle(measured(1, 2, 3), at(1))
    assert report.backlog == readings(2, 3)
    assert report.given_up == 2


def test_an_alarm_goes_out_when_it_begins_and_when_it_is_over():
    report = settled(Report(DER, pace(measure=1000)))
    (first,) = report.handle(measured(alarms={"over_voltage", "over_current"}), at(5))
    assert (first.alarm.point, first.alarm.active, first.alarm.time) == ("over_current", True, at(5))
    assert report.handle(measured(alarms={"over_voltage"}), at(6)) == ()
    (second,) = report.handle(done(first), at(7))
    (third,) = report.handle(done(second), at(8))
    assert [(e.alarm.point, e.alarm.active) for e in (second, third)] == [
        ("over_voltage", True),
        ("over_current", False),
    ]
    assert report.handle(done(third), at(9)) == ()


def test_each_kind_of_delivery_is_acknowledged_by_itself():
    report = Report(DER, pace(measure=1000))
    report.handle(Tick(), at(0))
    alarm, status = report.handle(measured(alarms={"over_voltage"}), at(1))
    assert kinds((alarm, status)) == [Raise, Describe]
    assert report.handle(done(status), at(2)) == ()
    assert report.handle(done(alarm), at(3)) == ()


def test_an_alarm_that_was_not_delivered_keeps_its_place():
    report = settled(Report(DER, pace(measure=1000)))
    (first,) = report.handle(measured(alarms={"over_voltage"}), at(5))
    report.handle(failed(first), at(6))
    again = [e for e in report.handle(Tick(), report.wake_at()) if isinstance(e, Raise)]
    assert [e.alarm for e in again] == [first.alarm]


def test_alarms_known_before_a_restart_are_not_raised_again():
    report = Report(DER, pace(measure=1000), alarms={"over_voltage"})
    report.handle(Tick(), at(0))
    assert kinds(report.handle(measured(alarms={"over_voltage"}), at(1))) == [Describe]
    (over,) = report.handle(measured(), at(2))
    assert (over.alarm.point, over.alarm.active) == ("over_voltage", False)


def test_a_status_is_put_when_it_changed_and_until_it_was_taken():
    report = Report(DER, pace(measure=10_000))
    report.handle(Tick(), at(0))
    (put,) = report.handle(measured(status={"inverter_status": 4}), at(1))
    assert put == Describe(sequence=1, status={"inverter_status": 4})
    assert report.handle(measured(status={"inverter_status": 5}), at(2)) == ()
    (newer,) = report.handle(done(put), at(3))
    assert newer.status == {"inverter_status": 5}
    report.handle(failed(newer), at(4))
    (again,) = report.handle(Tick(), at(19))
    assert again.status == newer.status
    report.handle(done(again), at(20))
    assert report.handle(measured(status={"inverter_status": 5}), at(21)) == ()


def test_acknowledgements_of_nothing_change_nothing():
    report = settled(Report(DER, pace(measure=1000)))
    assert report.handle(Delivered(sequence=99), at(1)) == ()
    assert report.handle(NotDelivered(sequence=99), at(1)) == ()
    assert seconds(report.wake_at()) == 60
    assert report.backlog == readings(0)


@pytest.mark.parametrize("wrong", [{"measure": 0}, {"post": -1}, {"batch": 0}, {"capacity": 0}])
def test_a_pace_of_nothing_is_refused(wrong):
    with pytest.raises(ConfigError, match="above 0"):
        pace(**wrong)
