"""What a DER refuses at the write is held back alone (docs/rules.md E24)."""

import json
from decimal import Decimal

import engine_player as p
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.engine.following.obey import DerChanged
from tierline.engine.lifecycle import State
from tierline.model.capability import Firmness, Refusal
from tierline.model.records import AppliedRecord

NEVER = Refusal(reason="it does not fit", firmness=Firmness.NEVER)
DECLINED = Refusal(reason="exception 3", firmness=Firmness.DECLINED)
PASSING = Refusal(reason="a limit was refused", firmness=Firmness.PASSING)


def var(name, start, duration, value=1, **more):
    return p.event(name, start, duration, {"target_var": Decimal(value)} | more)


def follower(refusal, *functions, **more):
    player = p.Player(p.rules(**more))
    player.refuses = dict.fromkeys(functions or ("target_var",), refusal)
    return player


def reasons(player, function):
    """Give what the durable explanation says of a function."""
    (record,) = [record for record in player.store.values() if isinstance(record, AppliedRecord)]
    return [e["reason"] for e in json.loads(record.explanation)["explanation"] if e["function"] == function]


def test_what_cannot_be_held_is_refused_at_once_and_blocks_nothing():
    player = follower(NEVER)
    player.see(0, p.program("F0", 1, p.limit("A", 0, 100), var("B", 0, 100)))
    assert player.answers("A") == [(0, 1), (0, 2)]
    assert player.answers("B") == [(0, 1), (0, 252)]
    assert set(player.device) == {"max_lim_w_pct"}
    event = player.events()[p.mrid("B")]
    assert (event.state, event.refusal) == (State.REJECTED, "the device refused it: it does not fit")
    player.run(200)
    assert player.answers("A") == [(0, 1), (0, 2), (100, 3)]
    assert player.answers("B") == [(0, 1), (0, 252)]


def test_what_was_declined_is_tried_three_times_while_the_rest_goes_on():
    player = follower(DECLINED)
    player.see(0, p.program("F0", 1, p.limit("A", 0, 100), var("B", 0, 100)))
    assert player.answers("A") == [(0, 1), (0, 2)]
    assert player.answers("B") == [(0, 1)]
    assert reasons(player, "target_var") == ["refused by the device: exception 3"]
    assert player.obey.refused == {"target_var": "exception 3"}
    player.run(50)
    assert player.answers("B") == [(0, 1), (15, 252)]
    assert player.obey.refused == {}
    assert reasons(player, "target_var") == []


def test_what_was_declined_once_starts_when_it_is_taken():
    player = follower(DECLINED)
    player.see(0, p.program("F0", 1, var("B", 0, 100, max_lim_w_pct=Decimal(50))))
    assert player.answers("B") == [(0, 1)]
    assert set(player.device) == {"max_lim_w_pct"}
    player.refuses = {}
    player.run(50)
    assert player.answers("B") == [(0, 1), (5, 2)]
    assert set(player.device) == {"max_lim_w_pct", "target_var"}
    assert player.obey.wake_at() == p.at(100)


def test_only_refusals_in_a_row_count():
    player = follower(DECLINED)
    player.see(0, p.program("F0", 1, var("B", 0, 20), var("C", 30, 40)))
    player.run(14)
    player.refuses = {}
    player.run(25)
    assert player.answers("B") == [(0, 1), (15, 2), (20, 3)]
    player.refuses = {"target_var": DECLINED}
    player.run(100)
    assert player.answers("C") == [(0, 1), (45, 252)]


def test_another_event_for_the_same_is_tried_by_itself():
    player = follower(lambda value: DECLINED if value == 1 else None, "target_var")
    player.see(0, p.program("F0", 1, var("B", 0, 100)), p.program("F1", 2, var("C", 200, 50, 2)))
    player.run(300)
    assert player.answers("B") == [(0, 1), (15, 252)]
    assert player.answers("C") == [(0, 1), (200, 2), (250, 3)]


def test_what_it_took_the_place_of_comes_back():
    player = follower(lambda value: NEVER if value == 1 else None, "target_var")
    player.see(0, p.program("F0", 1, var("B", 10, 50)), p.program("F1", 2, default={"target_var": Decimal(7)}))
    player.run(20)
    assert player.answers("B") == [(0, 1), (10, 252)]
    assert dict(player.device) == {"target_var": Decimal(7)}


