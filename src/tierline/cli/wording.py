"""How things are said on a terminal: tables, times, powers."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import typer

WIDE = 200
"""Columns where there is no terminal to measure."""


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, none: str) -> None:
    """Print rows under their names, or say that there are none."""
    found = list(rows)
    if not found:
        typer.echo(none)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    for name in columns:
        shown.add_column(name, overflow="fold", justify="right" if name.endswith(("#", "W", "%")) else "left")
    for row in found:
        shown.add_row(*(Text(said(cell)) for cell in row))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDE, highlight=False).print(shown)


def said(cell: object) -> str:
    """Say one cell."""
    match cell:
        case None:
            return "-"
        case bool():
            return "yes" if cell else "no"
        case list():
            return ", ".join(str(part) for part in cell)
        case _:
            return str(cell)


def time(text: str | None) -> str:
    """Say a time of the API: the seconds are enough."""
    if text is None:
        return "-"
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def clock(text: str) -> str:
    """Say the time of day of a time of the API."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%H:%M:%S}"


def power(watts: float | None) -> str:
    """Say a power."""
    if watts is None:
        return "-"
    for size, unit in ((1e6, "MW"), (1e3, "kW")):
        if abs(watts) >= size:
            return f"{watts / size:.4g} {unit}"
    return f"{watts:.4g} W"


def number(value: float) -> str:
    """Say a number without needless zeros."""
    return f"{value:.10g}"


def duration(seconds: float) -> str:
    """Say a duration in the form it is read."""
    left, parts = round(seconds), []
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def value(given: object) -> str:
    """Say a setpoint as it may be typed."""
    import json

    return number(given) if isinstance(given, int | float) and not isinstance(given, bool) else json.dumps(given)


def setpoints(given: Mapping[str, object]) -> str:
    """Say setpoints as they may be typed."""
    return ", ".join(f"{name}={value(part)}" for name, part in given.items())
