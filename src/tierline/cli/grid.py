"""`tierline grid`: the network and its switches."""

from typing import Annotated

import typer

from tierline.cli import reading_args, wording
from tierline.cli.commands import Session, operator_command

app = typer.Typer(name="grid", help="The network and its switches.", no_args_is_help=True)


@operator_command(app, "show")
def show_grid(
    session: Session, *, switches: Annotated[bool, typer.Option("--switches", help="List all switches.")] = False
) -> None:
    """Show the network and who hangs where."""
    found = session.client.grid()

    def words() -> None:
        typer.echo(f"{found['name']}: {found['nodes']} nodes, {found['lines']} lines, {found['service_points']} DERs")
        typer.echo(f"  from {found['source']}, {found['licence']}")
        rows = [
            (feeder["id"], feeder["transformer"], feeder["members"], wording.power(feeder["rating_w"]))
            for feeder in found["feeders"]
        ]
        wording.table(("feeder", "transformer", "members #", "rated W"), rows, none="it has no feeders")
        shown = [one for one in found["switches"] if switches or one["closed"] is one["normally_open"]]
        none = "all switches stand as normal" if found["switches"] else "it has no switches"
        wording.table(
            ("switch #", "kind", "at", "of", "stands", "normally"),
            [
                (
                    one["id"],
                    one["kind"],
                    one["node"],
                    one["element"],
                    _said(not one["closed"]),
                    _said(one["normally_open"]),
                )
                for one in shown
            ],
            none=none,
        )

    session.show(found, words)


@operator_command(app, "switch")
def switch(
    session: Session,
    opened: Annotated[list[int] | None, typer.Option("--open", help="A switch that opened.")] = None,
    closed: Annotated[list[int] | None, typer.Option("--close", help="A switch that closed.")] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm: the field says that they stand so.")] = False,
) -> None:
    """Take over switch positions that came back from the field; without --yes only show who would move."""
    positions = reading_args.positions(opened or [], closed or [])
    found = session.client.confirm_switching(positions) if yes else session.client.preview_switching(positions)

    def words() -> None:
        rows = [
            (one["service_point"] or "-", one["der_id"], one["leaves"] or None, one["joins"] or None)
            for one in found["moves"]
        ]
        wording.table(("service point", "DerId", "leaves", "joins"), rows, none="nobody moves")
        events = [
            (
                one["mrid"],
                one["group"],
                one["state"],
                wording.setpoints(one["setpoints"]),
                wording.time(one["end"]),
                one["leave"] or None,
                one["join"] or None,
            )
            for one in found["events"]
        ]
        columns = ("event", "group", "state", "commands", "ends", "leave #", "join #")
        wording.table(columns, events, none="no event is touched")
        many = f"{len(rows)} DERs {'moved' if yes else 'would move'}"
        typer.echo(many if yes else f"{many}; nothing was done, --yes confirms the positions")

    session.show(found, words)


def _said(is_open: bool) -> str:  # noqa: FBT001 - private, a word for a boolean
    return "open" if is_open else "closed"
