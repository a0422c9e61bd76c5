from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.model.control import EventStatus, Setpoints
from tierline.model.identity import ChannelId, Mrid
from tierline.model.programs import ResponseStatus
from tierline.operations.serving.deriving import Pace, Wish, derive, is_derived_from, live_controls, outlived
from tierline.operations.serving.programs import derived_program
from tierline.operations.serving.topology import find_group

PARENT, OTHER = Mrid("A1" * 12 + "0000917C"), Mrid("B2" * 12 + "0000917C")
PACE = Pace.of_poll(timedelta(minutes=10))
HALF, THIRD = (Setpoints.of({"max_lim_w_pct": Decimal(value)}) for value in (50, 33))


@pytest.fixture
async def program(serving):
    record = derived_program(serving, find_group(serving, "feeder-1").group.id)
    await serving.commit([record])
    return record.mrid


@pytest.fixture
def wish(program, clock):
    def make(setpoints=HALF, parent=PARENT, hours=1, **more):
        until = None if hours is None else clock.now() + timedelta(hours=hours)
        given = {"party": "iso", "channel": ChannelId("market"), "until": until} | more
        return Wish(program=program, setpoints=setpoints, parent=parent, **given)

    return make


@pytest.fixture
def settle(serving, program, clock):
    """Write down what wishes need; gives it."""

    async def commit(*wishes):
        derived = derive(serving, [program], wishes, clock.now(), PACE)
        await serving.commit(derived.records)
        return derived

    return commit


@pytest.mark.parametrize("poll_s", [10, 60, 300, 600, 3600, 86_400])
def test_who_comes_at_the_rate_asked_for_sees_the_next_control_before_the_last_one_ends(poll_s):
    poll = timedelta(seconds=poll_s)
    pace = Pace.of_poll(poll)
    assert pace.hold >= timedelta(minutes=15)
    assert poll < pace.margin < pace.hold


async def test_a_control_is_made_once_and_keeps_the_first_half_of_its_parents_name(settle, wish, serving, clock):
    derived = await settle(wish())
    (record,) = derived.made
    control = record.control
    assert is_derived_from(control.mrid, PARENT)
    assert not is_derived_from(control.mrid, OTHER)
    assert control.mrid[-8:] == f"{serving.pen:08X}"
    assert (control.interval.start, control.interval.duration_s) == (clock.now(), 3600)
    assert (await settle(wish())).records == ()


async def test_no_name_is_given_twice(serving, wish, program, clock):
    class Loaded:
        """Draws the same number twice, then another."""

        def __init__(self):
            self.numbers = [7, 7, 8]

        def bits(self, _):
            return self.numbers.pop(0)

    serving.random = Loaded()
    both = [wish(), wish(Setpoints.of({"connect": True}))]
    derived = derive(serving, [program], both, clock.now(), PACE)
    assert [record.mrid[16:24] for record in derived.made] == ["00000007", "00000008"]


async def test_what_is_ones_own_wish_has_a_name_of_ones_own(settle, wish):
    (record,) = (await settle(wish(parent=Mrid("")))).made
    assert record.control.provenance.derived_from == ""
    assert len(record.mrid) == 32


async def test_a_newer_value_of_the_same_functions_supersedes_another_is_cancelled(
    settle, wish, serving, program, clock
):
    (first,) = (await settle(wish())).made
    derived = await settle(wish(THIRD))
    assert derived.cancelled == ()
    (second,) = derived.made
    assert second.control.creation_time == first.control.creation_time + timedelta(seconds=1)
    assert live_controls(serving.programs[program], clock.now()) == [second]
    derived = await settle(wish(Setpoints.of({"connect": False})))
    assert [record.mrid for record in derived.cancelled] == [second.mrid]
    assert derived.cancelled[0].control.status is EventStatus.CANCELLED


async def test_an_end_that_moves_is_a_new_control(settle, wish):
    await settle(wish())
    (record,) = (await settle(wish(hours=0.5))).made
    assert record.control.interval.duration_s == 1800
    assert (await settle(replace(wish(hours=0.5), until=record.control.interval.end + timedelta(seconds=1)))).made == ()


async def test_a_control_ends_with_what_was_granted(settle, wish, clock):
    soon = clock.now() + timedelta(minutes=5)
    (record,) = (await settle(wish(not_after=soon))).made
    assert record.control.interval.end == soon
    assert (await settle(wish(not_after=soon))).records == ()
    (rolling,) = (await settle(wish(THIRD, hours=None, not_after=soon))).made
    assert rolling.control.interval.end == soon
    assert (await settle(wish(THIRD, hours=None, not_after=soon))).records == (), "near its end, and none may follow"
    clock.move(minutes=5)
    assert (await settle(wish(THIRD, hours=None, not_after=soon))).records == ()


async def test_what_is_over_is_made_no_more_and_what_was_made_goes_on_until_it_is_let_go(settle, wish, clock, serving):
    over = wish(hours=0)
    assert (await settle(over)).records == ()
    await settle(wish(hours=1))
    clock.move(minutes=30)
    assert (await settle(wish(hours=-0.25))).records == ()


async def test_a_control_of_unknown_end_is_followed_by_another_in_time(settle, wish, clock):
    (first,) = (await settle(wish(hours=None))).made
    assert first.control.interval.end - first.control.interval.start == PACE.hold
    clock.move(seconds=(PACE.hold - PACE.margin).total_seconds() - 1)
    assert (await settle(wish(hours=None))).records == ()
    clock.move(seconds=1)
    (second,) = (await settle(wish(hours=None))).made
    assert second.control.interval.start < first.control.interval.end


async def test_an_operators_control_in_the_same_program_is_left_alone(settle, wish, serving, program, send, clock):
    control = await send("feeder-1", start=clock.now(), max_lim_w_pct=Decimal(70))
    record = serving.control(control.mrid)
    await serving.commit([replace(record, program=program)])
    assert (await settle()).records == ()


async def test_what_ended_long_ago_is_forgotten_with_its_answers(settle, wish, serving, program, clock, respond):
    (record,) = (await settle(wish())).made
    await respond("pv-1", record.mrid, ResponseStatus.RECEIVED)
    assert outlived(serving, [program], clock.now()) == []
    clock.move(hours=2)
    old = outlived(serving, [program], clock.now())
    assert len(old) == 2
    assert outlived(serving, [program], clock.now(), limit=0) == []
    await serving.commit(delete=old)
    assert serving.programs[program].controls == {}
    assert record.mrid not in serving.responses
