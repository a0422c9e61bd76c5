import json
from dataclasses import replace
from decimal import Decimal

import engine_player as p
import pytest

from tierline.engine.following.obey import (
    Apply,
    DerChanged,
    Obey,
    Persist,
    Persisted,
    Seen,
    Tick,
    WriteDone,
    WriteFailed,
)
from tierline.model.control import Setpoints
from tierline.model.errors import ConfigError
from tierline.model.identity import ChannelId
from tierline.model.parties import ChannelMode
from tierline.model.programs import ProgramsSeen
from tierline.model.records import AppliedRecord, FollowedEventRecord, FollowedProgramsRecord, OutboxRecord


def seen(*programs, channel=p.UTILITY, offset=0.0):
    return Seen(walk=ProgramsSeen(channel=channel.id, programs=programs, clock_offset_s=offset))


def only(effects, kind):
    (effect,) = effects
    assert isinstance(effect, kind)
    return effect


def statuses(effect):
    return [int(response.status) for response in effect.responses]


def holding(**setpoints):
    return Setpoints.of({name: Decimal(value) for name, value in setpoints.items()})


# The durable order


def test_the_steps_come_in_the_durable_order():
    obey = Obey(p.rules(), p.middle)
    first = only(obey.handle(seen(p.program("F0", 1, p.limit("A", 0, 10))), p.at(0)), Persist)
    assert statuses(first) == [1]
    assert {type(record) for record in first.put} == {FollowedEventRecord, FollowedProgramsRecord, OutboxRecord}
    write = only(obey.handle(Persisted(sequence=first.sequence), p.at(0)), Apply)
    assert write.setpoints == holding(max_lim_w_pct=50)
    second = only(obey.handle(WriteDone(sequence=write.sequence, read_back=write.setpoints), p.at(1)), Persist)
    assert statuses(second) == [2]
    assert {type(record) for record in second.put} == {FollowedEventRecord, AppliedRecord, OutboxRecord}
    assert obey.handle(Persisted(sequence=second.sequence), p.at(1)) == ()
    assert obey.wake_at() == p.at(10)


def test_nothing_is_written_before_what_led_to_it_is_durable():
    obey = Obey(p.rules(), p.middle)
    first = only(obey.handle(seen(p.program("F0", 1, p.limit("A", 0, 100))), p.at(0)), Persist)
    assert obey.handle(Tick(), p.at(5)) == ()
    assert obey.handle(seen(p.program("F0", 1, p.limit("A", 0, 100), p.limit("B", 50, 5))), p.at(6)) == ()
    second = only(obey.handle(Persisted(sequence=first.sequence), p.at(7)), Persist)
    assert statuses(second) == [1]
    assert obey.handle(Persisted(sequence=first.sequence), p.at(7)) == ()
    only(obey.handle(Persisted(sequence=second.sequence), p.at(7)), Apply)


def test_the_newest_target_follows_the_write_under_way():
    obey = Obey(p.rules(), p.middle)
    persist = only(
        obey.handle(seen(p.program("F0", 1, p.limit("A", 0, 10), p.limit("B", 10, 10, 20))), p.at(0)), Persist
    )
    write = only(obey.handle(Persisted(sequence=persist.sequence), p.at(0)), Apply)
    missed = only(obey.handle(Tick(), p.at(10)), Persist)
    assert obey.handle(Persisted(sequence=missed.sequence), p.at(10)) == ()
    told = only(obey.handle(WriteDone(sequence=write.sequence, read_back=write.setpoints), p.at(11)), Persist)
    assert statuses(told) == [2, 3]
    newest = only(obey.handle(Persisted(sequence=told.sequence), p.at(11)), Apply)
    assert newest.setpoints == holding(max_lim_w_pct=20)


def test_started_is_not_said_when_the_write_failed():
    player = p.Player(p.rules())
    player.fails = True
    player.see(0, p.program("F0", 1, p.limit("A", 0, 100)))
    player.run(50)
    assert player.answers("A") == [(0, 1)]
    assert player.obey.applied is None
    player.fails = False
    player.run(100)
    assert player.answers("A") == [(0, 1), (75, 2), (100, 3)]


