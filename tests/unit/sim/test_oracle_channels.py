import ast
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

import tierline.sim.oracle_channels as oracle_module
from tierline.model.control import PowerFactor
from tierline.model.functions import Bound, Quantity
from tierline.sim.oracle import OracleEvent, OracleProgram, Walk
from tierline.sim.oracle_channels import (
    OWNER,
    ChannelsHistory,
    OracleChannel,
    channel_responses,
    channel_violations,
    outcome,
    tell,
)

SUPPORTED = frozenset(
    {
        "max_lim_w_pct",
        "gen_lim_w",
        "load_lim_w",
        "fixed_w_pct",
        "target_w",
        "target_var",
        "fixed_pf_inject_w",
        "fixed_pf_absorb_w",
        "connect",
        "grad_w_pct_per_s",
    }
)


def event(mrid, start, duration, modes, **more):
    return OracleEvent(
        mrid=mrid, start=start, duration=duration, modes=modes, **({"creation_time": 0, "response_required": 2} | more)
    )


def program(mrid, *events, primacy=1, **default):
    return OracleProgram(mrid=mrid, primacy=primacy, events=events, default=default)


def channel(name, rank, *programs, authority=3, at=0, walks=None):
    """Make a channel that is walked once, at `at`, unless it has `walks` of its own."""
    walks = walks or ((at, programs),)
    drawn = {one.mrid for _, shown in walks for each in shown for one in each.events}
    return OracleChannel(
        name=name,
        authority=authority,
        rank=rank,
        walks=tuple(Walk(at=moment, programs=tuple(shown)) for moment, shown in walks),
        draws=dict.fromkeys(drawn, (0, 0, None)),
    )


def history(*channels, is_dual=True, **more):
    if "owner_says" in more:
        said = {one.mrid for walk in more["owner_says"] for each in walk.programs for one in each.events}
        more["owner_draws"] = dict.fromkeys(said, (0, 0, None))
    return ChannelsHistory(
        channels=channels,
        is_dual=is_dual,
        supported=SUPPORTED,
        set_max_w=Decimal(10_000),
        set_max_charge_rate_w=Decimal(8_000),
        **more,
    )


def answers(story, mrid, until=1_000):
    return [(one.at, one.status) for one in channel_responses(story, until) if one.mrid == mrid]


def value(story, t, function):
    found = outcome(story, t).values.get(function)
    return found and (found.value, found.source)


# --- A1, A8: single -------------------------------------------------------------------------------------------------------------------


def test_a1_events_of_any_other_channel_are_answered_13_and_its_defaults_are_not_used():
    story = history(
        channel("one", 1, program("P", event("A", 10, 10, {"target_w": 1}))),
        channel("two", 2, program("Q", event("B", 10, 10, {"target_w": 2}, response_required=3), gen_lim_w=5)),
        is_dual=False,
    )
    assert answers(story, "B") == [(0, 1), (0, 13)]
    assert answers(story, "A") == [(10, 2), (20, 3)]
    assert outcome(story, 5).claims == ()


def test_a1_what_is_invalid_too_late_or_cancelled_is_answered_as_such():
    late, never = event("B", -20, 10, {"target_w": 2}), event("C", 0, 10, {"target_w": 2}, status=2)
    story = history(channel("one", 1, program("P")), channel("two", 2, program("Q", late, never)), is_dual=False)
    assert answers(story, "B") == [(0, 254)]
    assert answers(story, "C") == [(0, 6)]


def changing(*changes, walks=None):
    old = channel("one", 1, program("P", event("A", 10, 30, {"target_w": 1}), target_var=7))
    new = event("B", 10, 50, {"target_w": 2})
    return history(
        old,
        channel("two", 2, walks=walks or ((0, [program("Q", new)]), (20, [program("Q", new, target_var=9)]))),
        is_dual=False,
        record_changes=changes,
    )


def test_a8_everything_of_the_old_channel_is_displaced_and_the_default_of_the_new_one_holds():
    story = changing((25, "two"))
    assert answers(story, "A") == [(10, 2), (25, 13)]
    assert [value(story, t, "target_w") for t in (24, 25)] == [(1, "A"), None]
    assert [value(story, t, "target_var") for t in (24, 25)] == [(7, "default:P"), (9, "default:Q")]


