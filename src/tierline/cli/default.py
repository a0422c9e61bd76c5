"""`tierline default`: what holds while no control does."""

from typing import Annotated

import typer

from tierline.cli import reading_args, wording
from tierline.cli.commands import Session, operator_command

app = typer.Typer(name="default", help="Defaults: what holds for a group while no control does.", no_args_is_help=True)

GroupArgument = Annotated[str, typer.Argument(help="The group.")]


@operator_command(app, "show")
def show_default(session: Session, group: GroupArgument) -> None:
    """Show the default of a group."""
    found = session.client.default(group)

    def words() -> None:
        if not found["setpoints"]:
            typer.echo(f"{found['group']} has no default; its DERs use their own settings")
        for name, value in found["setpoints"].items():
            typer.echo(f"{name} = {wording.value(value)}")

    session.show(found, words)


@operator_command(app, "set")
def set_default(
    session: Session,
    group: GroupArgument,
    given: Annotated[list[str], typer.Option("--set", help="function=value; may stand several times.")],
) -> None:
    """Set the default of a group; it is replaced as a whole and holds at once, without end."""
    found = session.client.set_default(group, reading_args.setpoints(given))
    said = wording.setpoints(dict(found["setpoints"]))
    session.show(found, lambda: typer.echo(f"default of {found['group']}: {said}"))
