from dataclasses import replace
from decimal import Decimal

import pytest

from tierline.model.control import Curve, CurvePoint, Setpoints
from tierline.model.errors import ConfigError, Forbidden, Unsupported
from tierline.model.functions import FUNCTIONS, Kind
from tierline.model.identity import Mrid
from tierline.model.parties import Principal, Role
from tierline.model.topology import Tier
from tierline.operations.serving.programs import (
    PRIMACY,
    check_carried,
    check_setpoints,
    new_mrid,
    program_of,
    set_default,
)
from tierline.operations.serving.topology import find_group

CURVE = Curve(
    mrid=Mrid("0" * 32),
    points=(CurvePoint(x=Decimal(95), y=Decimal(44)), CurvePoint(x=Decimal(105), y=Decimal(-44))),
)


def group_of(serving, name):
    return find_group(serving, name).group.id


def test_the_more_local_group_is_the_stronger():
    order = (
        Tier.SERVICE_POINT,
        Tier.SERVICE_TRANSFORMER,
        Tier.SEGMENT,
        Tier.FEEDER,
        Tier.SUBSTATION,
        Tier.SUB_TRANSMISSION,
        Tier.SYSTEM,
        Tier.NON_TOPOLOGY,
    )
    assert sorted(PRIMACY, key=PRIMACY.get) == list(order)
    assert set(PRIMACY) == set(Tier)


def test_a_program_says_its_tier_and_never_its_place(serving):
    program = program_of(serving, group_of(serving, "feeder-1")).record
    assert program.description == "feeder"
    assert program.primacy == 100


def test_an_unknown_group_is_named(serving):
    with pytest.raises(ConfigError, match="there is no group 'moon'"):
        program_of(serving, "moon")
    assert "moon" not in serving.programs_of


AUTONOMOUS = next(name for name, row in FUNCTIONS.items() if row.kind is Kind.AUTONOMOUS)
DEFAULT_ONLY = next(name for name, row in FUNCTIONS.items() if row.default_only)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({}, "nothing is commanded"),
        ({"max_lim": Decimal(1)}, "no function 'max_lim'"),
        ({AUTONOMOUS: True}, "works on its own"),
        ({DEFAULT_ONLY: Decimal(1)}, "only be part of a default"),
        ({"max_lim_w_pct": Decimal(101)}, "the most is 100"),
        ({"max_lim_w_pct": True}, "takes number, not bool"),
        ({"connect": Decimal(1)}, "takes boolean, not Decimal"),
    ],
)
def test_what_cannot_be_commanded_is_named(values, what):
    with pytest.raises(ConfigError, match=what):
        check_setpoints(Setpoints.of(values), default=False)


def test_what_stands_in_defaults_only_may_stand_there():
    check_setpoints(Setpoints.of({"max_lim_w_pct": Decimal(100)}), default=True)
    row = FUNCTIONS[DEFAULT_ONLY]
    number = Decimal(0) if row.low is None else row.low
    check_setpoints(Setpoints.of({DEFAULT_ONLY: True if row.value.value == "boolean" else number}), default=True)


def test_what_nobody_can_be_told_is_refused_and_what_somebody_can_is_not(serving):
    limit = Setpoints.of({"max_lim_w_pct": Decimal(50)})
    serving.carriers = (lambda *_: "not here", lambda *_: "nor here")
    with pytest.raises(Unsupported, match="refused, nothing was sent: not here; nor here"):
        check_carried(serving, limit)
    serving.carriers = (lambda *_: "not here", lambda *_: "")
    check_carried(serving, limit)
    serving.carriers = ()
    check_carried(serving, limit)


async def test_a_default_replaces_the_one_before_and_is_audited(serving, operator, restarted):
    group = group_of(serving, "feeder-1")
    await set_default(operator, serving, group, Setpoints.of({"max_lim_w_pct": Decimal(80)}))
    second = await set_default(operator, serving, group, Setpoints.of({"max_lim_w_pct": Decimal(90)}))
    assert program_of(serving, group).default == second
    assert program_of(restarted(), group).default == second
    assert serving.audit_tail.verb == "default"


async def test_a_curve_gets_an_mrid_of_this_node_and_is_served(serving, operator, restarted):
    group = group_of(serving, "feeder-1")
    record = await set_default(operator, serving, group, Setpoints.of({"volt_var": CURVE}))
    curve = record.default.setpoints["volt_var"]
    assert curve.mrid != CURVE.mrid
    assert replace(curve, mrid=CURVE.mrid, creation_time=None) == CURVE
    for state in (serving, restarted()):
        assert program_of(state, group).curves[curve.mrid].curve == curve
        assert state.program_of_curve[curve.mrid] == program_of(state, group).record.mrid


async def test_a_viewer_sets_no_default(serving):
    viewer = Principal(party=serving.party, role=Role.VIEWER, name="eve")
    with pytest.raises(Forbidden):
        await set_default(viewer, serving, group_of(serving, "feeder-1"), Setpoints.of({"max_lim_w_pct": Decimal(0)}))


class Repeating:
    """Randomness that draws what it is told to."""

    def __init__(self, *drawn):
        self.drawn = list(drawn)

    def bits(self, n):
        return self.drawn.pop(0)


async def test_an_mrid_is_given_once_whatever_is_drawn(serving, operator, send, later):
    group = group_of(serving, "feeder-1")
    control = await send("feeder-1", start=later(hours=1), max_lim_w_pct=Decimal(50))
    default = await set_default(operator, serving, group, Setpoints.of({"volt_var": CURVE}))
    given = [
        control.mrid,
        default.default.mrid,
        default.default.setpoints["volt_var"].mrid,
        program_of(serving, group).record.mrid,
    ]
    serving.random = Repeating(*(int(mrid[:24], 16) for mrid in given), 5)
    assert new_mrid(serving) == f"{5:024X}{serving.pen:08X}"
