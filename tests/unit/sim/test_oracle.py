import ast
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tierline.sim.oracle as oracle_module
from tierline.sim.oracle import (
    History,
    OracleEvent,
    OracleProgram,
    Walk,
    applied,
    boundaries,
    responses,
    violations,
)

BASIC = runpy.run_path(str(Path(__file__).parents[2] / "vectors" / "basic.py"))["VECTORS"]
MODES = frozenset({"m", "n", "o"})


# --- BASIC-015 to BASIC-026 -----------------------------------------------------------------------------------------------------------


def history_of(vector):
    walks = tuple(
        Walk(
            at=walk["at"],
            programs=tuple(
                OracleProgram(**(program | {"events": tuple(OracleEvent(**event) for event in program["events"])}))
                for program in walk["programs"]
            ),
        )
        for walk in vector["walks"]
    )
    return History(
        walks=walks,
        draws=vector["draws"],
        supported=frozenset(vector["supported"]) | {"setGradW"},  # a setting that every DER of these vectors has
        supersede_code=vector["supersede_code"],
    )


def check(name):
    vector = BASIC[name]
    history = history_of(vector)
    for t, expected in vector["applied"]:
        assert values(history, t) == expected, t
    assert sorted(said(history, vector["until"])) == sorted(vector["responses"])
    assert violations(history) == []


def values(history, t):
    return {mode: (value.value, value.source) for mode, value in applied(history, t).items()}


def said(history, until=1_000_000):
    return [(response.at, response.mrid, response.status) for response in responses(history, until)]


def test_basic_015_24_successive_controls_and_cancellation():
    check("basic_015_24_successive_controls_and_cancellation")


def test_basic_016_two_programs_two_defaults():
    check("basic_016_two_programs_two_defaults")


def test_basic_017_one_program_one_control():
    check("basic_017_one_program_one_control")


def test_basic_018_one_program_one_default_one_control():
    check("basic_018_one_program_one_default_one_control")


def test_basic_019_two_controls_not_overlapping():
    check("basic_019_two_controls_not_overlapping")


def test_basic_020_two_programs_not_overlapping():
    check("basic_020_two_programs_not_overlapping")


@pytest.mark.parametrize("switch", ["", "_code_14"])
def test_basic_021_overlapping_similar_known_ahead(switch):
    check("basic_021_overlapping_similar_known_ahead" + switch)


@pytest.mark.parametrize("switch", ["", "_code_14"])
def test_basic_022_overlapping_similar_other_order(switch):
    check("basic_022_overlapping_similar_other_order" + switch)


@pytest.mark.parametrize("switch", ["", "_code_14"])
def test_basic_023_overlapping_similar_in_flight(switch):
    check("basic_023_overlapping_similar_in_flight" + switch)


def test_basic_024_overlapping_independent_known_ahead():
    check("basic_024_overlapping_independent_known_ahead")


def test_basic_025_overlapping_independent_other_order():
    check("basic_025_overlapping_independent_other_order")


def test_basic_026_overlapping_independent_in_flight():
    check("basic_026_overlapping_independent_in_flight")


# --- short words for the rules ----------------------------------------------------------------------------------------------------------


def event(mrid, start, duration, modes="m", **more):
    named = {mode: f"{mrid}.{mode}" for mode in modes}
    return OracleEvent(
        **({"mrid": mrid, "creation_time": 0, "start": start, "duration": duration, "modes": named} | more)
    )


def program(mrid, primacy, *events, default=()):
    return OracleProgram(
        mrid=mrid, primacy=primacy, events=events, default={mode: f"{mrid}.{mode}" for mode in default}
    )


def history(*walks, code="14", **draws):
    """`walks`: (at, program, …); draws not named are 0."""
    everything = {e.mrid for _, *programs in walks for p in programs for e in p.events}
    return History(
        walks=tuple(Walk(at=at, programs=tuple(programs)) for at, *programs in walks),
        draws=dict.fromkeys(everything, (0, 0, None)) | draws,
        supported=MODES,
        supersede_code=code,
    )


def sources(story, t, mode="m"):
    found = applied(story, t).get(mode)
    return found.source if found else None


def answers(story, mrid):
    return [(at, status) for at, name, status in said(story) if name == mrid]


# --- 1 Times ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("randomize", "r1", "start"),
    [(30, 20, 120), (-30, -20, 80), (0, 0, 100)],
)
def test_e1_start_moves_by_the_drawn_offset_with_the_sign_of_the_field(randomize, r1, start):
    story = history((0, program("P", 1, event("A", 100, 50, randomize_start=randomize))), A=(r1, 0, None))
    assert answers(story, "A") == [(0, 1), (start, 2), (start + 50, 3)]
    assert [sources(story, t) for t in (start - 1, start, start + 49, start + 50)] == [None, "A", "A", None]
    assert violations(story) == []


