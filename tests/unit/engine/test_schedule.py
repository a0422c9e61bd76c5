"""The sentences of docs/rules.md that random schedules seldom reach; the rest is compared with the oracle."""

from dataclasses import replace
from decimal import Decimal

import engine_player as p

from tierline.engine.following.schedule import FORGET_AFTER, Schedule, ScheduleRules, in_program_order
from tierline.engine.lifecycle import State
from tierline.model.control import EventStatus
from tierline.model.programs import ResponseStatus


def schedule(draw=p.middle, **more):
    return Schedule(ScheduleRules(**({"supported": p.ALL} | more)), draw)


def step(it, t, *programs):
    """Walk or let time pass; start what is in effect; give the answers."""
    if programs:
        it.see(programs, p.at(t))
    else:
        it.advance(p.at(t))
    it.confirm(event.mrid for event in it.in_effect(p.at(t)).values())
    return [(str(mrid).lstrip("0"), int(status)) for mrid, status in it.drain()[1]]


def test_programs_are_ranked_by_primacy_then_mrid_each_once():
    a, b, c = p.program("A", 2), p.program("B", 1), p.program("C", 2)
    again = replace(a, primacy=5)
    assert [program.mrid for program in in_program_order([a, b, again, c])] == [p.mrid("B"), p.mrid("C"), p.mrid("A")]
    assert in_program_order([again, a]) == (a,)


def test_an_event_for_another_category_of_device_is_not_ours():
    it = schedule(device_category=0b10)
    walk = p.program(
        "F0",
        1,
        p.limit("A", 0, 10, device_category=0b01),
        p.limit("B", 10, 10, device_category=0b11),
        p.limit("C", 20, 10),
    )
    assert step(it, 0, walk) == [("B", 1), ("C", 1)]


def test_an_event_belongs_to_the_program_that_ranks_first_now():
    it = schedule()
    event = p.limit("A", 100, 10)
    step(it, 0, p.program("F0", 2, event), p.program("F1", 1))
    assert it.events[event.mrid].program == p.mrid("F0")
    step(it, 1, p.program("F0", 2, event), p.program("F1", 1, event))
    assert (it.events[event.mrid].program, it.events[event.mrid].primacy) == (p.mrid("F1"), 1)


def test_a_primacy_that_changes_changes_the_rank():
    it = schedule()
    one, other = p.limit("A", 0, 10), p.limit("B", 0, 10)
    step(it, -5, p.program("F0", 1, one), p.program("F1", 2, other))
    assert step(it, -4, p.program("F0", 3, one), p.program("F1", 2, other)) == []
    assert step(it, 0) == [("A", 14), ("B", 2)]


def test_always_7_answers_7_before_the_start_too():
    it = schedule(always_7=True)
    step(it, -5, p.program("F0", 1, p.limit("A", 0, 10)), p.program("F1", 2, p.limit("B", 0, 10)))
    assert step(it, 0) == [("B", 7), ("A", 2)]


def test_an_event_that_ends_before_it_was_read_back_claims_nothing():
    it = schedule()
    it.see([p.program("F0", 1, p.limit("A", 0, 10))], p.at(0))
    it.drain()
    assert it.advance(p.at(10))
    assert it.events[p.mrid("A")].state is State.MISSED
    assert it.drain()[1] == ()
    it.confirm([p.mrid("A"), p.mrid("unheard")])
    assert it.drain()[1] == (
        (p.mrid("A"), ResponseStatus.STARTED),
        (p.mrid("A"), ResponseStatus.COMPLETED),
    )


def test_an_event_outside_the_group_is_not_started():
    it = schedule()
    it.see([p.program("F0", 1, p.limit("A", 0, 10))], p.at(0))
    it.see([], p.at(1))
    it.drain()
    it.confirm([p.mrid("A")])
    assert it.drain()[1] == ()


def test_an_event_that_starts_with_its_predecessor_takes_its_place():
    """E16: the successor's effective start is not after the predecessor's."""
    draws = iter([10, -10])
    it = schedule(draw=lambda *_: next(draws))
    walk = p.program("F0", 1, p.limit("A", 0, 10, rs=10), p.limit("B", 10, 10, rs=-10))
    assert step(it, -5, walk) == [("A", 1), ("B", 1)]
    assert step(it, 0) == [("A", 7), ("B", 2)]


