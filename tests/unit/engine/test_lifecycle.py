from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import engine_player as p
import pytest

from tierline.engine import lifecycle as lc
from tierline.engine.validity import problem_of
from tierline.model.control import Curve, CurvePoint, Droop, Setpoints
from tierline.model.identity import Mrid
from tierline.model.programs import ResponseStatus

PROGRAM = p.program("F0", 5)
RAMPED = Curve(
    mrid=Mrid("0" * 32),
    points=(CurvePoint(x=Decimal(98), y=Decimal(0)), CurvePoint(x=Decimal(102), y=Decimal(-44))),
    ramp_decrease_pct_per_s=Decimal(5),
)


def meet(control, now=0, *, draw=p.middle, **more):
    given = {"supported": p.ALL, "carries_ramp_time": False, "of_record": True} | more
    return lc.first_sight(control, PROGRAM, p.at(now), draw=draw, **given)


def test_every_transition_leads_from_a_live_state_or_first_sight():
    sources = set(lc.TRANSITIONS)
    assert sources == {lc.State.NEW, lc.State.MISSED} | lc.LIVE


def test_every_path_of_responses_is_a_legal_one():
    """docs/rules.md E21."""
    paths = set()

    def walk(state, path):
        if state in lc.TRANSITIONS and state is not lc.State.MISSED:
            for target, responses in lc.TRANSITIONS[state].values():
                walk(target, (*path, *map(int, responses)))
        if state not in lc.LIVE and state is not lc.State.NEW:
            paths.add(path)

    walk(lc.State.NEW, ())
    assert paths == {
        (252,), (253,), (254,),
        (1,), (1, 4), (1, 6), (1, 7), (1, 13), (1, 14), (1, 252),
        (1, 2), (1, 2, 3), (1, 2, 4), (1, 2, 6), (1, 2, 7), (1, 2, 13),
    }  # fmt: skip
    target, late = lc.TRANSITIONS[lc.State.MISSED][lc.Cause.WRITTEN]
    assert (target, late) == (lc.State.COMPLETED, (ResponseStatus.STARTED, ResponseStatus.COMPLETED))


def test_effective_times_move_by_what_was_drawn():
    state, due = meet(p.limit("A", 100, 50, rs=20, rd=-10))
    assert (state.r1_s, state.r2_s) == (10, -5)
    assert (p.seconds(state.starts_at), p.seconds(state.ends_at)) == (110, 155)
    assert due == (ResponseStatus.RECEIVED,)


@pytest.mark.parametrize(("randomize", "low", "high"), [(30, 0, 30), (-30, -30, 0)])
def test_offsets_are_drawn_towards_the_sign_of_the_randomization(randomize, low, high):
    asked = []

    def draw(*ends):
        asked.append(ends)
        return ends[0]

    meet(p.limit("A", 100, 50, rs=randomize), draw=draw)
    assert asked == [(low, high)]


def test_an_effective_duration_is_never_negative():
    state, _ = meet(p.limit("A", 100, 1, rd=-3600), draw=min)
    assert state.ends_at == state.starts_at


@pytest.mark.parametrize(
    ("control", "more", "answers"),
    [
        (p.limit("A", -100, 50), {}, [254]),
        (p.limit("A", -100, 100), {}, [254]),
        (p.limit("A", -100, 101), {}, [1]),
        (p.limit("A", -100, 50, 101), {}, [253]),
        (p.limit("A", -100, 50), {"supported": frozenset()}, [252]),
        (p.limit("A", -100, 50, ramp_time_s=Decimal(0)), {}, [252]),
        (p.limit("A", -100, 50, 101, ramp_time_s=Decimal(5)), {}, [253]),
        (p.limit("A", 0, 50, ramp_time_s=Decimal(5)), {"carries_ramp_time": True}, [1]),
        (p.event("A", 0, 50, {"volt_var": RAMPED}), {}, [252]),
        (p.event("A", 0, 50, {"volt_var": RAMPED}), {"carries_ramp_time": True}, [1]),
        (p.event("A", 0, 50, {"volt_var": replace(RAMPED, ramp_decrease_pct_per_s=None)}), {}, [1]),
        (p.event("A", 0, 50, {"from_another_planet": Decimal(1)}), {}, [252]),
        (p.limit("A", -100, 50, status=2), {"supported": frozenset()}, [1, 6]),
        (p.limit("A", -100, 50, status=3), {}, [1, 6]),
        (p.limit("A", -100, 50, 101, status=4), {}, [1, 7]),
        (p.limit("A", 10, 50, status=1), {"of_record": False}, [1, 13]),
        (p.limit("A", 10, 50, 101), {"of_record": False}, [253]),
        (p.limit("A", 10, 50, required=0), {}, []),
        (p.limit("A", 10, 50, required=1, status=2), {}, [1]),
        (p.limit("A", 10, 50, required=2, status=2), {}, [6]),
    ],
)
def test_first_sight_answers(control, more, answers):
    assert [int(status) for status in meet(control, **more)[1]] == answers


