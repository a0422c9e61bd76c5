"""What people type: durations, times, values, switch positions."""

import json
import re
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import typer

Json = bool | int | float | str | list[Any] | dict[str, Any]
"""What a value may be. Any: the parts of an object, by the function's value type."""

_UNITS_S = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_PART = re.compile(rf"({_NUMBER.pattern})([dhms])")


def duration_s(text: str) -> float:
    """Read `90s`, `6m`, `1h30m`, `2d`, `-30s`, or seconds without a unit.

    Raises: typer.BadParameter.
    """
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    if _NUMBER.fullmatch(rest):
        return sign * float(rest)
    parts = _PART.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise typer.BadParameter(f"{text!r} is no duration; write 90s, 6m, 1h30m or 2d")
    return sign * sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def whole_seconds(text: str) -> int:
    """Read a duration of whole seconds.

    Raises: typer.BadParameter.
    """
    seconds = duration_s(text)
    if seconds != int(seconds):
        raise typer.BadParameter(f"{text!r} is not a number of whole seconds")
    return int(seconds)


def decimal(text: str) -> str:
    """Read a decimal number, which stays as it was written.

    Raises: typer.BadParameter.
    """
    try:
        if Decimal(text).is_finite():
            return text
    except InvalidOperation:
        pass
    raise typer.BadParameter(f"{text!r} is no number; write 0.125")


def instant(text: str) -> str:
    """Read a time with a time zone.

    Raises: typer.BadParameter.
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time; write 2026-06-18T12:00:00Z") from error
    if when.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no time zone; write {text}Z for UTC")
    return when.isoformat()


def setpoints(pairs: list[str]) -> dict[str, Json]:
    """Read `function=value` pairs; a value is a number, true, false, JSON, or @file with JSON.

    Raises: typer.BadParameter.
    """
    found: dict[str, Json] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name or not text:
            raise typer.BadParameter(f"{pair!r} is not function=value, for example max_lim_w_pct=50")
        if name in found:
            raise typer.BadParameter(f"{name} is given twice")
        found[name] = _value(name, text)
    return found


def positions(opened: list[int], closed: list[int]) -> dict[int, bool]:
    """Read switch positions.

    Raises: typer.BadParameter.
    """
    both = sorted(set(opened) & set(closed))
    if both:
        raise typer.BadParameter(f"switch {both[0]} cannot be opened and closed at once")
    if not opened and not closed:
        raise typer.BadParameter("name the switches: --open 34 --close 107")
    return dict.fromkeys(opened, False) | dict.fromkeys(closed, True)


def _value(name: str, text: str) -> Json:
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"{name}: {text[1:]} cannot be read: {error}") from error
    try:
        value: Json | None = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{name}: {text!r} is neither a number, true, false, nor JSON such as "
            f'{{"points": [[92, 44], [98, 0], [102, 0], [108, -44]]}}'
        ) from error
    if value is None:
        raise typer.BadParameter(f"{name}: null is no value; leave {name} out to release it")
    return value
