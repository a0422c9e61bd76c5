"""Programs and their defaults: one program per group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierline.engine.access import Verb
from tierline.model.control import Curve, Setpoints
from tierline.model.errors import ConfigError, Unsupported
from tierline.model.functions import FUNCTIONS, Kind
from tierline.model.identity import GroupId, Mrid, mrid
from tierline.model.programs import DefaultControl
from tierline.model.records import CurveRecord, DefaultRecord, ProgramRecord
from tierline.model.topology import Tier
from tierline.model.validity import fault_of
from tierline.operations.serving.access import require
from tierline.operations.serving.audit import entry
from tierline.operations.serving.limits import govern
from tierline.operations.serving.wording import worded

if TYPE_CHECKING:
    from decimal import Decimal

    from tierline.model.parties import Principal
    from tierline.model.records import Record
    from tierline.model.topology import Group
    from tierline.operations.serving.state import Served, Serving

PRIMACY = {
    Tier.SERVICE_POINT: 70,
    Tier.SERVICE_TRANSFORMER: 80,
    Tier.SEGMENT: 90,
    Tier.FEEDER: 100,
    Tier.SUBSTATION: 110,
    Tier.SUB_TRANSMISSION: 120,
    Tier.SYSTEM: 130,
    Tier.NON_TOPOLOGY: 140,
}
"""The more local, the stronger; all in the user-defined range 65..191 of PrimacyType (IEEE 2030.5-2018)."""

DERIVED = "fleet"
"""Description of the programs that hold what is derived from the controls of a level above; people use others."""
DERIVED_PRIMACY = 150
"""What the operator of this node says to any of its groups is stronger."""


def new_mrid(serving: Serving) -> Mrid:
    """Draw an mRID that this node has not given yet; seeded randomness begins anew with every start."""
    while True:
        drawn = mrid(serving.random.bits(96), serving.pen)
        if not _is_given(serving, drawn):
            return drawn


def _is_given(serving: Serving, drawn: Mrid) -> bool:
    if drawn in serving.program_of_control or drawn in serving.programs or drawn in serving.program_of_curve:
        return True
    return any(served.default.default.mrid == drawn for served in serving.programs.values() if served.default)


def derived_program(serving: Serving, group_id: GroupId) -> ProgramRecord:
    """Make the record of a further program of a group, for what is derived from the controls of a level above."""
    return ProgramRecord(
        party=serving.party,
        mrid=new_mrid(serving),
        group_id=group_id,
        primacy=DERIVED_PRIMACY,
        description=DERIVED,
        created_at=serving.clock.now(),
    )


def new_program(serving: Serving, group: Group) -> ProgramRecord:
    """Make the record of a group's program; the description names the tier, never the place."""
    return ProgramRecord(
        party=serving.party,
        mrid=new_mrid(serving),
        group_id=GroupId(group.id),
        primacy=PRIMACY[group.tier],
        description=group.tier.value,
        created_at=serving.clock.now(),
    )


def program_of(serving: Serving, group_id: GroupId) -> Served:
    """Find the program of a group that people use.

    Raises: ConfigError when there is no such group.
    """
    programs = serving.programs_of.get(group_id)
    if not programs:
        raise ConfigError(f"there is no group {group_id!r}; `tierline group list` shows those there are")
    found = [serving.programs[mrid] for mrid in programs]
    return next((served for served in found if served.record.description != DERIVED), found[0])


def own_program_of(serving: Serving, group_id: GroupId) -> Served:
    """Find the program of a group to change it; one that is relayed is only its server's to change.

    Raises: ConfigError.
    """
    served = program_of(serving, group_id)
    if served.record.channel is not None:
        raise ConfigError(
            f"group {group_id!r} is relayed from {served.record.channel} and changes there; name a group of this node"
        )
    return served


def check_setpoints(setpoints: Setpoints, *, default: bool) -> None:
    """Check that every function exists, may be commanded this way and takes the value given.

    Raises: ConfigError naming the function and what to do.
    """
    if not len(setpoints):
        raise ConfigError("nothing is commanded; name at least one function, for example max_lim_w_pct=50")
    for name, value in setpoints.items():
        row = FUNCTIONS.get(name)
        if row is None:
            raise ConfigError(f"there is no function {name!r}; `tierline function list` shows them")
        if row.kind is Kind.AUTONOMOUS:
            raise ConfigError(f"{name} works on its own and cannot be commanded")
        if row.default_only and not default:
            raise ConfigError(f"{name} can only be part of a default, not of a control with a start and an end")
        if fault := fault_of(name, value):
            raise ConfigError(fault)


def check_carried(serving: Serving, setpoints: Setpoints, ramp_time_s: Decimal | None = None) -> None:
    """Refuse what no DER of this node could be told, before it is promised.

    Raises: Unsupported saying what cannot be carried.
    """
    reasons = [carry(setpoints, ramp_time_s) for carry in serving.carriers]
    if reasons and all(reasons):
        raise Unsupported(f"refused, nothing was sent: {'; '.join(reasons)}")


def curve_records(serving: Serving, program: Mrid, setpoints: Setpoints) -> tuple[Setpoints, list[CurveRecord]]:
    """Give every curve an mRID of this node and the record it is served from."""
    records: list[CurveRecord] = []
    values = dict(setpoints)
    for name, value in setpoints.items():
        if isinstance(value, Curve):
            curve = _as_served(serving, value)
            values[name] = curve
            records.append(
                CurveRecord(party=serving.party, mrid=curve.mrid, program=program, function=name, curve=curve)
            )
    return Setpoints.of(values), records


def _as_served(serving: Serving, curve: Curve) -> Curve:
    return Curve(
        mrid=new_mrid(serving),
        points=curve.points,
        y_reference=curve.y_reference,
        open_loop_s=curve.open_loop_s,
        ramp_decrease_pct_per_s=curve.ramp_decrease_pct_per_s,
        ramp_increase_pct_per_s=curve.ramp_increase_pct_per_s,
        low_pass_s=curve.low_pass_s,
        v_ref_pct=curve.v_ref_pct,
        autonomous_v_ref=curve.autonomous_v_ref,
        autonomous_v_ref_time_constant_s=curve.autonomous_v_ref_time_constant_s,
        creation_time=serving.clock.now(),
    )


async def set_default(principal: Principal, serving: Serving, group_id: GroupId, setpoints: Setpoints) -> DefaultRecord:
    """Set what holds for a group while no event does; effective at once, without end, unanswered (CSIP 2.1 G6, G7).

    Raises: ConfigError, Unsupported, Forbidden.
    """
    require(principal, Verb.CONTROL, f"group {group_id}")
    check_setpoints(setpoints, default=True)
    check_carried(serving, setpoints)
    async with serving.writing:
        request = govern(principal, serving, group_id, setpoints)
        program = own_program_of(serving, group_id).record
        numbered, curves = curve_records(serving, program.mrid, setpoints)
        default = DefaultControl(mrid=new_mrid(serving), setpoints=numbered)
        record = DefaultRecord(
            party=serving.party, program=program.mrid, default=default, changed_at=serving.clock.now()
        )
        detail = {
            "program": program.mrid,
            "setpoints": worded(setpoints),
            "members": sorted(request.devices),
            "relief_w": request.power_w,
        }
        put: list[Record] = [*curves, record]
        put.append(entry(principal, serving, "default", f"group {group_id}", "done", detail))
        await serving.commit(put)
        serving.granted.append(request)
    return record