def test_a8_what_was_refused_stays_refused_and_what_is_seen_at_the_instant_is_obeyed():
    once, again = event("B", 10, 50, {"target_w": 2}), event("C", 10, 50, {"target_w": 3})
    story = changing((25, "two"), walks=((0, [program("Q", once)]), (25, [program("Q", once, again)])))
    assert answers(story, "B") == [(0, 13)]
    assert answers(story, "C") == [(25, 2), (60, 3)]


def test_a8_what_ends_at_the_instant_is_completed():
    assert answers(changing((40, "two")), "A") == [(10, 2), (40, 3)]


# --- A2 to A5: dual -------------------------------------------------------------------------------------------------------------------


def limits():
    return history(
        channel("one", 1, program("P", event("A", 10, 20, {"max_lim_w_pct": 50}), primacy=5)),
        channel("two", 2, program("Q", event("B", 10, 20, {"gen_lim_w": 4_000, "load_lim_w": 1_000}), gen_lim_w=9_000)),
        owner_limits={"gen_lim_w": 8_000},
    )


def test_a2_limits_of_all_stay_in_force_and_the_tightest_in_watts_binds():
    told = outcome(limits(), 10)
    most = told.limits[Quantity.ACTIVE_POWER_DER, Bound.MAX_GENERATION]
    assert (most.watts, most.channel, most.source) == (4_000, "two", "B")
    assert {(one.source, one.function): one.binds for one in told.claims} == {
        ("A", "max_lim_w_pct"): False,
        ("B", "gen_lim_w"): True,
        ("B", "load_lim_w"): True,
        ("", "gen_lim_w"): False,
    }
    assert outcome(limits(), 30).limits[Quantity.ACTIVE_POWER_DER, Bound.MAX_GENERATION].source == ""


def test_a2_no_limit_is_superseded_by_another_channel():
    assert [answers(limits(), mrid) for mrid in "AB"] == [[(10, 2), (30, 3)]] * 2


def test_a7_equal_limits_bind_both():
    story = history(channel("one", 1, program("P", gen_lim_w=500)), channel("two", 2, program("Q", gen_lim_w=500)))
    assert [one.binds for one in outcome(story, 0).claims] == [True, True]


def against(**second):
    return history(
        channel("one", 1, program("P", event("A", 20, 20, {"target_w": 5_000}))),
        channel("two", 2, program("Q", event("B", 10, 50, {"fixed_w_pct": 30} | second))),
    )


def test_a3_one_channel_wins_a_quantity_whatever_the_function_and_what_holds_nothing_is_displaced_for_good():
    story = against()
    assert answers(story, "B") == [(10, 2), (20, 13)]
    assert [value(story, t, "fixed_w_pct") for t in (19, 20, 40)] == [(30, "B"), None, None]
    assert [value(story, t, "target_w") for t in (20, 40)] == [(5_000, "A"), None]


@pytest.mark.parametrize("other", [{"gen_lim_w": 9_000}, {"connect": True}, {"target_var": 5}])
def test_a3_one_that_holds_anything_else_goes_on_and_has_the_quantity_again_afterwards(other):
    story = against(**other)
    assert answers(story, "B") == [(10, 2), (60, 3)]
    assert [value(story, t, "fixed_w_pct") for t in (19, 20, 40)] == [(30, "B"), None, (30, "B")]


def test_a3_what_is_displaced_at_its_start_never_started():
    story = history(
        channel("one", 1, program("P", event("A", 0, 40, {"target_w": 1}))),
        channel("two", 2, program("Q", event("B", 10, 20, {"target_w": 2}))),
    )
    assert answers(story, "B") == [(10, 13)]


def test_a3_the_authority_class_comes_before_the_rank_and_any_event_before_any_default():
    story = history(
        channel("one", 1, program("P", target_w=1), authority=2),
        channel("two", 2, program("Q", event("B", 10, 20, {"target_w": 2})), authority=4),
        channel("three", 3, program("R", event("C", 20, 20, {"target_w": 3})), authority=3),
    )
    assert [value(story, t, "target_w") for t in (0, 10, 20, 40)] == [
        (1, "default:P"),
        (2, "B"),
        (3, "C"),
        (1, "default:P"),
    ]


