"""`tierline group`: sets of DERs that controls are aimed at."""

from typing import Annotated

import typer

from tierline.cli import wording
from tierline.cli.commands import Session, operator_command

app = typer.Typer(name="group", help="Groups of DERs: those of the wires, and others.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="The group.")]
DevicesArgument = Annotated[list[str], typer.Argument(help="DERs by DerId, LFDI (or its beginning) or service point.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, kept with the membership.")]


@operator_command(app, "list")
def list_groups(
    session: Session,
    *,
    of_fleets: Annotated[bool, typer.Option("--of-fleets", help="Those of single DERs of a fleet as well.")] = False,
) -> None:
    """List groups, those of the weakest programs first."""
    found = session.client.groups(of_fleets=of_fleets)
    rows = [
        (one["name"], one["tier"], one["parent"], one["members"], wording.power(one["rating_w"]), one["primacy"])
        for one in found["groups"]
    ]
    columns = ("group", "tier", "part of", "members #", "rated W", "primacy #")
    session.show(found, lambda: wording.table(columns, rows, none="there are no groups; this node has no grid"))


@operator_command(app, "show")
def show_group(session: Session, name: NameArgument) -> None:
    """Show a group."""
    found = session.client.group(name)

    def words() -> None:
        typer.echo(f"{found['name']} ({found['tier']}): {found['members']} DERs, {wording.power(found['rating_w'])}")
        typer.echo(f"  id {found['id']}, program {found['program']}, primacy {found['primacy']}")
        if found["element"] is not None:
            typer.echo(f"  its members follow {_rule(found['element'])}")

    session.show(found, words)


@operator_command(app, "create")
def create_group(
    session: Session,
    name: Annotated[str, typer.Argument(help="What it is to be called.")],
    *,
    everybody: Annotated[bool, typer.Option("--all", help="Of all DERs that are registered, and will be.")] = False,
    party: Annotated[str | None, typer.Option("--party", help="Of all DERs that a party manages, and will.")] = None,
) -> None:
    """Make a group; without --all or --party it is empty."""
    found = session.client.create_group(name, everybody=everybody, party=party)
    session.show(found, lambda: typer.echo(f"group {found['name']} was made, with {found['members']} DERs"))


@operator_command(app, "rename")
def rename_group(
    session: Session, name: NameArgument, new_name: Annotated[str, typer.Argument(help="Its other name.")]
) -> None:
    """Give a group another name; it stays the same group."""
    found = session.client.rename_group(name, new_name)
    session.show(found, lambda: typer.echo(f"group {name} is called {found['name']} now"))


@operator_command(app, "delete")
def delete_group(
    session: Session,
    name: NameArgument,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it: its default is lifted, its controls are forgotten.")
    ] = False,
) -> None:
    """Let a group go, with its program and what is over in it; without --yes only show it."""
    found = session.client.delete_group(name) if yes else session.client.group(name)
    done = "was deleted" if yes else "would be deleted; nothing was done, --yes deletes it"
    session.show(found, lambda: typer.echo(f"group {found['name']} of {found['members']} DERs {done}"))


@operator_command(app, "add")
def add_members(session: Session, name: NameArgument, devices: DevicesArgument, reason: ReasonOption = "") -> None:
    """Take DERs into a group."""
    found = session.client.add_members(name, devices, reason=reason)
    session.show(found, lambda: typer.echo(f"{found['group']} has {len(found['members'])} members now"))


@operator_command(app, "remove")
def remove_members(session: Session, name: NameArgument, devices: DevicesArgument, reason: ReasonOption = "") -> None:
    """Take DERs out of a group; what they were told as its members is released."""
    found = session.client.remove_members(name, devices, reason=reason)
    session.show(found, lambda: typer.echo(f"{found['group']} has {len(found['members'])} members now"))


@operator_command(app, "members")
def list_members(session: Session, name: NameArgument) -> None:
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


def _rule(element: str) -> str:
    if element == "*":
        return "the registry: all DERs"
    kind, _, party = element.partition(":")
    return f"the registry: all DERs of {party}" if kind == "party" else f"the wires: {element}"
