"""The operators of a simulated node: they do the acts of a workload by the use cases, again when the node could not.

What they did and the node made durable is written down as deeds, also what a dying life could not tell of.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from tierline.model.control import EventStatus
from tierline.model.errors import ConfigError, Conflict, LinkError
from tierline.model.identity import GroupId, Mrid, PartyId
from tierline.model.parties import Principal, Role
from tierline.model.records import ControlRecord, DefaultRecord, GroupRecord, MembershipRecord, SwitchRecord
from tierline.model.topology import Group, Membership, Tier
from tierline.operations.serving import dispatch, programs, topology
from tierline.sim.evidence import Cancelled, Created, Defaulted, Switched, second
from tierline.sim.workload import Cancel, Create, SetDefault, SwitchOver

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tierline.model.identity import DerId
    from tierline.model.records import Record
    from tierline.operations.serving.state import Serving
    from tierline.sim.evidence import Deed
    from tierline.sim.nodes import Node
    from tierline.sim.workload import Act

AGAIN_S = 30.0
"""How soon an operator tries again what the node could not write down."""


class Book(Protocol):
    """Where the deeds of one node are written down."""

    refused: int

    def note(self, deed: Deed) -> None:
        """Write down what was done, in order."""
        ...

    @property
    def done(self) -> Sequence[object]:
        """What was written down so far, the deeds of operators among it."""
        ...


class Operators:
    """The operators of one node, whatever becomes of its program."""

    def __init__(self, serving_party: str, acts: Sequence[Act], book: Book) -> None:
        """Prepare to do these acts, in order."""
        self._acts = acts
        self._book = book
        self._next_act = 0
        self._controls: dict[int, Mrid] = {}
        self._principal = operator_of(serving_party)

    async def operate(self, node: Node, serving: Serving) -> None:
        """Do what is left to be done, each act in its time."""
        while self._next_act < len(self._acts):
            act = self._acts[self._next_act]
            await node.clock.sleep(act.at_s - node.clock.deadline())
            try:
                await self._do(node, serving, act, self._next_act)
            except LinkError:
                await node.clock.sleep(AGAIN_S)
                continue
            except (ConfigError, Conflict):
                self._book.refused += 1
            self._next_act += 1

    def catch_up(self, serving: Serving, at_s: float) -> None:
        """Note what a dying life made durable without a chance to tell."""
        known = {deed.record.mrid: deed for deed in self._book.done if isinstance(deed, Created)}
        over = {deed.mrid for deed in self._book.done if isinstance(deed, Cancelled)}
        for record in serving.store.load(ControlRecord):
            if not _is_own(serving, record.program):
                continue
            if record.mrid not in known:
                self._book.note(Created(at_s=at_s, record=record))
                self._controls[self._next_act] = record.mrid
                self._next_act += 1
            elif record.mrid not in over and record.control.status is not EventStatus.SCHEDULED:
                self._book.note(cancelled(at_s, record))
                self._next_act += 1
        defaults = {
            deed.record.program: deed.record.default.mrid for deed in self._book.done if isinstance(deed, Defaulted)
        }
        for default in serving.store.load(DefaultRecord):
            if _is_own(serving, default.program) and defaults.get(default.program) != default.default.mrid:
                self._book.note(Defaulted(at_s=at_s, record=default))
                self._next_act += 1
        self._catch_up_with_switches(serving, at_s)

    def _catch_up_with_switches(self, serving: Serving, at_s: float) -> None:
        switched: dict[int, bool] = {}
        for deed in self._book.done:
            if isinstance(deed, Switched):
                switched |= deed.positions
        positions: dict[int, bool] = {}
        for switch in sorted(serving.store.load(SwitchRecord), key=lambda one: one.recorded_at):
            positions[switch.switch_id] = switch.closed
        changed = {key: closed for key, closed in positions.items() if switched.get(key) is not closed}
        if changed:
            self._book.note(Switched(at_s=at_s, positions=changed))
            self._next_act += 1

    async def _do(self, node: Node, serving: Serving, act: Act, number: int) -> None:
        def at_s() -> float:
            return node.clock.deadline()

        match act:
            case Create():
                record = await dispatch.create_control(self._principal, serving, self._order(serving, act))
                self._controls[number] = record.mrid
                self._book.note(Created(at_s=at_s(), record=record))
            case Cancel():
                mrid = _picked(serving, act.pick)
                if mrid is None:
                    self._book.refused += 1
                    return
                over = await dispatch.cancel_control(self._principal, serving, mrid, randomized=act.randomized)
                self._book.note(cancelled(at_s(), over))
            case SetDefault():
                group = group_named(serving, act.group)
                default = await programs.set_default(self._principal, serving, group, act.setpoints)
                self._book.note(Defaulted(at_s=at_s(), record=default))
            case SwitchOver():
                await topology.confirm_switching(self._principal, serving, act.positions)
                self._book.note(Switched(at_s=at_s(), positions=act.positions))

    def _order(self, serving: Serving, act: Create) -> dispatch.Order:
        start = serving.clock.now() + timedelta(seconds=act.start_in_s)
        for other, by_end in ((act.follows, True), (act.overlaps, False)):
            if other is not None:
                mrid = self._control_number(other)
                before = None if mrid is None else serving.control(mrid)
                if before is not None:
                    interval = before.control.interval
                    asked = interval.end if by_end else interval.start + timedelta(seconds=act.start_in_s)
                    start = asked if asked + timedelta(seconds=act.duration_s) > serving.clock.now() else start
        return dispatch.Order(
            group_id=group_named(serving, act.group),
            setpoints=act.setpoints,
            start=start,
            duration_s=act.duration_s,
            randomize_start_s=act.randomize_start_s,
            randomize_duration_s=act.randomize_duration_s,
            ramp_time_s=act.ramp_time_s,
            reason="simulation",
        )

    def _control_number(self, number: int) -> Mrid | None:
        creations = [index for index, act in enumerate(self._acts) if isinstance(act, Create)]
        return self._controls.get(creations[number])


def operator_of(party: str) -> Principal:
    """Give the principal that an operator of a party's node is."""
    return Principal(party=PartyId(party), role=Role.OPERATOR, name="operator")