def test_a3_set_points_are_clipped_by_the_limits_of_both_sides():
    down = history(channel("one", 1, program("P", fixed_w_pct=-50, load_lim_w=2_000)))
    up = history(channel("one", 1, program("P", fixed_w_pct=50, max_lim_w_pct=20)))
    watts = history(channel("one", 1, program("P", target_w=700)), owner_limits={"gen_lim_w": 500})
    assert value(down, 0, "fixed_w_pct") == (-25, "default:P")
    assert value(up, 0, "fixed_w_pct") == (Fraction(20), "default:P")
    assert value(watts, 0, "target_w") == (500, "default:P")


def test_a4_one_refusal_is_enough():
    story = history(
        channel("one", 1, program("P", connect=True)),
        channel("two", 2, program("Q", event("B", 10, 20, {"connect": False}))),
    )
    assert [value(story, t, "connect") for t in (9, 10, 30)] == [
        (True, "default:P"),
        (False, "B"),
        (True, "default:P"),
    ]


def test_a5_both_halves_of_a_fixed_power_factor_hold_together():
    factor = PowerFactor(displacement=Decimal("0.9"), absorbing=True)
    both = {"fixed_pf_inject_w": factor, "fixed_pf_absorb_w": factor}
    story = history(
        channel("one", 1, program("P", event("A", 0, 10, both))),
        channel("two", 2, program("Q", fixed_pf_inject_w=factor, fixed_pf_absorb_w=factor)),
    )
    assert {one.source for one in outcome(story, 0).values.values()} == {"A"}
    assert set(outcome(story, 0).values) == set(both)


def test_a5_one_that_gives_way_within_its_own_channel_is_not_displaced_and_starts_when_it_is_carried_out():
    first = program("P", event("A", 0, 20, {"target_w": 1}), primacy=1)
    second = program("Q", event("B", 0, 40, {"fixed_w_pct": 2}), primacy=2)
    assert answers(history(channel("one", 1, first, second)), "B") == [(20, 2), (40, 3)]


def test_settings_of_defaults_are_won_by_function():
    story = history(
        channel("one", 2, program("P", grad_w_pct_per_s=1)), channel("two", 1, program("Q", grad_w_pct_per_s=2))
    )
    assert value(story, 0, "grad_w_pct_per_s") == (2, "default:Q")


# --- A10 -------------------------------------------------------------------------------------------------------------------------------


def owner(*walks):
    """Give what the owner says: at these moments the node shows these events."""
    shown = [(at, [program("own", *events)]) for at, *events in walks]
    return {"owner_says": channel(OWNER, 1, walks=shown).walks}


def limit(mrid, start, duration, watts, **more):
    return event(mrid, start, duration, {"gen_lim_w": watts}, **more)


def most(story, t):
    found = outcome(story, t).limits.get((Quantity.ACTIVE_POWER_DER, Bound.MAX_GENERATION))
    return found and (found.watts, found.channel, found.source)


@pytest.mark.parametrize("is_dual", [True, False])
def test_a10_what_the_owner_says_holds_beside_the_others_and_the_tightest_binds(is_dual):
    one = channel("one", 1, program("P", limit("A", 10, 20, 4_000), gen_lim_w=9_000))
    story = history(one, is_dual=is_dual, **owner((5, limit("O", 5, 15, 5_000))))
    assert [most(story, t) for t in (0, 5, 10, 20, 30)] == [
        (9_000, "one", "default:P"),
        (5_000, "owner", "O"),
        (4_000, "one", "A"),
        (4_000, "one", "A"),
        (9_000, "one", "default:P"),
    ]
    assert answers(story, "O") == [(5, 2), (20, 3)]
    assert answers(story, "A") == [(10, 2), (30, 3)]
    assert [one.binds for one in outcome(story, 12).claims if one.channel == OWNER] == [False]


def test_a10_a_set_point_of_the_channel_of_record_is_clipped_by_what_the_owner_says():
    one = channel("one", 1, program("P", event("A", 0, 20, {"target_w": 5_000})))
    story = history(one, is_dual=False, **owner((5, limit("O", 5, 5, 3_000))))
    assert [value(story, t, "target_w") for t in (4, 5, 10)] == [(5_000, "A"), (3_000, "A"), (5_000, "A")]


