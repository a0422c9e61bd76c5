"""`tierline group`: sets of DERs that controls are aimed at."""

from typing import Annotated

import typer

from tierline.cli import wording
from tierline.cli.commands import Session, operator_command

app = typer.Typer(name="group", help="Groups of DERs; they follow the wires.", no_args_is_help=True)


@operator_command(app, "list")
def list_groups(session: Session) -> None:
    """List groups, the widest first."""
    found = session.client.groups()
    rows = [
        (one["name"], one["tier"], one["parent"], one["members"], wording.power(one["rating_w"]), one["primacy"])
        for one in found["groups"]
    ]
    columns = ("group", "tier", "part of", "members #", "rated W", "primacy #")
    session.show(found, lambda: wording.table(columns, rows, none="there are no groups; this node has no grid"))


@operator_command(app, "members")
def list_members(session: Session, name: Annotated[str, typer.Argument(help="The group.")]) -> None:
    """List who belongs to a group now, since when and why."""
    found = session.client.members(name)
    rows = [
        (
            one["service_point"] or "-",
            one["der_id"],
            (one["lfdi"] or "-")[:10],
            wording.power(one["rating_w"]),
            wording.time(one["since"]),
            one["cause"],
        )
        for one in found["members"]
    ]
    columns = ("service point", "DerId", "LFDI", "rated W", "since", "because")
    session.show(found, lambda: wording.table(columns, rows, none=f"nobody belongs to {found['group']} now"))