def test_what_is_not_wanted_any_more_is_released_though_the_rest_is_as_before():
    """The device may hold an older value of what it refused: that it holds all that is wanted says nothing of the rest."""
    player = follower(lambda value: NEVER if value == 1 else None, "target_var")
    player.see(0, p.program("F0", 1, p.limit("A", 0, 100), var("O", 0, 10, 3), var("B", 10, 50)))
    player.run(5)
    assert set(player.device) == {"max_lim_w_pct", "target_var"}
    player.run(20)
    assert player.answers("B") == [(0, 1), (10, 252)]
    assert set(player.device) == {"max_lim_w_pct"}


def test_an_event_that_has_started_goes_on_and_is_tried_until_it_ends():
    player = follower(DECLINED)
    player.refuses = {}
    player.see(0, p.program("F0", 1, p.limit("A", 0, 5000), var("B", 0, 4000)))
    assert player.answers("B") == [(0, 1), (0, 2)]
    player.refuses = {"target_var": DECLINED}
    player.feed(10, DerChanged(supported=p.ALL, ratings=player.rules.ratings))
    player.run(1000)
    assert player.answers("B") == [(0, 1), (0, 2)]
    assert player.obey.refused == {"target_var": "exception 3"}
    assert player.obey.wake_at() - p.at(1000) <= p.at(300) - p.at(0)
    player.refuses = {}
    player.run(1400)
    assert player.obey.refused == {}
    player.run(6000)
    assert player.answers("B")[2:] == [(4000, 3)]
    assert player.answers("A") == [(0, 1), (0, 2), (5000, 3)]


def test_an_event_that_is_over_before_it_is_given_up_was_missed():
    player = follower(DECLINED)
    player.see(0, p.program("F0", 1, var("B", 0, 12)))
    player.run(50)
    assert player.answers("B") == [(0, 1)]
    assert player.events()[p.mrid("B")].state is State.MISSED


def test_what_ends_at_the_instant_of_the_last_refusal_ends_first():
    player = follower(DECLINED)
    player.see(0, p.program("F0", 1, var("B", 0, 15)))
    player.run(50)
    assert player.answers("B") == [(0, 1)]


@pytest.mark.parametrize("refusal", [NEVER, DECLINED])
def test_a_default_is_left_out_until_another_is_given(refusal):
    player = follower(lambda value: refusal if value == 1 else None, "target_var")
    player.see(0, p.program("F0", 1, p.limit("A", 0, 100), default={"target_var": Decimal(1)}))
    player.run(50)
    assert set(player.device) == {"max_lim_w_pct"}
    assert reasons(player, "target_var") == [f"refused by the device: {refusal.reason}"]
    assert player.obey.refused == {"target_var": refusal.reason}
    player.see(60, p.program("F0", 1, p.limit("A", 0, 100), default={"target_var": Decimal(2)}))
    assert dict(player.device)["target_var"] == 2
    assert player.obey.refused == {}


def test_a_default_is_tried_again_when_it_is_wanted_anew():
    player = follower(NEVER)
    player.see(0, p.program("F0", 1, var("B", 10, 20, 5), default={"target_var": Decimal(1)}))
    assert player.obey.refused == {"target_var": "it does not fit"}
    player.refuses = {}
    player.run(9)
    assert dict(player.device) == {}
    player.run(100)
    assert dict(player.device) == {"target_var": Decimal(1)}


def test_a_default_is_tried_again_when_the_device_is_found_anew():
    player = follower(NEVER)
    player.see(0, p.program("F0", 1, default={"target_var": Decimal(1)}))
    player.refuses = {}
    player.feed(5, DerChanged(supported=p.ALL, ratings=player.rules.ratings))
    assert dict(player.device) == {"target_var": Decimal(1)}


def test_a_standing_limit_that_the_device_refuses_is_left_out_and_said():
    from tierline.model.control import Setpoints

    player = follower(NEVER, "max_lim_w_pct", owner_limits=Setpoints.of({"max_lim_w_pct": Decimal(70)}))
    player.see(0, p.program("F0", 1, var("B", 0, 10)))
    assert player.answers("B") == [(0, 1), (0, 2)]
    assert reasons(player, "max_lim_w_pct") == ["refused by the device: it does not fit"]


def test_a_limit_that_is_refused_leaves_the_next_tightest():
    player = follower(lambda value: NEVER if value == 40 else None, "max_lim_w_pct")
    player.rules = p.dual()
    player.restart()
    player.see(0, p.program("F0", 1, p.limit("A", 0, 100, 60)))
    player.see(1, p.program("F1", 1, p.limit("B", 0, 100, 40)), channel=p.AGGREGATOR)
    assert dict(player.device) == {"max_lim_w_pct": Decimal(60)}
    assert player.answers("A") == [(0, 1), (0, 2)]
    assert player.answers("B") == [(1, 1), (1, 252)]


