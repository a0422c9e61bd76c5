from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.engine.governor import Cap, Request, check, horizon
from tierline.engine.verdict import ALLOW, Deny
from tierline.model.identity import DerId

T0 = datetime(2026, 7, 1, tzinfo=UTC)


def ask(t, power_w=0, devices="", principal="op"):
    return Request(
        principal=principal,
        at=T0 + timedelta(seconds=t),
        power_w=Decimal(power_w),
        devices=frozenset(map(DerId, devices)),
    )


def cap(seconds=60, **more):
    return Cap(name="hourly", window=timedelta(seconds=seconds), **more)


def test_without_a_budget_everything_is_granted():
    assert check((), [], ask(0, 10**9)) == ALLOW
    assert horizon(()) == timedelta()


def test_power_adds_up_within_a_window_and_no_longer():
    budget = (cap(power_w=Decimal(100)),)
    assert check(budget, [ask(0, 60)], ask(59, 40)) == ALLOW
    assert check(budget, [ask(0, 60)], ask(59, 41)) == Deny(
        "hourly: 101 W within 0:01:00 for op, at most 100 W are allowed"
    )
    assert check(budget, [ask(0, 60)], ask(60, 41)) == ALLOW


def test_each_device_counts_once():
    budget = (cap(devices=2),)
    assert check(budget, [ask(0, devices="ab")], ask(1, devices="ba")) == ALLOW
    assert check(budget, [ask(0, devices="ab")], ask(1, devices="c")) == Deny(
        "hourly: 3 DERs within 0:01:00 for op, at most 2 are allowed"
    )


def test_a_cap_is_each_principals_own_or_shared():
    history = [ask(0, 60, principal="other")]
    assert check((cap(power_w=Decimal(100)),), history, ask(1, 60)) == ALLOW
    shared = check((cap(power_w=Decimal(100), per_principal=False),), history, ask(1, 60))
    assert isinstance(shared, Deny)
    assert "all together" in shared.reason


def test_all_caps_hold_at_once_and_the_longest_says_what_to_remember():
    budget = (cap(3600, power_w=Decimal(1000)), cap(60, power_w=Decimal(100)))
    assert isinstance(check(budget, [ask(0, 60)], ask(30, 60)), Deny)
    assert check(budget, [ask(0, 60)], ask(90, 60)) == ALLOW
    assert horizon(budget) == timedelta(hours=1)


def test_power_is_not_won_back_by_asking_for_less_than_nothing():
    with pytest.raises(ValueError, match="-1 W"):
        check((), [], ask(0, -1))


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 60), st.sets(st.sampled_from("abcde")), st.sampled_from("xy"))
    ),
    st.sampled_from([True, False]),
)
def test_no_sequence_of_requests_exceeds_a_cap(wanted, per_principal):
    budget = (cap(60, power_w=Decimal(100), devices=3, per_principal=per_principal), cap(5, power_w=Decimal(50)))
    granted, t = [], 0
    for wait, power_w, devices, principal in wanted:
        t += wait
        request = ask(t, power_w, devices, principal)
        if check(budget, granted, request) == ALLOW:
            granted.append(request)
    for bound in budget:
        for last in granted:
            window = [
                r
                for r in granted
                if last.at - bound.window < r.at <= last.at
                and (not bound.per_principal or r.principal == last.principal)
            ]
            assert sum(r.power_w for r in window) <= bound.power_w
            assert bound.devices is None or len(frozenset().union(*(r.devices for r in window))) <= bound.devices
