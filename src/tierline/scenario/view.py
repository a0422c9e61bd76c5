"""The terminal view of a running scenario: feeders, voltages, communications, what was answered and done last."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tierline.model.programs import ResponseStatus
from tierline.scenario.scene import clock_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from rich.console import RenderableType

    from tierline.scenario.stage import Issued, Stage

REFRESH_S: Final = 0.5
"""Wall seconds between two pictures."""
_BAR: Final = 24
"""Characters of a bar."""
_BANDS: Final = (0.95, 0.97, 0.99, 1.01, 1.03, 1.05)
"""Where the bands of the voltage histogram end [pu]."""


async def show(stage: Stage, console: Console | None = None) -> None:
    """Show the scenario until cancelled."""
    with Live(console=console, auto_refresh=False, screen=False, transient=False) as live:
        while True:
            live.update(picture(stage), refresh=True)
            await asyncio.sleep(REFRESH_S)


def picture(stage: Stage) -> RenderableType:
    """Draw everything once."""
    now = stage.clock.now()
    return Group(
        _head(stage, now),
        _feeders(stage, now),
        Columns([_voltages(stage), _communications(stage)], expand=True),
        Columns([_answers(stage), _events(stage)], expand=True),
    )


def _head(stage: Stage, now: datetime) -> Text:
    speed = getattr(stage.clock, "speed", 1)
    return Text.assemble(
        ("tierline ", "bold"),
        f"{stage.script.scenario.about}\n",
        (f"{now:%H:%M:%S} UTC", "bold cyan"),
        f", {speed:g} times as fast as the wall; {_who_commands(stage)}; end with Ctrl-C",
    )


def _who_commands(stage: Stage) -> str:
    head = stage.plan.head
    return "owners speak at their gateways" if head is None else f"operator API at {stage.plan.operator_url(head)}"


def _feeders(stage: Stage, now: datetime) -> Table:
    table = Table(title="Feeders", title_justify="left", expand=True)
    for heading in ("feeder", "DERs", "power", "", "limit", "within it"):
        table.add_column(heading, justify="left" if heading in {"feeder", ""} else "right")
    watts = stage.scene.power.watts if stage.scene.power is not None else ()
    rows = {point.id: row for row, point in enumerate(stage.plan.site.grid.service_points)}
    for feeder in stage.plan.site.grid.feeders:
        gateways = [g for g in stage.plan.gateways if g.lfdi in stage.members.get(feeder.id, frozenset())]
        power = {g.lfdi: watts[rows[g.service_point]] if watts else 0.0 for g in gateways}
        rating = sum(g.rating_w for g in gateways)
        event = _limit_of(stage, feeder.id, now)
        limit = None if event is None or event.limit_pct is None else event.limit_pct
        share = sum(power.values()) / rating if rating else 0.0
        obeying = sum(power[g.lfdi] <= g.rating_w * (limit or 100.0) / 100 * 1.005 for g in gateways)
        table.add_row(
            feeder.id,
            str(len(gateways)),
            f"{sum(power.values()) / 1e6:.2f} of {rating / 1e6:.2f} MW",
            _bar(share, limit),
            "" if limit is None else Text(f"{limit:g} %", style="yellow"),
            "" if limit is None else Text(f"{obeying} of {len(gateways)}", style=_colour(obeying == len(gateways))),
        )
    return table


def _limit_of(stage: Stage, feeder: str, now: datetime) -> Issued | None:
    """Find the tightest limit in force on a feeder."""
    found = [
        event
        for event in stage.issued
        if event.limit_pct is not None and event.start <= now < event.end and event.group in {feeder, "system"}
    ]
    return min(found, key=lambda event: event.limit_pct or 0.0, default=None)


def _bar(share: float, limit_pct: float | None) -> Text:
    filled = round(min(max(share, 0.0), 1.0) * _BAR)
    bar = Text("█" * filled, style="green")
    bar.append("·" * (_BAR - filled), style="dim")
    if limit_pct is not None:
        at = min(_BAR - 1, round(limit_pct / 100 * _BAR))
        bar.stylize("bold yellow", at, at + 1)
    return bar


def _voltages(stage: Stage) -> Panel:
    low, high = stage.plan.site.setup.v_min_pu, stage.plan.site.setup.v_max_pu
    power = stage.scene.power
    if power is None:
        return Panel("no power flow yet", title="Voltage")
    volts = [v for v in power.volts if v > 0]
    outside = sum(not low <= v <= high for v in volts)
    lines = [
        Text.assemble(
            f"{min(volts):.4f} to {max(volts):.4f} pu; ",
            (f"{outside} of {len(volts)} nodes outside {low:g} to {high:g}", _colour(not outside)),
        )
    ]
    edges = [0.0, *_BANDS, 9.9]
    for below, above in pairwise(edges):
        count = sum(below < v <= above for v in volts)
        name = f"above {below:.2f}" if above > 2 else f"up to {above:.2f}"
        style = "red" if below >= high or above <= low else "green"
        lines.append(Text(f"{name:>11} {count:4d} ").append("█" * round(count / len(volts) * _BAR), style=style))
    return Panel(Group(*lines), title=f"Voltage at {clock_text(power.t)}")


def _communications(stage: Stage) -> Panel:
    cut, hosted = stage.relay.cut_off, stage.plan.gateways
    away = sum(gateway.process in stage.down for gateway in hosted)
    rows = [
        ("gateways walked", f"{len(stage.scene.walked)} of {len(hosted)}", len(stage.scene.walked) == len(hosted)),
        ("gateways cut off", str(len(cut - set(stage.plan.stations))), not cut - set(stage.plan.stations)),
        ("gateways away", str(away), not away),
        *(
            (
                name,
                "away" if name in stage.down else "cut off" if name in cut else "serving",
                name not in stage.down | cut,
            )
            for name in stage.plan.stations
        ),
        ("orders not taken", str(stage.scene.failed_writes), not stage.scene.failed_writes),
    ]
    table = Table.grid(padding=(0, 2))
    for name, value, good in rows:
        table.add_row(name, Text(value, style=_colour(good)))
    for event in stage.issued:
        table.add_row(f"{event.group}: {event.text}", _progress(_counted(stage, event), len(event.members)))
    return Panel(table, title="Communications")


def _counted(stage: Stage, event: Issued) -> Counter[int]:
    counts: Counter[int] = Counter()
    for mrid in event.mrids:
        counts.update(stage.scene.counts(mrid))
    return counts


def _progress(counts: Mapping[int, int], members: int) -> str:
    return ", ".join(f"{_name(status)} {count}/{members}" for status, count in sorted(counts.items())) or "not seen yet"


def _answers(stage: Stage) -> Panel:
    names = {str(gateway.lfdi): gateway.service_point for gateway in stage.plan.gateways}
    groups = {mrid.upper(): event.group for event in stage.issued for mrid in event.mrids}
    lines = [
        f"{clock_text(answer.t)} {names.get(answer.lfdi, answer.lfdi[:8])} {_name(answer.status)} "
        f"({groups.get(answer.mrid, answer.mrid[:8])})"
        for answer in stage.scene.last_answers
    ]
    return Panel("\n".join(lines) or "none yet", title="Last Responses")


def _events(stage: Stage) -> Panel:
    lines = [f"{when:%H:%M:%S} {what}" for when, what in stage.scene.said]
    return Panel("\n".join(lines) or "starting", title="What happens")


def _name(status: int) -> str:
    return ResponseStatus(status).name.lower().replace("_", " ") if status in set(ResponseStatus) else str(status)


def _colour(good: bool) -> str:  # noqa: FBT001 - the one thing it asks
    return "green" if good else "red"
