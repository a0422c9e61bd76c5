from datetime import UTC, datetime, timedelta

import pytest

from tierline.engine.following.report import (
    Delivered,
    Describe,
    Forgotten,
    Measured,
    NotDelivered,
    Pace,
    Post,
    PostRate,
    Report,
    Tick,
)
from tierline.model.errors import ConfigError

T0 = datetime(2026, 7, 1, tzinfo=UTC)


def at(seconds):
    return T0 + timedelta(seconds=seconds)


def seconds(time):
    return (time - T0).total_seconds()


def middle(low, high):
    """Draw without luck."""
    return (low + high) // 2


def new(*, post=60, first=60, waiting=0, draw=middle, **more):
    pace = Pace(post_every=timedelta(seconds=post), **more)
    return Report(pace, draw, first_post_at=at(first), waiting=waiting)


def measured(waiting=1, description="on"):
    return Measured(waiting=waiting, description=description)


def kinds(effects):
    return [type(effect) for effect in effects]


def done(effect, waiting=0):
    return Delivered(sequence=effect.sequence, waiting=waiting)


def failed(effect):
    return NotDelivered(sequence=effect.sequence)


def settled(report):
    """Measure once and have the description acknowledged."""
    (describe,) = report.handle(measured(), at(0))
    assert report.handle(done(describe, waiting=1), at(0)) == ()
    return report


def test_readings_are_posted_at_the_rate_of_the_server_from_the_first_post_on():
    report = settled(new(first=20))
    assert report.handle(measured(2), at(19)) == ()
    assert seconds(report.wake_at()) == 20
    (post,) = report.handle(Tick(), at(20))
    assert post == Post(sequence=2, limit=500)
    assert report.handle(done(post), at(21)) == ()
    assert report.handle(measured(1), at(79)) == ()
    assert seconds(report.wake_at()) == 80
    assert kinds(report.handle(Tick(), at(80))) == [Post]


def test_moments_slept_through_are_left_out():
    report = settled(new(first=20))
    (post,) = report.handle(Tick(), at(20 + 3 * 60 + 1))
    assert report.handle(done(post), at(202)) == ()
    assert seconds(report.wake_at()) == 20 + 4 * 60


def test_without_readings_nothing_is_posted():
    report = new()
    assert report.handle(Tick(), at(60)) == ()
    assert report.handle(Measured(waiting=5, description=None), at(61)) == (), "only at the next time"
    assert kinds(report.handle(Tick(), at(120))) == [Post]


def test_a_backlog_of_before_the_start_goes_out_batch_after_batch():
    report = new(waiting=5, batch=2)
    (post,) = report.handle(Tick(), at(60))
    sent = [post.limit]
    for left in (3, 1, 0):
        effects = report.handle(done(post, waiting=left), at(61))
        if effects:
            (post,) = effects
            sent.append(post.limit)
    assert sent == [2, 2, 2]
    assert seconds(report.wake_at()) == 120


def test_a_server_changes_the_rate_and_the_phase_stays():
    report = settled(new(first=60))
    report.handle(PostRate(post_every=timedelta(seconds=20)), at(5))
    assert seconds(report.wake_at()) == 20
    report.handle(PostRate(post_every=timedelta(seconds=20)), at(6))
    assert seconds(report.wake_at()) == 20
    assert kinds(report.handle(Tick(), at(20))) == [Post]
    report.handle(PostRate(post_every=timedelta()), at(21))
    assert report.pace.post_every == timedelta(seconds=1)


def test_a_rate_that_makes_a_post_overdue_lets_it_out_at_once():
    report = settled(new(post=300, first=300))
    assert kinds(report.handle(PostRate(post_every=timedelta(seconds=10)), at(50))) == [Post]
    assert seconds(report.wake_at()) == 60