def test_e1_duration_moves_by_the_drawn_offset():
    story = history((0, program("P", 1, event("A", 100, 50, randomize_duration=-30))), A=(0, -30, None))
    assert answers(story, "A") == [(0, 1), (100, 2), (120, 3)]


def test_e1_duration_is_never_below_zero_and_e15_what_never_started_ends_silently():
    story = history((0, program("P", 1, event("A", 100, 50, randomize_duration=-90))), A=(0, -90, None))
    assert answers(story, "A") == [(0, 1)]
    assert sources(story, 100) is None
    assert boundaries(story, 1000) == [0, 100]


@pytest.mark.parametrize(
    ("draw", "complaint"),
    [
        ((31, 0, None), "E1: A: r1 = 31 is not a whole number between 0 and 30"),
        ((-1, 0, None), "E1: A: r1 = -1 is not a whole number between 0 and 30"),
        ((0.5, 0, None), "E1: A: r1 = 0.5 is not a whole number between 0 and 30"),
        ((0, 1, None), "E1: A: r2 = 1 is not a whole number between 0 and -40"),
        ((0, 0, 41), "E19: A: r3 = 41 is not between 0 and 40"),
        ((0, 0, -1), "E19: A: r3 = -1 is not between 0 and 40"),
    ],
)
def test_offsets_out_of_range_are_violations(draw, complaint):
    drawn = event("A", 100, 500, randomize_start=30, randomize_duration=-40)
    assert violations(history((0, program("P", 1, drawn)), A=draw)) == [complaint]


def test_offsets_never_drawn_are_a_violation():
    story = History(walks=(Walk(at=0, programs=(program("P", 1, event("A", 10, 10)),)),), draws={}, supported=MODES)
    assert violations(story) == ["E1: A: no offsets were drawn"]


def test_a_cancellation_with_randomization_without_a_draw_is_a_violation():
    running = event("A", 0, 100)
    story = history((0, program("P", 1, running)), (50, program("P", 1, replace(running, status=3))))
    assert violations(story) == ["E19: A: r3 was not drawn"]
    assert answers(story, "A") == [(0, 1), (0, 2), (50, 6)]


def test_offsets_of_rejected_events_are_not_asked_for():
    story = History(
        walks=(Walk(at=0, programs=(program("P", 1, event("A", 10, 10, randomize_start=3601)),)),),
        draws={},
        supported=MODES,
    )
    assert violations(story) == []


@pytest.mark.parametrize(("seen_at", "said_then"), [(149, [1, 2]), (150, [254]), (151, [254])])
def test_e3_an_event_first_seen_at_or_after_its_end_is_too_late(seen_at, said_then):
    story = history((seen_at, program("P", 1, event("A", 100, 50))))
    assert [status for at, status in answers(story, "A") if at == seen_at] == said_then


def test_e3_a_late_event_never_starts_when_seen_again():
    late = program("P", 1, event("A", 100, 50))
    assert answers(history((150, late), (160, late)), "A") == [(150, 254)]


def test_e4_an_event_first_seen_in_its_period_starts_at_once_and_ends_in_time():
    story = history((130, program("P", 1, event("A", 100, 50))))
    assert answers(story, "A") == [(130, 1), (130, 2), (150, 3)]
    assert [sources(story, t) for t in (129, 130, 149, 150)] == [None, "A", "A", None]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"modes": {}}, 253),
        ({"randomize_start": 3601}, 253),
        ({"randomize_duration": -3601}, 253),
        ({"duration": 0.5}, 253),
        ({"valid": False}, 253),
        ({"modes": {"m": 1, "unknown": 2}}, 252),
        ({"modes": {"unknown": 2}, "valid": False}, 253),
        ({"modes": {"unknown": 2}, "start": -1000}, 252),
    ],
)
def test_e5_what_is_invalid_or_unsupported_is_rejected_as_a_whole(change, code):
    story = history((0, program("P", 1, replace(event("A", 100, 50), **change))))
    assert said(story) == [(0, "A", code)]
    assert applied(story, 120) == {}


# --- 2 Seeing ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "code"), [(2, 6), (3, 6), (4, 7)])
def test_e6_first_seen_as_ended_by_the_server_is_received_and_terminal(status, code):
    story = history((0, program("P", 1, event("A", -1000, 50, modes=["unknown"], valid=False, status=status))))
    assert said(story) == [(0, "A", 1), (0, "A", code)]


def test_e7_only_the_status_is_read_again():
    first = event("A", 100, 50)
    changed = replace(first, start=500, modes={"n": 1}, creation_time=9, response_required=0)
    story = history((0, program("P", 1, first)), (50, program("P", 1, changed)))
    assert answers(story, "A") == [(0, 1), (100, 2), (150, 3)]
    assert values(story, 120) == {"m": ("A.m", "A")}


