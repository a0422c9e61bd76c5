"""The clock of a relay against those of the servers above it: told when they part and when they agree again, not in between.

A relay passes intervals on unchanged, so they are only as true as its clock. However far it is off, it goes on serving: the
intervals are the server's, and those below would otherwise lose their limits.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

import structlog

from tierline.operations.serving.audit import entry

if TYPE_CHECKING:
    from tierline.model.identity import ChannelId
    from tierline.model.parties import Principal
    from tierline.operations.serving.state import Serving

log = structlog.get_logger(__name__)

TOLERANCE_S: Final = 2.0
"""Time has whole seconds, and its middle is off by up to half of one and half of the round trip: more than 2 s can only be a clock."""

BOUND_S: Final = 30.0
"""Half a minute off, events start and end here visibly at another time than above; a clock that is kept at all is never so far off."""


class Agreement(IntEnum):
    """How well two clocks agree."""

    AGREES = 0
    DIFFERS = 1
    FAR_OFF = 2


_THRESHOLDS: Final = ((Agreement.FAR_OFF, BOUND_S), (Agreement.DIFFERS, TOLERANCE_S))


class RelayClocks:
    """The clocks of all servers above one relay, as of the last walk of each."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._ahead_s: dict[ChannelId, float] = {}
        self._agreement: dict[ChannelId, Agreement] = {}

    def differing(self) -> dict[ChannelId, float]:
        """Give the channels whose clock differs. Units: s, the server's minus ours."""
        return {
            channel: self._ahead_s[channel]
            for channel, agreement in self._agreement.items()
            if agreement is not Agreement.AGREES
        }

    def far_off(self) -> list[ChannelId]:
        """Give the channels whose clock differs so much that the node is not healthy."""
        return [channel for channel, agreement in self._agreement.items() if agreement is Agreement.FAR_OFF]

    async def compare(self, channel: ChannelId, principal: Principal, ahead_s: float) -> None:
        """Take over what a walk found, and write down where the two begin or cease to differ.

        Raises: LinkError when the store refuses; the next walk tells it again.
        """
        self._ahead_s[channel] = ahead_s
        before = self._agreement.get(channel, Agreement.AGREES)
        now = judged(ahead_s, before)
        if now is before:
            return
        outcome = now.name.lower()
        async with self._serving.writing:
            detail = {"server_is_ahead_s": round(ahead_s, 3)}
            await self._serving.commit(
                [entry(principal, self._serving, "clock", f"channel {channel}", outcome, detail)]
            )
        self._agreement[channel] = now
        if now is Agreement.AGREES:
            log.info("clock_agrees", channel=channel, server_is_ahead_s=ahead_s)
        else:
            log.warning(
                "clock_differs", channel=channel, server_is_ahead_s=ahead_s, is_far_off=now is Agreement.FAR_OFF
            )


def judged(ahead_s: float, before: Agreement) -> Agreement:
    """Judge a difference; what was worse before must come down to half of a threshold, so that nothing flutters."""
    for agreement, threshold_s in _THRESHOLDS:
        if abs(ahead_s) > (threshold_s / 2 if before >= agreement else threshold_s):
            return agreement
    return Agreement.AGREES
