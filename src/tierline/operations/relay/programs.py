"""What a server above says of its programs, brought into the draft of a change: controls, defaults, curves."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from tierline.engine.access import Grants, Resource, ResourceKind, Verb, may
from tierline.engine.serving_status import latest_end, supersedes
from tierline.engine.verdict import Deny
from tierline.model.control import CANCELLED, Curve, EventStatus
from tierline.model.errors import Unsupported
from tierline.model.records import ControlRecord, CurveRecord, DefaultRecord, GroupRecord, ProgramRecord
from tierline.model.topology import Group, Tier
from tierline.operations.serving.programs import check_carried
from tierline.operations.serving.topology import new_group_id
from tierline.operations.serving.wording import worded

if TYPE_CHECKING:
    from tierline.model.control import Control, Provenance, Setpoints
    from tierline.model.identity import GroupId, Mrid
    from tierline.model.programs import DefaultControl, Program
    from tierline.operations.relay.draft import Draft
    from tierline.operations.serving.state import Served

_OPEN = frozenset({EventStatus.SCHEDULED, EventStatus.ACTIVE})
"""What time makes of an event; which of the two it is now, every server works out for itself."""


def take_program(draft: Draft, program: Program) -> None:
    """Bring one program in line: itself, its controls, default and curves."""
    served = draft.serving.program(program.mrid)
    group_id = _group(draft, program, served)
    if group_id is None:
        return
    record = ProgramRecord(
        party=draft.serving.party,
        mrid=program.mrid,
        group_id=group_id,
        primacy=program.primacy,
        description=program.description,
        created_at=draft.now if served is None else served.record.created_at,
        channel=draft.relayed.channel,
    )
    if served is None or served.record != record:
        draft.put.append(record)
    for control in program.controls:
        _control(draft, program, control, served, group_id)
    _default(draft, program, served, group_id)
    if served is not None:
        _cancel_what_is_gone(draft, program, served)


def drop_what_is_gone(draft: Draft) -> None:
    """Remove programs that nobody is shown any more, once nothing is left that was answered or can be."""
    for mrid in list(draft.groups):
        served = draft.serving.program(mrid)
        if mrid in draft.seen.programs or served is None or served.controls:
            continue
        draft.delete += [*served.curves.values(), *([served.default] if served.default else []), served.record]
        draft.delete.append(draft.serving.groups[served.record.group_id])
        draft.changes.removed.append(mrid)


def _group(draft: Draft, program: Program, served: Served | None) -> GroupId | None:
    """Give the group of a program, made for it if it is new; None when it is not the server's to change."""
    group_id = new_group_id(draft.serving) if served is None else served.record.group_id
    granted = frozenset(draft.groups.values()) | (frozenset({group_id}) if served is None else frozenset())
    resource = Resource(kind=ResourceKind.GROUP, group=group_id)
    verdict = may(draft.principal, Verb.CONTROL, resource, Grants(groups=granted))
    if isinstance(verdict, Deny):
        draft.refused[f"program {program.mrid}"] = verdict.reason
        return None
    if served is None:
        digest = hashlib.sha256(program.mrid.encode()).hexdigest()
        group = Group(id=group_id, tier=Tier.NON_TOPOLOGY, name=f"relayed {digest[:8]}")
        draft.put.append(GroupRecord(party=draft.serving.party, group=group, created_at=draft.now))
        draft.groups[program.mrid] = group_id
        draft.changes.added.append(program.mrid)
    return group_id


def _control(draft: Draft, program: Program, control: Control, served: Served | None, group_id: GroupId) -> None:
    known = None if served is None else served.controls.get(control.mrid)
    why = _why_not(draft, program, control)
    if why:
        draft.refused[f"control {control.mrid} of {program.mrid}"] = why
        return
    draft.owner_of[control.mrid] = program.mrid
    _curves(draft, program, control.setpoints, served)
    wanted = _as_served(draft, control, None if known is None else known.control)
    if known is not None and known.control == wanted:
        return
    _put_control(draft, program.mrid, wanted)
    if known is None:
        outcome, found = "created", draft.changes.created
    elif wanted.status is not known.control.status and wanted.status in CANCELLED:
        outcome, found = "cancelled", draft.changes.cancelled
    else:
        outcome, found = "changed", draft.changes.changed
    found.append(control.mrid)
    detail = {
        "program": program.mrid,
        "group": group_id,
        "setpoints": worded(control.setpoints),
        "start": control.interval.start.isoformat(),
        "duration_s": control.interval.duration_s,
        "status": wanted.status.name.lower(),
    }
    draft.note("relay", f"control {control.mrid}", outcome, detail)