def test_what_only_waits_for_another_is_not_given_up():
    player = follower(DECLINED, "max_lim_w_pct")
    player.refuses["energize"] = PASSING
    opened = p.event("E", 0, 500, {"energize": True})
    player.see(0, p.program("F0", 1, p.limit("A", 0, 500), opened))
    player.run(14)
    assert (player.answers("A"), player.answers("E")) == ([(0, 1)], [(0, 1)])
    del player.refuses["energize"]
    player.run(100)
    assert player.answers("A") == [(0, 1), (15, 252)]
    assert player.answers("E") == [(0, 1), (15, 2)]


def test_what_says_nothing_of_the_value_is_tried_until_the_event_ends():
    player = follower(PASSING)
    player.see(0, p.program("F0", 1, p.limit("A", 0, 5000), var("B", 0, 4000)))
    player.run(3000)
    assert player.answers("B") == [(0, 1)]
    assert player.obey.refused == {"target_var": PASSING.reason}
    player.refuses = {}
    player.run(6000)
    assert [status for _, status in player.answers("B")] == [1, 2, 3]


def test_a_restart_counts_from_the_beginning_and_repeats_no_response():
    player = follower(DECLINED)
    player.see(0, p.program("F0", 1, var("B", 0, 100)))
    player.run(6)
    player.restart()
    player.tick(7)
    player.run(20)
    assert player.answers("B") == [(0, 1)]
    player.run(99)
    assert player.answers("B") == [(0, 1), (22, 252)]
    player.restart()
    player.tick(100)
    player.run(500)
    assert player.answers("B") == [(0, 1), (22, 252)]


def test_what_is_refused_is_refused_again_after_a_write_that_was_lost():
    player = follower(DECLINED)
    player.see(0, p.program("F0", 1, var("B", 0, 1000)))
    player.fails = True
    player.run(6)
    player.fails = False
    player.run(300)
    assert [status for _, status in player.answers("B")] == [1, 252]


_FUNCTIONS = ("max_lim_w_pct", "gen_lim_w", "target_var", "energize")


@given(
    spans=st.lists(
        st.tuples(st.sampled_from(_FUNCTIONS), st.integers(0, 60), st.integers(1, 60)), min_size=1, max_size=6
    ),
    refused=st.sets(st.sampled_from(_FUNCTIONS)),
    firmness=st.sampled_from([Firmness.NEVER, Firmness.DECLINED]),
    cuts=st.sets(st.integers(1, 60), max_size=3),
)
def test_what_is_not_refused_is_obeyed_as_if_nothing_were(spans, refused, firmness, cuts):
    """Functions of different quantities, each refused or not: the writes and answers of the others do not change."""
    values = {
        "max_lim_w_pct": Decimal(50),
        "gen_lim_w": Decimal(900),
        "target_var": Decimal(1),
        "energize": False,
    }
    events = [
        p.event(f"{n}", start, duration, {name: values[name]}, created=n)
        for n, (name, start, duration) in enumerate(spans)
    ]
    player, spared = p.Player(p.rules(), cuts=cuts), p.Player(p.rules())
    player.refuses = dict.fromkeys(refused, Refusal(reason="no", firmness=firmness))
    player.see(0, p.program("F0", 1, *events))
    spared.see(0, p.program("F0", 1, *events))
    player.run(300)
    spared.run(300)
    answers = {event.mrid: [] for event in events}
    for _, mrid, status in player.posted:
        answers[mrid].append(status)
    for event, (name, *_) in zip(events, spans, strict=True):
        if name in refused:
            assert 2 not in answers[event.mrid]
        else:
            assert answers[event.mrid] == [status for _, mrid, status in spared.posted if mrid == event.mrid]
    kept = [(t, {n: v for n, v in held.items() if n not in refused}) for t, held in player.writes]
    wanted = [(t, {n: v for n, v in held.items() if n not in refused}) for t, held in spared.writes]
    assert _steps(kept) == _steps(wanted)
    assert player.obey.refused == {}


def _steps(writes):
    """Keep the writes that changed something."""
    found = [(0, {})]
    for t, held in writes:
        if held != found[-1][1]:
            found.append((t, held))
    return found
