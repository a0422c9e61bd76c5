"""From records to what is shown."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tierline.console.api import models
from tierline.console.api.values import write_setpoints, write_value
from tierline.engine.serving_status import latest_end, served_status
from tierline.model.functions import FUNCTIONS
from tierline.model.identity import sfdi_of
from tierline.model.points import POINTS
from tierline.operations.serving.explain import acts_on, seen_at
from tierline.operations.serving.moved_events import moved_events
from tierline.operations.serving.programs import program_of
from tierline.operations.serving.relief import ratings_w

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tierline.model.control import Control
    from tierline.model.identity import DerId, GroupId
    from tierline.model.records import (
        AuditRecord,
        ControlRecord,
        CurveRecord,
        EndDeviceRecord,
        GroupRecord,
        ReadingRecord,
        ResponseRecord,
    )
    from tierline.operations.serving.dispatch import MemberState, Order
    from tierline.operations.serving.explain import Explanation, Issued
    from tierline.operations.serving.moved_events import MovedEvent
    from tierline.operations.serving.preview import Preview
    from tierline.operations.serving.state import Served, Serving
    from tierline.operations.serving.topology import Move


@dataclass(frozen=True, slots=True)
class Shows:
    """Shows what one node serves."""

    serving: Serving
    rated: dict[str, Decimal] = field(init=False)
    """Rating by service point. Units: W."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rated", ratings_w(self.serving))

    def device(self, record: EndDeviceRecord) -> models.Device:
        """Show a DER."""
        return models.Device(**self._device(record))

    def device_detail(self, record: EndDeviceRecord) -> models.DeviceDetail:
        """Show a DER with its PIN and what it last said."""
        serving, der = self.serving, record.der_id
        described = {kind.value: info.changed_at for (of, kind), info in serving.infos.items() if of == der}
        latest = [reading for key, reading in sorted(serving.latest.items()) if key[0] == der]
        return models.DeviceDetail(
            **self._device(record),
            pin=record.pin,
            described=described,
            readings=[reading_shown(reading) for reading in latest],
        )

    def _device(self, record: EndDeviceRecord) -> dict[str, Any]:  # Any: the fields of models.Device
        serving, der = self.serving, record.der_id
        lfdi = serving.lfdi_of.get(der)
        return {
            "der_id": der,
            "lfdi": lfdi,
            "sfdi": None if lfdi is None else sfdi_of(lfdi),
            "service_point": record.service_point,
            "rating_w": self.rating(der),
            "groups": sorted(self.group_name(group_id) for group_id in serving.groups_of.get(der, ())),
            "managed_by": record.managed_by,
            "aggregates": record.aggregates,
            "enabled": record.enabled,
            "registered_at": record.registered_at,
            "last_seen": seen_at(serving, der),
        }

    def rating(self, der: DerId) -> Decimal:
        """Give the rating of a DER. Units: W."""
        return self.rated.get(self.serving.devices[der].service_point, Decimal(0))

    def ratings(self, ders: Iterable[DerId]) -> Decimal:
        """Give the ratings of some DERs together. Units: W."""
        return sum((self.rating(der) for der in ders), Decimal(0))

    def group_name(self, group_id: GroupId) -> str:
        """Give the name of a group."""
        return self.serving.groups[group_id].group.name

    def group(self, record: GroupRecord) -> models.Group:
        """Show a group."""
        group = record.group
        members = self.serving.members_of.get(group.id, set())
        program = program_of(self.serving, group.id).record
        return models.Group(
            id=group.id,
            name=group.name,
            tier=group.tier.value,
            parent=None if group.parent is None else self.group_name(group.parent),
            element=group.element,
            members=len(members),
            rating_w=self.ratings(members),
            program=program.mrid,
            primacy=program.primacy,
        )

    def members(self, group_id: GroupId, ders: Iterable[DerId]) -> list[models.Member]:
        """Show some members of a group."""
        serving = self.serving
        return [
            models.Member(
                der_id=der,
                lfdi=serving.lfdi_of.get(der),
                service_point=serving.devices[der].service_point,
                rating_w=self.rating(der),
                since=serving.memberships[der, group_id].membership.valid_from,
                cause=serving.memberships[der, group_id].cause,
            )
            for der in sorted(ders, key=lambda der: (serving.devices[der].service_point, der))
        ]

    def program(self, served: Served) -> models.Program:
        """Show a program."""
        default = {} if served.default is None else write_setpoints(served.default.default.setpoints)
        return models.Program(
            mrid=served.record.mrid,
            group=self.group_name(served.record.group_id),
            primacy=served.record.primacy,
            controls=len(served.controls),
            default=default,
        )

    def default(self, group_id: GroupId) -> models.Default:
        """Show the default of a group."""
        served = program_of(self.serving, group_id)
        record = served.default
        return models.Default(
            group=self.group_name(group_id),
            program=served.record.mrid,
            mrid=None if record is None else record.default.mrid,
            setpoints={} if record is None else write_setpoints(record.default.setpoints),
            changed_at=None if record is None else record.changed_at,
        )

    def curve(self, served: Served, record: CurveRecord) -> models.Curve:
        """Show a curve."""
        written = write_value(record.curve)
        assert isinstance(written, dict)
        group = self.group_name(served.record.group_id)
        return models.Curve(mrid=record.mrid, function=record.function, group=group, curve=written)

    def control(self, record: ControlRecord) -> models.Control:
        """Show a control."""
        return models.Control(**self._control(record))

    def control_detail(self, record: ControlRecord, progress: Iterable[MemberState]) -> models.ControlDetail:
        """Show a control with all its DERs."""
        return models.ControlDetail(
            **self._control(record),
            acts=[act_shown(act) for act in acts_on(self.serving, record)],
            devices=[self._progress(state) for state in progress],
        )

    def _control(self, record: ControlRecord) -> dict[str, Any]:  # Any: the fields of models.Control
        serving, control = self.serving, record.control
        served = serving.programs[record.program]
        answers = Counter(status.name.lower() for _, status in serving.responses.get(record.mrid, {}))
        return {
            "mrid": record.mrid,
            "group": self.group_name(served.record.group_id),
            "program": record.program,
            "primacy": served.record.primacy,
            "state": self.state(control, served),
            "setpoints": write_setpoints(control.setpoints),
            "start": control.interval.start,
            "end": control.interval.end,
            "duration_s": control.interval.duration_s,
            "randomize_start_s": control.randomize_start_s,
            "randomize_duration_s": control.randomize_duration_s,
            "ramp_time_s": control.ramp_time_s,
            "created_at": control.creation_time,
            "created_by": serving.party if control.provenance is None else control.provenance.party,
            "members": len(serving.members_of.get(served.record.group_id, ())),
            "answers": dict(answers),
        }

    def state(self, control: Control, served: Served) -> str:
        """Say in one word how a control stands."""
        now = self.serving.clock.now()
        status = served_status(control, [other.control for other in served.controls.values()], now)
        word = status.name.lower().removesuffix("_randomized")
        return "ended" if word in {"active", "scheduled"} and latest_end(control) <= now else word

    def _progress(self, state: MemberState) -> models.DerProgress:
        device = self.serving.devices.get(state.der_id)
        return models.DerProgress(
            der_id=state.der_id,
            lfdi=self.serving.lfdi_of.get(state.der_id),
            service_point="" if device is None else device.service_point,
            is_member=state.is_member,
            answers=[status.name.lower() for status in state.responses],
            answered_at=state.responded_at,
        )

    def preview(self, order: Order, preview: Preview) -> models.Preview:
        """Show what a control would do."""
        serving = self.serving
        return models.Preview(
            group=self.group_name(order.group_id),
            start=order.start,
            end=order.start + timedelta(seconds=order.duration_s),
            members=self.members(order.group_id, preview.members),
            excluded=[
                models.Excluded(der_id=one.der_id, service_point=serving.devices[one.der_id].service_point, why=one.why)
                for one in preview.excluded
            ],
            not_seen=list(preview.not_seen),
            refusing=[
                models.Excluded(der_id=one.der_id, service_point=serving.devices[one.der_id].service_point, why=one.why)
                for one in preview.refusing
            ],
            warnings=list(preview.warnings),
            rated_w=preview.rated_w,
            relief_w=preview.relief_w,
            overlaps=[
                models.Overlap(
                    mrid=overlap.record.mrid,
                    group=self.group_name(serving.programs[overlap.record.program].record.group_id),
                    functions=list(overlap.functions),
                    start=overlap.record.control.interval.start,
                    end=overlap.record.control.interval.end,
                    shared_members=overlap.shared,
                    new_one_wins=overlap.wins,
                )
                for overlap in preview.overlaps
            ],
            refused=preview.refused,
        )

    def switches(self) -> list[models.Switch]:
        """Show all switches."""
        grid = self.serving.grid
        return [
            models.Switch(
                id=switch.id,
                kind=switch.kind.value,
                node=switch.node,
                element=switch.element,
                normally_open=switch.normally_open,
                closed=self.serving.switches.get(switch.id, not switch.normally_open),
            )
            for switch in (() if grid is None else grid.switches)
        ]

    def moves(self, moves: Sequence[Move], *, done: bool) -> models.Moves:
        """Show who moves, and which events that touches."""
        shown = [
            models.Moved(
                der_id=move.der_id,
                service_point=self.serving.devices[move.der_id].service_point,
                leaves=[self.group_name(group_id) for group_id in move.leaves],
                joins=[self.group_name(group_id) for group_id in move.joins],
            )
            for move in moves
        ]
        return models.Moves(
            done=done, moves=shown, events=[self._moved_event(event) for event in moved_events(self.serving, moves)]
        )

    def _moved_event(self, event: MovedEvent) -> models.MovedEvent:
        control = self._control(event.record)
        shown = {name: control[name] for name in ("mrid", "group", "state", "setpoints", "start", "end")}
        return models.MovedEvent(**shown, leave=len(event.leave), join=len(event.join))

    def explanation(self, found: Explanation) -> models.Explanation:
        """Show why a DER should do what it does."""
        return models.Explanation(
            device=self.device_detail(found.device),
            at=found.at,
            groups=[
                models.GroupSince(name=group.name, tier=group.tier, since=group.since, cause=group.cause)
                for group in found.groups
            ],
            programs=[
                models.ProgramNow(mrid=one.mrid, group=one.group, primacy=one.primacy, default=one.default)
                for one in found.programs
            ],
            functions=[
                models.FunctionNow(
                    function=one.function,
                    value=one.value,
                    unit=FUNCTIONS[one.function].unit.value,
                    source=one.source,
                    mrid=one.mrid,
                    group=one.group,
                    until=one.until,
                    binding=one.binding,
                    why=one.why,
                    confirmed=one.confirmed,
                )
                for one in found.functions
            ],
            events=[
                models.EventNow(
                    mrid=one.mrid,
                    group=one.group,
                    primacy=one.primacy,
                    status=one.status.name.lower(),
                    start=one.start,
                    end=one.end,
                    randomized_s=one.randomized_s,
                    setpoints=one.setpoints,
                    holds=list(one.holds),
                    why=one.why,
                    acts=[act_shown(act) for act in one.acts],
                    answers=[
                        models.Answer(status=answer.status, answer=answer.status.name.lower(), at=answer.at)
                        for answer in one.answers
                    ],
                )
                for one in found.events
            ],
        )