def _as_served(draft: Draft, control: Control, known: Control | None) -> Control:
    """Keep all that the server above says; which of scheduled and active an event is, time says here as there."""
    is_open = control.status in _OPEN
    return replace(
        control,
        status=EventStatus.SCHEDULED if is_open else control.status,
        status_time=None if is_open else control.status_time,
        provenance=_received(draft, control.provenance, None if known is None else known.provenance),
    )


def _received(draft: Draft, provenance: Provenance | None, known: Provenance | None) -> Provenance | None:
    if provenance is None:
        return None
    return replace(provenance, received_at=draft.now if known is None else known.received_at)


def _cancel_what_is_gone(draft: Draft, program: Program, served: Served) -> None:
    """Take an event that is not shown any more for cancelled, unless it is over (docs/rules.md R3).

    One of which the server above says that it took nothing was cancelled before it began, also if it is over by now.
    """
    shown = {control.mrid for control in program.controls}
    opened = [control for control in program.controls if control.status in _OPEN]
    there = draft.now + timedelta(seconds=draft.seen.clock_offset_s)
    for record in served.controls.values():
        control = record.control
        if control.mrid in shown or control.status is not EventStatus.SCHEDULED:
            continue
        if any(supersedes(control, one) for one in opened):
            at, reason = None, "not shown any more, and what it would have superseded is shown as not superseded"
        elif latest_end(control) > there:
            at, reason = draft.now.replace(microsecond=0), "not shown any more"
        else:
            continue
        _put_control(draft, program.mrid, replace(control, status=EventStatus.CANCELLED, status_time=at))
        draft.changes.cancelled.append(control.mrid)
        detail = {"program": program.mrid, "reason": reason}
        draft.note("relay", f"control {control.mrid}", "cancelled", detail)


def _put_control(draft: Draft, program: Mrid, control: Control) -> None:
    draft.put.append(
        ControlRecord(
            party=draft.serving.party, mrid=control.mrid, program=program, control=control, changed_at=draft.now
        )
    )


def _default(draft: Draft, program: Program, served: Served | None, group_id: GroupId) -> None:
    known = None if served is None else served.default
    default = program.default
    if default is not None and (why := _carried(draft, program.mrid, default.setpoints)):
        draft.refused[f"default of {program.mrid}"] = why
        default = None
    if default is None:
        if known is not None:
            draft.delete.append(known)
            draft.changes.defaults.append(program.mrid)
            draft.note("relay", f"group {group_id}", "default ended", {"program": program.mrid})
        return
    _curves(draft, program, default.setpoints, served)
    wanted = replace(
        default,
        provenance=_received(draft, default.provenance, _provenance(None if known is None else known.default)),
    )
    if known is not None and known.default == wanted:
        return
    draft.put.append(
        DefaultRecord(party=draft.serving.party, program=program.mrid, default=wanted, changed_at=draft.now)
    )
    draft.changes.defaults.append(program.mrid)
    detail = {"program": program.mrid, "setpoints": worded(default.setpoints)}
    draft.note("relay", f"group {group_id}", "default changed", detail)


def _curves(draft: Draft, program: Program, setpoints: Setpoints, served: Served | None) -> None:
    known = {} if served is None else served.curves
    for name, curve in setpoints.items():
        if not isinstance(curve, Curve):
            continue
        record = CurveRecord(
            party=draft.serving.party, mrid=curve.mrid, program=program.mrid, function=name, curve=curve
        )
        if known.get(curve.mrid) != record and curve.mrid not in draft.owner_of:
            draft.put.append(record)
        draft.owner_of[curve.mrid] = program.mrid


def _why_not(draft: Draft, program: Program, control: Control) -> str:
    """Say why a control cannot be shown to those below; empty when it can."""
    owner = draft.serving.program_of_control.get(control.mrid) or draft.owner_of.get(control.mrid)
    if owner not in (None, program.mrid):
        return f"program {owner} has a control of this mRID"
    return control.invalid or _carried(draft, program.mrid, control.setpoints, control)


def _carried(draft: Draft, program: Mrid, setpoints: Setpoints, control: Control | None = None) -> str:
    for curve in setpoints.values():
        if isinstance(curve, Curve):
            owner = draft.serving.program_of_curve.get(curve.mrid) or draft.owner_of.get(curve.mrid)
            if owner not in (None, program):
                return f"program {owner} has its curve {curve.mrid}"
    try:
        check_carried(draft.serving, setpoints, None if control is None else control.ramp_time_s)
    except Unsupported as error:
        return str(error)
    return ""


def _provenance(default: DefaultControl | None) -> Provenance | None:
    return None if default is None else default.provenance
