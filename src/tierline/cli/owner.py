"""`tierline owner`: what the owner of a site may ask and order at the gateway itself, on its machine and as its user."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from tierline.cli import wording
from tierline.cli.commands import Output, local_command
from tierline.cli.control import clock_span
from tierline.model import errors

app = typer.Typer(name="owner", help="At a gateway: who binds the device, and refusing it.", no_args_is_help=True)

StateOption = Annotated[Path, typer.Option("--state", help="State folder of the gateway.")]
NodeOption = Annotated[str | None, typer.Option("--node", help="Its name, where several share the folder.")]

_STATE = Path("state")
_ERRORS: dict[str, type[errors.TierlineError]] = {
    "Conflict": errors.Conflict,
    "LinkError": errors.LinkError,
}
"""What a gateway answers with besides PeerError."""


@local_command(app, "explain")
def explain(output: Output, *, state: StateOption = _STATE, node: NodeOption = None) -> None:
    """Say what the device holds, who bound it to that, and which events are not over."""
    found = _ask(state, node, {"do": "explain"})
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
    found = _ask(state, node, {"do": "opt_out", "mrid": mrid})
    output.show(found, lambda: typer.echo(f"event {found['mrid']} is refused and over for this device"))


def _ask(state: Path, node: str | None, question: dict[str, str]) -> dict[str, Any]:  # Any: what JSON holds
    from tierline import env

    path = _socket(state, node)
    answer = json.loads(env.run(env.ask_local(str(path), json.dumps(question).encode())))
    if "error" in answer:
        raise _ERRORS.get(answer["error"], errors.PeerError)(answer["says"])
    found: dict[str, Any] = answer
    return found


def _socket(state: Path, node: str | None) -> Path:
    """Find where a gateway listens to its owner.

    Raises: ConfigError.
    """
    from tierline.node.owner import SUFFIX

    found = {path.name.removesuffix(SUFFIX): path for path in sorted(state.glob(f"*{SUFFIX}"))}
    if node is None and len(found) == 1:
        return next(iter(found.values()))
    if node is not None and node in found:
        return found[node]
    if not found:
        raise errors.ConfigError(f"no gateway runs with the state folder {state}; name another with --state")
    raise errors.ConfigError(f"in {state} there are {', '.join(found)}; name one of them with --node")


def _say(found: dict[str, Any]) -> None:  # Any: what JSON holds
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
        sets = ", ".join(f"{name} {_value(value)}" for name, value in event["setpoints"].items())
        typer.echo(f"  {event['mrid']} of {event['channel']}, {event['state']}: {sets}")
        may = "; may be refused" if event["may_opt_out"] else ""
        typer.echo(f"    {clock_span(event['starts_at'], event['ends_at'])}{may}")


def _value(value: object) -> str:
    """Say a setpoint; decimal numbers come as text."""
    return wording.number(float(value)) if isinstance(value, str) else wording.value(value)
