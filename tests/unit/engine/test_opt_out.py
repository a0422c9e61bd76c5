"""What the owner refuses (docs/rules.md E23)."""

from decimal import Decimal

import engine_player as p
import pytest

from tierline.engine.following.obey import Apply, Obey, OptOut, Persist, Persisted, Seen, WriteDone
from tierline.engine.lifecycle import State
from tierline.model.control import EventStatus, Setpoints
from tierline.model.parties import Authority
from tierline.model.programs import ProgramsSeen


def alone(**more):
    """One channel, that of an aggregator."""
    return p.Player(p.rules(channels=(p.AGGREGATOR,), **more))


def see(player, t, *events, default=None):
    player.see(t, p.program("F1", 1, *events, default=default), channel=p.AGGREGATOR)


def refuse(player, t, name):
    player.feed(t, OptOut(mrid=p.mrid(name)))


def states(player):
    return {str(mrid).lstrip("0"): event.state for mrid, event in player.events(p.AGGREGATOR).items()}


def test_an_event_that_started_ends_at_once_with_4_and_the_default_follows():
    player = alone()
    see(player, 0, p.limit("A", 10, 100), default={"max_lim_w_pct": Decimal(90)})
    player.run(30)
    refuse(player, 30, "A")
    player.run(300)
    assert player.answers("A") == [(0, 1), (10, 2), (30, 4)]
    assert [(t, s["max_lim_w_pct"]) for t, s in player.writes] == [(0, 90), (10, 50), (30, 90)]
    assert states(player) == {"A": State.OPTED_OUT}


def test_an_event_that_has_not_started_never_starts():
    player = alone()
    see(player, 0, p.limit("A", 10, 100))
    refuse(player, 5, "A")
    player.run(300)
    assert player.answers("A") == [(0, 1), (5, 4)]
    assert player.writes == []


def test_what_is_refused_is_never_resumed_whatever_the_server_shows():
    player = alone()
    a = p.limit("A", 10, 100)
    see(player, 0, a)
    player.run(30)
    refuse(player, 30, "A")
    refuse(player, 31, "A")
    player.see(40, channel=p.AGGREGATOR)
    see(player, 50, a)
    player.restart(channels=(p.AGGREGATOR,))
    see(player, 60, p.limit("A", 10, 100, status=EventStatus.CANCELLED))
    player.run(300)
    assert player.answers("A") == [(0, 1), (10, 2), (30, 4)]
    assert len(player.writes) == 2


def test_4_is_said_only_where_specific_answers_are_wanted():
    player = alone()
    see(player, 0, p.limit("A", 0, 100, required=1))
    refuse(player, 30, "A")
    assert player.answers("A") == [(0, 1)]
    assert player.device == Setpoints()


def test_a_utility_is_not_refused_unless_the_configuration_lets_it():
    for refusable, said in ((frozenset({Authority.AGGREGATOR}), []), (frozenset({Authority.UTILITY}), [(5, 4)])):
        player = p.Player(p.rules(refusable=refusable))
        player.see(0, p.program("F0", 1, p.limit("A", 0, 100)))
        refuse(player, 5, "A")
        assert player.answers("A") == [(0, 1), (0, 2), *said]


def test_one_mrid_on_two_channels_is_refused_where_that_may_be():
    player = p.Player(p.dual())
    for channel in (p.UTILITY, p.AGGREGATOR):
        player.see(0, p.program(f"F{channel.rank}", 1, p.limit("A", 0, 100)), channel=channel)
    refuse(player, 5, "A")
    assert player.events(p.UTILITY)[p.mrid("A")].state is State.STARTED
    assert player.events(p.AGGREGATOR)[p.mrid("A")].state is State.OPTED_OUT
    assert player.device["max_lim_w_pct"] == 50


def test_an_event_whose_program_is_not_assigned_is_refused_and_answered():
    player = alone()
    see(player, 0, p.limit("A", 10, 100))
    player.see(5, channel=p.AGGREGATOR)
    refuse(player, 6, "A")
    assert player.answers("A") == [(0, 1), (6, 4)]


def test_who_waits_for_a_successor_that_is_refused_stops_then():
    player = alone()
    see(player, 0, p.limit("A", 0, 100), p.limit("B", 100, 100, 20, rs=20))
    player.run(104)
    assert player.device["max_lim_w_pct"] == 50, "it waits for what begins at 110"
    refuse(player, 105, "B")
    player.run(300)
    assert player.answers("A") == [(0, 1), (0, 2), (105, 3)]
    assert player.answers("B") == [(0, 1), (105, 4)]
    assert player.writes[-1] == (105, Setpoints())


