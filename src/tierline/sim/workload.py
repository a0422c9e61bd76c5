"""What the operators of a simulated utility do: a day of controls, cancellations, defaults and switching, from a seed.

An act names what it refers to by number, since mRIDs are drawn while the simulation runs; times are relative to the moment
the act is done or to another control.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from tierline.model.control import Curve, CurvePoint, Droop, Reference, Setpoints, Value
from tierline.model.functions import FUNCTIONS, Merge
from tierline.model.identity import Mrid
from tierline.model.topology import (
    Feeder,
    Grid,
    Line,
    Node,
    ServicePoint,
    Source,
    Switch,
    SwitchKind,
    Transformer,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tierline.ports import Random

T = TypeVar("T")

FEEDERS = ("A", "B", "C")
"""A and B start at one substation, C at the other."""
SETS = ("pilot", "tariff")
"""Groups that do not follow the wires; of one primacy, so that the newer control of two programs ranks first."""
GROUPS = ("system", "T1", "T2", *FEEDERS, *SETS)
SECTIONS: Mapping[str, int] = {"A": 1, "B": 2, "C": 3}
"""By feeder: the switch between its near and its far half."""
TIES: Mapping[tuple[str, str], int] = {("A", "B"): 12, ("B", "C"): 23}
"""Between the far halves of two feeders."""
MODES = ("max_lim_w_pct", "target_var", "connect", "freq_droop", "volt_watt")
"""Of five quantities, so that none is in the way of another: that is not the oracle's business."""
CROSSING_MODES = (
    "max_lim_w_pct", "gen_lim_w", "target_w", "fixed_w_pct", "target_var", "volt_var", "connect", "freq_droop", "volt_watt",
)  # fmt: skip
"""Several of one quantity, for DERs that are judged over all their channels; no event or default has two that only one can win
(docs/rules.md A9)."""
OWNER_MODES = ("max_lim_w_pct", "gen_lim_w")
"""What owners limit: of one quantity, so that what they say and what the utility says meet (A10)."""
SETTINGS = ("grad_w_pct_per_s", "es_delay_s")
"""Only in defaults."""
DURATIONS_S = (1, 7, 60, 300, 600, 900, 1800, 3600, 3600, 7200)
SWITCHINGS: Sequence[Mapping[int, bool]] = (
    {12: True, 2: False},  # the far half of B goes to A
    {23: True, 2: False},  # the far half of B goes to C, another substation
    {23: True, 3: False},
    {12: True, 1: False},
    {12: False, 23: False, 1: True, 2: True, 3: True},  # back to normal
    {12: False, 23: False, 1: True, 2: True, 3: True},
    {1: False},  # far half of A dead unless a tie feeds it
    {12: True},  # a loop moves nobody
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """How often what happens; rates per hour, the rest probabilities."""

    controls: float = 3.0
    cancellations: float = 0.7
    defaults: float = 0.5
    switchings: float = 0.5
    successor: float = 0.25
    """Share of controls that begin when another ends."""
    similar: float = 0.35
    """Share of controls that overlap another and share its modes."""
    randomized: float = 0.5
    """Share of controls and of cancellations with randomization."""
    extreme: float = 0.06
    """Share of randomizations wider than the control is long."""
    late: float = 0.1
    """Share of controls whose start is past when they are made."""
    groups: tuple[str, ...] = GROUPS
    modes: tuple[str, ...] = MODES
    durations_s: tuple[int, ...] = DURATIONS_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Make a control."""

    at_s: float
    group: str
    setpoints: Setpoints
    start_in_s: int
    """From now, or from the start of the control it overlaps."""
    duration_s: int
    randomize_start_s: int
    randomize_duration_s: int
    ramp_time_s: Decimal | None
    follows: int | None = None
    """The control at whose end it starts, by number."""
    overlaps: int | None = None
    """The control from whose start its own start is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Cancel a control: one that is in its interval, if there is one, else one that is not over."""

    at_s: float
    pick: int
    """Which of them, counted round and round."""
    randomized: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDefault:
    """Change a default; modes that are not named any more are released."""

    at_s: float
    group: str
    setpoints: Setpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchOver:
    """Confirm switch positions."""

    at_s: float
    positions: Mapping[int, bool]


Act = Create | Cancel | SetDefault | SwitchOver


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerLimit:
    """An owner limits his device for a time."""

    at_s: float
    setpoints: Setpoints
    start_in_s: int | None
    """None: from now on."""
    duration_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerCancel:
    """An owner cancels one of his limits that is not over."""

    at_s: float
    pick: int
    """Which of them, counted round and round."""


OwnerAct = OwnerLimit | OwnerCancel

OWNER_LIMITS_PER_HOUR = 0.5
OWNER_CANCELS = 0.35
"""So many of what an owner does: he cancels."""


def draw_acts(random: Random, *, hours: float, mix: Mix) -> tuple[Act, ...]:
    """Draw what the operators do, in order of time; the last acts come early enough to be seen through."""
    return tuple(_Drawing(random, hours, mix).acts())


def draw_owner_acts(random: Random, *, hours: float) -> tuple[OwnerAct, ...]:
    """Draw what one owner says to his gateway, in order of time: limits that follow, overlap and replace each other, and their ends."""
    drawing = _Drawing(random, hours, Mix(modes=OWNER_MODES, randomized=0.0))
    count = max(2, round(OWNER_LIMITS_PER_HOUR * hours / (1 - OWNER_CANCELS)))
    times = sorted(60.0 + random.fraction() * (hours * 3600 - 120) for _ in range(count))
    return tuple(drawing.of_owner(round(at_s, 3)) for at_s in times)


def grid(points: int) -> Grid:
    """Make a network of three feeders, each in two halves, with ties between the far halves."""
    kv = Decimal(12)
    ends = [f"{feeder}{half}" for feeder in FEEDERS for half in (1, 2)]
    bus = {"A": "b1", "B": "b1", "C": "b2"}
    wire = {"r_ohm_per_km": Decimal(1), "x_ohm_per_km": Decimal(1), "c_nf_per_km": Decimal(0), "i_max_a": Decimal(400)}

    def line(name: str, start: str, end: str) -> Line:
        return Line(id=name, from_node=start, to_node=end, length_km=Decimal(1), **wire)

    def substation(name: str, node: str) -> Transformer:
        return Transformer(
            id=name, hv_node="hv", lv_node=node, sn_mva=Decimal(20), hv_kv=Decimal(110), lv_kv=kv,
            vk_percent=Decimal(10), vkr_percent=Decimal(1),
        )  # fmt: skip

    return Grid(
        name="three feeders",
        source="made for the simulation",
        licence="Apache-2.0",
        nodes=(Node(id="hv", kv=Decimal(110)), *(Node(id=name, kv=kv) for name in ("b1", "b2", *ends))),
        lines=tuple(
            made
            for feeder in FEEDERS
            for made in (
                line(f"{feeder}-head", bus[feeder], f"{feeder}1"),
                line(f"{feeder}-tail", f"{feeder}1", f"{feeder}2"),
            )
        ),
        transformers=(substation("T1", "b1"), substation("T2", "b2")),
        switches=(
            *(
                Switch(id=key, node=f"{feeder}1", element=f"{feeder}-tail", kind=SwitchKind.SECTIONALISER, closed=True)
                for feeder, key in SECTIONS.items()
            ),
            *(
                Switch(
                    id=key, node=f"{one}2", element=f"{other}2", kind=SwitchKind.TIE, closed=False, normally_open=True
                )
                for (one, other), key in TIES.items()
            ),
        ),
        sources=(Source(id="grid", node="hv"),),
        service_points=tuple(
            ServicePoint(id=f"point{number:02d}", node=ends[number % len(ends)], p_w=Decimal(10_000))
            for number in range(points)
        ),
        feeders=tuple(
            Feeder(
                id=feeder,
                transformer="T2" if feeder == "C" else "T1",
                node=bus[feeder],
                branch=f"{feeder}-head",
            )
            for feeder in FEEDERS
        ),
    )


def home(number: int) -> str:
    """Name the node at which a DER is connected."""
    return f"{FEEDERS[number // 2 % 3]}{number % 2 + 1}"


def in_set(number: int, name: str) -> bool:
    """Tell whether a DER belongs to a group that does not follow the wires."""
    return number % (2 if name == "pilot" else 3) == 0


class _Drawing:
    def __init__(self, random: Random, hours: float, mix: Mix) -> None:
        self._random = random
        self._hours = hours
        self._mix = mix
        self._controls: list[Create] = []

    def acts(self) -> list[Act]:
        mix = self._mix
        rates = (
            (mix.controls, self._create),
            (mix.cancellations, self._cancel),
            (mix.defaults, self._set_default),
            (mix.switchings, self._switch),
        )
        times = sorted(
            (60.0 + self._random.fraction() * (self._hours * 3600 - 120), index)
            for index, (rate, _) in enumerate(rates)
            for _ in range(round(rate * self._hours))
        )
        found: list[Act] = []
        for at_s, index in times:
            found.append(rates[index][1](round(at_s, 3)))
        return found

    def of_owner(self, at_s: float) -> OwnerAct:
        """Draw one thing an owner does."""
        if self._chance(OWNER_CANCELS):
            return OwnerCancel(at_s=at_s, pick=self._random.between(0, 5))
        return OwnerLimit(
            at_s=at_s,
            setpoints=Setpoints.of({name: self._value(name) for name in self._some_of(self._mix.modes)}),
            start_in_s=None if self._chance(0.3) else self._random.between(-60, 5400),
            duration_s=self._one_of(self._mix.durations_s),
        )

    def _create(self, at_s: float) -> Create:
        mix = self._mix
        recent = list(enumerate(self._controls))[-6:]
        other: tuple[int, Create] | None = self._one_of(recent) if recent else None
        relation = self._random.fraction()
        names: Sequence[str] = self._some_of(mix.modes)
        group = self._one_of(mix.groups)
        duration_s = self._one_of(mix.durations_s)
        start_in_s = self._random.between(30, 7200)
        if self._chance(mix.late):
            start_in_s = -self._random.between(1, min(600, duration_s))
        follows = overlaps = None
        if other is not None and relation < mix.successor + mix.similar:
            number, before = other
            names = tuple(before.setpoints) if self._chance(0.7) else names
            group = before.group if self._chance(0.6) else group
            if relation < mix.successor:
                follows = number
            else:
                overlaps = number
                start_in_s = self._random.between(-before.duration_s, before.duration_s)
        made = Create(
            at_s=at_s,
            group=group,
            setpoints=Setpoints.of({name: self._value(name) for name in names}),
            start_in_s=start_in_s,
            duration_s=duration_s,
            randomize_start_s=self._offset(duration_s),
            randomize_duration_s=self._offset(duration_s),
            ramp_time_s=Decimal(self._random.between(1, 60)) if self._chance(0.3) else None,
            follows=follows,
            overlaps=overlaps,
        )
        self._controls.append(made)
        return made

    def _cancel(self, at_s: float) -> Cancel:
        return Cancel(at_s=at_s, pick=self._random.between(0, 5), randomized=self._chance(self._mix.randomized))

    def _set_default(self, at_s: float) -> SetDefault:
        names = self._some_of((*self._mix.modes, *SETTINGS))
        values = {name: self._value(name) for name in names}
        return SetDefault(at_s=at_s, group=self._one_of(self._mix.groups), setpoints=Setpoints.of(values))

    def _switch(self, at_s: float) -> SwitchOver:
        return SwitchOver(at_s=at_s, positions=self._one_of(SWITCHINGS))

    def _offset(self, duration_s: int) -> int:
        if not self._chance(self._mix.randomized):
            return 0
        widest = 3600 if self._chance(self._mix.extreme) else min(900, duration_s // 2)
        return self._random.between(-widest, widest)

    def _value(self, name: str) -> Value:
        number = self._random.between(0, 100)
        match name:
            case "connect":
                return number >= 30
            case "max_lim_w_pct":
                return Decimal(number)
            case "gen_lim_w":
                return Decimal(100 * number)
            case "target_w":
                return Decimal(200 * number - 10_000)
            case "fixed_w_pct":
                return Decimal(2 * number - 100)
            case "target_var":
                return Decimal(10 * number - 500)
            case "freq_droop":
                slope = Decimal("0.02") + Decimal(number) / 1000
                dead_band = Decimal("0.036")
                return Droop(
                    dead_band_over_hz=dead_band,
                    dead_band_under_hz=dead_band,
                    slope_over=slope,
                    slope_under=slope,
                    open_loop_s=Decimal(5),
                )
            case "volt_watt":
                points = (CurvePoint(x=Decimal(106), y=Decimal(100)), CurvePoint(x=Decimal(110), y=Decimal(number)))
                return Curve(mrid=Mrid("0" * 32), points=points, y_reference=Reference.SET_MAX_W)
            case "volt_var":
                points = (CurvePoint(x=Decimal(94), y=Decimal(number)), CurvePoint(x=Decimal(106), y=Decimal(-number)))
                return Curve(mrid=Mrid("0" * 32), points=points, y_reference=Reference.SET_MAX_VAR)
            case _:
                return Decimal(number)

    def _some_of(self, names: Sequence[str]) -> tuple[str, ...]:
        first = self._one_of(names)
        some = [name for name in names if name == first or self._chance(0.3)]
        return tuple(name for name in some if name == first or not _is_rival(name, {first, *some[: some.index(name)]}))

    def _one_of(self, among: Sequence[T]) -> T:
        return among[self._random.between(0, len(among) - 1)]

    def _chance(self, probability: float) -> bool:
        return self._random.fraction() < probability


def _is_rival(name: str, others: Iterable[str]) -> bool:
    """Tell whether only one of a function and some others can be carried out (A5)."""
    row = FUNCTIONS[name]
    return row.merge is Merge.ONE_WINNER and any(
        FUNCTIONS[other].merge is Merge.ONE_WINNER and FUNCTIONS[other].quantity is row.quantity for other in others
    )