def test_a_failed_write_is_tried_again_ever_more_slowly():
    player = p.Player(p.rules())
    player.fails = True
    tried = []
    write = player._write
    player._write = lambda effect, t: tried.append(t) or write(effect, t)
    player.see(0, p.program("F0", 1, default={"max_lim_w_pct": Decimal(50)}))
    player.run(2000)
    assert tried == [0, 5, 15, 35, 75, 155, 315, 615, 915, 1215, 1515, 1815]


def test_a_new_target_does_not_wait_for_the_retry_of_the_old():
    player = p.Player(p.rules())
    player.fails = True
    player.see(0, p.program("F0", 1, p.limit("A", 0, 2), p.limit("B", 2, 10, 20)))
    player.fails = False
    player.run(2)
    assert player.writes == [(2, holding(max_lim_w_pct=20))]
    assert player.answers("A") == [(0, 1)]


def test_after_a_failed_write_even_the_old_target_is_written_again():
    player = p.Player(p.rules())
    player.see(0, p.program("F0", 1, p.limit("A", 10, 2), default={"max_lim_w_pct": Decimal(90)}))
    player.fails = True
    player.run(11)
    player.fails = False
    player.device = holding(max_lim_w_pct=50)  # it did arrive, only the answer was lost
    player.run(12)
    assert player.device == holding(max_lim_w_pct=90)


def test_a_retry_waits_while_something_is_being_persisted():
    obey = Obey(p.rules(), p.middle)
    persist = only(obey.handle(seen(p.program("F0", 1, p.limit("A", 0, 100))), p.at(0)), Persist)
    write = only(obey.handle(Persisted(sequence=persist.sequence), p.at(0)), Apply)
    obey.handle(WriteFailed(sequence=write.sequence, reason="no answer"), p.at(0))
    assert obey.wake_at() == p.at(5)
    only(obey.handle(seen(p.program("F0", 1, p.limit("A", 0, 100), p.limit("B", 200, 5))), p.at(1)), Persist)
    assert obey.wake_at() == p.at(100)


@pytest.mark.parametrize("read_back", [{}, {"max_lim_w_pct": Decimal(50), "connect": True}])
def test_what_was_not_read_back_has_not_started(read_back):
    obey = Obey(p.rules(), p.middle)
    modes = {"max_lim_w_pct": Decimal(50), "connect": False}
    persist = only(obey.handle(seen(p.program("F0", 1, p.event("A", 0, 100, modes))), p.at(0)), Persist)
    write = only(obey.handle(Persisted(sequence=persist.sequence), p.at(0)), Apply)
    assert obey.handle(WriteDone(sequence=write.sequence, read_back=Setpoints.of(read_back)), p.at(1)) == ()
    assert obey.wake_at() == p.at(6)


def test_reports_of_writes_that_nobody_waits_for_change_nothing():
    obey = Obey(p.rules(), p.middle)
    assert obey.handle(WriteDone(sequence=9, read_back=Setpoints()), p.at(0)) == ()
    assert obey.handle(WriteFailed(sequence=9, reason=""), p.at(0)) == ()
    assert obey.wake_at() is None


def test_the_der_keeps_what_it_has_until_something_is_known():
    assert Obey(p.rules(), p.middle).handle(Tick(), p.at(0)) == ()
    alone = p.Player(p.rules(channels=(), owner_limits=holding(exp_lim_w=5000)))
    alone.tick(0)
    assert alone.device == holding(exp_lim_w=5000)


def test_what_is_not_commanded_is_released():
    player = p.Player(p.rules())
    player.see(0, p.program("F0", 1, p.limit("A", 0, 10)))
    player.run(10)
    assert player.writes == [(0, holding(max_lim_w_pct=50)), (10, Setpoints())]


