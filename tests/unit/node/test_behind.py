from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tierline.engine.arbitration import Applied, Entry
from tierline.engine.lifecycle import EventState
from tierline.model.control import Control, Interval, Setpoints
from tierline.model.identity import ChannelId, Mrid
from tierline.node.behind import behind_of, coming_of
from tierline.ports import Behind

NOON = datetime(2026, 6, 18, 12, tzinfo=UTC)
A, B, D = (Mrid(letter * 32) for letter in "ABD")
MARKET = ChannelId("market")


def entry(function, mrid, *, applied=True, is_event=True):
    return Entry(function=function, value=Decimal(50), channel=MARKET, mrid=mrid, is_event=is_event, applied=applied)


def event(mrid, minutes):
    control = Control(
        mrid=mrid, creation_time=NOON, interval=Interval(start=NOON, duration_s=60), setpoints=Setpoints()
    )
    return EventState(
        control=control,
        program=mrid,
        primacy=1,
        known_at=NOON,
        starts_at=NOON,
        ends_at=NOON + timedelta(minutes=minutes),
    )


def test_each_applied_function_names_what_stands_behind_it_and_when_that_ends():
    decision = Applied(
        explanation=(
            entry("max_lim_w_pct", A),
            entry("max_lim_w_pct", B, applied=False),
            entry("target_w", D, is_event=False),
        )
    )
    assert behind_of(decision, {MARKET: (event(A, 5), event(D, 9))}) == {
        "max_lim_w_pct": Behind(channel=MARKET, mrid=A, until=NOON + timedelta(minutes=5)),
        "target_w": Behind(channel=MARKET, mrid=D),
    }


def test_what_comes_is_told_with_its_effective_times():
    (one,) = coming_of([(MARKET, event(A, 5))])
    assert (one.channel, one.mrid, one.setpoints) == (MARKET, A, Setpoints())
    assert (one.starts_at, one.ends_at) == (NOON, NOON + timedelta(minutes=5))
