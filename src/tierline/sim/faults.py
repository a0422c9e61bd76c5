"""What may go wrong in a simulated world: the kinds, and a plan of them drawn from a seed.

A plan is a value: print it, keep it with a failure, replay it. Probabilities are per message; times are virtual seconds
since the world began. After `quiet_from_s` nothing new goes wrong, so that what must come right in the end can be
checked at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tierline.ports import Random


class Fault(StrEnum):
    """The kinds of fault; a world counts each time one has happened."""

    LOSS = "loss"
    """A request vanished before it arrived."""
    RESPONSE_LOSS = "response_loss"
    """A response vanished after the request was carried out."""
    DUPLICATION = "duplication"
    """A request arrived twice."""
    DELAY = "delay"
    """A message took much longer than usual."""
    REORDER = "reorder"
    """A message arrived after one that was sent later on the same link."""
    PARTITION = "partition"
    """A message met a link that was silently closed in its direction."""
    CUT = "cut"
    """A message met a link that was down; the sender noticed."""
    SPLIT = "split"
    """Bytes written at once arrived in pieces."""
    RESET = "reset"
    """A connection broke."""
    CRASH = "crash"
    """A node died, at an await or in between."""
    CRASH_BEFORE_COMMIT = "crash_before_commit"
    """A node died with a change not yet durable."""
    CRASH_AFTER_COMMIT = "crash_after_commit"
    """A node died with a change durable but not yet known to be so."""
    RESTART = "restart"
    """A node came back with nothing but its disk."""
    DISK_FULL = "disk_full"
    """A write was refused."""
    CLOCK_SKEW = "clock_skew"
    """A node's civil clock was wrong from the start."""
    CLOCK_JUMP = "clock_jump"
    """A node's civil clock stepped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFaults:
    """How a link treats each message."""

    loss: float = 0.0
    """Probability that a message, request or response, vanishes."""
    duplication: float = 0.0
    """Probability that a request arrives twice."""
    delay: float = 0.0
    """Probability that a message is held back."""
    split: float = 0.0
    """Probability that written bytes arrive in pieces."""
    reset: float = 0.0
    """Probability that a written chunk breaks the connection."""
    latency_s: tuple[float, float] = (0.005, 0.2)
    """The usual travelling time, from and to; messages that travel together may overtake each other."""
    held_back_s: tuple[float, float] = (1.0, 40.0)
    """How long a message is held back, and how much later a duplicate comes, from and to."""


FAULTLESS = LinkFaults()


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """A link has these faults for a while."""

    source: str
    target: str
    from_s: float
    until_s: float
    faults: LinkFaults


@dataclass(frozen=True, slots=True, kw_only=True)
class Blockage:
    """Nothing travels from `source` to `target` for a while; the other way is not affected."""

    source: str
    target: str
    from_s: float
    until_s: float
    kind: Fault
    """PARTITION: the sender hears nothing; CUT: the sender is told at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """A node dies at one of its awaits."""

    node: str
    at_s: float
    awaits: int
    """It dies at this many awaits after `at_s`; 0 is at `at_s` itself."""
    down_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitCrash:
    """A node dies just before or after a commit."""

    node: str
    at_s: float
    commits: int
    """It dies at this commit, counted from `at_s`, 1 being the next."""
    is_after: bool
    down_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFull:
    """A node's disk refuses writes, from the n-th on, until somebody makes room."""

    node: str
    at_s: float
    writes: int
    """The first write refused, counted from `at_s`, 1 being the next."""
    until_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockStep:
    """A node's civil clock is stepped; at 0 s it is a skew."""

    node: str
    at_s: float
    by_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """All that goes wrong in one run."""

    links: LinkFaults = FAULTLESS
    """How every link behaves until `quiet_from_s`, where nothing else is said."""
    quiet_from_s: float = 0.0
    weather: tuple[Weather, ...] = ()
    blockages: tuple[Blockage, ...] = ()
    crashes: tuple[Crash, ...] = ()
    commit_crashes: tuple[CommitCrash, ...] = ()
    full_disks: tuple[DiskFull, ...] = ()
    clock_steps: tuple[ClockStep, ...] = ()

    def __str__(self) -> str:
        """Show every option, one a line."""
        lines = [f"until {self.quiet_from_s:.0f} s: {self.links}"]
        for part in (
            self.weather, self.blockages, self.crashes, self.commit_crashes, self.full_disks, self.clock_steps,
        ):  # fmt: skip
            lines += [f"  {fault}" for fault in part]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensity:
    """How much goes wrong."""

    kinds: frozenset[Fault] = frozenset(Fault)
    """The kinds that may be drawn."""
    per_node_day: float = 2.0
    """How often, on average, each kind of event hits each node or link within 24 h."""
    loss: float = 0.04
    """The largest probability drawn for loss, duplication, delay, splitting; resets have a tenth of it."""
    largest_skew_s: float = 3600.0
    largest_jump_s: float = 86_400.0
    quiet: float = 0.1
    """The last part of the run in which nothing new goes wrong."""


ORDINARY = Intensity()


def draw_plan(
    random: Random,
    *,
    nodes: Sequence[str],
    links: Iterable[tuple[str, str]],
    hours: float,
    intensity: Intensity = ORDINARY,
) -> FaultPlan:
    """Draw a plan; the same numbers from `random` give the same plan.

    `links` are the pairs that talk to each other, each named once.
    """
    return _Drawing(random, tuple(nodes), tuple(links), hours * 3600.0, intensity).plan()


