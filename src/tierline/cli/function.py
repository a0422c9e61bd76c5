"""`tierline function`: what can be commanded."""

from typing import Annotated

import typer

from tierline.cli import wording
from tierline.cli.commands import Output, local_command
from tierline.model.errors import ConfigError

app = typer.Typer(name="function", help="What can be commanded.", no_args_is_help=True)


@local_command(app, "list")
def list_functions(
    output: Output, kind: Annotated[str | None, typer.Option(help="Only this kind, for example limit.")] = None
) -> None:
    """List the functions that a control or default can set."""
    from tierline.model.functions import FUNCTIONS, Kind

    if kind is not None and kind not in {one.value for one in Kind}:
        raise ConfigError(f"there is no kind {kind!r}; there are {', '.join(one.value for one in Kind)}")
    rows = [row for row in FUNCTIONS.values() if kind is None or row.kind.value == kind]
    data = [
        {
            "name": row.name,
            "kind": row.kind.value,
            "value": row.value.value,
            "unit": row.unit.value,
            "low": None if row.low is None else float(row.low),
            "high": None if row.high is None else float(row.high),
            "default_only": row.default_only,
            "description": row.description,
        }
        for row in rows
    ]
    columns = ("function", "kind", "value", "low #", "high #", "unit", "what it does")
    shown = [(r.name, r.kind.value, r.value.value, r.low, r.high, r.unit.value, r.description) for r in rows]
    output.show({"functions": data}, lambda: wording.table(columns, shown, none="there are none"))
