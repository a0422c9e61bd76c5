"""What the owner's questions about limits say, read and checked for form; whether it can be done is for the rules."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from tierline.model.control import Setpoints
from tierline.model.errors import ConfigError
from tierline.operations.following.owner_limits import LimitOrder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierline.engine.lifecycle import EventState


def order_of(question: Mapping[str, object], now: datetime) -> LimitOrder:
    """Read what a question asks for: `setpoints`, `duration_s`, and `start`, `start_in_s` or neither (then it is now).

    Raises: ConfigError saying what to write instead.
    """
    values = question.get("setpoints")
    if not isinstance(values, dict):
        raise ConfigError(f"setpoints: {values!r} gives no limits; write function=value, for example max_lim_w_pct=50")
    duration_s = question.get("duration_s")
    if not isinstance(duration_s, int) or isinstance(duration_s, bool):
        raise ConfigError(f"duration_s: {duration_s!r} is no whole number of seconds; every limit has an end")
    return LimitOrder(
        setpoints=Setpoints.of({name: _number(name, value) for name, value in values.items()}),
        start=_start(question.get("start"), question.get("start_in_s"), now),
        duration_s=duration_s,
    )


def limit_told(event: EventState) -> dict[str, object]:
    """Tell of a limit of the owner and how far it has come."""
    return {
        "mrid": event.mrid,
        "state": event.state.value,
        "starts_at": event.starts_at,
        "ends_at": event.ends_at,
        "setpoints": dict(event.control.setpoints),
        "answers": [int(status) for status in event.answered],
    }


def _number(name: str, value: object) -> Decimal:
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return Decimal(str(value))
    except InvalidOperation:
        pass
    raise ConfigError(f"{name}: {value!r} is no number; a limit is one, for example {name}=50")


def _start(start: object, start_in_s: object, now: datetime) -> datetime:
    if start is not None and start_in_s is not None:
        raise ConfigError("start and start_in_s are both given; give one of them, or neither for now")
    try:
        if start_in_s is not None:
            if isinstance(start_in_s, bool) or not isinstance(start_in_s, int | float) or not math.isfinite(start_in_s):
                raise ConfigError(f"start_in_s: {start_in_s!r} is no number of seconds")
            return now + timedelta(seconds=start_in_s)
        if start is None:
            return now
        when = datetime.fromisoformat(str(start))
    except OverflowError as error:
        raise ConfigError(f"start_in_s: {start_in_s!r} is beyond the year 9999") from error
    except ValueError as error:
        raise ConfigError(f"start: {start!r} is no time; write 2026-06-18T12:00:00Z") from error
    if when.tzinfo is None:
        raise ConfigError(f"start: {start!r} has no time zone; write {start}Z for UTC")
    return when.astimezone(UTC)