def act_shown(act: Issued) -> models.Act:
    """Show who did something."""
    return models.Act(verb=act.verb, principal=act.principal, party=act.party, time=act.time, reason=act.reason)


def reading_shown(record: ReadingRecord) -> models.Reading:
    """Show a reading in the unit of its point."""
    reading = record.reading
    row = POINTS.get(reading.point)
    return models.Reading(
        der_id=reading.der_id,
        point=reading.point,
        phase=reading.phase.name.lower(),
        value=reading.scaled,
        unit="" if row is None else row.unit.value,
        time=reading.time,
        duration_s=reading.duration_s,
        received_at=record.received_at,
    )


def response_shown(record: ResponseRecord) -> models.Response:
    """Show a Response."""
    return models.Response(
        mrid=record.mrid,
        der_id=record.der_id,
        status=record.status,
        answer=record.status.name.lower(),
        created_at=record.created_at,
        received_at=record.received_at,
    )


def audit_shown(record: AuditRecord) -> models.AuditLine:
    """Show a line of the audit."""
    return models.AuditLine(
        sequence=record.sequence,
        time=record.time,
        principal=record.principal,
        party=record.party,
        verb=record.verb,
        resource=record.resource,
        outcome=record.outcome,
        detail=json.loads(record.detail),
        sha256=record.sha256,
    )