def test_a_stronger_event_that_is_refused_before_it_began_takes_nothing():
    player = alone()
    see(player, 0, p.limit("A", 0, 100), p.limit("B", 50, 10, 20, created=1))
    refuse(player, 40, "B")
    player.run(300)
    assert player.answers("A") == [(0, 1), (0, 2), (100, 3)]


def test_a_refusal_that_comes_after_the_end_changes_nothing():
    """Also when nobody woke the machine at the end."""
    player = alone()
    see(player, 0, p.limit("A", 0, 100))
    refuse(player, 101, "A")
    assert [status for _, status in player.answers("A")] == [1, 2, 3]
    assert player.writes[-1][1] == Setpoints()


def test_at_the_very_end_the_owner_comes_first():
    player = alone()
    see(player, 0, p.limit("A", 0, 100))
    refuse(player, 100, "A")
    assert player.answers("A") == [(0, 1), (0, 2), (100, 4)]


@pytest.mark.parametrize("refused", ["nobody knows it", "A"])
def test_a_refusal_that_ends_nothing_passes_over_no_boundary(refused):
    """Neither what begins at that moment nor what has ended before it may be missed."""
    player = alone()
    see(player, 0, p.limit("A", 10, 20), p.limit("B", 80, 50))
    refuse(player, 80, refused)
    assert [status for _, status in player.answers("B")] == [1, 2]
    assert player.obey.wake_at() > p.at(80)


def test_a_clock_that_was_set_back_does_not_undo_what_was_settled():
    player = alone()
    see(player, 0, p.limit("A", 0, 100), p.limit("B", 10, 20, 20, created=1))
    player.run(20)
    refuse(player, 5, "B")
    player.run(300)
    assert player.answers("A") == [(0, 1), (0, 2), (10, 7)]
    assert player.answers("B") == [(0, 1), (10, 2), (5, 4)]


def test_while_its_values_are_being_written_it_may_be_refused_and_is_not_called_started():
    obey = Obey(p.rules(channels=(p.AGGREGATOR,)), p.middle)
    walk = ProgramsSeen(channel=p.AGGREGATOR.id, programs=(p.program("F1", 1, p.limit("A", 0, 100)),))
    (persist,) = obey.handle(Seen(walk=walk), p.at(0))
    (write,) = obey.handle(Persisted(sequence=persist.sequence), p.at(0))
    assert isinstance(write, Apply)
    (refused,) = obey.handle(OptOut(mrid=p.mrid("A")), p.at(1))
    assert isinstance(refused, Persist)
    assert [int(response.status) for response in refused.responses] == [4]
    assert obey.handle(WriteDone(sequence=write.sequence, read_back=write.setpoints), p.at(2)) == ()
    (after,) = obey.handle(Persisted(sequence=refused.sequence), p.at(2))
    assert isinstance(after, Persist), "what the device was read to hold is noted"
    assert after.responses == ()
    (free,) = obey.handle(Persisted(sequence=after.sequence), p.at(2))
    assert isinstance(free, Apply)
    assert free.setpoints == Setpoints()


def test_it_is_said_beforehand_why_an_event_cannot_be_refused():
    player = p.Player(p.dual())
    player.see(0, p.program("F0", 1, p.limit("A", 0, 100)))
    player.see(0, p.program("F1", 1, p.limit("B", 0, 10), p.limit("C", 50, 10)), channel=p.AGGREGATOR)
    player.run(20)
    why = player.obey.why_not_opt_out
    assert why(p.mrid("D")) == f"event {p.mrid('D')} is not known here"
    assert why(p.mrid("B")) == f"event {p.mrid('B')} is over: completed"
    assert why(p.mrid("A")) == f"event {p.mrid('A')} is of channel utility, and the utility may not be refused"
    assert why(p.mrid("C")) == ""


def a_day(cuts=()):
    player = p.Player(p.rules(channels=(p.AGGREGATOR,)), cuts=cuts)
    see(player, 0, p.limit("A", 10, 100), p.limit("B", 60, 100, 20, created=1))
    player.run(30)
    refuse(player, 30, "A")
    refuse(player, 40, "B")
    player.run(300)
    return player


CALM = a_day()


@pytest.mark.parametrize("step", range(1, CALM.steps + 1))
def test_a_power_cut_before_any_step_changes_nothing_that_is_seen(step):
    cut = a_day(cuts=[step])
    assert sorted(cut.posted) == sorted(CALM.posted)
    assert cut.writes == CALM.writes