def test_e8_a_program_reached_twice_is_one_program():
    once = program("P", 1, event("A", 100, 50), default="m")
    story = history((0, once, once))
    assert answers(story, "A") == [(0, 1), (100, 2), (150, 3)]


def test_e8_an_event_of_two_programs_is_one_event_of_the_one_that_ranks_first():
    shared, other = event("A", 100, 50), event("B", 100, 50)
    walk = (0, program("LOW", 9, shared), program("MIDDLE", 5, other), program("HIGH", 1, shared))
    story = history(walk)
    assert answers(story, "A") == [(0, 1), (100, 2), (150, 3)]
    assert answers(story, "B") == [(0, 1), (100, 14)]


def test_e8_at_equal_primacy_the_program_with_the_higher_mrid_has_the_event():
    shared = event("A", 100, 50)
    both = (0, program("P", 1, shared), program("Q", 1, shared))
    assert answers(history(both, (120, program("Q", 1, shared))), "A") == [(0, 1), (100, 2), (150, 3)]
    assert answers(history(both, (120, program("Q", 1))), "A") == [(0, 1), (100, 2), (120, 6)]
    assert answers(history(both, (120, program("P", 1, shared))), "A") == [(0, 1), (100, 2), (150, 3)]


def test_e9_an_event_rests_while_its_program_is_not_assigned_and_repeats_no_response():
    here = program("P", 1, event("A", 100, 100, randomize_start=9))
    story = history((0, here), (120, program("Q", 1)), (150, here), A=(7, 0, None))
    assert answers(story, "A") == [(0, 1), (107, 2), (207, 3)]
    assert [sources(story, t) for t in (107, 119, 120, 149, 150, 206, 207)] == ["A", "A", None, None, "A", "A", None]


@pytest.mark.parametrize("back_at", [200, 230])
def test_e9_an_event_whose_end_passes_meanwhile_ends_silently(back_at):
    here = program("P", 1, event("A", 100, 100))
    story = history((0, here), (120,), (back_at, here))
    assert answers(story, "A") == [(0, 1), (100, 2)]
    assert sources(story, back_at) is None


def test_e9_an_event_whose_program_goes_at_its_very_end_ends_silently():
    assert answers(history((0, program("P", 1, event("A", 100, 100))), (200,)), "A") == [(0, 1), (100, 2)]


def test_e9_an_event_not_yet_started_starts_when_its_program_is_back():
    here = program("P", 1, event("A", 100, 100))
    assert answers(history((0, here), (50,), (150, here)), "A") == [(0, 1), (150, 2), (200, 3)]


def test_e9_an_absent_event_supersedes_nothing():
    low, high = program("LOW", 2, event("A", 100, 100)), program("HIGH", 1, event("B", 120, 20))
    story = history((0, low, high), (110, low))
    assert answers(story, "A") == [(0, 1), (100, 2), (200, 3)]
    assert answers(story, "B") == [(0, 1)]


def test_e10_an_event_missing_from_its_list_is_cancelled():
    story = history((0, program("P", 1, event("A", 100, 100))), (150, program("P", 1)))
    assert answers(story, "A") == [(0, 1), (100, 2), (150, 6)]
    assert sources(story, 150) is None


def test_e10_an_event_missing_when_its_program_is_back_is_cancelled_then():
    story = history((0, program("P", 1, event("A", 100, 100))), (50,), (80, program("P", 1)))
    assert answers(story, "A") == [(0, 1), (80, 6)]


def test_e10_an_ended_event_may_leave_its_list():
    story = history((0, program("P", 1, event("A", 100, 100))), (210, program("P", 1)))
    assert answers(story, "A") == [(0, 1), (100, 2), (200, 3)]


def test_e10_an_event_that_only_waits_for_its_successor_may_leave_its_list():
    late = event("B", 200, 100, randomize_start=60)
    story = history((0, program("P", 1, event("A", 100, 100), late)), (215, program("P", 1, late)), B=(30, 0, None))
    assert answers(story, "A") == [(0, 1), (100, 2), (230, 3)]
    assert sources(story, 229) == "A"
    assert sources(story, 230) == "B"


def test_e11_without_a_walk_events_run_to_their_ends_and_defaults_follow():
    story = history((0, program("P", 1, event("A", 100, 50), event("B", 1000, 50), default="m")))
    assert [sources(story, t) for t in (99, 100, 150, 1000, 1050)] == ["default:P", "A", "default:P", "B", "default:P"]


