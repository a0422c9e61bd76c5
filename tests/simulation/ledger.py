"""What a server must show, read a second time from docs/rules.md S1 to S5 and the deeds of its operators alone.

It shares nothing with the serving half: memberships come from a flood fill over the three feeders of the workload, statuses
from the sentences of section 4.
"""

from dataclasses import dataclass, field, replace

from tierline.model.control import Curve
from tierline.model.records import GroupRecord, ProgramRecord
from tierline.sim.evidence import Cancelled, Created, Defaulted, Switched, second
from tierline.sim.oracle import OracleEvent, OracleProgram
from tierline.sim.workload import FEEDERS, SECTIONS, TIES, home, in_set

NEVER = float("inf")


def feeder_at(node, positions):
    """Name the feeder that feeds a node; None when it is dead. Where several do, the normal one keeps it."""
    reached, pending = {node}, [node]
    while pending:
        here = pending.pop()
        joined = [((f"{f}1", f"{f}2"), SECTIONS[f], True) for f in FEEDERS]
        joined += [((f"{one}2", f"{other}2"), key, False) for (one, other), key in TIES.items()]
        for ends, key, normally_closed in joined:
            if here in ends and positions.get(key, normally_closed):
                for other in ends:
                    if other not in reached:
                        reached.add(other)
                        pending.append(other)
    heads = [feeder for feeder in FEEDERS if f"{feeder}1" in reached]
    return node[0] if node[0] in heads else next(iter(heads), None)


def groups_of(number, positions):
    """Name the groups a DER belongs to (S5)."""
    feeder = feeder_at(home(number), positions)
    found = {name for name in ("pilot", "tariff") if in_set(number, name)}
    return found if feeder is None else found | {"system", feeder, "T2" if feeder == "C" else "T1"}


@dataclass
class State:
    controls: dict = field(default_factory=dict)
    """By program: the controls made."""
    cancelled: dict = field(default_factory=dict)
    """By control: when and how."""
    defaults: dict = field(default_factory=dict)
    positions: dict = field(default_factory=dict)

    def after(self, deed):
        """Give the state after one more deed."""
        new = State(dict(self.controls), dict(self.cancelled), dict(self.defaults), dict(self.positions))
        match deed:
            case Created(record=record):
                new.controls[record.program] = (*self.controls.get(record.program, ()), record.control)
            case Cancelled(mrid=mrid):
                new.cancelled[mrid] = deed
            case Defaulted(record=record):
                new.defaults[record.program] = record.default
            case Switched(positions=positions):
                new.positions |= positions
        return new


class Ledger:
    def __init__(self, evidence):
        self.states = [State()]
        for deed in evidence.deeds:
            self.states.append(self.states[-1].after(deed))
        groups = {record.group.id: record.group for record in evidence.utility.load(GroupRecord)}
        self.programs = {}
        for record in evidence.utility.load(ProgramRecord):
            group = groups[record.group_id]
            self.programs[group.element or group.name] = record
        self.doubles = evidence.doubles
        self.ramps = {
            deed.record.mrid
            for deed in evidence.deeds
            if isinstance(deed, Created) and deed.record.control.ramp_time_s is not None
        }
        """The controls that have a ramp time."""
        self.kept = {}
        self.groups = {}

    def shown(self, number, name, deeds, server_s):
        """Give the programs a DER must see at a moment of the server's clock, after so many deeds."""
        if (number, deeds) not in self.groups:
            self.groups[number, deeds] = groups_of(number, self.states[deeds].positions)
        records = [record for name, record in self.programs.items() if name in self.groups[number, deeds]]
        records.sort(key=lambda record: record.mrid, reverse=True)
        records.sort(key=lambda record: record.primacy)
        found = [self.program(record, deeds, server_s) for record in records]
        return (*found, *found[:1]) if name in self.doubles else tuple(found)

    def program(self, record, deeds, server_s):
        """Give one program as shown; kept until a status changes."""
        kept = self.kept.get((record.mrid, deeds), [])
        for since_s, until_s, program in kept:
            if since_s <= server_s < until_s:
                return program
        state = self.states[deeds]
        controls = state.controls.get(record.mrid, ())
        times = sorted(t for control in controls for t in (earliest_start(control), latest_end(control) + 10))
        since_s = max((t for t in times if t <= server_s), default=-NEVER)
        until_s = min((t for t in times if t > server_s), default=NEVER)
        default = state.defaults.get(record.mrid)
        program = OracleProgram(
            mrid=record.mrid,
            primacy=record.primacy,
            events=tuple(
                as_event(control, self.status(state, control, controls, server_s))
                for control in controls
                if server_s < latest_end(control) + 10  # S4
            ),
            default={} if default is None else values(default.setpoints),
        )
        self.kept.setdefault((record.mrid, deeds), []).append((since_s, until_s, program))
        return program

    @staticmethod
    def status(state, control, controls, server_s):
        if control.mrid in state.cancelled:  # S2
            return 3 if state.cancelled[control.mrid].randomized else 2
        for other in controls:  # S3
            cancelled = state.cancelled.get(other.mrid)
            if (
                earliest_start(other) <= server_s
                and (other.creation_time, other.mrid) > (control.creation_time, control.mrid)
                and set(other.setpoints) == set(control.setpoints)
                and other.interval.start < control.interval.end
                and control.interval.start < other.interval.end
                # E14: one that is cancelled before its effective start takes nothing.
                and (cancelled is None or cancelled.server_s >= earliest_start(other))
            ):
                return 4
        return 1 if earliest_start(control) <= server_s else 0  # S1


def earliest_start(control):
    return second(control.interval.start) + min(0, control.randomize_start_s)


def latest_end(control):
    return second(control.interval.end) + max(0, control.randomize_start_s) + max(0, control.randomize_duration_s)


def values(setpoints):
    """Give values that can be compared: a curve's creationTime goes over the wire in whole seconds."""
    return {
        mode: replace(value, creation_time=None) if isinstance(value, Curve) else value
        for mode, value in setpoints.items()
    }


def as_event(control, status):
    """Put a control into the oracle's words."""
    return OracleEvent(
        mrid=control.mrid,
        creation_time=second(control.creation_time),
        start=second(control.interval.start),
        duration=control.interval.duration_s,
        modes=values(control.setpoints),
        randomize_start=control.randomize_start_s,
        randomize_duration=control.randomize_duration_s,
        status=int(status),
        response_required=int(control.response_required),
    )


def as_program(program):
    """Put a program into the oracle's words."""
    return OracleProgram(
        mrid=program.mrid,
        primacy=program.primacy,
        events=tuple(as_event(control, control.status) for control in program.controls),
        default={} if program.default is None else values(program.default.setpoints),
    )