def test_a_predecessor_that_was_lost_already_is_not_lost_twice():
    draws = iter([10, -10])
    it = schedule(draw=lambda *_: next(draws))
    strong = p.limit("C", 0, 15)
    walk = (p.program("F0", 2, p.limit("A", 0, 10, rs=10), p.limit("B", 10, 10, rs=-10)), p.program("F1", 1, strong))
    step(it, -5, *walk)
    assert sorted(step(it, 0)) == [("A", 14), ("B", 14), ("C", 2)]


def test_what_superseded_begins_at_once_when_the_old_one_is_past_its_randomized_start():
    """E19; before that the new one keeps its own randomized start."""
    for t, begins in [(14, 20), (15, 15)]:
        it = schedule(draw=max)
        old, new = p.limit("A", 5, 50, rs=10), p.limit("B", 10, 50, created=1, rs=10)
        step(it, 0, p.program("F0", 1, old, new))
        assert step(it, t, p.program("F0", 1, replace(old, status=EventStatus.SUPERSEDED), new))[0] == ("A", 7)
        assert p.seconds(it.events[new.mrid].starts_at) == begins
        assert p.seconds(it.events[new.mrid].ends_at) == 70


def test_a_cancellation_with_a_rest_that_is_seen_again_changes_nothing():
    it = schedule(draw=max)
    event = p.limit("A", 0, 100, rd=20)
    step(it, 0, p.program("F0", 1, event))
    gone = p.program("F0", 1, replace(event, status=EventStatus.CANCELLED_RANDOMIZED))
    assert step(it, 10, gone) == []
    assert step(it, 15, gone) == []
    assert it.drain()[0] == ()
    assert step(it, 30) == [("A", 6)]


def test_an_event_gone_from_its_list_at_its_end_is_cancelled_and_a_second_later_it_waits():
    for t, answers in [(10, [("A", 6)]), (11, [])]:
        it = schedule(draw=max)
        late = p.limit("B", 10, 50, rs=20)
        step(it, 0, p.program("F0", 1, p.limit("A", 0, 10), late))
        assert step(it, t, p.program("F0", 1, late)) == answers


def test_what_is_over_takes_nothing_any_more():
    it = schedule()
    step(it, 0, p.program("F0", 1, p.limit("A", 0, 10)))
    assert step(it, 10, p.program("F0", 1, p.limit("A", 0, 10)), p.program("F1", 2, p.limit("B", 5, 15))) == [
        ("B", 1),
        ("A", 3),
        ("B", 2),
    ]


def test_a_program_that_is_assigned_again_at_the_effective_end_comes_too_late():
    it = schedule()
    walk = p.program("F0", 1, p.limit("A", 0, 10))
    step(it, 0, walk)
    step(it, 5, p.program("F1", 1))
    assert step(it, 10, walk) == []
    assert it.events[p.mrid("A")].state is State.LAPSED


def test_of_two_that_take_the_last_modes_at_once_the_first_ranked_decides():
    both = {"max_lim_w_pct": Decimal(1), "target_w": Decimal(1)}
    same = p.event("B", 10, 10, {"target_w": Decimal(1)}, created=1)
    it = schedule()
    step(it, 0, p.program("F0", 5, p.event("A", 10, 10, both), same), p.program("F1", 1, p.limit("C", 10, 10)))
    assert ("A", 14) in step(it, 10)


def test_late_calls_go_through_every_instant():
    late, punctual = schedule(), schedule()
    walk = (p.program("F0", 2, p.limit("A", 0, 100)), p.program("F1", 1, p.limit("B", 20, 10)))
    for it in (late, punctual):
        step(it, 0, *walk)
    for t in (20, 30, 50):
        step(punctual, t)
    step(late, 50)
    assert late.events[p.mrid("A")].state is punctual.events[p.mrid("A")].state is State.SUPERSEDED
    assert late.events[p.mrid("B")].state is State.MISSED


def test_time_that_runs_back_takes_nothing_back():
    it = schedule()
    assert step(it, 0, p.program("F0", 1, p.limit("A", 0, 10), default={"max_lim_w_pct": Decimal(1)})) == [
        ("A", 1),
        ("A", 2),
    ]
    assert step(it, -3) == []
    assert it.in_effect(p.at(-3))["max_lim_w_pct"].mrid == p.mrid("A")
    assert step(it, 0) == []
    assert step(it, 10) == [("A", 3)]


def test_a_terminal_event_is_remembered_while_it_is_listed_and_a_day_beyond():
    it = schedule()
    listed = p.program("F0", 1, p.limit("A", 0, 10))
    step(it, 0, listed)
    day = FORGET_AFTER.total_seconds()
    assert step(it, 20 + day, listed) == [("A", 3)]
    assert step(it, 30 + day, listed) == []
    it.see([p.program("F0", 1)], p.at(31 + day))
    assert [event.mrid for event in it.drain()[2]] == [p.mrid("A")]
    assert it.events == {}


