"""A whole hierarchy in one process: nodes on one virtual clock, one simulated network, a disk each, and seeded faults.

Everything random comes from the seed, by streams named after what they are for; so the same seed gives the same run, and
one more node changes nothing for the others.
"""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from tierline.env import SeededRandom
from tierline.sim.disk import CrashedError, Disk
from tierline.sim.faults import FAULTLESS, ORDINARY, CommitCrash, Crash, Fault, FaultPlan, Intensity, draw_plan
from tierline.sim.loop import START, VirtualClock, VirtualLoop, VirtualTask
from tierline.sim.network import Links, MessageNetwork
from tierline.sim.nodes import LIFE, Life, Network, Node
from tierline.sim.streams import Streams
from tierline.sim.trace import Trace

if TYPE_CHECKING:
    from types import TracebackType

Factory = Callable[[Node], Coroutine[Any, Any, None]]
"""Makes the main coroutine of a node, anew at every start; what it must remember it keeps on its disk."""

REPAIR_S = 5.0
"""How long a node that ended on a full disk stays down before it is started again."""


LAST_TURNS = 100
"""How many turns of the loop clean-up code gets when the world ends."""


class Machine:
    """What lasts of a node: its program, its clock, its disk."""

    def __init__(self, name: str, factory: Factory, clock: VirtualClock, disk: Disk) -> None:
        self.name = name
        self.factory = factory
        self.clock = clock
        self.disk = disk
        self.life: Life | None = None
        self.lives = 0
        self.down_s = REPAIR_S
        """How long it stays down after a death that was armed beforehand."""
        self.node: Node | None = None


