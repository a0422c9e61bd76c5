"""What the owner says at the node itself, as a channel of its own (docs/rules.md A10)."""

from decimal import Decimal

import engine_player as p
import pytest

from tierline.engine.following.obey import DerChanged, RecordChange, owner_channel
from tierline.engine.lifecycle import State
from tierline.model.control import Setpoints
from tierline.model.errors import ConfigError

OWNER = owner_channel(p.PARTY)
BOTH = (p.UTILITY, OWNER)


def say(player, t, *events):
    player.see(t, p.program("5A1D", 0, *events), channel=OWNER)


def limits(player):
    return [(t, s.get("max_lim_w_pct")) for t, s in player.writes]


def test_alone_the_owners_limit_is_carried_out_and_answered():
    player = p.Player(p.rules(channels=(OWNER,)))
    say(player, 0, p.limit("A", 10, 100))
    player.run(200)
    assert player.answers("A") == [(0, 1), (10, 2), (110, 3)]
    assert limits(player) == [(10, 50), (110, None)]


def test_alone_the_standing_limits_hold_before_anybody_has_spoken():
    player = p.Player(p.rules(channels=(OWNER,), owner_limits=Setpoints.of({"max_lim_w_pct": Decimal(70)})))
    player.tick(0)
    assert limits(player) == [(0, 70)]


def test_below_a_server_that_was_not_heard_the_device_keeps_what_it_has_until_the_owner_speaks():
    player = p.Player(p.rules(channels=BOTH, owner_limits=Setpoints.of({"max_lim_w_pct": Decimal(70)})))
    player.tick(0)
    assert limits(player) == []
    say(player, 5, p.limit("A", 5, 10))
    player.run(20)
    assert limits(player) == [(5, 50), (15, 70)]


def test_in_single_mode_the_owners_limit_holds_beside_the_channel_of_record():
    player = p.Player(p.rules(channels=BOTH))
    player.see(0, p.program("F", 1, p.limit("A", 10, 100, 60)), channel=p.UTILITY)
    say(player, 1, p.limit("B", 20, 50, 40), p.limit("C", 80, 100, 80))
    player.run(300)
    assert player.answers("A") == [(0, 1), (10, 2), (110, 3)]
    assert player.answers("B") == [(1, 1), (20, 2), (70, 3)]
    assert player.answers("C") == [(1, 1), (80, 2), (180, 3)], "also while another binds"
    assert limits(player) == [(10, 60), (20, 40), (70, 60), (110, 80), (180, None)]


def test_a_change_of_the_channel_of_record_leaves_the_owners_limits_alone():
    change = RecordChange(since=p.at(50), channel=p.AGGREGATOR.id)
    player = p.Player(p.rules(channels=(p.UTILITY, p.AGGREGATOR, OWNER), record=(change,)))
    player.see(0, p.program("F", 1, p.limit("A", 10, 100, 60)), channel=p.UTILITY)
    say(player, 0, p.limit("B", 20, 100, 40))
    player.run(300)
    assert player.answers("A")[-1] == (50, 13)
    assert player.answers("B") == [(0, 1), (20, 2), (120, 3)]


def test_the_owner_may_limit_and_nothing_else():
    player = p.Player(p.rules(channels=(OWNER,)))
    say(player, 0, p.event("A", 10, 100, {"connect": False}), p.event("B", 10, 100, {"fixed_w_pct": Decimal(10)}))
    player.run(200)
    assert (player.answers("A"), player.answers("B")) == ([(0, 252)], [(0, 252)])
    player.feed(200, DerChanged(supported=p.ALL, ratings=player.rules.ratings))
    say(player, 201, p.event("C", 210, 100, {"connect": False}))
    assert player.answers("C") == [(201, 252)]
    assert player.device == Setpoints()


def test_of_two_limits_of_the_owner_that_overlap_the_newer_supersedes():
    player = p.Player(p.rules(channels=(OWNER,)))
    say(player, 0, p.limit("A", 10, 100, 30), p.limit("B", 50, 100, 80, created=1))
    player.run(300)
    assert player.answers("A") == [(0, 1), (10, 2), (50, 7)]
    assert limits(player) == [(10, 30), (50, 80), (150, None)]


def test_a_restart_in_mid_event_starts_nothing_twice():
    player = p.Player(p.rules(channels=(OWNER,)))
    say(player, 0, p.limit("A", 10, 100))
    player.run(50)
    player.restart()
    player.tick(60)
    player.run(300)
    assert player.answers("A") == [(0, 1), (10, 2), (110, 3)]
    assert limits(player) == [(10, 50), (110, None)]
    assert player.obey.seen(OWNER.id).programs == (p.program("5A1D", 0, p.limit("A", 10, 100)),)


def test_the_owner_may_cancel_or_refuse_what_he_said():
    player = p.Player(p.rules(channels=(OWNER,)))
    say(player, 0, p.limit("A", 10, 100), p.limit("B", 200, 100))
    player.run(20)
    say(player, 30, p.limit("A", 10, 100, status=2), p.limit("B", 200, 100))
    assert player.answers("A") == [(0, 1), (10, 2), (30, 6)]
    assert player.obey.why_not_opt_out(p.mrid("B")) == ""
    assert player.device == Setpoints()
    assert player.events(OWNER)[p.mrid("A")].state is State.CANCELLED


def test_what_is_to_come_is_foretold_unless_the_owner_has_a_say_in_it():
    player = p.Player(p.rules(channels=BOTH))
    player.see(0, p.program("F", 1, p.limit("A", 10, 100)), channel=p.UTILITY)
    assert [event.mrid for _, event in player.obey.coming(p.at(0))] == [p.mrid("A")]
    say(player, 1, p.limit("B", 50, 10))
    assert player.obey.coming(p.at(1)) == ()
    player.run(70)
    player.see(71, p.program("F", 1, p.limit("A", 10, 100), p.limit("C", 200, 10)), channel=p.UTILITY)
    assert [event.mrid for _, event in player.obey.coming(p.at(71))] == [p.mrid("C")]


def test_the_owner_is_never_the_channel_of_record():
    with pytest.raises(ConfigError, match=r"'owner' is no channel; use one of \['utility'\]"):
        p.rules(channels=BOTH, record=(RecordChange(since=p.at(0), channel=OWNER.id),))