# --- 3 Holding --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "winner"),
    [
        (("P", 1, "A", 0), ("Q", 2, "B", 9), "A"),
        (("P", 1, "A", 5), ("Q", 1, "B", 4), "A"),
        (("P", 1, "A", 4), ("P", 1, "B", 4), "B"),
    ],
)
def test_e12_rank_is_primacy_then_age_then_mrid(one, other, winner):
    programs = {}
    for name, primacy, mrid, created in (one, other):
        programs.setdefault((name, primacy), []).append(event(mrid, 100, 50, creation_time=created))
    story = history((0, *(program(name, primacy, *events) for (name, primacy), events in programs.items())))
    assert sources(story, 100) == winner


def test_e13_and_e14_a_mode_once_lost_is_not_regained_and_the_others_go_on():
    story = history((0, program("P", 1, event("A", 100, 100, "mn"), event("B", 120, 20, "m", creation_time=1))))
    assert [sources(story, t) for t in (119, 120, 140)] == ["A", "B", None]
    assert [sources(story, t, "n") for t in (119, 120, 199, 200)] == ["A", "A", "A", None]
    assert answers(story, "A") == [(0, 1), (100, 2), (200, 3)]


def test_e14_one_first_seen_during_a_higher_ranked_event_never_starts():
    high, low = event("B", 100, 50), event("A", 120, 500)
    story = history((0, program("P", 1, high), program("Q", 2)), (130, program("P", 1, high), program("Q", 2, low)))
    assert answers(story, "A") == [(130, 1), (130, 14)]


def test_e14_a_higher_ranked_event_cancelled_before_its_start_takes_nothing():
    low, high = event("A", 100, 100), event("B", 150, 20, creation_time=1)
    story = history((0, program("P", 1, low, high)), (140, program("P", 1, low, replace(high, status=2))))
    assert answers(story, "A") == [(0, 1), (100, 2), (200, 3)]
    assert answers(story, "B") == [(0, 1), (140, 6)]


def test_e14_one_that_loses_a_mode_at_this_instant_takes_it_from_nobody():
    first = event("X", 100, 10, creation_time=3)
    second = event("S", 100, 50, creation_time=2)
    third = event("O", 130, 50, creation_time=1)
    story = history((0, program("P", 1, first, second, third)))
    assert answers(story, "S") == [(0, 1), (100, 7)]
    assert answers(story, "O") == [(0, 1), (130, 2), (180, 3)]


def waiting(*others, seen_at=0, **change):
    """A [100, 200) waits for its successor B until 230; `others`, of program Q, are first seen at `seen_at`."""
    later = event("B", 200, 100, creation_time=5, randomize_start=30)
    own = program("P", 5, event("A", 100, 100, creation_time=5), replace(later, **change))
    before = [(0, program("P", 5, event("A", 100, 100, creation_time=5), later), program("Q", 1))] if seen_at else []
    return history(*before, (seen_at, own, *others), B=(30, 0, None))


@pytest.mark.parametrize(
    ("seen_at", "starts", "lost_at"),
    [
        (0, 215, 100),  # known ahead: lost when A is first in its period, as for any two periods that intersect
        (150, 215, 150),
        (210, 150, 210),
        (210, 215, 210),
        (220, 215, 220),
    ],
)
def test_e14_a_lower_ranked_event_never_starts_in_the_time_in_which_a_higher_ranked_one_waits(seen_at, starts, lost_at):
    story = waiting(program("Q", 9, event("C", starts, 14 + 215 - starts)), seen_at=seen_at)
    assert answers(story, "C") == [(seen_at, 1), (lost_at, 14)]
    assert answers(story, "A") == [(0, 1), (100, 2), (230, 3)]
    assert [sources(story, t) for t in (199, 200, 215, 229, 230)] == ["A", "A", "A", "A", "B"]


def test_e14_what_was_lost_to_one_that_waits_is_not_regained_when_its_successor_goes():
    low = program("Q", 9, event("C", 215, 14))
    earlier, later = event("A", 100, 100), event("B", 200, 100, randomize_start=30)
    story = history(
        (0, program("P", 5, earlier, later), low),
        (205, program("P", 5, earlier, replace(later, status=2)), low),
        B=(30, 0, None),
    )
    assert answers(story, "A") == [(0, 1), (100, 2), (205, 3)]
    assert answers(story, "C") == [(0, 1), (100, 14)]


@pytest.mark.parametrize("seen_at", [0, 210])
def test_e14_a_first_ranked_event_takes_over_in_the_time_in_which_another_waits(seen_at):
    story = waiting(program("Q", 1, event("C", 215, 10)), seen_at=seen_at)
    assert answers(story, "C") == [(seen_at, 1), (215, 2), (225, 3)]
    assert answers(story, "A") == [(0, 1), (100, 2), (215, 7)]
    assert answers(story, "B") == [(0, 1), (230, 2), (330, 3)]
    assert [sources(story, t) for t in (214, 215, 224, 225, 230)] == ["A", "C", "C", None, "B"]


