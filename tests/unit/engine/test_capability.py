"""Values that a DER does not keep: refused when an event is taken up, of that event alone (docs/rules.md E5)."""

from decimal import Decimal

import engine_player as p
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.engine.following import document
from tierline.engine.following.obey import DerChanged
from tierline.engine.lifecycle import State
from tierline.model.capability import Capability, Keeps, Span
from tierline.model.control import Curve, CurvePoint, Reference
from tierline.model.identity import Mrid

WIDE = Span(low=Decimal(-1000), high=Decimal(1000))
FOUR_POINTS = Capability(
    functions={
        "volt_var": Keeps(
            parts={"x": WIDE, "y": WIDE}, points=4, references=frozenset({Reference.SET_MAX_VAR, Reference.SET_MAX_W})
        )
    }
)


def curve(count, **more):
    points = tuple(CurvePoint(x=Decimal(90 + n), y=Decimal(0)) for n in range(count))
    return Curve(mrid=Mrid("0" * 32), points=points, **({"y_reference": Reference.SET_MAX_VAR} | more))


def volt_var(name, start, duration, count, **more):
    return p.event(name, start, duration, {"volt_var": curve(count)} | more)


def follower(**more):
    return p.Player(p.rules(capability=FOUR_POINTS, **more))


def test_what_the_der_does_not_keep_is_refused_when_it_is_taken_up_and_blocks_nothing():
    player = follower()
    player.see(0, p.program("F0", 1, p.limit("A", 0, 100), volt_var("B", 0, 100, 8)))
    assert player.answers("A") == [(0, 1), (0, 2)]
    assert player.answers("B") == [(0, 252)]
    assert set(player.device) == {"max_lim_w_pct"}


def test_it_is_refused_long_before_it_would_begin():
    player = follower()
    player.see(0, p.program("F0", 1, volt_var("B", 3000, 100, 8)))
    assert player.answers("B") == [(0, 252)]


def test_it_is_refused_as_a_whole():
    player = follower()
    player.see(0, p.program("F0", 1, volt_var("B", 0, 100, 8, max_lim_w_pct=Decimal(50))))
    assert player.answers("B") == [(0, 252)]
    assert dict(player.device) == {}


def test_what_the_der_keeps_is_obeyed():
    player = follower()
    player.see(0, p.program("F0", 1, volt_var("B", 0, 100, 4)))
    assert player.answers("B") == [(0, 1), (0, 2)]


def test_why_an_event_was_refused_is_kept():
    player = follower()
    invalid, late = p.limit("C", 0, 100, 101), p.limit("D", -100, 10)
    strange = p.event("E", 0, 100, {"volt_var": curve(2, y_reference=Reference.NONE)})
    player.see(0, p.program("F0", 1, volt_var("B", 0, 100, 8), invalid, late, strange))
    player.restart()
    assert [player.events()[p.mrid(name)].refusal for name in "BCDE"] == [
        "volt_var has 8 points; the device takes at most 4",
        "max_lim_w_pct is 101 % of set_max_w; the most is 100",
        "it ended at 2026-06-30 23:58:30 UTC",
        "volt_var refers to NONE; the device knows SET_MAX_W, SET_MAX_VAR",
    ]
    assert {event.state for event in player.events().values()} == {State.REJECTED}


def test_what_is_invalid_is_refused_as_such_before_it_is_asked_who_keeps_it():
    player = follower()
    player.see(0, p.program("F0", 1, volt_var("B", 0, 100, 11), volt_var("C", -100, 50, 8)))
    assert player.answers() == [(0, p.mrid("B"), 253), (0, p.mrid("C"), 252)]


def test_a_default_that_the_der_does_not_keep_is_left_out_mode_by_mode_and_none_takes_its_place():
    player = follower()
    first = p.program("F0", 1, default={"volt_var": curve(8), "max_lim_w_pct": Decimal(90)})
    player.see(0, first, p.program("F1", 2, default={"volt_var": curve(4)}))
    assert dict(player.device) == {"max_lim_w_pct": Decimal(90)}
    (told,) = [entry for entry in player.obey.decision.explanation if entry.function == "volt_var"]
    assert told.reason == "volt_var has 8 points; the device takes at most 4"


def test_it_is_not_asked_again_of_an_event_that_is_known():
    player = p.Player(p.rules())
    program = p.program("F0", 1, volt_var("B", 0, 100, 8, max_lim_w_pct=Decimal(50)))
    player.see(0, program)
    change = DerChanged(supported=p.ALL, ratings=player.rules.ratings, capability=FOUR_POINTS)
    player.feed(5, change)
    assert set(player.device) == {"max_lim_w_pct"}
    player.see(6, p.program("F0", 1, *program.controls, volt_var("C", 50, 10, 8)))
    assert player.answers("C") == [(6, 252)]
    player.run(200)
    assert player.answers("B") == [(0, 1), (0, 2), (100, 3)]


def test_a_state_that_was_written_down_before_there_was_a_reason_is_read():
    player = follower()
    player.see(0, p.program("F0", 1, volt_var("B", 0, 100, 4)))
    (event,) = player.events().values()
    assert b"refusal" not in document.dump(event)


@given(points=st.lists(st.integers(1, 10), min_size=1, max_size=5), limit=st.integers(0, 100))
def test_one_der_refuses_what_it_does_not_keep_and_does_all_else_as_if_that_had_not_been_sent(points, limit):
    events = [volt_var(f"B{n}", 10 * n, 20, count) for n, count in enumerate(points)]
    kept = [event for event, count in zip(events, points, strict=True) if count <= 4]
    told, spared = follower(), follower()
    told.see(0, p.program("F0", 1, p.limit("A", 5, 30, limit), *events))
    spared.see(0, p.program("F0", 1, p.limit("A", 5, 30, limit), *kept))
    told.run(500)
    spared.run(500)
    assert told.writes == spared.writes
    refused = {event.mrid for event in events if event not in kept}
    assert [answer for answer in told.posted if answer[1] not in refused] == spared.posted
    assert sorted(answer for answer in told.posted if answer[1] in refused) == sorted(
        (0, mrid, 252) for mrid in refused
    )


@pytest.mark.parametrize("supported", [p.ALL, p.ALL - {"volt_var"}])
def test_a_mode_that_is_not_carried_out_is_refused_whatever_is_known_of_its_values(supported):
    player = follower(supported=supported)
    player.see(0, p.program("F0", 1, volt_var("B", 0, 100, 4)))
    assert player.answers("B")[0] == (0, 1 if "volt_var" in supported else 252)