def test_what_failed_is_tried_again_after_pauses_that_grow_up_to_a_minute():
    report = new(waiting=1, post=10_000, first=0)
    (post,) = report.handle(Tick(), at(0))
    pauses, now = [], 0
    for _ in range(6):
        assert report.handle(failed(post), at(now)) == ()
        pauses.append(seconds(report.wake_at()) - now)
        assert report.handle(Tick(), at(now + pauses[-1] - 1)) == ()
        now += pauses[-1]
        (post,) = report.handle(Tick(), at(now))
    assert pauses == [4, 10, 20, 40, 60, 60]
    assert report.handle(done(post), at(now)) == ()
    report.handle(measured(1, None), at(now))
    (post,) = report.handle(Tick(), at(10_000))
    report.handle(failed(post), at(10_000))
    assert seconds(report.wake_at()) == 10_004, "success makes the pause short again"


@pytest.mark.parametrize(("draw", "pause_s"), [(min, 2), (max, 7)])
def test_the_pause_is_drawn_so_that_many_do_not_come_back_at_once(draw, pause_s):
    report = new(waiting=1, first=0, draw=draw)
    (post,) = report.handle(Tick(), at(0))
    report.handle(failed(post), at(0))
    assert seconds(report.wake_at()) == pause_s


def test_a_retry_without_readings_is_given_up():
    report = new(waiting=1, post=1000, first=0)
    (post,) = report.handle(Tick(), at(0))
    report.handle(failed(post), at(0))
    assert report.handle(measured(0, None), at(1)) == ()
    assert seconds(report.wake_at()) == 1000


def test_a_description_is_put_when_it_changed_and_the_newest_only():
    report = new(first=10_000)
    (put,) = report.handle(measured(description="on"), at(1))
    assert put == Describe(sequence=1, description="on")
    assert report.handle(measured(description="off"), at(2)) == ()
    assert report.handle(measured(description="fault"), at(3)) == ()
    (newer,) = report.handle(done(put), at(4))
    assert newer.description == "fault"
    assert report.handle(done(newer), at(5)) == ()
    assert report.handle(measured(description="fault"), at(6)) == ()


def test_a_description_that_may_not_have_arrived_is_put_again_although_it_changed_back():
    report = settled(new(first=10_000))
    (put,) = report.handle(measured(description="off"), at(1))
    assert report.handle(failed(put), at(1)) == ()
    assert report.handle(measured(description="on"), at(2)) == ()
    assert seconds(report.wake_at()) == 5
    (again,) = report.handle(Tick(), at(5))
    assert again.description == "on"


def test_a_server_that_may_have_forgotten_is_told_again():
    report = settled(new(first=10_000))
    assert report.handle(Tick(), at(1)) == ()
    assert kinds(report.handle(Forgotten(), at(2))) == [Describe]


def test_a_failed_post_lets_the_description_go_out_again_with_the_next():
    report = settled(new(post=10_000))
    (post,) = report.handle(Tick(), at(60))
    assert report.handle(failed(post), at(60)) == ()
    assert kinds(report.handle(Tick(), at(64))) == [Describe, Post]


def test_each_kind_of_delivery_is_tried_again_by_itself():
    report = new(post=10_000, first=0)
    put, post = report.handle(measured(), at(0))
    report.handle(failed(put), at(0))
    report.handle(failed(post), at(3))
    assert seconds(report.wake_at()) == 4, "its own pause stays"
    assert kinds(report.handle(Tick(), at(4))) == [Describe]
    assert kinds(report.handle(Tick(), at(7))) == [Post]


def test_acknowledgements_of_nothing_change_nothing():
    report = settled(new())
    assert report.handle(Delivered(sequence=99, waiting=0), at(1)) == ()
    assert report.handle(NotDelivered(sequence=99), at(1)) == ()
    assert seconds(report.wake_at()) == 60
    assert kinds(report.handle(Tick(), at(60))) == [Post]


@pytest.mark.parametrize("wrong", [{"post": 0}, {"post": -1}, {"batch": 0}])
def test_a_pace_of_nothing_is_refused(wrong):
    with pytest.raises(ConfigError, match="above 0"):
        new(**wrong)