def test_e14_a_first_ranked_event_takes_over_from_the_one_that_waits_and_its_successor_at_one_moment():
    story = waiting(program("Q", 1, event("C", 215, 50)))
    assert answers(story, "A") == [(0, 1), (100, 2), (215, 7)]
    assert answers(story, "B") == [(0, 1), (215, 14)]
    assert [sources(story, t) for t in (214, 215, 264, 265)] == ["A", "C", "C", None]


def test_e14_a_period_that_a_successor_ends_early_does_not_reach_what_starts_after_it():
    earlier = event("A", 100, 100, creation_time=9, randomize_duration=60)  # its own end would be 260
    story = history(
        (0, program("P", 1, earlier, event("B", 200, 10, creation_time=9), event("C", 215, 30))), A=(0, 60, None)
    )
    assert answers(story, "A") == [(0, 1), (100, 2), (200, 3)]
    assert answers(story, "C") == [(0, 1), (215, 2), (245, 3)]


@pytest.mark.parametrize("starts", [210, 220])
def test_e16_one_that_waited_in_vain_is_completed_whoever_began_meanwhile(starts):
    story = waiting(program("Q", 1, event("C", starts, 50)), seen_at=220, status=2)
    assert answers(story, "B") == [(0, 1), (220, 6)]
    assert answers(story, "A") == [(0, 1), (100, 2), (220, 3)]
    assert [sources(story, t) for t in (219, 220)] == ["A", "C"]


def test_e15_what_is_first_seen_after_its_successor_began_never_starts_and_ends_silently():
    earlier, later = event("A", 100, 100, randomize_duration=60), event("B", 200, 100)
    story = history((150, program("P", 1, later)), (230, program("P", 1, earlier, later)), A=(0, 60, None))
    assert answers(story, "A") == [(230, 1)]
    assert answers(story, "B") == [(150, 1), (200, 2), (300, 3)]


def test_e15_one_that_never_started_ends_silently_when_its_last_mode_ends_though_others_were_lost():
    earlier, later = event("A", 100, 100, "mn", randomize_duration=60), event("B", 200, 100, "n")
    taker = program("Q", 1, event("C", 100, 300))
    story = history(
        (150, program("P", 2, later), taker), (230, program("P", 2, earlier, later), taker), A=(0, 60, None)
    )
    assert answers(story, "A") == [(230, 1)]


@pytest.mark.parametrize("earlier_created", [-1, 1])
@pytest.mark.parametrize(("r1", "handover"), [(20, 220), (-20, 180), (0, 200)])
def test_e16_a_successor_leaves_no_gap_and_no_overlap_whoever_ranks_first(r1, handover, earlier_created):
    earlier, later = event("A", 100, 100, creation_time=earlier_created), event("B", 200, 100, randomize_start=r1)
    story = history((0, program("P", 1, earlier, later)), B=(r1, 0, None))
    assert [sources(story, t) for t in (100, handover - 1, handover, handover + 99)] == ["A", "A", "B", "B"]
    assert answers(story, "A") == [(0, 1), (100, 2), (handover, 3)]
    assert answers(story, "B") == [(0, 1), (handover, 2), (handover + 100, 3)]


def test_e16_when_the_successor_is_cancelled_in_the_gap_the_period_ends_at_that_moment():
    earlier, later = event("A", 100, 100), event("B", 200, 100, randomize_start=30)
    story = history(
        (0, program("P", 1, earlier, later)),
        (210, program("P", 1, earlier, replace(later, status=2))),
        B=(30, 0, None),
    )
    assert [sources(story, t) for t in (209, 210)] == ["A", None]
    assert answers(story, "A") == [(0, 1), (100, 2), (210, 3)]


def test_e16_of_several_successors_the_earliest_effective_start_counts():
    late, early = event("C", 200, 100, randomize_start=30), event("B", 200, 10, randomize_start=30)
    story = history((0, program("P", 1, event("A", 100, 100), early, late)), B=(5, 0, None), C=(25, 0, None))
    assert [sources(story, t) for t in (204, 205, 214, 215, 225)] == ["A", "B", "B", None, "C"]


def test_e16_a_period_that_would_be_empty_is_lost():
    earlier = event("A", 100, 10, randomize_start=60)
    later = event("B", 110, 100, randomize_start=-60)
    walk = (0, program("P", 1, earlier), program("Q", 2, later))
    story = history(walk, A=(50, 0, None), B=(-40, 0, None))
    assert answers(story, "A") == [(0, 1), (70, 14)]
    assert answers(story, "B") == [(0, 1), (70, 2), (170, 3)]
    assert answers(history(walk, code="7", A=(50, 0, None), B=(-40, 0, None)), "A") == [(0, 1), (70, 7)]


