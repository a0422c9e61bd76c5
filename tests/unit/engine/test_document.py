from dataclasses import replace
from decimal import Decimal

import engine_player as p
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.engine.following.document import dump, load
from tierline.engine.lifecycle import EventState, Fate, State
from tierline.model.control import (
    Curve,
    CurvePoint,
    Droop,
    FixedVar,
    PowerFactor,
    Provenance,
    Reference,
)
from tierline.model.identity import ChannelId, PartyId
from tierline.model.programs import ResponseStatus

VALUES = {
    "connect": True,
    "max_lim_w_pct": Decimal("50.00"),
    "fixed_pf_inject_w": PowerFactor(displacement=Decimal("0.9"), absorbing=False),
    "freq_droop": Droop(
        dead_band_over_hz=Decimal("0.036"),
        dead_band_under_hz=Decimal("0.036"),
        slope_over=Decimal("0.05"),
        slope_under=Decimal("0.05"),
        open_loop_s=Decimal(5),
    ),
    "fixed_var": FixedVar(value_pct=Decimal(-10), reference=Reference.STAT_VAR_AVAIL),
    "volt_var": Curve(
        mrid=p.mrid("C"),
        points=(CurvePoint(x=Decimal(92), y=Decimal(44), absorbing=True), CurvePoint(x=Decimal(108), y=Decimal(-44))),
        y_reference=Reference.SET_MAX_VAR,
        creation_time=p.at(3),
    ),
}
FULL = EventState(
    control=p.event(
        "A",
        10,
        20,
        VALUES,
        rs=-5,
        description="ü",
        provenance=Provenance(party=PartyId("u"), channel=ChannelId("c"), signature=b"\x00\xff"),
    ),
    program=p.mrid("F0"),
    primacy=3,
    known_at=p.at(0),
    starts_at=p.at(8),
    ends_at=p.at(28.5),
    state=State.STARTED,
    r1_s=-2,
    r3_s=0,
    cancel_at=p.at(20),
    fates=(("connect", Fate.LOST), ("max_lim_w_pct", Fate.HELD)),
    answered=(ResponseStatus.RECEIVED, ResponseStatus.STARTED),
    taken_by=p.mrid("B"),
)


def test_a_state_survives_being_written_down():
    assert load(dump(FULL)) == FULL


@given(
    st.builds(
        lambda name, pct, state, r1: replace(
            FULL,
            control=p.limit(name, 0, 10, pct),
            state=state,
            r1_s=r1,
            cancel_at=None,
        ),
        st.text("0123456789ABCDEF", min_size=1, max_size=32),
        st.decimals(allow_nan=False, allow_infinity=False),
        st.sampled_from(State),
        st.integers(-3600, 3600),
    )
)
def test_equal_states_are_the_same_bytes(state):
    document = dump(state)
    assert load(document) == state
    assert dump(load(document)) == document


def test_what_is_default_is_not_written():
    assert b"potentially_superseded" not in dump(FULL)


@pytest.mark.parametrize(
    "damaged",
    [b"", b"{}", b"[1]", b'{"$":"Interval"}', b'{"$":"Nobody"}', dump(FULL)[:-1], b'{"$":"Decimal","is":"x"}', b"\xff"],
)
def test_anything_else_is_refused(damaged):
    with pytest.raises(ValueError):  # noqa: PT011  # json, unicode and our own words are all ValueErrors
        load(damaged)
