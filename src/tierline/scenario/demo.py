"""A scenario from beginning to end: make everything, start it, carry out the steps, gather the evidence, end everything.

The outside world enters through the ports given; all times but deadlines are civil and scaled.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from tierline.client import AsyncClient
from tierline.env import RealClock, RealNetwork, RealProcess, SeededRandom
from tierline.model.errors import ConfigError, TierlineError
from tierline.node.field import UNIT
from tierline.scenario.addresses import reserve
from tierline.scenario.configuration import HOST, PLANT, UTILITY, ConfigWriter
from tierline.scenario.evidence import Steps, devices_of, write_evidence
from tierline.scenario.plan import Site, make_folder, make_plan, ports_needed
from tierline.scenario.processes import Processes
from tierline.scenario.relay import Relay
from tierline.scenario.scene import Scene
from tierline.scenario.script import load_script
from tierline.scenario.stage import Stage
from tierline.scenario.tail import Tail
from tierline.scenario.view import show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tierline.scenario.plan import Plan
    from tierline.scenario.script import Script

log = structlog.get_logger(__name__)

COMMAND: Final = (sys.executable, "-m", "tierline", "run")
"""How a process that runs nodes is started; the files follow."""
ALL_GATEWAYS: Final = 0
_LOOK_S: Final = 0.25
"""Wall seconds between two looks at what is going on."""
_START_S: Final = 60.0
"""Wall seconds that starting may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user chose."""

    scenario: str = "demo"
    state: Path = Path("state")
    """Where everything is kept while it runs."""
    seed: int = 7
    speed: float = 30.0
    evidence: Path | None = None
    gateways: int = ALL_GATEWAYS
    """How many; all when 0."""
    headless: bool = False
    command: Sequence[str] = COMMAND


async def run_scenario(options: Options) -> None:
    """Run a scenario to its end; SIGTERM and SIGHUP end it early, and whatever ends it leaves no process behind.

    Raises: ConfigError when something cannot be started, or ends that should not.
    """
    if (me := asyncio.current_task()) is not None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, me.cancel)
    script, beside = load_script(options.scenario)
    site = Site.of(script.scenario.field, beside)
    clock = RealClock.of_this_machine(options.speed, t0=site.starts)
    folder = make_folder(options.state)
    writer = ConfigWriter(folder=folder, clock=clock, script=script, seed=options.seed)
    gateways = options.gateways or len(site.grid.service_points)
    block = await reserve(RealNetwork(), ports_needed(site, gateways))
    try:
        plan = await make_plan(
            folder,
            site,
            writer,
            block,
            gateways=gateways,
            network=RealNetwork(),
            random=SeededRandom(f"{options.seed}/scenario"),
        )
        await _run(options, script, plan, writer)
    finally:
        block.close()


async def _run(options: Options, script: Script, plan: Plan, writer: ConfigWriter) -> None:
    processes = Processes(RealProcess(), options.command, plan.folder / "logs")
    steps = Steps()
    manifest = await _perform(options, script, plan, writer.clock, processes, steps)
    if options.evidence is None:
        return
    begin, end = _span(plan)
    replay = writer.replay(plan.site.field, begin, max(1, int((end - begin).total_seconds())), plan.replay.name)
    try:
        await processes.run_to_end("replay", [replay])
    finally:
        await processes.stop()
    write_evidence(options.evidence, plan, steps, manifest)
    log.info("evidence_written", folder=str(options.evidence))


async def _perform(
    options: Options, script: Script, plan: Plan, clock: RealClock, processes: Processes, steps: Steps
) -> Mapping[str, object]:
    """Start everything, carry out the steps and end everything; gives the manifest of the run."""
    began = clock.deadline()
    try:
        async with asyncio.TaskGroup() as group:
            relay = Relay(group, RealNetwork(), HOST, plan.server_port)
            try:
                scene = Scene(plan)
                helpers = [group.create_task(processes.watch()), group.create_task(_looking(scene))]
                stage = await _set_stage(script, plan, clock, processes, relay, scene, steps)
                ready, ready_s = clock.now(), clock.deadline() - began
                steps.note("ready", ready)
                scene.say(ready, f"{len(plan.gateways)} gateways have walked")
                log.info("ready", gateways=len(plan.gateways), after_s=round(ready_s, 1), api=plan.operator_url)
                if not options.headless:
                    helpers.append(group.create_task(show(stage)))
                await stage.play(ready)
                await stage.client.close()
                for processes_of_one_kind in (plan.gateway_processes, (UTILITY,), (PLANT,)):
                    await processes.stop(*processes_of_one_kind)
                for helper in helpers:
                    helper.cancel()
            finally:
                relay.close()
    except ExceptionGroup as failures:
        raise _first(failures) from failures
    finally:
        await processes.stop()
    return {
        "tierline": version("tierline"),
        "scenario": options.scenario,
        "seed": options.seed,
        "speed": options.speed,
        "started_t": round(clock.t0.timestamp(), 3),
        "ended_t": round(clock.now().timestamp(), 3),
        "wall_s": round(clock.deadline() - began, 1),
        "ready_wall_s": round(ready_s, 1),
        "grid": plan.site.setup.grid,
        "limits_pu": [plan.site.setup.v_min_pu, plan.site.setup.v_max_pu],
        "checks": script.checks,
        "devices": devices_of(plan, UNIT),
    }


async def _set_stage(
    script: Script, plan: Plan, clock: RealClock, processes: Processes, relay: Relay, scene: Scene, steps: Steps
) -> Stage:
    """Start everything and wait until every gateway has walked once."""
    client = await _start_utility(plan, processes, relay, scene)
    members = await _enrol(plan, script, client)
    for process in plan.gateway_processes:
        await processes.start(process, plan.files[process])
    lfdis = {gateway.lfdi for gateway in plan.gateways}
    await _until(lambda: scene.walked >= lfdis, "every gateway has walked")
    return Stage(
        plan=plan,
        script=script,
        clock=clock,
        client=client,
        processes=processes,
        relay=relay,
        scene=scene,
        steps=steps,
        members=members,
    )


async def _start_utility(plan: Plan, processes: Processes, relay: Relay, scene: Scene) -> AsyncClient:
    await processes.start(UTILITY, plan.files[UTILITY])
    await processes.start(PLANT, plan.files[PLANT])
    for gateway in plan.gateways:
        await relay.listen(gateway.name, gateway.relay_port)
    await _until(lambda: scene.started >= {UTILITY, PLANT}, "utility and plant are ready")
    return AsyncClient(plan.operator_url, plan.token_file.read_text(encoding="utf-8").strip())


async def _enrol(plan: Plan, script: Script, client: AsyncClient) -> Mapping[str, frozenset[str]]:
    """Enrol every DER at the utility; gives the members of the groups that the script names."""
    await client.add_devices(
        [
            {"lfdi": gateway.lfdi, "service_point": gateway.service_point, "pin": gateway.pin}
            for gateway in plan.gateways
        ]
    )
    names = {step.group for step in script.control} | {step.group for step in script.cut}
    names |= {feeder.id for feeder in plan.site.grid.feeders}
    found = {}
    for name in sorted(names):
        listed = (await client.members(name))["members"]
        found[name] = frozenset(member["lfdi"].upper() for member in listed if member["lfdi"] is not None)
    return found


async def _looking(scene: Scene) -> None:
    while True:
        scene.look()
        await asyncio.sleep(_LOOK_S)


async def _until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds.

    Raises: ConfigError when that takes too long.
    """
    try:
        async with asyncio.timeout(_START_S):
            while not holds():  # noqa: ASYNC110 - what is waited for happens in other processes
                await asyncio.sleep(_LOOK_S / 2)
    except TimeoutError as error:
        raise ConfigError(
            f"after {_START_S:.0f} s it is not so yet that {what}; see the logs in the state folder"
        ) from error


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Find the one failure that tells the most: ours before others."""
    own = failures.subgroup(TierlineError)
    found: BaseException = failures if own is None else own
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def _span(plan: Plan) -> tuple[datetime, datetime]:
    """Tell from when to when the plant ran."""
    times = [line["t"] for line in Tail(plan.journal).all() if line.get("kind") in {"start", "flow"}]
    return datetime.fromtimestamp(times[0], UTC), datetime.fromtimestamp(times[-1], UTC)