def test_a_value_the_der_already_holds_is_started_without_a_write():
    player = p.Player(p.rules())
    player.see(0, p.program("F0", 1, p.limit("A", 10, 10), default={"max_lim_w_pct": Decimal(50)}))
    player.run(30)
    assert player.writes == [(0, holding(max_lim_w_pct=50))]
    assert player.answers("A") == [(0, 1), (10, 2), (20, 3)]


# Nothing new costs nothing


def test_a_walk_or_a_tick_that_brings_nothing_does_nothing():
    player = p.Player(p.rules())
    walk = p.program("F0", 1, *(p.limit(f"A{n}", 100 * n + 10, 50) for n in range(24)))
    player.see(0, walk)
    steps = player.steps
    player.see(5, replace(walk))
    player.tick(6)
    assert player.steps == steps


def test_an_offset_is_kept_when_it_moved_by_a_second():
    player = p.Player(p.rules())
    key = (FollowedProgramsRecord, p.UTILITY.id, p.DER)
    for t, offset, kept in [(0, 0.0, 0.0), (1, 0.4, 0.0), (2, -0.4, 0.0), (3, 1.0, 1.0)]:
        player.see(t, p.program("F0", 1), offset=offset)
        assert player.store[key].clock_offset_s == kept


# Clocks


def test_events_are_obeyed_in_the_time_of_their_server():
    player = p.Player(p.rules())
    player.see(0, p.program("F0", 1, p.limit("A", 100, 50)), offset=30.0)
    assert player.obey.wake_at() == p.at(70)
    player.run(200)
    assert player.answers("A") == [(0, 1), (70, 2), (120, 3)]
    assert player.store[OutboxRecord, p.UTILITY.id, p.DER, p.mrid("A"), 2].created_at == p.at(100)


@pytest.mark.parametrize("jump", [-20.0, -1.5, 1.5, 20.0])
def test_a_clock_that_jumps_repeats_no_response(jump):
    player = p.Player(p.rules())
    walk = p.program("F0", 1, p.limit("A", 100, 50), p.limit("B", 300, 50))
    player.see(0, walk)
    player.run(100)
    player.see(101, walk, offset=jump)
    player.run(102)
    player.see(103, walk, offset=0.0)
    player.run(500)
    assert [status for _, status in player.answers("A")] == [1, 2, 3]
    assert player.answers("B") == [(0, 1), (300, 2), (350, 3)]
    assert len(player.writes) == 4


# Channels


def test_single_a_second_channel_is_answered_13_and_its_defaults_are_not_used():
    player = p.Player(p.rules(channels=(p.AGGREGATOR, p.UTILITY)))
    player.see(0, p.program("F0", 1, p.limit("A", 0, 10)))
    player.see(0, p.program("F1", 1, p.limit("B", 0, 10, 1), default={"target_w": Decimal(1)}), channel=p.AGGREGATOR)
    assert player.device == holding(max_lim_w_pct=50)
    assert player.answers("B") == [(0, 1), (0, 13)]


def test_dual_all_limits_are_answered_1_2_3_and_the_tightest_binds():
    """The utility limits to 50 %, the aggregator to 80 % and later to 30 %."""
    player = p.Player(p.dual())
    player.see(0, p.program("F0", 1, p.limit("A", 10, 100)))
    player.see(0, p.program("F1", 1, p.limit("B", 20, 20, 80), p.limit("C", 50, 20, 30)), channel=p.AGGREGATOR)
    player.run(200)
    assert [(t, s.get("max_lim_w_pct")) for t, s in player.writes] == [(10, 50), (50, 30), (70, 50), (110, None)]
    assert player.answers("A") == [(0, 1), (10, 2), (110, 3)]
    assert player.answers("B") == [(0, 1), (20, 2), (40, 3)]
    assert player.answers("C") == [(0, 1), (50, 2), (70, 3)]


def test_dual_the_setpoint_that_lost_is_displaced_once_and_never_resumed():
    player = p.Player(p.dual())
    player.see(0, p.program("F1", 1, p.event("B", 0, 100, {"target_w": Decimal(1)})), channel=p.AGGREGATOR)
    player.see(0, p.program("F0", 1, p.event("A", 20, 20, {"fixed_w_pct": Decimal(2)})))
    player.run(200)
    assert player.answers("B") == [(0, 1), (0, 2), (20, 13)]
    assert [dict(s) for _, s in player.writes] == [{"target_w": 1}, {"fixed_w_pct": 2}, {}]


