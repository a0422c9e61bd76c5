"""Who stands behind what a follower holds: the event or default of each function, for a device that hands it on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierline.ports import Behind, Coming

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tierline.engine.arbitration import Applied
    from tierline.engine.lifecycle import EventState
    from tierline.model.control import FunctionName
    from tierline.model.identity import ChannelId


def behind_of(decision: Applied, events: Mapping[ChannelId, Iterable[EventState]]) -> dict[FunctionName, Behind]:
    """Give for each applied function who wants it, and until when."""
    ends = {(channel, event.mrid): event.ends_at for channel, known in events.items() for event in known}
    return {
        entry.function: Behind(
            channel=entry.channel,
            mrid=entry.mrid,
            until=ends.get((entry.channel, entry.mrid)) if entry.is_event else None,
        )
        for entry in decision.explanation
        if entry.applied
    }


def coming_of(events: Iterable[tuple[ChannelId, EventState]]) -> list[Coming]:
    """Give what is to be held later, for a device that hands it on ahead of time."""
    return [
        Coming(
            channel=channel,
            mrid=event.mrid,
            setpoints=event.control.setpoints,
            starts_at=event.starts_at,
            ends_at=event.ends_at,
        )
        for channel, event in events
    ]
