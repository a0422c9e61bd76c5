"""Seconds since 1970 and aware datetimes; times that no calendar here can carry are the peer's fault."""

from datetime import UTC, datetime
from typing import Final

from tierline.model.errors import PeerError

_LAST: Final = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())
"""A year is left after it, so that durations and randomization can be added to any time that was read."""


def read_time(seconds: int, path: str) -> datetime:
    """Read a TimeType.

    Raises: PeerError for a time before 1970 or after the year 9998.
    """
    if not 0 <= seconds < _LAST:
        raise PeerError(f"{seconds} is not a time between 1970 and 9999", path=path)
    return datetime.fromtimestamp(seconds, UTC)


def write_time(time: datetime) -> int:
    """Write a TimeType: whole seconds, cut."""
    return int(time.timestamp())