@pytest.mark.parametrize("restarts", [False, True])
def test_dual_what_was_lost_to_another_channel_while_nothing_could_be_done_is_displaced(restarts):
    """By the time it could, the loser was over: punctual it would have answered 13, and so it does late."""
    player = p.Player(p.dual())
    player.see(0, p.program("F1", 1, p.event("B", 0, 50, {"target_w": Decimal(1)})), channel=p.AGGREGATOR)
    player.see(0, p.program("F0", 1, p.event("A", 20, 100, {"fixed_w_pct": Decimal(2)})))
    if restarts:
        player.restart()
    player.tick(60)
    player.run(200)
    assert player.answers("B") == [(0, 1), (0, 2), (60, 13)]
    assert player.answers("A") == [(0, 1), (60, 2), (120, 3)]
    assert [dict(s) for _, s in player.writes] == [{"target_w": 1}, {"fixed_w_pct": 2}, {}]


def test_dual_what_another_channel_took_and_gave_back_unheard_is_over():
    player = p.Player(p.dual())
    player.see(0, p.program("F1", 1, p.event("B", 0, 100, {"target_w": Decimal(1)})), channel=p.AGGREGATOR)
    player.see(0, p.program("F0", 1, p.event("A", 20, 20, {"target_w": Decimal(2)})))
    player.tick(60)
    assert player.answers("B") == [(0, 1), (0, 2), (60, 13)]
    assert player.answers("A") == [(0, 1)]
    assert player.device == Setpoints()


def test_dual_of_one_channel_the_default_follows_when_its_event_is_displaced():
    player = p.Player(p.dual())
    player.see(
        0,
        p.program("F1", 1, p.event("B", 0, 100, {"target_w": Decimal(1)}), default={"target_w": Decimal(5)}),
        channel=p.AGGREGATOR,
    )
    player.see(0, p.program("F0", 1, p.event("A", 20, 20, {"target_w": Decimal(2)})))
    player.run(200)
    assert [s["target_w"] for _, s in player.writes] == [1, 2, 5]


def test_a_default_that_is_set_anew_keeps_its_place_among_the_defaults():
    first, second = (
        p.program(name, 1, default={function: Decimal(5)})
        for name, function in (("F1", "fixed_w_pct"), ("F0", "target_w"))
    )
    anew = replace(second, default=replace(second.default, mrid=p.mrid("FFFFFF")))
    player = p.Player(p.rules())
    player.see(0, first, second)
    player.see(10, first, anew)
    player.run(20)
    assert [dict(s) for _, s in player.writes] == [{"fixed_w_pct": 5}]


def test_dual_only_who_opened_closes():
    player = p.Player(p.dual())
    player.see(0, p.program("F0", 1, p.event("A", 10, 20, {"connect": False})))
    player.see(0, p.program("F1", 1, p.event("B", 0, 100, {"connect": True})), channel=p.AGGREGATOR)
    player.run(99)
    assert [(t, s["connect"]) for t, s in player.writes] == [(0, True), (10, False), (30, True)]
    assert player.answers("B") == [(0, 1), (0, 2)]


def test_the_owners_limits_are_always_in_force():
    player = p.Player(p.rules(owner_limits=holding(max_lim_w_pct=40)))
    player.see(0, p.program("F0", 1, p.limit("A", 0, 10)))
    player.run(20)
    assert [s["max_lim_w_pct"] for _, s in player.writes] == [40]
    assert player.answers("A") == [(0, 1), (0, 2), (10, 3)]


def test_a_channel_that_falls_silent_ends_its_schedule_then_its_default():
    player = p.Player(p.dual())
    player.see(0, p.program("F0", 1, p.limit("A", 10, 10), default={"max_lim_w_pct": Decimal(90)}))
    player.run(500)
    assert player.device == holding(max_lim_w_pct=90)
    assert player.answers("A") == [(0, 1), (10, 2), (20, 3)]


