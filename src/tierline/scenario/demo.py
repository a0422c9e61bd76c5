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
from tierline.scenario.configuration import HOST, PLANT, ConfigWriter
from tierline.scenario.enrolment import enrol_all, note_groups
from tierline.scenario.evidence import Steps, devices_of, stations_of, write_evidence
from tierline.scenario.owners import Owners
from tierline.scenario.plan import Site, make_folder, make_plan, ports_needed
from tierline.scenario.processes import Processes
from tierline.scenario.relay import Relay
from tierline.scenario.scene import Scene
from tierline.scenario.script import load_script
from tierline.scenario.stage import Stage
from tierline.scenario.switching import Switchgear
from tierline.scenario.tail import Tail
from tierline.scenario.view import show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tierline.scenario.plan import Plan
    from tierline.scenario.script import Script
    from tierline.scenario.stations import Gateway, Station

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
    block = await reserve(RealNetwork(), ports_needed(site, script, gateways))
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
            relay = Relay(group, RealNetwork(), HOST)
            switchgear = Switchgear(RealNetwork(), HOST, plan.switchgear_port)
            try:
                scene = Scene(plan)
                helpers = [group.create_task(processes.watch()), group.create_task(_looking(scene))]
                members, clients = await _set_stage(script, plan, processes, relay, scene)
                note_groups(steps, script, members, ready_at=clock.now())
                stage = Stage(
                    plan=plan,
                    script=script,
                    clock=clock,
                    clients=clients,
                    switchgear=switchgear,
                    owners=Owners(plan.folder),
                    processes=processes,
                    relay=relay,
                    scene=scene,
                    steps=steps,
                    members=members,
                )
                ready, ready_s = clock.now(), clock.deadline() - began
                steps.note("ready", ready)
                scene.say(ready, f"{len(plan.gateways)} gateways have walked")
                api = None if plan.head is None else plan.operator_url(plan.head)
                log.info("ready", gateways=len(plan.gateways), after_s=round(ready_s, 1), api=api)
                if not options.headless:
                    helpers.append(group.create_task(show(stage)))
                await stage.play(ready)
                await switchgear.close()
                for client in clients.values():
                    await client.close()
                for processes_of_one_kind in (plan.gateway_processes, tuple(reversed(list(plan.stations))), (PLANT,)):
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
        "stations": stations_of(plan),
        "alone": plan.head is None,
    }


async def _set_stage(
    script: Script, plan: Plan, processes: Processes, relay: Relay, scene: Scene
) -> tuple[Mapping[str, frozenset[str]], Mapping[str, AsyncClient]]:
    """Start everything and wait until every gateway has walked once.

    Gives the members of the groups that the script names, and the operator API of each station.
    """
    clients = await _start_stations(plan, processes, relay, scene)
    members = await enrol_all(plan, script, clients)
    followers = {station.name for station in plan.stations.values() if station.relays}
    await _until(lambda: scene.relayed >= followers, "every station has heard those above it")
    for process in plan.gateway_processes:
        await processes.start(process, plan.files[process])
    lfdis = {gateway.lfdi for gateway in plan.gateways}
    await _until(lambda: scene.walked >= lfdis, "every gateway has walked")
    return members, clients


async def _start_stations(plan: Plan, processes: Processes, relay: Relay, scene: Scene) -> Mapping[str, AsyncClient]:
    for name in (*plan.stations, PLANT):
        await processes.start(name, plan.files[name])
    nodes: list[Station | Gateway] = [*plan.stations.values(), *plan.gateways]
    for node in nodes:
        for uplink in node.uplinks:
            await relay.listen(node.name, uplink.port, uplink.server.port)
    await _until(lambda: scene.started >= {*plan.stations, PLANT}, "stations and plant are ready")
    return {
        name: AsyncClient(plan.operator_url(station), plan.token_file(station).read_text(encoding="utf-8").strip())
        for name, station in plan.stations.items()
    }


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
