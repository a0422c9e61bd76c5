"""`tierline scenario`: scenarios from files."""

from pathlib import Path
from typing import Annotated

import typer

from tierline.cli.commands import Output, local_command
from tierline.cli.demo import EVIDENCE, GATEWAYS, HEADLESS, SEED, SPEED, STATE, perform

app = typer.Typer(name="scenario", help="Scenarios: a plant, controls and faults, from a file.", no_args_is_help=True)


@local_command(app, "list")
def list_scenarios(output: Output) -> None:
    """List the scenarios that come with tierline."""
    from tierline.scenario.script import load_script, shipped

    found = {name: load_script(name)[0].scenario.about for name in shipped()}
    output.show(found, lambda: typer.echo("\n".join(f"{name}  {about}" for name, about in found.items())))


@local_command(app, "run")
def run_one(
    output: Output,
    name: Annotated[str, typer.Argument(help="A scenario that comes with tierline, or the path of a file.")],
    *,
    headless: HEADLESS = False,
    seed: SEED = 7,
    speed: SPEED = 30.0,
    evidence: EVIDENCE = None,
    gateways: GATEWAYS = 0,
    state: STATE = Path("state"),
) -> None:
    """Run a scenario."""
    perform(output, name, headless=headless, seed=seed, speed=speed, evidence=evidence, gateways=gateways, state=state)


@local_command(app, "new")
def new_scenario(
    output: Output, path: Annotated[Path, typer.Argument(help="The file to write, for example mine.toml.")]
) -> None:
    """Write a scenario to begin with."""
    from tierline.scenario.beginning import begin

    begin(path)
    output.show({"scenario": str(path)}, lambda: typer.echo(f"{path} is written; run it: tierline scenario run {path}"))
