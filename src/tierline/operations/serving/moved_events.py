"""Which events a switching operation takes DERs out of, and which it brings them under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierline.engine.serving_status import is_over

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tierline.model.identity import DerId, GroupId
    from tierline.model.records import ControlRecord
    from tierline.operations.serving.state import Serving
    from tierline.operations.serving.topology import Move


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedEvent:
    """One event that is not over, and who moves out of its group or into it."""

    record: ControlRecord
    leave: tuple[DerId, ...]
    join: tuple[DerId, ...]


def moved_events(serving: Serving, moves: Iterable[Move]) -> list[MovedEvent]:
    """Find the events that moves touch, in the order of their start."""
    leave: dict[GroupId, list[DerId]] = {}
    join: dict[GroupId, list[DerId]] = {}
    for move in moves:
        for group_id in move.leaves:
            leave.setdefault(group_id, []).append(move.der_id)
        for group_id in move.joins:
            join.setdefault(group_id, []).append(move.der_id)
    now = serving.clock.now()
    found = [
        MovedEvent(record=record, leave=tuple(leave.get(group_id, ())), join=tuple(join.get(group_id, ())))
        for group_id in leave.keys() | join.keys()
        for program in serving.programs_of.get(group_id, ())
        for record in serving.programs[program].controls.values()
        if not is_over(record.control, now)
    ]
    return sorted(found, key=lambda event: (event.record.control.interval.start, event.record.mrid))