def test_e14_to_e16_one_whose_period_would_be_empty_takes_nothing_until_its_successor_is_itself_superseded():
    earlier = event("A", 100, 10, creation_time=3, randomize_start=20)
    between = event("X", 105, 85, creation_time=2)
    later = event("B", 110, 50, creation_time=1, randomize_start=-20)
    story = history((0, program("P", 1, earlier, between, later)), A=(5, 0, None), B=(-5, 0, None))
    assert answers(story, "B") == [
        (0, 1),
        (105, 7),
    ]  # X takes it; A, no longer without a period, takes X (E22: repeated)
    assert answers(story, "X") == [(0, 1), (105, 7)]
    assert answers(story, "A") == [(0, 1), (105, 2), (115, 3)]


def test_e14_one_whose_period_is_empty_takes_nothing():
    earlier = event("A", 100, 10, creation_time=3, randomize_start=20)
    later = event("B", 110, 2, creation_time=1, randomize_start=-20)  # [105, 107)
    after = event("X", 110, 50, creation_time=0)
    story = history((0, program("P", 1, earlier, later), program("Q", 2, after)), A=(5, 0, None), B=(-5, 0, None))
    assert answers(story, "A") == [(0, 1), (105, 7)]
    assert answers(story, "X") == [(0, 1), (110, 2), (160, 3)]


@pytest.mark.parametrize(("same_created", "other_created", "code"), [(3, 2, 7), (2, 3, 14)])
def test_e18_of_two_takers_at_one_moment_the_first_ranked_decides(same_created, other_created, code):
    same = program(
        "P", 1, event("A", 100, 100, "mn", creation_time=1), event("B", 100, 100, "m", creation_time=same_created)
    )
    other = program("Q", 1, event("C", 100, 100, "n", creation_time=other_created))
    assert answers(history((0, same, other)), "A") == [(0, 1), (100, code)]


def test_e18_only_those_who_take_the_last_mode_decide():
    victim, same = event("A", 300, 100, "mn"), event("B", 200, 150, "n", creation_time=1)
    story = history((0, program("P", 2, victim, same), program("Q", 1, event("X", 100, 250, "m"))))
    assert answers(story, "A") == [(0, 1), (200, 7)]


def test_e18_the_last_mode_lost_makes_it_superseded_even_when_others_had_ended():
    running = event("A", 100, 100, "mn")
    next_m = event("B", 200, 50, "m", randomize_start=-50)
    taker = event("C", 170, 100, "n", creation_time=1)
    story = history((0, program("P", 1, running, next_m, taker)), B=(-50, 0, None))
    assert [sources(story, t) for t in (149, 150, 169)] == ["A", "B", "B"]
    assert answers(story, "A") == [(0, 1), (100, 2), (170, 7)]


def test_e19_cancelled_ends_at_once():
    running = event("A", 100, 100)
    story = history((0, program("P", 1, running)), (150, program("P", 1, replace(running, status=2))))
    assert answers(story, "A") == [(0, 1), (100, 2), (150, 6)]
    assert [sources(story, t) for t in (149, 150)] == ["A", None]


def cancelled_with_randomization(seen_at, r3, *more):
    running = event("A", 100, 100, randomize_start=10, randomize_duration=-60)
    cancelled = replace(running, status=3)
    walks = [(0, program("P", 1, running)), (seen_at, program("P", 1, cancelled)), *more]
    return history(*walks, A=(0, 0, r3))


def test_e19_cancelled_with_randomization_before_the_start_ends_at_once():
    assert answers(cancelled_with_randomization(100, 40), "A") == [(0, 1), (100, 6)]


@pytest.mark.parametrize(("r3", "end"), [(0, 120), (40, 160), (60, 180)])
def test_e19_cancelled_with_randomization_goes_on_for_the_drawn_time(r3, end):
    story = cancelled_with_randomization(120, r3)
    assert answers(story, "A") == [(0, 1), (100, 2), (end, 6)]
    assert [sources(story, t) for t in (end - 1, end)] == ["A", None]
    assert end in boundaries(story, 1000)
    assert violations(story) == []


def test_e19_cancelled_with_randomization_ends_at_the_effective_end_at_the_latest():
    assert answers(cancelled_with_randomization(170, 60), "A") == [(0, 1), (100, 2), (200, 6)]


def test_e19_the_first_sight_of_the_cancellation_counts():
    again = program("P", 1, event("A", 100, 100, status=3))
    assert answers(cancelled_with_randomization(120, 40, (140, again)), "A") == [(0, 1), (100, 2), (160, 6)]


def test_e19_one_cancelled_with_randomization_can_still_be_cancelled_at_once():
    at_once = program("P", 1, event("A", 100, 100, status=2))
    assert answers(cancelled_with_randomization(120, 40, (140, at_once)), "A") == [(0, 1), (100, 2), (140, 6)]