def test_a_young_terminal_event_is_remembered_although_it_is_gone():
    it = schedule()
    step(it, 0, p.program("F0", 1, p.limit("A", 0, 10)))
    step(it, 20, p.program("F0", 1))
    assert p.mrid("A") in it.events


def test_nothing_is_due_when_nothing_is_known():
    it = schedule()
    assert it.next_boundary() is None
    assert not it.advance(p.at(0))


def test_what_was_kept_goes_on_where_it_was():
    it = schedule()
    walk = [p.program("F0", 2, p.limit("A", 0, 100)), p.program("F1", 1, p.limit("B", 20, 10))]
    it.see(walk, p.at(0))
    it.confirm([p.mrid("A")])
    again = schedule(draw=lambda *_: 1 / 0)
    again.restore(it.events.values(), walk, p.at(0))
    assert again.next_boundary() == p.at(20)
    assert step(again, 50) == [("A", 7)]


def test_what_was_kept_without_a_walk_is_not_in_effect():
    it = schedule()
    it.see([p.program("F0", 2, p.limit("A", 0, 100))], p.at(0))
    again = schedule()
    again.restore(it.events.values(), (), None)
    assert again.in_effect(p.at(1)) == {}
    empty = schedule()
    empty.restore((), (), None)
    assert empty.next_boundary() is None


def test_who_waits_for_its_successor_takes_a_mode_beyond_its_own_end():
    """E14: A's period for the mode runs from 0 to 30, for its successor B begins 20 s late."""
    draws = iter([20])
    it = schedule(draw=lambda *_: next(draws))
    first, late = p.limit("A", 0, 10), p.limit("B", 10, 50, rs=20)
    assert step(it, 0, p.program("F0", 1, first, late))[-1] == ("A", 2)
    other = p.program("F1", 2, p.limit("C", 15, 10))
    assert step(it, 12, p.program("F0", 1, first, late), other) == [("C", 1), ("C", 14)]
    assert step(it, 30) == [("A", 3), ("B", 2)]


def test_what_outranks_who_waits_takes_the_mode_from_it():
    draws = iter([20])
    it = schedule(draw=lambda *_: next(draws))
    first, late = p.limit("A", 0, 10), p.limit("B", 10, 50, rs=20)
    step(it, 0, p.program("F0", 2, first, late), p.program("F1", 1, p.limit("C", 15, 10)))
    assert step(it, 15) == [("A", 7), ("C", 2)]
    assert it.next_boundary() == p.at(25)


def test_who_is_superseded_at_an_instant_takes_nothing_at_it():
    """E16: at 10 C takes the place of B, which would have taken that of A at the same moment."""
    rows = (p.limit("A", 0, 10, rs=20), p.limit("B", 10, 10), p.limit("C", 20, 10, rs=-10))
    draws = iter([20, -10])
    it = schedule(draw=lambda *_: next(draws))
    assert step(it, -5, p.program("F0", 1, *rows))[:3] == [("A", 1), ("B", 1), ("C", 1)]
    assert step(it, 10) == [("B", 7), ("C", 2)]
    assert step(it, 20) == [("C", 3), ("A", 2)]


def test_a_ramp_time_is_for_who_keeps_to_one():
    ramped = p.program("F0", 1, p.limit("A", 0, 10, ramp_time_s=Decimal(5)))
    assert step(schedule(), 0, ramped) == [("A", 252)]
    assert step(schedule(carries_ramp_time=True), 0, ramped) == [("A", 1), ("A", 2)]


def test_what_comes_is_what_will_start_whatever_else_is_known():
    limit, half = {"max_lim_w_pct": Decimal(50)}, {"max_lim_w_pct": Decimal(20)}
    it = schedule()
    first, second = p.event("1", 10, 20, limit), p.event("2", 30, 20, half)
    step(it, 0, p.program("A", 1, first, second))
    assert [str(event.mrid).lstrip("0") for event in it.coming(p.at(0))] == ["1", "2"]
    step(it, 10)
    assert [str(event.mrid).lstrip("0") for event in it.coming(p.at(10))] == ["2"]
    rival = p.event("3", 45, 20, limit, created=1)
    step(it, 11, p.program("A", 1, first, second, rival))
    assert it.coming(p.at(11)) == [], "who wins is seen when it is time"
    step(it, 12, p.program("B", 1))
    assert it.coming(p.at(12)) == [], "its program is not assigned"