def test_a10_a_limit_that_replaces_another_supersedes_it_and_one_that_is_cancelled_ends():
    first, second = limit("O", 0, 30, 5_000), limit("Q", 10, 30, 7_000, creation_time=8)
    over = limit("Q", 10, 30, 7_000, creation_time=8, status=2)
    story = history(**owner((0, first), (8, first, second), (25, first, over)))
    assert answers(story, "O") == [(0, 2), (10, 7)]
    assert answers(story, "Q") == [(10, 2), (25, 6)]
    assert [most(story, t) for t in (9, 10, 25)] == [(5_000, "owner", "O"), (7_000, "owner", "Q"), None]


def test_a10_it_carries_limits_only():
    both = event("O", 0, 30, {"gen_lim_w": 1, "target_w": 2})
    assert answers(history(**owner((0, both))), "O") == [(0, 252)]


def test_a10_with_nobody_above_and_before_any_server_was_heard_standing_limits_hold_once_the_owner_has_spoken():
    said = owner((5, limit("O", 8, 5, 3_000)))
    alone = history(owner_limits={"gen_lim_w": 6_000}, **said)
    silent = history(channel("one", 1, walks=((20, [program("P")]),)), owner_limits={"gen_lim_w": 6_000}, **said)
    for story in (alone, silent):
        assert next(tell(story))[0] == 5
        assert [most(story, t) for t in (5, 8, 13)] == [
            (6_000, "owner", ""),
            (3_000, "owner", "O"),
            (6_000, "owner", ""),
        ]


def test_a10_a_change_of_the_channel_of_record_does_not_concern_it():
    one, two = channel("one", 1, program("P")), channel("two", 2, program("Q"))
    story = history(one, two, is_dual=False, record_changes=((10, "two"),), **owner((0, limit("O", 0, 20, 5))))
    assert answers(story, "O") == [(0, 2), (20, 3)]


def test_e23_what_he_said_himself_the_owner_may_refuse():
    assert answers(history(opt_outs=(("O", 5),), **owner((0, limit("O", 0, 20, 5)))), "O") == [(0, 2), (5, 4)]


def test_e5_what_the_der_does_not_carry_out_is_left_out_of_a_default():
    assert outcome(history(channel("one", 1, program("P", volt_watt=1, target_w=2))), 0).values.keys() == {"target_w"}


# --- E22, E23 -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("authority", "said"), [(3, [(10, 2), (15, 4)]), (2, [(10, 2), (30, 3)])])
def test_e23_the_owner_refuses_events_of_some_classes_only(authority, said):
    story = history(
        channel("one", 1, program("P", event("A", 10, 20, {"target_w": 1})), authority=authority),
        opt_outs=(("A", 15), ("not known", 16), ("A", 17)),
    )
    assert answers(story, "A") == said


def test_e22_a_refusal_comes_before_the_end_of_the_same_instant():
    one = channel("one", 1, program("P", event("A", 10, 20, {"target_w": 1})))
    assert answers(history(one, opt_outs=(("A", 30),)), "A") == [(10, 2), (30, 4)]


def test_a7_the_order_of_the_channels_is_no_matter():
    story = against(target_var=5)
    other = history(*reversed(story.channels))
    assert [(at, told.values) for at, told in tell(story)] == [(at, told.values) for at, told in tell(other)]


def test_offsets_are_judged_channel_by_channel():
    one = channel("one", 1, program("P", event("A", 10, 20, {"target_w": 1})))
    undrawn = OracleChannel(name="two", authority=3, rank=2, walks=one.walks, draws={})
    assert channel_violations(history(one, undrawn)) == ["E1: A: no offsets were drawn"]


def test_a_limit_that_is_no_number_is_refused():
    with pytest.raises(TypeError, match="is no number"):
        outcome(history(channel("one", 1, program("P", gen_lim_w="much"))), 0)


def test_the_oracle_imports_the_table_of_functions_and_the_other_oracle_only():
    tree = ast.parse(Path(oracle_module.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))
    assert {name for name in imported if name.startswith("tierline")} == {
        "tierline.model.functions",
        "tierline.sim.oracle",
    }
