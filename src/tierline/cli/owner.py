"""`tierline owner`: what the owner of a site may ask and order at the gateway itself, on its machine and as its user."""

from pathlib import Path
from typing import Annotated

import typer

from tierline.cli import reading_args, wording
from tierline.cli.commands import Output, local_command
from tierline.cli.control import InOption, clock_span
from tierline.cli.gateways import Found, ask, ask_each, tell_faults, the_gateway, the_gateways

app = typer.Typer(
    name="owner",
    help="At a gateway: who binds the device, refusing it, limits of one's own, and prices.",
    no_args_is_help=True,
)

StateOption = Annotated[Path, typer.Option("--state", help="State folder of the gateway.")]
NodeOption = Annotated[str | None, typer.Option("--node", help="Its name, where several share the folder.")]

GatewaysArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NODE|FILE",
        help="Gateways: names in the state folder, or configuration files (.toml).",
        show_default="the only one in the state folder",
    ),
]
SetOption = Annotated[
    list[str], typer.Option("--set", help="limit=value, such as max_lim_w_pct=50; may stand several times.")
]
ForOption = Annotated[str, typer.Option("--duration", "--for", help="How long: 90s, 15m, 1h30m.")]
StartOption = Annotated[str | None, typer.Option("--start", "--at", help="From when on: 2026-06-18T12:00:00Z.")]

_STATE = Path("state")


@local_command(app, "explain")
def explain(output: Output, *, state: StateOption = _STATE, node: NodeOption = None) -> None:
    """Say what the device holds, who bound it to that, and which events are not over."""
    found = ask(the_gateway(state, node), {"do": "explain"})
    output.show(found, lambda: _say(found))


@local_command(app, "opt-out")
def opt_out(
    output: Output,
    mrid: Annotated[str, typer.Argument(help="The event, by its mRID or the beginning of it.")],
    *,
    state: StateOption = _STATE,
    node: NodeOption = None,
) -> None:
    """Refuse an event for good; the device is released from it and its server is told."""
    found = ask(the_gateway(state, node), {"do": "opt_out", "mrid": mrid})
    output.show(found, lambda: typer.echo(f"event {found['mrid']} is refused and over for this device"))


@local_command(app, "limit")
def limit(
    output: Output,
    given: SetOption,
    duration: ForOption,
    gateways: GatewaysArgument = None,
    start_in: InOption = None,
    start: StartOption = None,
    *,
    state: StateOption = _STATE,
) -> None:
    """Limit the device for a time, beside whatever servers ask for; the tightest limit binds."""
    if start_in is not None and start is not None:
        raise typer.BadParameter("give --in or --start, not both")
    question: dict[str, object] = {
        "do": "limit",
        "setpoints": reading_args.setpoints(given),
        "duration_s": reading_args.whole_seconds(duration),
    }
    if start is not None:
        question["start"] = reading_args.instant(start)
    if start_in is not None:
        question["start_in_s"] = reading_args.duration_s(start_in)
    found = ask_each(the_gateways(state, gateways or []), question)
    output.show({"gateways": found}, lambda: _say_limits(found, "limited by"))
    tell_faults(found)


@local_command(app, "cancel")
def cancel(
    output: Output,
    mrid: Annotated[str, typer.Argument(help="The limit, by its mRID or the beginning of it.")],
    gateways: GatewaysArgument = None,
    *,
    state: StateOption = _STATE,
) -> None:
    """Cancel a limit of one's own; the device is released from it."""
    found = ask_each(the_gateways(state, gateways or []), {"do": "cancel", "mrid": mrid})
    output.show({"gateways": found}, lambda: _say_limits(found, "released from"))
    tell_faults(found)


@local_command(app, "list")
def list_limits(output: Output, gateways: GatewaysArgument = None, *, state: StateOption = _STATE) -> None:
    """List the limits of one's own that are not over, and those of the last day."""
    found = ask_each(the_gateways(state, gateways or []), {"do": "limits"})

    def words() -> None:
        rows = [
            (
                one["gateway"],
                limit["mrid"],
                limit["state"],
                _sets(limit),
                wording.time(limit["starts_at"]),
                wording.time(limit["ends_at"]),
                limit["answers"],
            )
            for one in found
            for limit in one.get("limits", ())
        ]
        columns = ("gateway", "mRID", "state", "sets", "start", "end", "answers")
        wording.table(columns, rows, none="there are no limits of the owner")

    output.show({"gateways": found}, words)
    tell_faults(found)


@local_command(app, "prices")
def list_prices(output: Output, gateways: GatewaysArgument = None, *, state: StateOption = _STATE) -> None:
    """List the prices that the gateway follows, those that hold now and later; nothing is controlled by them."""
    found = ask_each(the_gateways(state, gateways or []), {"do": "prices"})

    def words() -> None:
        rows = [
            (
                one["gateway"],
                price["mrid"],
                tariff["description"],
                tariff["followed_from"],
                wording.time(price["start"]),
                wording.duration(price["duration_s"]),
                price["price"],
                tariff["currency"],
            )
            for one in found
            for tariff in one.get("tariffs", ())
            for price in tariff["prices"]
        ]
        columns = ("gateway", "mRID", "tariff", "of", "from", "for", "per kWh #", "currency #")
        wording.table(columns, rows, none="no price is known")

    output.show({"gateways": found}, words)
    tell_faults(found)


def _say_limits(found: list[Found], what: str) -> None:
    for one in found:
        if "error" not in one:
            span = clock_span(one["starts_at"], one["ends_at"])
            typer.echo(f"{one['gateway']}: {what} {one['mrid']} ({_sets(one)}), {span}")


def _sets(limit: Found) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in limit["setpoints"].items())


def _say(found: Found) -> None:
    if found["applied_at"] is None:
        typer.echo("nothing was written to the device yet")
    else:
        sure = "" if found["is_held"] else "; it is being written again, so this may not hold now"
        typer.echo(f"last read back at {wording.time(found['applied_at'])}{sure}")
    for name, value in found["setpoints"].items():
        typer.echo(f"  {name} = {_value(value)}")
    if not found["setpoints"]:
        typer.echo("  nothing is commanded: the device follows its own settings")
    if found["explanation"]:
        typer.echo("\nWho speaks, and what became of it:")
    for entry in found["explanation"]:
        by = f"event {entry['mrid'][:8]}" if entry["is_event"] else "default" if entry["mrid"] else "standing limit"
        typer.echo(f"  {entry['channel']}: {entry['function']} {_value(entry['value'])} ({by}): {entry['reason']}")
    if found["events"]:
        typer.echo("\nEvents that are not over:")
    for event in found["events"]:
        typer.echo(f"  {event['mrid']} of {event['channel']}, {event['state']}: {_sets(event)}")
        may = "; may be refused" if event["may_opt_out"] else ""
        typer.echo(f"    {clock_span(event['starts_at'], event['ends_at'])}{may}")
    for name, why in found["held_back"].items():
        typer.echo(f"\nThe device refuses {name}, and nothing else waits for that: {why}")
    if found["refused"]:
        typer.echo("\nEvents that were refused:")
    for event in found["refused"]:
        answers = ", ".join(map(str, event["answers"])) or "nothing"
        typer.echo(f"  {event['mrid']} of {event['channel']}, answered {answers}: {_sets(event)}")
        typer.echo(f"    {clock_span(event['starts_at'], event['ends_at'])}; {event['why']}")


def _value(value: object) -> str:
    """Say a setpoint; decimal numbers come as text."""
    return wording.number(float(value)) if isinstance(value, str) else wording.value(value)