def set_records(serving: Serving, name: str, members: Iterable[DerId]) -> list[Record]:
    """Make a group that does not follow the wires, with its program and members, in one transaction."""
    now, party = serving.clock.now(), serving.party
    group = Group(id=topology.new_group_id(serving), tier=Tier.NON_TOPOLOGY, name=name)
    put: list[Record] = [
        GroupRecord(party=party, group=group, created_at=now),
        programs.new_program(serving, group),
    ]
    for member in members:
        membership = Membership(der_id=member, group_id=group.id, valid_from=now, valid_to=None, recorded_at=now)
        put.append(MembershipRecord(party=party, cause="operator", membership=membership))
    return put


def group_named(serving: Serving, name: str) -> GroupId:
    """Find a group that must be there."""
    for record in serving.groups.values():
        if name in (record.group.element, record.group.name):
            return GroupId(record.group.id)
    raise AssertionError(f"there is no group {name}")


def cancelled(at_s: float, record: ControlRecord) -> Cancelled:
    """Give the deed by which a control came to be cancelled."""
    assert record.control.status_time is not None
    return Cancelled(
        at_s=at_s,
        mrid=record.mrid,
        randomized=record.control.status is EventStatus.CANCELLED_RANDOMIZED,
        server_s=second(record.control.status_time),
    )


def _picked(serving: Serving, pick: int) -> Mrid | None:
    """Choose a control to cancel: one in its interval if there is one, else one that is not over."""
    now = serving.clock.now()
    controls = [
        record.control
        for program in serving.programs.values()
        if program.record.channel is None
        for record in program.controls.values()
    ]
    open_ones = [one for one in controls if one.status is EventStatus.SCHEDULED and now < one.interval.end]
    running = [one for one in open_ones if one.interval.start <= now]
    among = running or open_ones
    return among[pick % len(among)].mrid if among else None


def _is_own(serving: Serving, program: Mrid) -> bool:
    return serving.programs[program].record.channel is None
