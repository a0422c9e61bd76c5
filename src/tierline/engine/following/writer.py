"""The one write to a DER that may be under way, and what the DER holds."""

from datetime import datetime, timedelta

from tierline.engine.arbitration import Applied
from tierline.model.control import Setpoints

_RETRY_FIRST = timedelta(seconds=5)
_RETRY_LAST = timedelta(minutes=5)


class Writer:
    """One writer per DER."""

    def __init__(self) -> None:
        self.held: Applied | None = None
        self.retry_at: datetime | None = None
        self._sequence: int | None = None
        self._target: Applied | None = None
        self._failures = 0
        self._is_void = False

    def wants(self, decision: Applied, now: datetime) -> bool:
        """Say whether a write shall begin now; a new target does not wait for the retry of the old one."""
        if self._sequence is not None or (self.held is not None and self.held.setpoints == decision.setpoints):
            return False
        is_new = self._target is None or self._target.setpoints != decision.setpoints
        return is_new or self.retry_at is None or self.retry_at <= now

    def begin(self, sequence: int, decision: Applied) -> None:
        """Note that a write is under way."""
        self._sequence, self._target, self.retry_at = sequence, decision, None
        self._is_void = False

    def done(self, sequence: int, read_back: Setpoints, now: datetime) -> Applied | None:
        """Note what was read back; gives the decision that is now carried out, None when it is not."""
        if sequence != self._sequence or self._target is None:
            return None
        if self._is_void or not _holds(read_back, self._target.setpoints):
            self.failed(sequence, now)
            return None
        self._sequence, self.held, self._failures = None, self._target, 0
        return self.held

    def failed(self, sequence: int, now: datetime) -> None:
        """Note that it is not known what the DER holds, and when to try again."""
        if sequence == self._sequence:
            self._sequence, self.held = None, None
            self.retry_at = now + min(_RETRY_LAST, _RETRY_FIRST * 2 ** min(self._failures, 10))
            self._failures += 1

    def forget(self) -> None:
        """Note that the DER may have lost what it was told: it is told again."""
        self.held, self.retry_at = None, None
        self._is_void = True


def _holds(read_back: Setpoints, target: Setpoints) -> bool:
    """Say whether a DER holds a target; numbers are the link's to compare, within its resolution."""
    return all(
        name in read_back and (not isinstance(value, bool) or read_back[name] is value)
        for name, value in target.items()
    )
