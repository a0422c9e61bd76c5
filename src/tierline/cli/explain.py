"""`tierline explain`: why a DER should do what it does, in plain words."""

from typing import TYPE_CHECKING, Annotated

import typer

from tierline.cli import wording
from tierline.cli.commands import Session, operator_command
from tierline.cli.control import clock_span

if TYPE_CHECKING:
    from tierline.client import answers


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    operator_command(app, "explain")(explain)


def explain(
    session: Session,
    name: Annotated[str, typer.Argument(help="DerId, LFDI or the beginning of it, or service point.")],
) -> None:
    """Say what a DER should do now and why, by what this node knows."""
    found = session.client.explain(name)
    session.show(found, lambda: _say(found))


def _say(found: "answers.Explanation") -> None:
    device = found["device"]
    typer.echo(f"{device['service_point'] or device['der_id']} at {wording.time(found['at'])}")
    typer.echo(f"  DerId {device['der_id']}, LFDI {device['lfdi'] or '-'}, rated {wording.power(device['rating_w'])}")
    seen = device["last_seen"]
    typer.echo(f"  last called {wording.time(seen)}" if seen else "  has not called since this node started")
    if not device["enabled"]:
        typer.echo("  is disabled: it is shut out and sees nothing")
    typer.echo("\nWhat should be in effect, by what this node shows it:")
    for function in found["functions"]:
        _say_function(function)
    if not found["functions"]:
        typer.echo("  nothing is commanded: the DER follows its own settings")
    typer.echo("\nIts groups:")
    for group in found["groups"]:
        typer.echo(f"  {group['name']} ({group['tier']}) since {wording.time(group['since'])}: {group['cause']}")
    if not found["groups"]:
        typer.echo("  none: nothing feeds it, or its place in the grid is not known")
    typer.echo("\nIts programs, the strongest first:")
    for program in found["programs"]:
        default = ", ".join(f"{name} {value}" for name, value in program["default"].items())
        typer.echo(f"  {program['group']}, primacy {program['primacy']}: default {default or 'none'}")
    if found["events"]:
        typer.echo("\nIts controls:")
    for event in found["events"]:
        _say_event(event)
    if device["readings"]:
        typer.echo("\nWhat it last measured:")
    for reading in device["readings"]:
        value = f"{wording.number(reading['value'])} {reading['unit']}"
        typer.echo(f"  {reading['point']} {value} at {wording.time(reading['time'])}")


def _say_function(function: "answers.FunctionNow") -> None:
    unit = f" {function['unit']}" if function["unit"] else ""
    typer.echo(f"  {function['function']} = {function['value']}{unit}")
    if function["source"] == "event":
        until = "" if function["until"] is None else f", until {wording.time(function['until'])}"
        said = "the DER says that it started" if function["confirmed"] else "the DER has not said that it started"
        typer.echo(f"    by control {function['mrid'][:8]} of {function['group']}{until}; {said}")
    else:
        typer.echo(f"    by the default of {function['group']}")
    if function["binding"] is not None:
        typer.echo(f"    {function['why']}")


def _say_event(event: "answers.EventNow") -> None:
    sets = ", ".join(f"{name} {value}" for name, value in event["setpoints"].items())
    typer.echo(f"  {event['mrid'][:8]} of {event['group']}, {event['status'].replace('_', ' ')}: {sets}")
    typer.echo(f"    {clock_span(event['start'], event['end'])}")
    if event["randomized_s"]:
        typer.echo(f"    the DER may shift this by up to {wording.duration(event['randomized_s'])}")
    holds = f"commands {', '.join(event['holds'])}" if event["holds"] else "commands nothing now"
    typer.echo(f"    {holds}: {event['why']}")
    for act in event["acts"]:
        because = f": {act['reason']}" if act["reason"] else ""
        typer.echo(f"    {act['verb']} by {act['principal']} of {act['party']} at {wording.time(act['time'])}{because}")
    answers = ", ".join(f"{one['answer'].replace('_', ' ')} {wording.clock(one['at'])}" for one in event["answers"])
    typer.echo(f"    it answered: {answers or 'nothing yet'}")