@pytest.mark.parametrize(
    ("control", "word"),
    [
        (p.event("A", 0, 10, {}), "no mode"),
        (p.limit("A", 0, 10, rs=3601), "start"),
        (p.limit("A", 0, 10, rd=-3601), "duration"),
        (p.limit("A", 0, 0), "lasts 0 s"),
        (p.limit("A", 0, 2**32 * 60), "9999"),
        (p.limit("A", 0, 10, invalid="curve missing"), "curve missing"),
        (p.event("A", 0, 10, {"grad_w_pct_per_s": Decimal(1)}), "defaults only"),
        (p.limit("A", 0, 10, -1), "max_lim_w_pct"),
    ],
)
def test_what_nobody_can_carry_out_is_named(control, word):
    assert word in problem_of(control)


def test_values_are_judged_by_the_row_of_their_function():
    broken = Droop(
        dead_band_over_hz=Decimal(0),
        dead_band_under_hz=Decimal(0),
        slope_over=Decimal("0.05"),
        slope_under=Decimal(0),
        open_loop_s=Decimal(5),
    )
    assert "slope under" in problem_of(p.event("A", 0, 10, {"freq_droop": broken}))


def test_a_function_that_no_table_knows_is_no_fault_of_the_event():
    assert problem_of(p.event("A", 0, 10, {"from_another_planet": Decimal(1)})) == ""


def test_no_response_is_due_twice():
    state, _ = meet(p.limit("A", 0, 10))
    state = replace(state, answered=(ResponseStatus.RECEIVED, ResponseStatus.STARTED))
    assert lc.move(state, lc.Cause.WRITTEN)[1] == ()


def test_the_rest_after_a_cancellation_is_drawn_once():
    state, _ = meet(p.limit("A", 0, 100, rs=-40, rd=10))
    first = lc.cancel_with_randomization(state, p.at(5), p.middle)
    again = lc.cancel_with_randomization(first, p.at(9), lambda *_: pytest.fail("drawn again"))
    assert (first.r3_s, first.cancel_at, again) == (20, p.at(25), first)


def test_the_rest_after_a_cancellation_ends_with_the_event_at_the_latest():
    state, _ = meet(p.limit("A", 0, 100, rd=1000), draw=min)
    assert lc.cancel_with_randomization(state, p.at(90), max).cancel_at == p.at(100)


def test_rank_goes_by_primacy_then_age_then_mrid():
    def state(name, primacy, created):
        control = p.limit(name, 0, 10, created=created)
        return replace(meet(control)[0], primacy=primacy)

    ranked = [state("A", 1, 0), state("A", 2, 9), state("B", 2, 5), state("A", 2, 5)]
    assert lc.in_rank_order(reversed(ranked)) == ranked
    for index, one in enumerate(ranked):
        assert [lc.ranks_before(one, other) for other in ranked] == [index < i for i in range(len(ranked))]


def test_events_are_similar_when_they_share_a_mode():
    one, _ = meet(p.event("A", 0, 10, {"max_lim_w_pct": Decimal(1), "target_var": Decimal(1)}))
    other, _ = meet(p.limit("B", 0, 10))
    third, _ = meet(p.event("C", 0, 10, {"target_w": Decimal(1)}))
    assert lc.is_similar(one, other)
    assert not lc.is_similar(other, third)


def test_back_to_back_goes_by_the_schedule_and_not_by_chance():
    one, _ = meet(p.limit("A", 0, 10, rd=100))
    other, _ = meet(p.limit("B", 10, 10))
    assert lc.follows_directly(other, one)
    assert not lc.follows_directly(one, other)
    assert not lc.follows_directly(replace(other, cancel_at=p.at(12)), one)
    assert not lc.follows_directly(other, replace(one, cancel_at=p.at(12)))


def test_a_terminal_event_holds_nothing():
    state, _ = meet(p.limit("A", 0, 10))
    assert state.held == ("max_lim_w_pct",)
    assert lc.move(state, lc.Cause.CANCEL)[0].held == ()
    assert state.with_fate(["max_lim_w_pct"], lc.Fate.LOST).held == ()


def test_setpoints_of_an_event_keep_their_order():
    assert tuple(Setpoints.of({"b": True, "a": True})) == ("a", "b")
    assert timedelta(0) == p.at(0) - p.T0
