"""Whatever a server above shows, walk after walk, the serving half of a relay shows the same."""

import asyncio
import runpy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tierline.engine.serving_status import latest_end
from tierline.model.control import Control, Curve, CurvePoint, EventStatus, Interval, Provenance, Setpoints
from tierline.model.identity import ChannelId, Lfdi, Mrid, PartyId
from tierline.model.parties import Principal, Role
from tierline.model.programs import DefaultControl, FleetMember, FleetSeen, Program
from tierline.model.records import AuditRecord
from tierline.operations.relay.downward import mirror
from tierline.operations.relay.relayed import Relayed
from tierline.operations.serving.audit import faults

serving_of = runpy.run_path(str(Path(__file__).parents[1] / "levels.py"))["serving_of"]

NOON = datetime(2026, 6, 18, 12, tzinfo=UTC)
CHANNEL = ChannelId("utility")
ABOVE = Principal(party=PartyId("utility"), role=Role.UPSTREAM, name="utility")
LFDIS = [Lfdi(f"{number:02X}" * 20) for number in range(1, 4)]
PROGRAMS = [Mrid(f"{number:032X}") for number in range(1, 4)]
PROVENANCE = Provenance(party=PartyId("utility"), channel=CHANNEL, server="192.0.2.1:443")


class Clock:
    def __init__(self):
        self.time = NOON

    def now(self):
        return self.time


@st.composite
def setpoints(draw, program):
    if draw(st.booleans()):
        return Setpoints.of({"max_lim_w_pct": Decimal(draw(st.integers(0, 100)))})
    number = draw(st.integers(0, 1))
    curve = Curve(
        mrid=Mrid(f"E{number}{program[2:]}"), points=(CurvePoint(x=Decimal(95), y=Decimal(draw(st.integers(0, 60)))),)
    )
    return Setpoints.of({"volt_var": curve})


@st.composite
def controls(draw, program):
    found = []
    for number in draw(st.sets(st.integers(0, 3))):
        status = draw(st.sampled_from(EventStatus))
        found.append(
            Control(
                mrid=Mrid(f"C{number}{program[2:]}"),
                creation_time=NOON,
                interval=Interval(
                    start=NOON + timedelta(minutes=draw(st.integers(-10, 60))), duration_s=draw(st.integers(1, 3600))
                ),
                setpoints=draw(setpoints(program)),
                randomize_start_s=draw(st.sampled_from([0, 60, -60])),
                status=status,
                status_time=NOON + timedelta(minutes=draw(st.integers(0, 5))),
                provenance=PROVENANCE,
            )
        )
    return tuple(_with_one_curve_each(found))


def _with_one_curve_each(found):
    """A server shows one curve of an mRID at a time."""
    curves = {}
    for control in found:
        values = {
            name: curves.setdefault(value.mrid, value) if isinstance(value, Curve) else value
            for name, value in control.setpoints.items()
        }
        yield replace(control, setpoints=Setpoints.of(values))


@st.composite
def walks(draw):
    programs = {}
    for mrid in draw(st.sets(st.sampled_from(PROGRAMS))):
        limit = Setpoints.of({"max_lim_w_pct": Decimal(draw(st.integers(0, 100)))})
        default = DefaultControl(mrid=Mrid("D" * 32), setpoints=limit, provenance=PROVENANCE)
        programs[mrid] = Program(
            mrid=mrid,
            primacy=draw(st.integers(1, 3)),
            controls=draw(controls(mrid)),
            default=draw(st.sampled_from([None, default])),
        )
    members = {
        lfdi: FleetMember(
            lfdi=lfdi,
            pin=111115,
            device_category=1,
            programs=tuple(draw(st.sets(st.sampled_from(sorted(programs))))) if programs else (),
        )
        for lfdi in draw(st.sets(st.sampled_from(LFDIS)))
    }
    return FleetSeen(channel=CHANNEL, members=members, programs=programs), draw(st.integers(1, 3600))


def plain(control):
    """Give a control without what each server says in its own way."""
    is_open = control.status in {EventStatus.SCHEDULED, EventStatus.ACTIVE}
    return replace(
        control,
        status=EventStatus.SCHEDULED if is_open else control.status,
        status_time=None if is_open else control.status_time,
        provenance=replace(control.provenance, received_at=None),
    )


def check(serving, seen, now):
    """Compare what is served with what was seen."""
    for mrid, program in seen.programs.items():
        served = serving.programs[mrid]
        assert served.record.primacy == program.primacy
        shown = {control.mrid: control for control in program.controls}
        for control_mrid, control in shown.items():
            kept = served.controls[control_mrid].control
            assert plain(kept) == plain(control)
            for value in control.setpoints.values():
                if isinstance(value, Curve):
                    assert served.curves[value.mrid].curve == value
        for control_mrid in served.controls.keys() - shown.keys():
            gone = served.controls[control_mrid].control
            assert gone.status is not EventStatus.SCHEDULED or latest_end(gone) <= now
        kept = served.default and replace(served.default.default, provenance=PROVENANCE)
        assert kept == program.default
    for mrid, served in serving.programs.items():
        who = {serving.lfdi_of[der] for der in serving.members_of.get(served.record.group_id, ())}
        assert who == {lfdi for lfdi, member in seen.members.items() if mrid in member.programs}


@given(st.lists(walks(), min_size=1, max_size=6))
@settings(deadline=None)
def test_what_is_served_is_what_was_seen_last(sequence):
    async def run():
        clock = Clock()
        serving = serving_of("substation", clock)
        relayed = Relayed(channel=CHANNEL, enrol="take")
        for life, (seen, seconds) in enumerate(sequence):
            before = serving.commits
            changes = await mirror(ABOVE, serving, relayed, seen)
            assert serving.commits - before == changes.commits <= 1
            assert changes.refused == {}
            check(serving, seen, clock.now())
            assert (await mirror(ABOVE, serving, relayed, seen)).commits == 0, "once is enough"
            again = serving_of("substation", clock, serving.store, seed=life)
            for kept in ("devices", "groups", "memberships", "programs", "program_of_control", "program_of_curve"):
                assert getattr(again, kept) == getattr(serving, kept), kept
            serving, relayed = again, Relayed.load(serving.store, CHANNEL, "take")
            clock.time += timedelta(seconds=seconds)
        assert faults(serving.store.load(AuditRecord)) == []

    asyncio.run(run())
