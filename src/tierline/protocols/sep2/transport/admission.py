"""How many connections there may be and how fast they may come, before and after it is known whose they are.

Each handshake costs the server about 2 ms of work before anybody is known.
"""

from collections import OrderedDict


class Pace:
    """A token bucket per key, without I/O; the keys heard of least recently are forgotten first."""

    def __init__(self, *, per_s: float, burst: int, keys: int = 100_000) -> None:
        self._per_s = per_s
        self._burst = burst
        self._keys = keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def may(self, key: str, now: float) -> bool:
        """Take a token, if there is one; `now` is unscaled monotonic time in seconds."""
        tokens, when = self._buckets.pop(key, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - when) * self._per_s)
        allowed = tokens >= 1
        self._buckets[key] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > self._keys:
            self._buckets.popitem(last=False)
        return allowed


class Places:
    """How many connections there are: of strangers, in all, by address and by LFDI."""

    def __init__(self) -> None:
        self.strangers = 0
        self.known = 0
        self._by_key: dict[str, int] = {}

    def take(self, key: str, limit: int) -> bool:
        """Count one more under a key, unless that would exceed the limit."""
        count = self._by_key.get(key, 0)
        if count >= limit:
            return False
        self._by_key[key] = count + 1
        return True

    def give_back(self, key: str) -> None:
        """Count one less under a key."""
        left = self._by_key[key] - 1
        if left:
            self._by_key[key] = left
        else:
            del self._by_key[key]
