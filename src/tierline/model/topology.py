"""What the wires look like: the grid, the groups that follow it, and who was in which group when.

Two rules. Every id is unique within its grid, so a reference needs no kind beside it. A switch stands at one end of a
branch or between two nodes; the wire behind it conducts when every switch on it is closed.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self, TypeVar, get_type_hints

from tierline.model.errors import ConfigError
from tierline.model.identity import DerId, GroupId
from tierline.model.points import Label

FORMAT = "tierline-grid-1"
"""The name and edition of the grid file format; another edition is refused."""

LOCATION: Mapping[str, str] = {"privacy": Label.LOCATION}
"""Marks a field whose value tells where a customer is."""


class SwitchKind(StrEnum):
    """What a switch is for."""

    BREAKER = "breaker"
    """Interrupts faults; heads a feeder."""
    SECTIONALISER = "sectionaliser"
    """Splits a feeder; normally closed."""
    TIE = "tie"
    """Joins two sections that are normally apart."""


class TapSide(StrEnum):
    """Which winding of a transformer carries the tap changer."""

    HV = "hv"
    LV = "lv"


class Tier(StrEnum):
    """The level of a group. Source: CSIP 2.1, topology-based groups."""

    SYSTEM = "system"
    SUB_TRANSMISSION = "sub_transmission"
    SUBSTATION = "substation"
    FEEDER = "feeder"
    SEGMENT = "segment"
    SERVICE_TRANSFORMER = "service_transformer"
    SERVICE_POINT = "service_point"
    NON_TOPOLOGY = "non_topology"
    """A set made for another reason than the wires: a tariff, a contract, a pilot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A busbar or joint: one electrical potential."""

    id: str
    """Unique within the grid."""
    kv: Decimal
    """Nominal line-to-line voltage [kV]."""
    x: Decimal | None = field(default=None, metadata=LOCATION)
    """Longitude [degree, WGS 84], or any plane coordinate; for drawing only."""
    y: Decimal | None = field(default=None, metadata=LOCATION)
    """Latitude [degree, WGS 84], or any plane coordinate; for drawing only."""

    def __post_init__(self) -> None:
        _above_zero(self, "kv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An overhead line or cable between two nodes of one voltage."""

    id: str
    """Unique within the grid."""
    from_node: str
    to_node: str
    length_km: Decimal
    r_ohm_per_km: Decimal
    """Positive-sequence series resistance."""
    x_ohm_per_km: Decimal
    """Positive-sequence series reactance."""
    c_nf_per_km: Decimal
    """Positive-sequence shunt capacitance."""
    i_max_a: Decimal
    """Continuous current rating."""

    def __post_init__(self) -> None:
        _above_zero(self, "length_km", "i_max_a")
        _not_below_zero(self, "r_ohm_per_km", "x_ohm_per_km", "c_nf_per_km")
        if not self.r_ohm_per_km and not self.x_ohm_per_km:
            raise ConfigError(f"line {self.id!r} has no impedance; give r_ohm_per_km or x_ohm_per_km, or use a switch")

    @property
    def ends(self) -> tuple[str, str]:
        """The two nodes it joins."""
        return self.from_node, self.to_node


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformer:
    """A two-winding transformer with a ratio tap changer."""

    id: str
    """Unique within the grid."""
    hv_node: str
    lv_node: str
    sn_mva: Decimal
    """Rated apparent power [MVA]."""
    hv_kv: Decimal
    """Rated voltage of the upper winding [kV]."""
    lv_kv: Decimal
    """Rated voltage of the lower winding [kV]."""
    vk_percent: Decimal
    """Short-circuit voltage [% of rated]."""
    vkr_percent: Decimal
    """Its resistive part [%]."""
    pfe_kw: Decimal = Decimal(0)
    """Iron losses [kW]."""
    i0_percent: Decimal = Decimal(0)
    """No-load current [% of rated]."""
    shift_degree: Decimal = Decimal(0)
    """Phase shift from the upper to the lower winding [degree]; a multiple of 30."""
    tap_side: TapSide = TapSide.HV
    tap_position: int = 0
    tap_neutral: int = 0
    tap_min: int = 0
    tap_max: int = 0
    tap_step_percent: Decimal = Decimal(0)
    """Voltage change of one tap step [% of rated]."""

    def __post_init__(self) -> None:
        _above_zero(self, "sn_mva", "hv_kv", "lv_kv", "vk_percent")
        _not_below_zero(self, "vkr_percent", "pfe_kw", "i0_percent", "tap_step_percent")
        if self.vkr_percent > self.vk_percent:
            raise ConfigError(
                f"transformer {self.id!r}: vkr_percent {self.vkr_percent} is part of vk_percent and above it"
            )
        if not self.tap_min <= self.tap_position <= self.tap_max:
            raise ConfigError(
                f"transformer {self.id!r}: tap_position {self.tap_position} is outside "
                f"tap_min {self.tap_min} .. tap_max {self.tap_max}"
            )

    @property
    def ends(self) -> tuple[str, str]:
        """The two nodes it joins, upper voltage first."""
        return self.hv_node, self.lv_node


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A switch at one end of a branch, or between two nodes."""

    id: int
    """Unique among the switches of the grid."""
    node: str
    """The node it stands at."""
    element: str
    """The branch it connects to that node, or the second node (a coupler)."""
    kind: SwitchKind
    closed: bool
    """The state the file was made with."""
    normally_open: bool = False

    @property
    def ends(self) -> tuple[str, str]:
        """What it joins: the node and the element."""
        return self.node, self.element


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the grid above feeds in."""

    id: str
    """Unique within the grid."""
    node: str
    u_pu: Decimal = Decimal(1)
    """Voltage it holds, as a fraction of the node's nominal voltage."""

    def __post_init__(self) -> None:
        _above_zero(self, "u_pu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A consumer, or the consumers behind one station."""

    id: str
    """Unique within the grid."""
    node: str
    p_w: Decimal
    """Active power drawn at its peak [W]."""
    q_var: Decimal
    """Reactive power drawn at its peak [var]; negative for a capacitive load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePoint:
    """Where one DER connects."""

    id: str
    """Unique within the grid."""
    node: str
    p_w: Decimal
    """Active power rating of the DER [W]."""

    def __post_init__(self) -> None:
        _above_zero(self, "p_w")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeder:
    """What hangs on one outgoing branch of a substation's busbar."""

    id: str
    """Unique within the grid."""
    transformer: str
    """The transformer whose lower busbar it normally starts at."""
    node: str
    """That busbar."""
    branch: str
    """The outgoing line."""
    breaker: int | None = None
    """The switch that disconnects the whole feeder, if there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """One network as it was built; what is open or closed now travels beside it.

    Raises: ConfigError when two ids clash or a reference leads nowhere.
    """

    name: str
    source: str
    """Where the data comes from."""
    licence: str
    """The terms under which the data is passed on."""
    nodes: tuple[Node, ...]
    lines: tuple[Line, ...] = ()
    transformers: tuple[Transformer, ...] = ()
    switches: tuple[Switch, ...] = ()
    sources: tuple[Source, ...] = ()
    loads: tuple[Load, ...] = ()
    service_points: tuple[ServicePoint, ...] = ()
    feeders: tuple[Feeder, ...] = ()

    def __post_init__(self) -> None:
        _check_ids(self)
        _check_references(self)

    @property
    def branches(self) -> tuple[Line | Transformer, ...]:
        """Return lines, then transformers."""
        return *self.lines, *self.transformers

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a grid file.

        Raises: ConfigError naming the table, the row and the key at fault.
        """
        return cls(**_read_tables(text))

    def to_json(self) -> str:
        """Write a grid file: one row a line, values that equal their default left out."""
        head = {"format": FORMAT, "name": self.name, "source": self.source, "licence": self.licence}
        parts = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
        for table in _ROWS:
            rows: tuple[Any, ...] = getattr(self, table)  # Any: one of the eight row classes above
            parts.append(f'"{table}": [' + ",".join(f"\n{_write_row(row)}" for row in rows) + "]")
        return "{\n" + ",\n".join(parts) + "\n}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A set of DERs that controls are aimed at."""

    id: GroupId
    """Opaque and stable: it outlives names and says nothing about the place."""
    tier: Tier
    name: str
    """What operators call it."""
    parent: GroupId | None = None
    """The group above it in the same hierarchy."""
    element: str | None = None
    """The feeder, transformer or service point of the grid it stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """That one DER belonged to one group, and when this became known.

    Bitemporal: a correction is a further row with a later `recorded_at`; no row is ever changed.
    """

    der_id: DerId
    group_id: GroupId
    valid_from: datetime
    """First instant at which it holds in the field (aware, UTC)."""
    valid_to: datetime | None
    """First instant at which it holds no more; None while it still does."""
    recorded_at: datetime
    """When this statement was written down."""

    def __post_init__(self) -> None:
        if self.valid_to is not None and self.valid_to < self.valid_from:
            raise ConfigError(
                f"membership of {self.der_id!r} in {self.group_id!r} ends at {self.valid_to} before it starts at {self.valid_from}"
            )

    def holds_at(self, instant: datetime) -> bool:
        """Tell whether the DER belonged to the group at that instant."""
        return self.valid_from <= instant and (self.valid_to is None or instant < self.valid_to)


_ROWS: Mapping[str, type[Any]] = {
    "nodes": Node,
    "lines": Line,
    "transformers": Transformer,
    "switches": Switch,
    "sources": Source,
    "loads": Load,
    "service_points": ServicePoint,
    "feeders": Feeder,
}
"""The tables of a grid file and what a row of each is. Any: eight unrelated row classes."""

_T = TypeVar("_T")


def _above_zero(row: Any, *names: str) -> None:  # Any: each row class above
    for name in names:
        if not getattr(row, name) > 0:
            raise ConfigError(
                f"{type(row).__name__.lower()} {row.id!r}: {name} must be above 0, not {getattr(row, name)}"
            )


def _not_below_zero(row: Any, *names: str) -> None:  # Any: each row class above
    for name in names:
        if getattr(row, name) < 0:
            raise ConfigError(
                f"{type(row).__name__.lower()} {row.id!r}: {name} must not be negative: {getattr(row, name)}"
            )


def _check_ids(grid: Grid) -> None:
    seen: dict[str | int, str] = {}
    for table in _ROWS:
        for row in getattr(grid, table):
            if row.id in seen:
                raise ConfigError(
                    f"grid {grid.name!r}: {table} use the id {row.id!r}, which {seen[row.id]} use already"
                )
            seen[row.id] = table


def _check_references(grid: Grid) -> None:
    kv = {node.id: node.kv for node in grid.nodes}
    branches = {branch.id: branch for branch in grid.branches}
    switches = {switch.id: switch for switch in grid.switches}

    def known(what: str, name: str, among: Mapping[Any, Any], kind: str) -> None:  # Any: only membership is asked
        if name not in among:
            raise ConfigError(f"grid {grid.name!r}: {what} refers to the {kind} {name!r}, which does not exist")

    for branch in grid.branches:
        for end in branch.ends:
            known(f"branch {branch.id!r}", end, kv, "node")
        if branch.ends[0] == branch.ends[1]:
            raise ConfigError(f"grid {grid.name!r}: branch {branch.id!r} starts and ends at {branch.ends[0]!r}")
    for line in grid.lines:
        if kv[line.from_node] != kv[line.to_node]:
            raise ConfigError(
                f"grid {grid.name!r}: line {line.id!r} joins {kv[line.from_node]} kV and {kv[line.to_node]} kV; use a transformer"
            )
    for switch in grid.switches:
        known(f"switch {switch.id}", switch.node, kv, "node")
        known(f"switch {switch.id}", switch.element, kv | branches, "branch or node")
        if switch.element in branches and switch.node not in branches[switch.element].ends:
            raise ConfigError(
                f"grid {grid.name!r}: switch {switch.id} stands at {switch.node!r}, which is no end of {switch.element!r}"
            )
    placed: tuple[Source | Load | ServicePoint | Feeder, ...] = (
        *grid.sources,
        *grid.loads,
        *grid.service_points,
        *grid.feeders,
    )
    for row in placed:
        known(f"{type(row).__name__.lower()} {row.id!r}", row.node, kv, "node")
    transformers = {transformer.id: transformer for transformer in grid.transformers}
    for feeder in grid.feeders:
        known(f"feeder {feeder.id!r}", feeder.transformer, transformers, "transformer")
        known(f"feeder {feeder.id!r}", feeder.branch, branches, "branch")
        if feeder.node not in branches[feeder.branch].ends:
            raise ConfigError(
                f"grid {grid.name!r}: feeder {feeder.id!r} starts at {feeder.node!r}, which is no end of {feeder.branch!r}"
            )
        if feeder.breaker is not None and (
            feeder.breaker not in switches or switches[feeder.breaker].element != feeder.branch
        ):
            raise ConfigError(
                f"grid {grid.name!r}: the breaker {feeder.breaker} of feeder {feeder.id!r} is no switch of {feeder.branch!r}"
            )


def _read_tables(text: str) -> dict[str, Any]:  # Any: what each field of Grid holds
    try:
        data = json.loads(
            text, parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_refuse_repeated_keys
        )
    except json.JSONDecodeError as error:
        raise ConfigError(f"grid file: not JSON: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"grid file: expected an object, found {type(data).__name__}")
    if data.pop("format", None) != FORMAT:
        raise ConfigError(f'grid file: key "format" must be "{FORMAT}"')
    unknown = sorted(set(data) - {"name", "source", "licence", *_ROWS})
    if unknown:
        raise ConfigError(f"grid file: unknown key {unknown[0]!r}")
    heads = {key: _read_value(data.get(key), str, f"grid file: {key}") for key in ("name", "source", "licence")}
    return heads | {table: _read_rows(data.get(table, []), table) for table in _ROWS}


def _refuse_constant(name: str) -> None:
    raise ConfigError(f"grid file: {name} is no value; leave the key out")


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:  # Any: JSON values before they are read
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ConfigError(f"grid file: key {key!r} stands twice in one object")
        found[key] = value
    return found


def _read_rows(rows: object, table: str) -> tuple[Any, ...]:  # Any: rows of the class named in _ROWS
    if not isinstance(rows, list):
        raise ConfigError(f"grid file: {table} must be a list")
    row_class = _ROWS[table]
    hints = get_type_hints(row_class)
    required = {f.name for f in fields(row_class) if f.default is f.default_factory}  # both MISSING: no default
    return tuple(
        _read_row(row, row_class, hints, required, f"grid file: {table}[{index}]") for index, row in enumerate(rows)
    )


def _read_row(row: object, row_class: type[_T], hints: Mapping[str, Any], required: set[str], where: str) -> _T:
    if not isinstance(row, dict):
        raise ConfigError(f"{where} must be an object")
    unknown = sorted(set(row) - set(hints))
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(sorted(hints))}")
    missing = sorted(required - set(row))
    if missing:
        raise ConfigError(f"{where}: key {missing[0]!r} is missing")
    return row_class(**{key: _read_value(value, hints[key], f"{where}.{key}") for key, value in row.items()})


def _read_value(value: object, hint: Any, where: str) -> Any:  # Any: the type is the one `hint` names
    kind = next(kind for kind in _READERS if hint in (kind, kind | None))
    try:
        return _READERS[kind](value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where} must be {_SAID[kind]}, not {value!r}") from error


def _exactly(kind: type[_T]) -> Callable[[object], _T]:
    def read(value: object) -> _T:
        if type(value) is not kind:
            raise TypeError
        return value

    return read


def _number(value: object) -> Decimal:
    if type(value) is int:
        return Decimal(value)
    return _exactly(Decimal)(value)


_READERS: Mapping[type[Any], Callable[[Any], Any]] = {
    str: _exactly(str),
    int: _exactly(int),
    bool: _exactly(bool),
    Decimal: _number,
    SwitchKind: SwitchKind,
    TapSide: TapSide,
}
"""How each type of a row is read from JSON. Any: the value before it is checked."""

_SAID: Mapping[type[Any], str] = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    Decimal: "a number",
    SwitchKind: f"one of {', '.join(SwitchKind)}",
    TapSide: f"one of {', '.join(TapSide)}",
}
"""How an error names each type."""


def _write_row(row: Any) -> str:  # Any: one of the row classes
    cells = [
        f"{json.dumps(f.name)}: {_write_value(getattr(row, f.name))}"
        for f in fields(row)
        if getattr(row, f.name) != f.default
    ]
    return "{" + ", ".join(cells) + "}"


def _write_value(value: object) -> str:
    return format(value, "f") if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)
