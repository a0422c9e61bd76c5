"""`tierline program` and `tierline curve`: what is offered to DERs."""

from typing import Annotated

import typer

from tierline.cli import wording
from tierline.cli.commands import Session, operator_command

app = typer.Typer(name="program", help="Programs, one per group.", no_args_is_help=True)
curve_app = typer.Typer(name="curve", help="Curves that controls and defaults use.", no_args_is_help=True)


@operator_command(app, "list")
def list_programs(
    session: Session,
    *,
    of_fleets: Annotated[bool, typer.Option("--of-fleets", help="Those of single DERs of a fleet as well.")] = False,
) -> None:
    """List programs, the strongest first."""
    found = session.client.programs(of_fleets=of_fleets)
    rows = [
        (one["mrid"], one["group"], one["primacy"], one["controls"], wording.setpoints(dict(one["default"])) or "-")
        for one in found["programs"]
    ]
    columns = ("mRID", "group", "primacy #", "controls #", "default")
    session.show(found, lambda: wording.table(columns, rows, none="there are no programs"))


@operator_command(curve_app, "list")
def list_curves(session: Session) -> None:
    """List curves."""
    found = session.client.curves()
    rows = [(one["mrid"], one["function"], one["group"], wording.value(one["curve"])) for one in found["curves"]]
    columns = ("mRID", "function", "group", "curve")
    session.show(found, lambda: wording.table(columns, rows, none="there are no curves"))
