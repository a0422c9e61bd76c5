from hypothesis import given
from hypothesis import strategies as st

from tierline.protocols.sep2.transport.admission import Pace, Places


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


def test_places_are_given_up_to_the_limit_and_come_back():
    places = Places()
    assert [places.take("a", 2) for _ in range(3)] == [True, True, False]
    assert places.take("b", 2)
    places.give_back("a")
    assert places.take("a", 2)


def test_nothing_is_remembered_of_those_who_left():
    places = Places()
    places.take("a", 1)
    places.give_back("a")
    assert not places._by_key
