"""Which events of one channel hold one mode, and who takes it from whom (docs/rules.md E13 to E16)."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from tierline.engine.lifecycle import EventState, follows_directly, in_rank_order
from tierline.model.control import FunctionName
from tierline.model.identity import Mrid


class Holding:
    """The events that hold one mode at one instant, with their periods for it."""

    def __init__(self, mode: FunctionName, events: list[EventState]) -> None:
        self.mode = mode
        self._events = events
        """The first-ranked first."""
        self._successors = _successors(events)

    def losses(self, now: datetime) -> Iterator[tuple[EventState, EventState]]:
        """Give (who loses the mode, to whom); who loses it at this instant takes it from nobody.

        No ring can arise: who loses to a successor has an empty period, so it takes by nothing but being a successor
        itself, and successors go one way in time, as ranks go one way.
        """
        lost: set[Mrid] = set()
        for index, strong in enumerate(self._events):
            if strong.mrid in lost or not strong.starts_at <= now < self._period_end(strong):
                continue
            for weak in self._events[index + 1 :]:
                if weak.mrid not in lost and self._clash(strong, weak):
                    lost.add(weak.mrid)
                    yield weak, strong
        for event in sorted(self._events, key=lambda e: e.control.interval.start, reverse=True):
            successor = self._successors.get(event.mrid)
            if successor is None or successor.mrid in lost:
                continue
            if successor.starts_at <= min(event.starts_at, now):
                lost.add(event.mrid)
                yield event, successor

    def ended(self, now: datetime) -> Iterator[EventState]:
        """Give the events whose period for the mode is over."""
        return (event for event in self._events if self._period_end(event) <= now)

    def _clash(self, strong: EventState, weak: EventState) -> bool:
        """Say whether the periods of two events for the mode intersect, and they are not successive (E14)."""
        if follows_directly(strong, weak) or follows_directly(weak, strong):
            return False
        first_end = min(self._period_end(strong), self._period_end(weak))
        return max(strong.starts_at, weak.starts_at) < first_end

    def _period_end(self, event: EventState) -> datetime:
        successor = self._successors.get(event.mrid)
        return event.ends_at if successor is None else successor.starts_at


def by_mode(events: Iterable[EventState]) -> list[Holding]:
    """Sort events by the modes they hold."""
    holding: dict[FunctionName, list[EventState]] = {}
    for event in in_rank_order(events):
        for mode in event.held:
            holding.setdefault(mode, []).append(event)
    return [Holding(mode, holding[mode]) for mode in sorted(holding)]


def _successors(events: list[EventState]) -> dict[Mrid, EventState]:
    """Give the successor that counts of each event that has one: of several the earliest, then the first-ranked (E16)."""
    by_start: dict[datetime, list[EventState]] = {}
    for event in events:
        by_start.setdefault(event.control.interval.start, []).append(event)
    found: dict[Mrid, EventState] = {}
    for event in events:
        following = [e for e in by_start.get(event.control.interval.end, ()) if follows_directly(e, event)]
        if following:
            found[event.mrid] = min(following, key=lambda other: other.starts_at)
    return found
