"""How fast one address may begin handshakes: each costs the server about 2 ms of work before anybody is known."""

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
