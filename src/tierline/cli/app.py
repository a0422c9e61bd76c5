"""All commands. What a command needs is imported when it runs, so that help is quick."""

from typing import Annotated

import typer

from tierline.cli import (
    audit,
    backup,
    cert,
    control,
    default,
    demo,
    device,
    explain,
    function,
    grid,
    group,
    owner,
    price,
    program,
    reading,
    run,
    scenario,
    status,
    token,
)
from tierline.cli.commands import Patient

main = typer.Typer(
    name="tierline",
    cls=Patient,
    help="Communications for distributed energy resources: run a node, command a fleet, ask why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer hands it in by place
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tierline {version('tierline')}")
        raise typer.Exit


@main.callback()
def everything(
    *,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Communications for distributed energy resources: run a node, command a fleet, ask why."""


for _noun in (
    device,
    group,
    owner,
    program,
    control,
    default,
    reading,
    grid,
    price,
    audit,
    token,
    function,
    cert,
    backup,
    scenario,
):
    main.add_typer(_noun.app)
main.add_typer(program.curve_app)
for _verb in (run, demo, status, explain):
    _verb.add_to(main)