@pytest.mark.parametrize("back_at", [160, 180])
def test_e9_and_e19_the_drawn_end_passes_silently_while_the_program_is_away(back_at):
    back = program("P", 1, event("A", 100, 100, status=3))
    story = cancelled_with_randomization(120, 40, (150,), (back_at, back))
    assert answers(story, "A") == [(0, 1), (100, 2)]


def test_e19_one_cancelled_with_randomization_has_no_successor():
    running, later = event("A", 100, 100, randomize_duration=60), event("B", 200, 100, randomize_start=30)
    story = history(
        (0, program("P", 1, running, later)),
        (190, program("P", 1, replace(running, status=3), later)),
        A=(0, 0, 50),
        B=(30, 0, None),
    )
    assert answers(story, "A") == [(0, 1), (100, 2), (200, 6)]
    assert [sources(story, t) for t in (199, 200, 229, 230)] == ["A", None, None, "B"]


def test_e19_one_cancelled_with_randomization_does_not_hand_over_to_the_next_but_can_be_superseded_by_it():
    running = event("A", 100, 100, randomize_duration=60)
    later = event("B", 200, 100, creation_time=1, randomize_start=-20)
    story = history(
        (0, program("P", 1, running, later)),
        (150, program("P", 1, replace(running, status=3), later)),
        A=(0, 0, 45),
        B=(-20, 0, None),
    )
    assert answers(story, "A") == [(0, 1), (100, 2), (180, 7)]


def test_e16_one_cancelled_with_randomization_is_no_successor():
    earlier, later = event("A", 0, 100, creation_time=1), event("B", 100, 100, randomize_start=-30)
    story = history(
        (60, program("P", 1, later)),
        (80, program("P", 1, earlier, replace(later, status=3))),
        B=(-30, 0, 30),
    )
    assert answers(story, "B") == [(60, 1), (70, 2), (80, 7)]
    assert answers(story, "A") == [(80, 1), (80, 2), (100, 3)]


def superseded(seen_at, *, old=None, new=None, first=True):
    was = replace(event("A", 100, 100, randomize_start=20), **(old or {}))
    then = replace(event("B", 150, 100, creation_time=1, randomize_start=60), **(new or {}))
    before = [(0, program("P", 1, was, then))] if first else []
    return history(*before, (seen_at, program("P", 1, replace(was, status=4), then)), A=(5, 0, None), B=(50, 0, None))


def test_e19_superseded_ends_at_once_and_its_superseder_begins_now():
    story = superseded(155)
    assert answers(story, "A") == [(0, 1), (105, 2), (155, 7)]
    assert answers(story, "B") == [(0, 1), (155, 2), (300, 3)]
    assert [sources(story, t) for t in (154, 155, 299, 300)] == ["A", "B", "B", None]


def test_e19_a_superseder_that_is_running_is_left_alone():
    story = superseded(205, new={"modes": {"m": 1}, "start": 100}, old={"modes": {"m": 1, "n": 2}})
    assert answers(story, "B") == [(0, 1), (150, 2), (250, 3)]
    assert answers(story, "A") == [(0, 1), (105, 2), (205, 7)]


@pytest.mark.parametrize(
    ("seen_at", "old", "new"),
    [
        (149, {}, {}),  # the new one's scheduled start is after now
        (155, {"randomize_start": 56}, {}),  # still within the start randomization of the old one
        (155, {}, {"modes": {"n": 1}}),  # not similar
        (155, {"duration": 90}, {"creation_time": -1}),  # not higher-ranked
    ],
)
def test_e19_otherwise_the_superseder_keeps_its_drawn_start(seen_at, old, new):
    story = superseded(seen_at, old=old, new=new)
    assert answers(story, "A")[-1] == (seen_at, 7)
    assert (200, 2) in answers(story, "B")


def test_e19_a_superseder_of_another_program_keeps_its_drawn_start():
    was, then = event("A", 100, 100), event("B", 150, 100, randomize_start=60)
    story = history(
        (0, program("P", 2, was), program("Q", 1, then)),
        (155, program("P", 2, replace(was, status=4)), program("Q", 1, then)),
        B=(50, 0, None),
    )
    assert answers(story, "B") == [(0, 1), (200, 2), (300, 3)]


def test_e19_one_first_seen_as_superseded_brings_its_superseder_forward_too():
    story = superseded(155, first=False)
    assert answers(story, "A") == [(155, 1), (155, 7)]
    assert answers(story, "B") == [(155, 1), (155, 2), (300, 3)]


def test_e19_one_that_was_terminal_before_brings_nothing_forward():
    was, then = event("A", 100, 100), event("B", 150, 100, creation_time=1, randomize_start=60)
    gone = replace(was, status=2)
    story = history(
        (0, program("P", 1, was, then)),
        (110, program("P", 1, gone, then)),
        (155, program("P", 1, replace(was, status=4), then)),
        B=(50, 0, None),
    )
    assert answers(story, "B") == [(0, 1), (200, 2), (300, 3)]


