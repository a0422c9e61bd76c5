"""`tierline reading`: what DERs measured."""

from typing import Annotated

import typer

from tierline.cli import reading_args, wording
from tierline.cli.commands import Session, operator_command

app = typer.Typer(name="reading", help="What DERs measured.", no_args_is_help=True)


@operator_command(app, "list")
def list_readings(
    session: Session,
    name: Annotated[str | None, typer.Argument(help="One DER; without it, the newest readings of all.")] = None,
    group: Annotated[str | None, typer.Option(help="The newest readings of one group.")] = None,
    point: Annotated[str | None, typer.Option(help="Only this point, for example w.")] = None,
    since: Annotated[str | None, typer.Option(help="From when on: 2026-06-18T12:00:00Z. The last hour.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=100_000)] = 1000,
) -> None:
    """List readings of one DER by time, or the newest of all."""
    if name is None:
        found = session.client.latest_readings(group, point)
    else:
        since = None if since is None else reading_args.instant(since)
        found = session.client.readings(name, since, limit=limit)
    shown = [one for one in found["readings"] if point is None or one["point"] == point]
    rows = [
        (
            one["der_id"],
            one["point"],
            one["phase"],
            wording.number(one["value"]),
            one["unit"],
            wording.time(one["time"]),
        )
        for one in shown
    ]
    columns = ("DerId", "point", "phase", "value #", "unit", "time")
    session.show({"readings": shown}, lambda: wording.table(columns, rows, none="there are no readings"))