# Within one channel


def test_of_two_functions_of_reactive_power_the_one_not_carried_out_is_not_called_started():
    player = p.Player(p.rules())
    strong = p.event("A", 0, 10, {"target_var": Decimal(1)}, created=5)
    weak = p.event("B", 0, 20, {"target_var": Decimal(2)}, created=1)
    other = p.event("C", 0, 30, {"fixed_pf_inject_w": p_factor()}, created=1)
    player.see(-1, p.program("F0", 1, strong, weak, other))
    player.run(50)
    assert player.answers("B") == [(-1, 1), (0, 7)]
    assert player.answers("C") == [(-1, 1), (10, 2), (30, 3)]


def p_factor():
    from tierline.model.control import PowerFactor

    return PowerFactor(displacement=Decimal("0.95"), absorbing=True)


# The DER changes


def test_a_der_that_may_have_forgotten_is_told_again():
    player = p.Player(p.rules())
    player.see(0, p.program("F0", 1, p.limit("A", 0, 100)))
    player.device = Setpoints()
    player.feed(5, DerChanged(supported=p.ALL, ratings=player.rules.ratings))
    assert player.writes[-1] == (5, holding(max_lim_w_pct=50))
    assert player.answers("A") == [(0, 1), (0, 2)]


def test_a_write_under_way_while_the_der_changes_is_done_again():
    obey = Obey(p.rules(), p.middle)
    persist = only(obey.handle(seen(p.program("F0", 1, p.limit("A", 0, 100))), p.at(0)), Persist)
    write = only(obey.handle(Persisted(sequence=persist.sequence), p.at(0)), Apply)
    assert obey.handle(DerChanged(supported=p.ALL, ratings=p.rules().ratings), p.at(1)) == ()
    assert obey.handle(WriteDone(sequence=write.sequence, read_back=write.setpoints), p.at(2)) == ()
    again = only(obey.handle(Tick(), obey.wake_at()), Apply)
    assert again.setpoints == write.setpoints


def test_what_the_der_no_longer_carries_out_is_dropped_and_said():
    player = p.Player(p.rules())
    player.see(0, p.program("F0", 1, p.limit("A", 0, 100)))
    player.feed(5, DerChanged(supported=frozenset(), ratings=player.rules.ratings))
    assert player.device == Setpoints()
    assert player.obey.decision.explanation[0].reason == "not carried out by this DER"
    player.see(6, p.program("F0", 1, p.limit("A", 0, 100), p.limit("B", 50, 10)))
    assert player.answers("B") == [(6, 252)]


def test_a_ramp_time_that_the_der_no_longer_keeps_to_is_dropped_and_said():
    player = p.Player(p.rules(carries_ramp_time=True))
    player.see(0, p.program("F0", 1, p.limit("A", 0, 100, ramp_time_s=Decimal(9))))
    assert player.obey.decision.ramp_time_s == 9
    assert player.answers("A") == [(0, 1), (0, 2)]
    player.feed(5, DerChanged(supported=p.ALL, ratings=player.rules.ratings))
    assert player.device == Setpoints()
    assert player.obey.decision.explanation[0].reason == "its ramp time is not carried out by this DER"
    player.see(6, p.program("F0", 1, p.limit("A", 0, 100), p.limit("B", 50, 10, ramp_time_s=Decimal(9))))
    assert player.answers("B") == [(6, 252)]


# Restart


def test_a_restart_repeats_no_response_and_draws_no_new_offset():
    player = p.Player(p.rules(), draw=lambda *_: 7)
    player.see(0, p.program("F0", 1, p.limit("A", 0, 100, rs=10)))
    player.run(7)
    before = player.events()
    player.draw = lambda *_: pytest.fail("drawn again")
    player.restart()
    player.tick(20)
    assert player.events() == before
    player.run(200)
    assert player.answers("A") == [(0, 1), (7, 2), (107, 3)]


