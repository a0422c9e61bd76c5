"""The channel of record, and its change at a stated time (docs/rules.md A1, A8)."""

from decimal import Decimal

import engine_player as p
import pytest

from tierline.engine.following.obey import RecordChange
from tierline.engine.lifecycle import State
from tierline.model.control import Setpoints
from tierline.model.errors import ConfigError
from tierline.model.identity import ChannelId
from tierline.model.parties import ChannelMode


def change(t, channel):
    return RecordChange(since=p.at(t), channel=channel.id)


def single(*changes, **more):
    return p.rules(channels=(p.UTILITY, p.AGGREGATOR), record=changes, **more)


def show(player, t, channel, *events, default=None, offset=0.0):
    player.see(t, p.program(f"F{channel.rank}", 1, *events, default=default), channel=channel, offset=offset)


def limits(player):
    return [(t, s.get("max_lim_w_pct")) for t, s in player.writes]


def test_at_the_instant_the_old_channel_ends_with_13_and_the_new_one_is_obeyed():
    player = p.Player(single(change(100, p.AGGREGATOR)))
    default = {"max_lim_w_pct": Decimal(90)}
    show(player, 0, p.UTILITY, p.limit("A", 10, 200), p.limit("B", 150, 10, 30), default=default)
    show(player, 1, p.AGGREGATOR, p.limit("C", 120, 50, 20), default={"max_lim_w_pct": Decimal(80)})
    player.run(110)
    show(player, 110, p.AGGREGATOR, p.limit("C", 120, 50, 20), p.limit("D", 130, 50, 25))
    show(player, 111, p.UTILITY, p.limit("E", 130, 50, 10))
    player.run(500)
    assert player.answers("A") == [(0, 1), (10, 2), (100, 13)]
    assert player.answers("B") == [(0, 1), (100, 13)]
    assert player.answers("C") == [(1, 1), (1, 13)], "what was refused stays refused"
    assert player.answers("D") == [(110, 1), (130, 2), (180, 3)]
    assert player.answers("E") == [(111, 1), (111, 13)]
    assert limits(player) == [(0, 90), (10, 50), (100, 80), (110, None), (130, 25), (180, None)]


def test_the_machine_asks_to_be_woken_for_it():
    player = p.Player(single(change(100, p.AGGREGATOR)))
    show(player, 0, p.UTILITY)
    assert player.obey.wake_at() == p.at(100)
    player.run(100)
    assert player.obey.wake_at() is None


def test_what_ends_at_the_instant_is_completed():
    player = p.Player(single(change(100, p.AGGREGATOR)))
    show(player, 0, p.UTILITY, p.limit("A", 50, 50), p.limit("B", 50, 51, created=-1))
    player.feed(130, p.Tick())
    assert [status for _, status in player.answers("B")] == [1, 7]
    player = p.Player(single(change(100, p.AGGREGATOR)))
    show(player, 0, p.UTILITY, p.limit("A", 50, 50))
    player.run(99)
    player.tick(130)
    assert player.answers("A") == [(0, 1), (50, 2), (130, 3)], "not displaced, however late it is noticed"


def test_the_instant_is_one_of_the_node_whatever_the_clocks_of_the_servers():
    player = p.Player(single(change(100, p.AGGREGATOR)))
    show(player, 0, p.UTILITY, p.limit("A", 10, 200), offset=30.0)
    player.run(500)
    assert player.answers("A") == [(0, 1), (0, 2), (100, 13)]


def test_a_node_that_was_off_makes_up_for_it_before_all_else():
    changes = (change(100, p.AGGREGATOR), change(200, p.UTILITY))
    player = p.Player(single(*changes))
    show(player, 0, p.UTILITY, p.limit("A", 10, 400))
    player.run(50)
    player.restart(channels=(p.UTILITY, p.AGGREGATOR), record=changes)
    show(player, 250, p.UTILITY, p.limit("A", 10, 400), p.limit("B", 260, 10, 30))
    player.run(500)
    assert player.answers("A") == [(0, 1), (10, 2), (250, 13)]
    assert player.answers("B") == [(250, 1), (260, 2), (270, 3)]


def test_a_change_that_was_carried_out_is_not_repeated_by_a_restart():
    changes = (change(200, p.UTILITY), change(100, p.AGGREGATOR))
    player = p.Player(single(*changes))
    show(player, 0, p.UTILITY)
    player.run(200)
    show(player, 210, p.UTILITY, p.limit("A", 220, 100))
    player.run(250)
    player.restart(channels=(p.UTILITY, p.AGGREGATOR), record=changes)
    player.tick(251)
    player.run(500)
    assert player.answers("A") == [(210, 1), (220, 2), (320, 3)]


def test_a_channel_that_a_new_configuration_no_longer_obeys_ends_with_13():
    player = p.Player(p.dual())
    show(player, 0, p.UTILITY, p.limit("A", 0, 100))
    show(player, 0, p.AGGREGATOR, p.limit("B", 0, 100, 30), p.limit("C", 0, 20, 40, created=-1))
    player.run(50)
    player.restart(channels=(p.UTILITY, p.AGGREGATOR), mode=ChannelMode.SINGLE)
    player.tick(60)
    player.run(300)
    assert player.answers("A") == [(0, 1), (0, 2), (100, 3)]
    assert player.answers("B") == [(0, 1), (0, 2), (60, 13)]
    assert player.events(p.AGGREGATOR)[p.mrid("C")].state is State.SUPERSEDED
    assert player.device == Setpoints()


def test_the_change_to_the_channel_that_is_of_record_changes_nothing():
    player = p.Player(single(change(100, p.UTILITY)))
    show(player, 0, p.UTILITY, p.limit("A", 10, 200))
    player.run(500)
    assert player.answers("A") == [(0, 1), (10, 2), (210, 3)]


@pytest.mark.parametrize(
    ("changes", "mode", "says"),
    [
        ([change(0, p.AGGREGATOR)], ChannelMode.DUAL, "none is of record; use mode single"),
        ([RecordChange(since=p.at(0), channel=ChannelId("x"))], ChannelMode.SINGLE, "'x' is no channel; use one of"),
        ([change(0, p.AGGREGATOR), change(0, p.UTILITY)], ChannelMode.SINGLE, "two changes at the same time"),
    ],
)
def test_changes_that_make_no_sense_are_refused(changes, mode, says):
    with pytest.raises(ConfigError, match=says):
        single(*changes, mode=mode)
