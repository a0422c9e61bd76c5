from hypothesis import given
from hypothesis import strategies as st

from tierline.protocols.sep2.transport.pace import Pace


@given(st.lists(st.floats(0, 0.5), max_size=200))
def test_no_more_pass_than_burst_and_rate_allow(gaps):
    pace, now, passed = Pace(per_s=2.0, burst=5), 100.0, 0
    for gap in gaps:
        now += gap
        passed += pace.may("a", now)
    assert passed <= 5 + (now - 100.0) * 2.0


def test_one_address_does_not_slow_another():
    pace = Pace(per_s=1.0, burst=1)
    assert pace.may("a", 0.0)
    assert not pace.may("a", 0.0)
    assert pace.may("b", 0.0)


def test_tokens_come_back_with_time():
    pace = Pace(per_s=1.0, burst=1)
    assert pace.may("a", 0.0)
    assert not pace.may("a", 0.9)
    assert pace.may("a", 1.0)


def test_memory_is_bounded():
    pace = Pace(per_s=1.0, burst=1, keys=2)
    for key in "abc":
        pace.may(key, 0.0)
    assert len(pace._buckets) == 2
    assert not pace.may("c", 0.0)
