"""Down through a relay: the own serving half is brought in line with what the server above shows.

One walk is one transaction, and one that shows nothing new writes nothing. A control keeps its mRID, times and
randomization: nothing is drawn and nothing is answered here, that is for the DERs below. What is not shown any more is
treated as the rules say (docs/rules.md E9, E10).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from tierline.engine.access import Grants, Resource, ResourceKind, Verb, may
from tierline.engine.serving_status import latest_end
from tierline.engine.verdict import Deny
from tierline.model.control import Curve, EventStatus
from tierline.model.errors import Unsupported
from tierline.model.records import ControlRecord, CurveRecord, DefaultRecord, GroupRecord, ProgramRecord
from tierline.model.topology import Group, Tier
from tierline.operations.relay.enrolling import registered, taken
from tierline.operations.serving.audit import entry
from tierline.operations.serving.programs import check_carried
from tierline.operations.serving.topology import Move, membership_records, new_group_id
from tierline.operations.serving.wording import worded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tierline.model.control import Control, Provenance, Setpoints
    from tierline.model.identity import DerId, GroupId, Lfdi, Mrid
    from tierline.model.parties import Principal
    from tierline.model.programs import DefaultControl, FleetSeen, Program
    from tierline.model.records import Record
    from tierline.operations.relay.relayed import Relayed
    from tierline.operations.serving.state import Served, Serving

log = structlog.get_logger(__name__)

_OPEN = frozenset({EventStatus.SCHEDULED, EventStatus.ACTIVE})
"""What time makes of an event; which of the two it is now, every server works out for itself."""


@dataclass(slots=True, kw_only=True)
class Changes:
    """What one walk changed here."""

    registered: list[DerId] = field(default_factory=list)
    created: list[Mrid] = field(default_factory=list)
    """Controls that were not here before."""
    changed: list[Mrid] = field(default_factory=list)
    """Controls that say something else now."""
    cancelled: list[Mrid] = field(default_factory=list)
    """Controls that are cancelled now, or are not shown any more before their end."""
    defaults: list[Mrid] = field(default_factory=list)
    """Programs whose default is another one now, or none."""
    added: list[Mrid] = field(default_factory=list)
    """Programs."""
    removed: list[Mrid] = field(default_factory=list)
    """Programs."""
    moved: list[DerId] = field(default_factory=list)
    """Those assigned to other programs than before."""
    refused: dict[str, str] = field(default_factory=dict)
    """What cannot be passed on, told for the first time, and why."""
    commits: int = 0
    """1 when anything was written."""


async def mirror(principal: Principal, serving: Serving, relayed: Relayed, seen: FleetSeen) -> Changes:
    """Bring the serving half in line with what the server above shows; what cannot be is refused, the rest goes on.

    Raises: LinkError when the store refuses; nothing changed then.
    """
    async with serving.writing:
        draft = _Draft(principal, serving, relayed, seen)
        draft.enrol()
        for program in sorted(seen.programs.values(), key=_rank):
            draft.program(program)
        draft.without_what_is_gone()
        draft.assign()
        draft.refuse()
        if draft.put or draft.delete:
            await serving.commit(draft.put, draft.delete)
            draft.changes.commits = 1
            relayed.take_members(draft.members)
            relayed.refused = draft.refused
    return draft.changes


def _rank(program: Program) -> tuple[int, int]:
    """Let an event that several programs show belong to the one that ranks first (docs/rules.md E8)."""
    return program.primacy, -int(program.mrid, 16)


class _Draft:
    """The change that one walk makes, before it is written."""

    def __init__(self, principal: Principal, serving: Serving, relayed: Relayed, seen: FleetSeen) -> None:
        self.changes = Changes()
        self.put: list[Record] = []
        self.delete: list[Record] = []
        self.refused: dict[str, str] = {}
        self.members: dict[Lfdi, DerId] = {}
        self._principal = principal
        self._serving = serving
        self._relayed = relayed
        self._seen = seen
        self._now = serving.clock.now()
        self._groups: dict[Mrid, GroupId] = {
            mrid: served.record.group_id
            for mrid, served in serving.programs.items()
            if served.record.channel == relayed.channel
        }
        self._audit = serving.audit_tail
        self._owner_of: dict[Mrid, Mrid] = {}
        """Controls and curves, and the programs of this walk that have them."""

    # --- who ----------------------------------------------------------------------------------------------------

    def enrol(self) -> None:
        """Find out who of those listed is registered here, and take in the others where that is wanted."""
        listed = self._seen.members
        new: dict[Lfdi, DerId] = {}
        if self._relayed.enrol == "take":
            put, new, refused = taken(self._serving, listed.values())
            self.put += put
            for lfdi, why in refused.items():
                self.refused[f"device {lfdi}"] = why
            if new:
                self.changes.registered = list(new.values())
                self._note("register", f"{len(new)} devices", "done", {"lfdi": list(new)})
        for lfdi in listed:
            device = registered(self._serving, lfdi)
            if lfdi in new or device is not None:
                self.members[lfdi] = new[lfdi] if device is None else device.der_id
            elif self._relayed.enrol == "none":
                self.refused[f"device {lfdi}"] = "it is not registered here"
        known = self._relayed.members
        party = self._serving.party
        self.put += [
            self._relayed.member_record(party, lfdi, der)
            for lfdi, der in self.members.items()
            if known.get(lfdi) != der
        ]
        gone = {lfdi: der for lfdi, der in known.items() if lfdi not in self.members}
        self.delete += self._relayed.forgotten_records(party, gone)

    def assign(self) -> None:
        """Let the group of each program have exactly those who are assigned to it now."""
        wanted: dict[DerId, set[GroupId]] = {der: set() for der in self.members.values()}
        for lfdi, der in self.members.items():
            member = self._seen.members[lfdi]
            if member.enabled:
                shown = [mrid for mrid in member.programs if mrid in self._seen.programs]
                wanted[der] |= {self._groups[mrid] for mrid in shown if mrid in self._groups}
        groups = set(self._groups.values())
        concerned = set(wanted).union(*(self._serving.members_of.get(group, set()) for group in groups))
        moves = []
        for der in sorted(concerned):
            has = self._serving.groups_of.get(der, set()) & groups
            wants = wanted.get(der, set())
            if has != wants:
                moves.append(Move(der_id=der, leaves=tuple(sorted(has - wants)), joins=tuple(sorted(wants - has))))
        self.put += membership_records(self._serving, moves, f"relayed from {self._relayed.channel}")
        self.changes.moved = [move.der_id for move in moves]

    # --- what ---------------------------------------------------------------------------------------------------

    def program(self, program: Program) -> None:
        """Bring one program in line: itself, its controls, default and curves."""
        served = self._serving.program(program.mrid)
        group_id = self._group(program, served)
        if group_id is None:
            return
        record = ProgramRecord(
            party=self._serving.party,
            mrid=program.mrid,
            group_id=group_id,
            primacy=program.primacy,
            description=program.description,
            created_at=self._now if served is None else served.record.created_at,
            channel=self._relayed.channel,
        )
        if served is None or served.record != record:
            self.put.append(record)
        for control in program.controls:
            self._control(program, control, served, group_id)
        self._default(program, served, group_id)
        if served is not None:
            self._cancel_what_is_gone(program, served)

    def _group(self, program: Program, served: Served | None) -> GroupId | None:
        """Give the group of a program, made for it if it is new; None when the program is not of this channel."""
        if served is None:
            digest = hashlib.sha256(program.mrid.encode()).hexdigest()
            group = Group(id=new_group_id(self._serving), tier=Tier.NON_TOPOLOGY, name=f"relayed {digest[:8]}")
            self.put.append(GroupRecord(party=self._serving.party, group=group, created_at=self._now))
            self._groups[program.mrid] = group.id
            self.changes.added.append(program.mrid)
            return group.id
        group_id = served.record.group_id
        resource = Resource(kind=ResourceKind.GROUP, group=group_id)
        grants = Grants(groups=frozenset(self._groups.values()))
        verdict = may(self._principal, Verb.CONTROL, resource, grants)
        if isinstance(verdict, Deny):
            self.refused[f"program {program.mrid}"] = f"another program has its mRID: {verdict.reason}"
            return None
        return group_id

    def _control(self, program: Program, control: Control, served: Served | None, group_id: GroupId) -> None:
        known = None if served is None else served.controls.get(control.mrid)
        why = self._why_not(program, control)
        if why:
            self.refused[f"control {control.mrid} of {program.mrid}"] = why
            return
        self._owner_of[control.mrid] = program.mrid
        self._curves(program, control.setpoints, served)
        wanted = self._as_served(control, None if known is None else known.control)
        if known is not None and known.control == wanted:
            return
        self._put_control(program.mrid, wanted)
        if known is None:
            outcome, found = "created", self.changes.created
        elif wanted.status is not known.control.status and wanted.status in _CANCELLED:
            outcome, found = "cancelled", self.changes.cancelled
        else:
            outcome, found = "changed", self.changes.changed
        found.append(control.mrid)
        detail = {
            "program": program.mrid,
            "group": group_id,
            "setpoints": worded(control.setpoints),
            "start": control.interval.start.isoformat(),
            "duration_s": control.interval.duration_s,
            "status": wanted.status.name.lower(),
        }
        self._note("relay", f"control {control.mrid}", outcome, detail)

    def _as_served(self, control: Control, known: Control | None) -> Control:
        """Keep all that the server above says; which of scheduled and active an event is, time says here as there."""
        is_open = control.status in _OPEN
        return replace(
            control,
            status=EventStatus.SCHEDULED if is_open else control.status,
            status_time=None if is_open else control.status_time,
            provenance=self._received(control.provenance, None if known is None else known.provenance),
        )

    def _received(self, provenance: Provenance | None, known: Provenance | None) -> Provenance | None:
        if provenance is None:
            return None
        return replace(provenance, received_at=self._now if known is None else known.received_at)

    def _cancel_what_is_gone(self, program: Program, served: Served) -> None:
        """Take an event that is not shown any more for cancelled, unless it is over (docs/rules.md E10)."""
        shown = {control.mrid for control in program.controls}
        there = self._now + timedelta(seconds=self._seen.clock_offset_s)
        for record in served.controls.values():
            control = record.control
            if control.mrid in shown or control.status is not EventStatus.SCHEDULED or latest_end(control) <= there:
                continue
            gone = replace(control, status=EventStatus.CANCELLED, status_time=_whole(self._now))
            self._put_control(program.mrid, gone)
            self.changes.cancelled.append(control.mrid)
            detail = {"program": program.mrid, "reason": "not shown any more"}
            self._note("relay", f"control {control.mrid}", "cancelled", detail)

    def _put_control(self, program: Mrid, control: Control) -> None:
        self.put.append(
            ControlRecord(
                party=self._serving.party, mrid=control.mrid, program=program, control=control, changed_at=self._now
            )
        )

    def _default(self, program: Program, served: Served | None, group_id: GroupId) -> None:
        known = None if served is None else served.default
        default = program.default
        if default is not None and (why := self._carried(program.mrid, default.setpoints)):
            self.refused[f"default of {program.mrid}"] = why
            default = None
        if default is None:
            if known is not None:
                self.delete.append(known)
                self.changes.defaults.append(program.mrid)
                self._note("relay", f"group {group_id}", "default ended", {"program": program.mrid})
            return
        self._curves(program, default.setpoints, served)
        wanted = replace(
            default,
            provenance=self._received(default.provenance, _provenance(None if known is None else known.default)),
        )
        if known is not None and known.default == wanted:
            return
        self.put.append(
            DefaultRecord(party=self._serving.party, program=program.mrid, default=wanted, changed_at=self._now)
        )
        self.changes.defaults.append(program.mrid)
        detail = {"program": program.mrid, "setpoints": worded(default.setpoints)}
        self._note("relay", f"group {group_id}", "default changed", detail)

    def _curves(self, program: Program, setpoints: Setpoints, served: Served | None) -> None:
        known = {} if served is None else served.curves
        for name, curve in setpoints.items():
            if not isinstance(curve, Curve):
                continue
            record = CurveRecord(
                party=self._serving.party, mrid=curve.mrid, program=program.mrid, function=name, curve=curve
            )
            if known.get(curve.mrid) != record and curve.mrid not in self._owner_of:
                self.put.append(record)
            self._owner_of[curve.mrid] = program.mrid

    # --- what cannot be ------------------------------------------------------------------------------------------

    def _why_not(self, program: Program, control: Control) -> str:
        """Say why a control cannot be shown to those below; empty when it can."""
        owner = self._serving.program_of_control.get(control.mrid) or self._owner_of.get(control.mrid)
        if owner not in (None, program.mrid):
            return f"program {owner} has a control of this mRID"
        return control.invalid or self._carried(program.mrid, control.setpoints, control)

    def _carried(self, program: Mrid, setpoints: Setpoints, control: Control | None = None) -> str:
        for curve in setpoints.values():
            if isinstance(curve, Curve):
                owner = self._serving.program_of_curve.get(curve.mrid) or self._owner_of.get(curve.mrid)
                if owner not in (None, program):
                    return f"program {owner} has its curve {curve.mrid}"
        try:
            check_carried(self._serving, setpoints, None if control is None else control.ramp_time_s)
        except Unsupported as error:
            return str(error)
        return ""

    def refuse(self) -> None:
        """Tell what is refused when it is so for the first time."""
        known, party = self._relayed.refused, self._serving.party
        for what, why in self.refused.items():
            if known.get(what) != why:
                log.warning("not_relayed", channel=self._relayed.channel, what=what, why=why)
                self.put.append(self._relayed.refused_record(party, what, why))
                self.changes.refused[what] = why
                self._note("relay", what, "refused", {"reason": why, "channel": self._relayed.channel})
        self.delete += [
            self._relayed.refused_record(party, what, why) for what, why in known.items() if what not in self.refused
        ]

    def without_what_is_gone(self) -> None:
        """Remove programs that nobody is shown any more, once nothing is left that was answered or can be."""
        for mrid in list(self._groups):
            served = self._serving.program(mrid)
            if mrid in self._seen.programs or served is None or served.controls:
                continue
            self.delete += [*served.curves.values(), *([served.default] if served.default else []), served.record]
            self.delete.append(self._serving.groups[served.record.group_id])
            self.changes.removed.append(mrid)

    def _note(self, verb: str, resource: str, outcome: str, detail: Mapping[str, object]) -> None:
        self._audit = entry(self._principal, self._serving, verb, resource, outcome, detail, after=self._audit)
        self.put.append(self._audit)


_CANCELLED = frozenset({EventStatus.CANCELLED, EventStatus.CANCELLED_RANDOMIZED})


def _provenance(default: DefaultControl | None) -> Provenance | None:
    return None if default is None else default.provenance


def _whole(when: datetime) -> datetime:
    return when.replace(microsecond=0)