def test_e20_defaults_apply_per_mode_from_the_first_program_that_holds_the_mode():
    story = history(
        (0, program("P", 2, default="mno"), program("Q", 1, event("A", 100, 50, "n"), default="n")),
        (200, program("P", 2, default="m"), program("R", 2, default="m")),
    )
    assert values(story, 50) == {"m": ("P.m", "default:P"), "n": ("Q.n", "default:Q"), "o": ("P.o", "default:P")}
    assert values(story, 100)["n"] == ("A.n", "A")
    assert values(story, 150)["n"] == ("Q.n", "default:Q")
    assert values(story, 200) == {"m": ("R.m", "default:R")}


@pytest.mark.parametrize(("bits", "expected"), [(0, []), (1, [1]), (2, [2, 3]), (3, [1, 2, 3]), (4, [])])
def test_e21_responses_go_by_the_bits_of_response_required(bits, expected):
    story = history((0, program("P", 1, event("A", 100, 50, response_required=bits))))
    assert [status for _, _, status in said(story)] == expected


def test_responses_and_boundaries_are_listed_up_to_and_including_until():
    story = history((0, program("P", 1, event("A", 100, 50))), (120, program("P", 1, event("A", 100, 50))))
    assert said(story, 100) == [(0, "A", 1), (100, "A", 2)]
    assert boundaries(story, 149) == [0, 100, 120]
    assert boundaries(story, 150) == [0, 100, 120, 150]


def test_e22_two_walks_at_one_instant_count_in_their_order():
    running = event("A", 100, 50)
    story = history((100, program("P", 1, running)), (100, program("P", 1, replace(running, status=2))))
    assert answers(story, "A") == [(100, 1), (100, 6)]


# --- laws -------------------------------------------------------------------------------------------------------------------------------

SMALL = st.integers(0, 12)
EVENTS = st.lists(
    st.builds(
        lambda mrid, created, start, duration, modes, rs, rd: event(
            mrid, start, duration, modes, creation_time=created, randomize_start=rs, randomize_duration=rd
        ),
        st.sampled_from("ABCDEF"),
        st.integers(0, 2),
        SMALL,
        st.integers(1, 6),
        st.sets(st.sampled_from("mn"), min_size=1),
        st.integers(-3, 3),
        st.integers(-3, 3),
    ),
    max_size=5,
    unique_by=lambda made: made.mrid,
)


@st.composite
def histories(draw):
    events = draw(EVENTS)
    homes = {made.mrid: draw(st.sampled_from("PQ")) for made in events}
    walks = []
    for at in sorted(draw(st.sets(SMALL, min_size=1, max_size=4))):
        listed = [replace(made, status=draw(st.sampled_from([0, 0, 0, 0, 1, 2, 3, 4]))) for made in events]
        assigned = draw(st.sampled_from(["PQ", "PQ", "P", "Q"]))
        walks.append((at, *(program(p, ord(p), *(e for e in listed if homes[e.mrid] == p)) for p in assigned)))
    draws = {}
    for made in events:
        rs, rd = made.randomize_start, made.randomize_duration
        r1 = draw(st.integers(min(0, rs), max(0, rs)))
        r2 = draw(st.integers(min(0, rd), max(0, rd)))
        draws[made.mrid] = (r1, r2, draw(st.integers(0, max(abs(rs), abs(rd)))))
    return history(*walks, **draws)


@settings(max_examples=60, deadline=None)
@given(histories())
def test_every_event_goes_a_legal_path_and_reaches_its_end(story):
    assert violations(story) == []
    statuses = {}
    for _, mrid, status in said(story):
        statuses.setdefault(mrid, []).append(status)
    for path in statuses.values():
        assert len(set(path)) == len(path)
        assert path == [254] or path[0] == 1
        assert set(path[1:-1]) <= {2}
        assert 14 not in path or 2 not in path
        assert 3 not in path or 2 in path


@settings(max_examples=60, deadline=None)
@given(histories())
def test_nothing_changes_between_boundaries(story):
    instants = boundaries(story, 100)
    assert instants == sorted(set(instants))
    for earlier, later in zip(instants, [*instants[1:], 101], strict=True):
        assert applied(story, earlier) == applied(story, (earlier + later) / 2)


@settings(max_examples=60, deadline=None)
@given(histories())
def test_e14_at_every_instant_at_most_one_event_is_in_effect_for_a_mode(story):
    for t in boundaries(story, 100):
        told = oracle_module._retell(story, t)
        for mode in "mn":
            assert sum(told.in_effect(seen, mode) for seen in told.taking_part()) <= 1


def test_the_oracle_imports_the_standard_library_only():
    tree = ast.parse(Path(oracle_module.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"collections.abc", "dataclasses"}