def test_a_restart_without_a_link_still_knows_its_schedule():
    player = p.Player(p.rules())
    player.see(0, p.program("F0", 1, p.limit("A", 50, 100), default={"max_lim_w_pct": Decimal(90)}), offset=10.0)
    player.restart()
    player.tick(1)
    player.run(300)
    assert [(t, s["max_lim_w_pct"]) for t, s in player.writes] == [(0, 90), (40, 50), (140, 90)]


def test_a_restart_leaves_out_channels_that_are_no_longer_obeyed():
    player = p.Player(p.dual())
    player.see(0, p.program("F1", 1, p.limit("B", 0, 100)), channel=p.AGGREGATOR)
    player.restart(channels=(p.UTILITY,))
    player.see(1, p.program("F0", 1))
    assert player.device == Setpoints()
    assert list(player.obey.events()) == [p.UTILITY.id]


def test_what_may_be_forgotten_leaves_the_store():
    player = p.Player(p.rules())
    player.see(0, p.program("F0", 1, p.limit("A", 0, 10)))
    player.run(20)
    player.see(200_000, p.program("F0", 1))
    assert not [record for record in player.store.values() if isinstance(record, FollowedEventRecord)]


def test_a_damaged_document_is_refused():
    player = p.Player(p.rules())
    player.see(0, p.program("F0", 1, p.limit("A", 0, 10)))
    key = next(key for key, record in player.store.items() if isinstance(record, FollowedEventRecord))
    player.store[key] = replace(player.store[key], document=b"{}")
    with pytest.raises(ValueError, match="no document"):
        player.restart()


# What is said


def test_the_explanation_is_kept_for_explain():
    player = p.Player(p.rules())
    player.see(0, p.program("F0", 1, p.limit("A", 0, 10)))
    (record,) = [record for record in player.store.values() if isinstance(record, AppliedRecord)]
    assert json.loads(record.explanation)["setpoints"] == {"max_lim_w_pct": "50"}
    assert record.explanation == player.obey.applied.to_json()


def test_an_explanation_that_changes_without_a_write_is_kept_too():
    player = p.Player(p.dual())
    player.see(0, p.program("F0", 1, p.limit("A", 0, 10)))
    player.see(1, p.program("F1", 1, p.limit("B", 0, 20, 80)), channel=p.AGGREGATOR)
    (record,) = [record for record in player.store.values() if isinstance(record, AppliedRecord)]
    assert [e["mrid"][-1] for e in json.loads(record.explanation)["explanation"]] == ["A", "B"]
    assert len(player.writes) == 1


# Configuration


def test_an_owners_limit_must_be_a_limit():
    for name in ("target_w", "nonsense"):
        with pytest.raises(ConfigError, match=name):
            p.rules(owner_limits=holding(**{name: 1}))


def test_two_channels_of_one_rank_are_refused():
    with pytest.raises(ConfigError, match="rank"):
        p.rules(channels=(p.UTILITY, replace(p.AGGREGATOR, rank=1)), mode=ChannelMode.DUAL)


def test_a_walk_of_a_stranger_is_our_bug():
    obey = Obey(p.rules(), p.middle)
    with pytest.raises(KeyError):
        obey.handle(Seen(walk=ProgramsSeen(channel=ChannelId("stranger"), programs=())), p.at(0))


def test_what_comes_is_told_where_one_channel_is_obeyed():
    obey = Obey(p.rules(), p.middle)
    obey.handle(seen(p.program("F0", 1, p.limit("A", 10, 10))), p.at(0))
    assert [(channel, event.mrid) for channel, event in obey.coming(p.at(0))] == [(p.UTILITY.id, p.mrid("A"))]
    both = Obey(p.rules(channels=(p.UTILITY, p.AGGREGATOR), mode=ChannelMode.DUAL), p.middle)
    both.handle(seen(p.program("F0", 1, p.limit("A", 10, 10))), p.at(0))
    assert both.coming(p.at(0)) == (), "who wins between channels is decided when it is time"
