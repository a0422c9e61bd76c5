"""`tierline demo`: the demonstration, one command and nothing else to set up."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tierline.cli import logs
from tierline.cli.commands import Output, local_command
from tierline.model.errors import ConfigError

if TYPE_CHECKING:
    from tierline.scenario.demo import Options

_ENDED_EARLY = 130
"""The exit status of a program that was told to stop."""

EVIDENCE = Annotated[
    Path | None, typer.Option("--evidence", help="Folder for raw evidence of the run; made when missing.")
]
STATE = Annotated[Path, typer.Option("--state", help="Folder for everything kept while it runs; emptied at the start.")]
SEED = Annotated[int, typer.Option("--seed", help="The same seed gives the same sky, roofs and phases.")]
SPEED = Annotated[float, typer.Option("--speed", min=0.1, max=1000, help="Simulated seconds in a second.")]
HEADLESS = Annotated[bool, typer.Option("--headless", help="Show no picture; write events to stderr.")]
GATEWAYS = Annotated[int, typer.Option("--gateways", min=0, help="How many gateways; all when 0.")]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    local_command(app, "demo")(demo)


def demo(
    output: Output,
    *,
    headless: HEADLESS = False,
    seed: SEED = 7,
    speed: SPEED = 30.0,
    evidence: EVIDENCE = None,
    gateways: GATEWAYS = 0,
    state: STATE = Path("state"),
) -> None:
    """Run a utility, 153 gateways and 153 inverters on a power flow, and put them through their paces."""
    perform(
        output, "demo", headless=headless, seed=seed, speed=speed, evidence=evidence, gateways=gateways, state=state
    )


def perform(
    output: Output,
    scenario: str,
    *,
    headless: bool,
    seed: int,
    speed: float,
    evidence: Path | None,
    gateways: int,
    state: Path,
) -> None:
    """Run a scenario and say what came of it.

    Raises: ConfigError when what it needs is not installed, or something fails.
    """
    try:
        from tierline.scenario.demo import Options, run_scenario
    except ImportError as error:
        raise ConfigError(f"a scenario needs {error.name}; install the extra: pip install 'tierline[demo]'") from error
    from tierline import env

    if headless:
        logs.set_up(None, verbose=False)
    else:
        logs.hush()  # the picture says it all, and lines in between would tear it
    options = Options(
        scenario=scenario,
        headless=headless,
        seed=seed,
        speed=speed,
        evidence=evidence,
        gateways=gateways,
        state=state,
    )
    try:
        env.run(run_scenario(options))
    except asyncio.CancelledError as told:
        raise typer.Exit(_ENDED_EARLY) from told
    kept = {"scenario": scenario, "state": str(state), "evidence": None if evidence is None else str(evidence)}
    output.show(kept, lambda: typer.echo(_said(options)))


def _said(options: "Options") -> str:
    kept = f"what was kept stands in {options.state}"
    return kept if options.evidence is None else f"{kept}, the evidence in {options.evidence}"
