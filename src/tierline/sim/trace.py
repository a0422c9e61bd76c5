"""What happened in a simulated world, in order, and one number that stands for all of it."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Trace:
    """Events in order: virtual second, who, what. Equal digests mean equal runs."""

    def __init__(self, time: Callable[[], float], *, tail: int | None = 40) -> None:
        self._time = time
        self._digest = hashlib.blake2b(digest_size=16)
        self._tail: deque[tuple[float, str, str]] = deque(maxlen=tail)
        self._watchers: list[Callable[[float, str, str], None]] = []
        self.length = 0
        """How many events there were."""

    def record(self, who: str, what: str) -> None:
        """Add an event, and let everybody who watches look at it."""
        now = self._time()
        self.length += 1
        self._digest.update(f"{now:.6f} {who} {what}\n".encode())
        self._tail.append((now, who, what))
        for watcher in self._watchers:
            watcher(now, who, what)

    def watch(self, watcher: Callable[[float, str, str], None]) -> None:
        """Have `watcher(second, who, what)` called at every event; what it raises ends the run."""
        self._watchers.append(watcher)

    @property
    def digest(self) -> str:
        """The hash over all events so far."""
        return self._digest.hexdigest()

    @property
    def events(self) -> list[tuple[float, str, str]]:
        """The last events; all of them where the world was made with `keep_events`."""
        return list(self._tail)

    def __str__(self) -> str:
        """Show the last events, one a line."""
        return "\n".join(f"{second:15.6f}  {who}: {what}" for second, who, what in self._tail)
