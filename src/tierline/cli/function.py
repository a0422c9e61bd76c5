"""`tierline function`: what can be commanded."""

from typing import Annotated

import typer

from tierline.cli import reading_args, wording
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


ProfileOption = Annotated[str, typer.Option(help="Whose: ieee1547 or rule21.")]
NormalOption = Annotated[str, typer.Option(help="Category in normal operation: A or B.")]
AbnormalOption = Annotated[str, typer.Option(help="Category in abnormal operation: I, II or III.")]


@local_command(app, "defaults")
def list_defaults(
    output: Output, profile: ProfileOption = "ieee1547", normal: NormalOption = "B", abnormal: AbnormalOption = "III"
) -> None:
    """Show the defaults of a profile, and which of them a node with that profile keeps in its device."""
    from tierline.model.profiles import confirmable, set_named, to_apply

    defaults = set_named(profile, normal, abnormal)
    kept, waiting = to_apply(defaults), confirmable(profile, normal, abnormal)
    becomes = {name: "kept" if name in kept else "when confirmed" if name in waiting else "" for name in defaults}
    data = [
        {
            "function": name,
            "parameters": {
                row.parameter: {
                    "value": row.value if isinstance(row.value, bool) else float(row.value),
                    "unit": row.unit.value,
                    "source": row.source,
                    "verified": row.verified,
                }
                for row in default.parameters.values()
            },
            "verified": default.verified,
            "in_device": becomes[name],
        }
        for name, default in defaults.items()
    ]
    shown = [
        (
            name,
            row.parameter or "value",
            ("on" if row.value else "off") if isinstance(row.value, bool) else row.value,
            row.unit.value,
            "yes" if row.verified else "no",
            becomes[name],
            row.source,
        )
        for name, default in defaults.items()
        for row in default.parameters.values()
    ]
    columns = ("function", "parameter", "default #", "unit", "verified", "in the device", "source")
    output.show({"profile": profile, "defaults": data}, lambda: wording.table(columns, shown, none="there are none"))


@local_command(app, "check")
def check_values(
    output: Output,
    given: Annotated[list[str], typer.Option("--set", help="function=value; may stand several times.")],
    profile: ProfileOption = "ieee1547",
    normal: NormalOption = "B",
    abnormal: AbnormalOption = "III",
) -> None:
    """Compare values with the ranges that a device of a profile must be adjustable in; ends with 1 when one lies outside."""
    from tierline.console.api.values import read_setpoints
    from tierline.model.defaults import Category
    from tierline.model.profiles import outside_ranges, profile_named, set_named

    set_named(profile, normal, abnormal)  # refuses names that are none
    faults = outside_ranges(
        read_setpoints(reading_args.setpoints(given)),
        profile_named(profile),
        normal=Category(normal),
        abnormal=Category(abnormal),
    )

    def words() -> None:
        for fault in faults or [f"all within the ranges of {profile}, as far as it gives any"]:
            typer.echo(fault)

    output.show({"profile": profile, "outside": faults}, words)
    if faults:
        raise typer.Exit(1)
