"""Limits that the owner says at the node: the program they are kept in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tierline.model.capability import Capability, Keeps, Span
from tierline.model.control import EventStatus, Setpoints
from tierline.model.errors import ConfigError, Conflict, Unsupported
from tierline.model.identity import ChannelId, DerId, Mrid, PartyId
from tierline.model.programs import ProgramsSeen
from tierline.operations.following import owner_limits as subject
from tierline.operations.following.owner_limits import LimitOrder, check_limit, program_of, with_limit, without_limit

NOW = datetime(2026, 6, 18, 12, tzinfo=UTC)
CAN = frozenset({"max_lim_w_pct", "gen_lim_w", "connect"})
EMPTY = program_of(None, PartyId("o"), DerId("d"), 7)
A, B = Mrid("A" * 32), Mrid("B" * 32)


def order(start_s=60, duration_s=600, **setpoints):
    values = setpoints or {"max_lim_w_pct": Decimal(50)}
    return LimitOrder(setpoints=Setpoints.of(values), start=NOW + timedelta(seconds=start_s), duration_s=duration_s)


def later(seconds):
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("good", [order(), order(-10, 11), order(gen_lim_w=Decimal(0), max_lim_w_pct=Decimal(100))])
def test_what_can_be_carried_out_passes(good):
    check_limit(good, NOW, CAN)


@pytest.mark.parametrize(
    ("wrong", "kind", "says"),
    [
        (order(-600, 600), ConfigError, "the limit would end at 2026-06-18 12:00:00 UTC, which is over"),
        (order(-7200, 600), ConfigError, "the limit would end at 2026-06-18 10:10:00 UTC, which is over"),
        (order(0, 0), ConfigError, r"at least one second, not 0; what always holds is \[follow\] owner_limits"),
        (order(0, 10**12), ConfigError, "beyond the year 9999"),
        (order(sparkle=Decimal(1)), ConfigError, "'sparkle' is no limit; use gen_lim_w, max_lim_w_pct$"),
        (order(connect=False), ConfigError, "'connect' is no limit"),
        (order(imp_lim_w=Decimal(1)), Unsupported, "does not carry out imp_lim_w; it carries out gen_lim_w, max_"),
        (order(max_lim_w_pct=Decimal(101)), ConfigError, "max_lim_w_pct is 101 %.*; the most is 100"),
        (order(max_lim_w_pct=Decimal(-1)), ConfigError, "max_lim_w_pct is -1 %.*; the least is 0"),
        (order(max_lim_w_pct=Decimal("NaN")), ConfigError, "is NaN, which is no number"),
        (replace(order(), setpoints=Setpoints()), ConfigError, "no limit is given; give one of gen_lim_w, max_lim"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(wrong, kind, says):
    with pytest.raises(kind, match=says):
        check_limit(wrong, NOW, CAN)


def test_a_limit_that_the_device_does_not_keep_is_refused_with_why():
    keeps = Keeps(parts={"value": Span(low=Decimal(0), high=Decimal(9_000))})
    known = Capability(functions={"gen_lim_w": keeps})
    check_limit(order(gen_lim_w=Decimal(9_000)), NOW, CAN, known)
    with pytest.raises(Unsupported, match="gen_lim_w asks for value = 9001; the device holds 0 to 9000"):
        check_limit(order(gen_lim_w=Decimal(9_001)), NOW, CAN, known)


def test_a_device_without_limits_says_so():
    with pytest.raises(Unsupported, match="it carries out no limit"):
        check_limit(order(), NOW, frozenset())


def test_the_program_has_the_same_name_after_every_restart_and_another_for_another_device():
    assert program_of(None, PartyId("o"), DerId("d"), 7) == EMPTY
    assert program_of(None, PartyId("o"), DerId("e"), 7).mrid != EMPTY.mrid
    assert EMPTY.mrid.endswith("00000007")
    said = with_limit(EMPTY, order(), A, NOW)
    seen = ProgramsSeen(channel=ChannelId("owner"), programs=(said,))
    assert program_of(seen, PartyId("o"), DerId("d"), 7) is said
    assert program_of(replace(seen, programs=()), PartyId("o"), DerId("d"), 7) == EMPTY


def test_a_limit_is_listed_until_it_would_have_ended_and_a_little_longer():
    said = with_limit(EMPTY, order(60, 600), A, NOW)
    (control,) = said.controls
    assert (control.mrid, control.interval.start, control.interval.duration_s) == (A, later(60), 600)
    assert [one.mrid for one in with_limit(said, order(), B, later(669)).controls] == [A, B]
    assert [one.mrid for one in with_limit(said, order(), B, later(670)).controls] == [B]


def test_the_newer_of_two_limits_of_one_second_is_the_newer_one():
    said = with_limit(with_limit(EMPTY, order(), B, NOW), order(), A, NOW + timedelta(microseconds=1))
    assert said.controls[0].creation_time < said.controls[1].creation_time


def test_a_cancelled_limit_stays_listed_as_such():
    said = with_limit(with_limit(EMPTY, order(), A, NOW), order(), B, NOW)
    cancelled = without_limit(said, A, later(100))
    assert [one.status for one in cancelled.controls] == [EventStatus.CANCELLED, EventStatus.SCHEDULED]
    assert cancelled.controls[0].status_time == later(100)
    with pytest.raises(Conflict, match="is cancelled already"):
        without_limit(cancelled, A, later(101))


def test_what_is_over_or_not_known_cannot_be_cancelled():
    said = with_limit(EMPTY, order(60, 600), A, NOW)
    with pytest.raises(Conflict, match="ended at 2026-06-18 12:11:00 UTC"):
        without_limit(said, A, later(660))
    with pytest.raises(Conflict, match="is over, or none of the owner's; `tierline owner list` shows"):
        without_limit(said, B, NOW)


def test_there_is_a_bound_to_how_many_wait(monkeypatch):
    monkeypatch.setattr(subject, "LISTED_MAX", 1)
    said = with_limit(EMPTY, order(60, 600), A, NOW)
    with pytest.raises(Conflict, match="1 limits are not over yet; cancel some"):
        with_limit(said, order(), B, later(100))
    assert [one.mrid for one in with_limit(said, order(), B, later(700)).controls] == [B]
