"""The one write to a DER that may be under way, and what the DER holds."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from tierline.engine.arbitration import Applied
from tierline.model.control import FunctionName, Setpoints

_RETRY_FIRST = timedelta(seconds=5)
_RETRY_LAST = timedelta(minutes=5)


class Writer:
    """One writer per DER."""

    def __init__(self) -> None:
        self.held: Applied | None = None
        self.retry_at: datetime | None = None
        self.target: Applied | None = None
        """What was ordered last."""
        self._sequence: int | None = None
        self._failures = 0
        self._is_void = False
        self._is_whole = True
        """Whether the DER took all that it was told last; where it did not, nobody knows what it holds of the rest."""

    def wants(self, decision: Applied, now: datetime) -> bool:
        """Say whether a write shall begin now; a new target does not wait for the retry of the old one."""
        if self._sequence is not None:
            return False
        if self._is_whole and self.held is not None and self.held.setpoints == decision.setpoints:
            return False
        is_new = self.target is None or self.target.setpoints != decision.setpoints
        return is_new or self.retry_at is None or self.retry_at <= now

    def begin(self, sequence: int, decision: Applied) -> None:
        """Note that a write is under way."""
        self._sequence, self.target, self.retry_at = sequence, decision, None
        self._is_void = False

    def done(
        self,
        sequence: int,
        read_back: Setpoints,
        now: datetime,
        refused: Mapping[FunctionName, str] = MappingProxyType({}),
    ) -> Applied | None:
        """Note what was read back, and what the DER refused; gives what is now carried out, None when nothing is known."""
        if sequence != self._sequence or self.target is None:
            return None
        taken = self.target.without(refused) if refused else self.target
        if self._is_void or not _holds(read_back, taken.setpoints):
            self.failed(sequence, now)
            return None
        self._sequence, self.held, self._is_whole = None, taken, not refused
        if refused:
            self._come_again(now)
        else:
            self._failures = 0
        return self.held

    def failed(self, sequence: int, now: datetime) -> None:
        """Note that it is not known what the DER holds, and when to try again."""
        if sequence == self._sequence:
            self._sequence, self.held = None, None
            self._come_again(now)

    def forget(self) -> None:
        """Note that the DER may have lost what it was told: it is told again."""
        self.held, self.retry_at = None, None
        self._is_void = True

    def _come_again(self, now: datetime) -> None:
        self.retry_at = now + min(_RETRY_LAST, _RETRY_FIRST * 2 ** min(self._failures, 10))
        self._failures += 1


def _holds(read_back: Setpoints, target: Setpoints) -> bool:
    """Say whether a DER holds a target; numbers are the link's to compare, within its resolution."""
    return all(
        name in read_back and (not isinstance(value, bool) or read_back[name] is value)
        for name, value in target.items()
    )