@dataclass(slots=True)
class _Drawing:
    random: Random
    nodes: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    length_s: float
    intensity: Intensity
    quiet_from_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.quiet_from_s = self.length_s * (1 - self.intensity.quiet)

    def plan(self) -> FaultPlan:
        return FaultPlan(
            links=self.link_faults(self.intensity.loss),
            quiet_from_s=self.quiet_from_s,
            weather=tuple(self.weather()),
            blockages=(*self.partitions(), *self.cuts(), *self.swizzle()),
            crashes=tuple(self.crashes()),
            commit_crashes=tuple(self.commit_crashes()),
            full_disks=tuple(self.full_disks()),
            clock_steps=(*self.skews(), *self.jumps()),
        )

    def link_faults(self, most: float) -> LinkFaults:
        def chance(fault: Fault, most: float) -> float:
            drawn = self.random.fraction() * most
            return drawn if fault in self.intensity.kinds else 0.0

        return LinkFaults(
            loss=chance(Fault.LOSS, most),
            duplication=chance(Fault.DUPLICATION, most),
            delay=chance(Fault.DELAY, most),
            split=chance(Fault.SPLIT, most),
            reset=chance(Fault.RESET, most / 10),
        )

    def weather(self) -> Iterable[Weather]:
        for source, target in self.directed():
            for at_s in self.times(Fault.LOSS):
                yield Weather(
                    source=source,
                    target=target,
                    from_s=at_s,
                    until_s=self.end(at_s, 1800),
                    faults=self.link_faults(min(1.0, 10 * self.intensity.loss)),
                )

    def partitions(self) -> Iterable[Blockage]:
        for source, target in self.directed():
            for at_s in self.times(Fault.PARTITION):
                yield self.block(source, target, at_s, self.end(at_s, 3600), Fault.PARTITION)

    def cuts(self) -> Iterable[Blockage]:
        for one, other in self.links:
            for at_s in self.times(Fault.CUT):
                until_s = self.end(at_s, 7200)
                yield self.block(one, other, at_s, until_s, Fault.CUT)
                yield self.block(other, one, at_s, until_s, Fault.CUT)

    def swizzle(self) -> Iterable[Blockage]:
        """Clog a random half of the links one after the other, and free them in another order."""
        for at_s in self.times(Fault.PARTITION):
            for source, target in self.directed():
                if self.random.bits(1):
                    from_s = self.end(at_s, 300)
                    until_s = self.end(from_s, 600)
                    if from_s < until_s:  # the quiet end may have come first
                        yield self.block(source, target, from_s, until_s, Fault.PARTITION)

    def crashes(self) -> Iterable[Crash]:
        for node in self.nodes:
            for at_s in self.times(Fault.CRASH):
                yield Crash(node=node, at_s=at_s, awaits=self.random.between(0, 12), down_s=self.down())

    def commit_crashes(self) -> Iterable[CommitCrash]:
        for node in self.nodes:
            for fault in (Fault.CRASH_BEFORE_COMMIT, Fault.CRASH_AFTER_COMMIT):
                for at_s in self.times(fault):
                    yield CommitCrash(
                        node=node,
                        at_s=at_s,
                        commits=self.random.between(1, 5),
                        is_after=fault is Fault.CRASH_AFTER_COMMIT,
                        down_s=self.down(),
                    )

    def full_disks(self) -> Iterable[DiskFull]:
        for node in self.nodes:
            for at_s in self.times(Fault.DISK_FULL):
                yield DiskFull(node=node, at_s=at_s, writes=self.random.between(1, 5), until_s=self.end(at_s, 1800))

    def skews(self) -> Iterable[ClockStep]:
        if Fault.CLOCK_SKEW in self.intensity.kinds:
            for node in self.nodes:
                yield ClockStep(node=node, at_s=0.0, by_s=self.signed(self.intensity.largest_skew_s))

    def jumps(self) -> Iterable[ClockStep]:
        for node in self.nodes:
            for at_s in self.times(Fault.CLOCK_JUMP):
                yield ClockStep(node=node, at_s=max(1.0, at_s), by_s=self.signed(self.intensity.largest_jump_s))

    def times(self, kind: Fault) -> list[float]:
        """Draw when a kind of fault happens to one victim: as many times as its share of days, one more by chance."""
        expected = self.intensity.per_node_day * self.length_s / 86_400.0
        count = int(expected) + (self.random.fraction() < expected % 1)
        drawn = sorted(self.random.fraction() * self.quiet_from_s for _ in range(count))
        return drawn if kind in self.intensity.kinds else []

    def end(self, at_s: float, longest_s: float) -> float:
        return min(self.quiet_from_s, at_s + self.random.fraction() * longest_s)

    def down(self) -> float:
        """Draw how long a dead node stays dead: seconds mostly, up to half an hour."""
        return 0.5 + 1800.0 * self.random.fraction() ** 4

    def signed(self, largest: float) -> float:
        """Draw a step, small ones as often as large ones."""
        size = float(largest ** self.random.fraction())
        return size if self.random.bits(1) else -size

    def directed(self) -> Iterable[tuple[str, str]]:
        for one, other in self.links:
            yield one, other
            yield other, one

    @staticmethod
    def block(source: str, target: str, from_s: float, until_s: float, kind: Fault) -> Blockage:
        return Blockage(source=source, target=target, from_s=from_s, until_s=until_s, kind=kind)