class World:
    """A simulated world; use it as a context manager, or close it."""

    def __init__(self, seed: int, *, start: datetime = START, keep_events: bool = False) -> None:
        self.seed = seed
        self.start = start
        self.loop = VirtualLoop()
        self.trace = Trace(self.loop.time, tail=None if keep_events else 40)
        self.faults: Counter[Fault] = Counter()
        """How often each kind of fault has happened."""
        self.plan = FaultPlan()
        """What was planned to go wrong."""
        self.links = Links(self.loop, self.random, self.faults)
        self.messages = MessageNetwork(self.loop, self.links, self.trace.record)
        self.streams = Streams(self.loop, self.links, self.trace.record)
        self._network = Network(self.messages, self.streams, self.trace)
        self._machines: dict[str, Machine] = {}
        self._is_closing = False
        self._failure: BaseException | None = None
        self._end: asyncio.Future[None] | None = None
        self.loop.on_task(_adopt)
        self.loop.set_exception_handler(self._on_loop_error)

    def random(self, name: str) -> SeededRandom:
        """Give the stream of random numbers of that name, from its beginning."""
        return SeededRandom(f"{self.seed} {name}")

    def node(self, name: str, factory: Factory, *, certificate: bytes = b"") -> Machine:
        """Add a node; it starts at the next moment. `certificate` (DER) is what its TLS streams show."""
        if name in self._machines:
            raise ValueError(f"there is a node {name} already; names are unique in a world")
        machine = Machine(name, factory, VirtualClock(self.loop, start=self.start), Disk(self.faults))
        machine.disk.belongs_to(lambda: self.crash(name, down_s=machine.down_s), _pass_await)
        self._machines[name] = machine
        self.streams.certificates[name] = certificate
        self.loop.call_soon(self._start, machine)
        return machine

    def is_up(self, name: str) -> bool:
        """Tell whether a node is alive."""
        return self._machines[name].life is not None

    def crash(self, name: str, *, down_s: float | None = None) -> None:
        """Kill a node now; start it again after a while, or never. A node that is down stays down."""
        machine = self._machines[name]
        life, node = machine.life, machine.node
        if life is None or node is None:
            return
        self.faults[Fault.CRASH] += 1
        self.trace.record(name, f"crash of life {life.number}")
        machine.life = machine.node = None
        self.messages.detach(name)
        self.streams.die(name)
        node.files.lose_unsynced()
        life.end()
        if down_s is not None:
            self.loop.call_later(down_s, self._restart, machine, life)

    def draw_faults(
        self, *, links: Iterable[tuple[str, str]], hours: float, intensity: Intensity = ORDINARY
    ) -> FaultPlan:
        """Draw a plan for the nodes there are from the seed, and apply it; `links` are the pairs that talk."""
        plan = draw_plan(
            self.random("plan"), nodes=tuple(self._machines), links=links, hours=hours, intensity=intensity
        )
        self.apply(plan)
        return plan

    def apply(self, plan: FaultPlan) -> None:
        """Let the plan's faults happen; its times count from the beginning of the world."""
        self.plan = plan
        at = self.loop.call_at
        self.links.usual = plan.links
        for weather in plan.weather:
            at(weather.from_s, self.links.set_weather, weather.source, weather.target, weather.faults)
            at(weather.until_s, self.links.set_weather, weather.source, weather.target, None)
        for block in plan.blockages:
            at(block.from_s, self.links.block, block.source, block.target, block.kind)
            at(block.until_s, self.links.unblock, block.source, block.target, block.kind)
        for crash in plan.crashes:
            at(crash.at_s, self._arm_crash, crash)
        for commit_crash in plan.commit_crashes:
            at(commit_crash.at_s, self._arm_commit_crash, commit_crash)
        for full in plan.full_disks:
            at(full.at_s, self._machines[full.node].disk.fill, full.writes)
            at(full.until_s, self._machines[full.node].disk.make_room)
        for step in plan.clock_steps:
            if step.at_s > 0:
                at(step.at_s, self.step_clock, step.node, step.by_s, Fault.CLOCK_JUMP)
            else:
                self.step_clock(step.node, step.by_s, Fault.CLOCK_SKEW)
        at(plan.quiet_from_s, self._calm_down)

    def step_clock(self, name: str, by_s: float, kind: Fault = Fault.CLOCK_JUMP) -> None:
        """Step the civil clock of a node, forward or backward."""
        self.faults[kind] += 1
        self.trace.record(name, f"{kind} by {by_s:.6f} s")
        self._machines[name].clock.jump(timedelta(seconds=by_s))

    def watch(self, watcher: Callable[[float, str, str], None]) -> None:
        """Have `watcher(second, who, what)` called at every event; an AssertionError of it ends the run."""

        def watching(second: float, who: str, what: str) -> None:
            try:
                watcher(second, who, what)
            except AssertionError as violation:
                self._fail(violation)  # here, because the program it happens in might catch it
                raise

        self.trace.watch(watching)

    def run(self, hours: float) -> None:
        """Let so many virtual hours pass; call it again to go on.

        Raises: what a node's program or a watcher of the trace raised, with a note how to repeat the run.
        """
        self._end = self.loop.create_future()
        timer = self.loop.call_later(0.0 if self._failure else hours * 3600.0, self._finish)
        self.loop.run_until_complete(self._end)
        timer.cancel()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            failure.add_note(
                f"World({self.seed}) at virtual second {self.loop.time():.6f}; the plan:\n{self.plan}\n"
                f"the last events:\n{self.trace}"
            )
            raise failure

    def close(self) -> None:
        """Kill all nodes, let their clean-up code run to its end, and let go of the loop."""
        if self._is_closing:
            return
        self._is_closing = True
        for machine in self._machines.values():
            life, machine.life = machine.life, None
            if life is not None:
                self.messages.detach(machine.name)
                self.streams.die(machine.name)
                life.end()
        for _ in range(LAST_TURNS):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
            if not asyncio.all_tasks(self.loop):
                break
        self.loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, machine: Machine) -> None:
        if self._is_closing:
            return
        machine.lives += 1
        name = machine.name
        life = Life(name, machine.lives, self.loop, lambda: self.crash(name, down_s=machine.down_s), self._ended)
        machine.life = life
        random = self.random(f"node {name} life {life.number}")
        node = machine.node = Node(life, machine.clock, random, machine.disk, self._network)
        self.trace.record(name, f"start of life {life.number}")
        life.spawn(machine.factory(node))

    def _restart(self, machine: Machine, previous: Life) -> None:
        left_over = previous.left_over()
        if left_over:
            self._fail(
                AssertionError(f"{machine.name} went on after its death: {left_over}; what swallows CancelledError?")
            )
            return
        self.faults[Fault.RESTART] += 1
        self._start(machine)

    def _arm_crash(self, crash: Crash) -> None:
        machine = self._machines[crash.node]
        if machine.life is None:
            return
        machine.down_s = crash.down_s
        if crash.awaits:
            machine.life.dies_at = machine.life.awaits + crash.awaits
        else:
            self.crash(crash.node, down_s=crash.down_s)

    def _arm_commit_crash(self, crash: CommitCrash) -> None:
        machine = self._machines[crash.node]
        machine.down_s = crash.down_s
        machine.disk.crash_at(crash.commits, is_after=crash.is_after)

    def _calm_down(self) -> None:
        self.links.usual = FAULTLESS
        for machine in self._machines.values():
            machine.disk.disarm()
            if machine.life is not None:
                machine.life.dies_at = None

    def _ended(self, life: Life, task: asyncio.Task[Any]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        if _is_full_disk(error) and not life.is_over:
            self.crash(life.name, down_s=REPAIR_S)  # a program that cannot write may end, and is started again
        elif not life.is_over or isinstance(error, AssertionError):
            self._fail(error)

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception") or RuntimeError(context["message"])
        if not isinstance(error, CrashedError):
            self._fail(error)

    def _finish(self) -> None:
        if self._end is not None and not self._end.done():
            self._end.set_result(None)

    def _fail(self, failure: BaseException) -> None:
        if self._failure is None:
            self._failure = failure
        self._finish()


def _adopt(task: VirtualTask[Any]) -> None:
    life = LIFE.get()
    if life is not None:
        life.adopt(task)


def _pass_await() -> None:
    life = LIFE.get()
    if life is not None:
        life.pass_await()


def _is_full_disk(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_full_disk(part) for part in error.exceptions)
    return isinstance(error, OSError) and error.errno == errno.ENOSPC
