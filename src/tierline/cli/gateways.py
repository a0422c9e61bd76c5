"""Where gateways listen to their owners, and how they are asked."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from tierline.model import errors

_ERRORS: dict[str, type[errors.TierlineError]] = {
    kind.__name__: kind for kind in (errors.ConfigError, errors.Conflict, errors.LinkError, errors.Unsupported)
}
"""What a gateway answers with besides PeerError."""

Found = dict[str, Any]
"""Any: what JSON holds."""


def ask(socket: Path, question: Mapping[str, object]) -> Found:
    """Ask one gateway.

    Raises: what it answers with; LinkError when nobody does.
    """
    from tierline import env

    answer = json.loads(env.run(env.ask_local(str(socket), json.dumps(question).encode())))
    if "error" in answer:
        raise _ERRORS.get(answer["error"], errors.PeerError)(answer["says"])
    found: Found = answer
    return found


def ask_each(gateways: Mapping[str, Path], question: Mapping[str, object]) -> list[Found]:
    """Ask gateways one after the other; gives what each answers, or why it does not, and leaves none out."""
    found = []
    for name, socket in gateways.items():
        try:
            found.append({"gateway": name, **ask(socket, question)})
        except errors.TierlineError as error:
            found.append({"gateway": name, "error": type(error).__name__, "says": str(error)})
    return found


def tell_faults(found: Sequence[Found]) -> None:
    """Say on stderr why gateways did not do what they were asked.

    Raises: typer.Exit with 1 when there is any.
    """
    faults = [one for one in found if "error" in one]
    for one in faults:
        who = f"{one['gateway']}: " if len(found) > 1 else ""
        typer.echo(f"tierline: {who}{one['says']}", err=True)
    if faults:
        raise typer.Exit(1)


def the_gateway(state: Path, node: str | None) -> Path:
    """Find where one gateway listens: the only one in a state folder, or the one named.

    Raises: ConfigError.
    """
    return next(iter(the_gateways(state, [] if node is None else [node], how=" with --node").values()))


def the_gateways(state: Path, named: Sequence[str], *, how: str = "") -> dict[str, Path]:
    """Find where gateways listen, by their names in a state folder or their configuration files; the only one when none is named.

    Raises: ConfigError.
    """
    from tierline.node.owner import SUFFIX

    there = {path.name.removesuffix(SUFFIX): path for path in sorted(state.glob(f"*{SUFFIX}"))}
    found: dict[str, Path] = {}
    for name in named:
        if name.endswith(".toml"):
            of_file, socket = _of_file(Path(name))
            found[of_file] = socket
        elif name in there:
            found[name] = there[name]
        else:
            raise _unclear(state, list(there), how)
    if not named:
        if len(there) != 1:
            raise _unclear(state, list(there), how)
        found = there
    return found


def _of_file(path: Path) -> tuple[str, Path]:
    from tierline.node.config import load_config
    from tierline.node.owner import socket_of

    config = load_config(path)
    socket = socket_of(config)
    if not socket.exists():
        raise errors.ConfigError(f"the gateway of {path} does not run: there is no {socket}")
    return config.node.name, socket


def _unclear(state: Path, there: Sequence[str], how: str) -> errors.ConfigError:
    if not there:
        return errors.ConfigError(f"no gateway runs with the state folder {state}; name another with --state")
    return errors.ConfigError(f"in {state} there are {', '.join(there)}; name one of them{how}")
