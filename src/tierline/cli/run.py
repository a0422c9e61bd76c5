"""`tierline run`: run the nodes of some configuration files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tierline.cli import logs
from tierline.cli.commands import Output, local_command
from tierline.model.errors import ConfigError

if TYPE_CHECKING:
    from tierline.node.config import NodeConfig
    from tierline.node.run import Console


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    local_command(app, "run")(run)


def run(
    output: Output,
    files: Annotated[list[Path], typer.Argument(help="One TOML file per node.")],
    *,
    check: Annotated[bool, typer.Option("--check", help="Only check the files.")] = False,
    show_config: Annotated[bool, typer.Option("--show-config", help="Only show what the files come to.")] = False,
    log: Annotated[logs.Form | None, typer.Option("--log", help="How events are written.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Write down more.")] = False,
) -> None:
    """Run one node or several in this process, until SIGINT or SIGTERM."""
    from tierline.node.run import check_files, run_files

    if check or show_config:
        configs = check_files(files)
        data = [_shown(config) for config in configs]
        said = json.dumps(data, indent=2) if show_config else f"{len(configs)} files are in order"
        output.show(data if show_config else {"files": len(configs)}, lambda: typer.echo(said))
        return
    from tierline import env

    logs.set_up(log, verbose=verbose)
    env.run(run_files(files, console=console_of(check_files(files))))


def console_of(configs: "list[NodeConfig]") -> "Console | None":
    """Give the operator's listener, when some node has one.

    Raises: ConfigError when it is not installed.
    """
    if all(config.operator is None for config in configs):
        return None
    try:
        from tierline.console.api.listener import run_console
    except ImportError as error:
        raise ConfigError(
            "[operator] needs the console; install it: pip install 'tierline[console]', or remove [operator]"
        ) from error
    return run_console


def _shown(config: "NodeConfig") -> dict[str, object]:
    data: dict[str, object] = config.model_dump(mode="json", exclude_none=True)
    north = data.get("north")
    for link in north if isinstance(north, list) else []:
        if "pin" in link:
            link["pin"] = "hidden"
    return data
