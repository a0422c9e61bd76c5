"""Registers to values and back, compiled from the published definitions.

Two rules. A layout is a definition plus its repeat counts, so every point has one fixed place. A point that carries its
not-implemented sentinel has the value None; no number is invented for it.
"""

import functools
import ipaddress
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from types import MappingProxyType
from typing import Final

from tierline.model.errors import PeerError, Unsupported
from tierline.protocols.sunspec.definitions import GroupDefinition, PointDefinition, PointType, model_definition

Value = Decimal | int | str | None
"""A scaled number, a code or bit field, a text, or None where the point is not implemented."""

HEADER_REGISTERS: Final = 2
"""ID and L come before the L registers of the body."""

MAX_EXPONENT: Final = 10
"""A sunssf lies within -10..10 (SunSpec information model specification, scale factors)."""


MAX_REPEATING: Final = 4096
"""Registers of a repeating model on a device: far more than 10 curves of 10 points need; bounds what a hostile device costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One point of a layout, with its registers."""

    path: str
    """Its address by name: `WMaxLimPct`, `PFWInj.PF`, `Crv[1].Pt[0].V` (indices from 0)."""
    offset: int
    """Registers from the start of the model, whose ID has offset 0."""
    index: int
    """Its position in the unpacked values."""
    scale: str | int | None
    """The path of its scale factor, a constant exponent, or None."""
    point: PointDefinition
    """What is published about it."""

    @property
    def size(self) -> int:
        """Length in registers."""
        return self.point.size

    @property
    def end(self) -> int:
        """The offset behind its last register."""
        return self.offset + self.point.size


_INTEGER_CODES: Final = MappingProxyType(
    {
        PointType.INT16: "h",
        PointType.INT32: "i",
        PointType.INT64: "q",
        PointType.UINT16: "H",
        PointType.UINT32: "I",
        PointType.UINT64: "Q",
        PointType.RAW16: "H",
        PointType.ACC16: "H",
        PointType.ACC32: "I",
        PointType.ACC64: "Q",
        PointType.ENUM16: "H",
        PointType.ENUM32: "I",
        PointType.BITFIELD16: "H",
        PointType.BITFIELD32: "I",
        PointType.BITFIELD64: "Q",
        PointType.SUNSSF: "h",
        PointType.COUNT: "H",
        PointType.PAD: "H",
    }
)
_FLOAT_CODES: Final = MappingProxyType({PointType.FLOAT32: "f", PointType.FLOAT64: "d"})
_ACCUMULATORS: Final = frozenset({PointType.ACC16, PointType.ACC32, PointType.ACC64})
_CODES: Final = frozenset(
    {
        PointType.ENUM16,
        PointType.ENUM32,
        PointType.BITFIELD16,
        PointType.BITFIELD32,
        PointType.BITFIELD64,
        PointType.SUNSSF,
        PointType.COUNT,
        PointType.PAD,
        PointType.RAW16,
    }
)


def _sentinel(code: str, kind: PointType) -> int:
    if kind in _ACCUMULATORS or kind is PointType.PAD:
        return 0
    bits = 8 * struct.calcsize(">" + code)
    return -(1 << bits - 1) if code.islower() else (1 << bits) - 1


_SENTINELS: Final = MappingProxyType({kind: _sentinel(code, kind) for kind, code in _INTEGER_CODES.items()})
_RANGES: Final = MappingProxyType(
    {
        kind: (-(1 << bits - 1), (1 << bits - 1) - 1) if code.islower() else (0, (1 << bits) - 1)
        for kind, code in _INTEGER_CODES.items()
        for bits in (8 * struct.calcsize(">" + code),)
    }
)
# A quiet NaN in the bit pattern the specification names; float("nan") has the same in CPython, but that is not promised.
_NAN: Final = MappingProxyType({PointType.FLOAT32: b"\x7f\xc0\0\0", PointType.FLOAT64: b"\x7f\xf8" + bytes(6)})
# Significant digits that carry a binary32 and a binary64 there and back (IEEE 754-2019, 5.12.2).
_DIGITS: Final = MappingProxyType({PointType.FLOAT32: 9, PointType.FLOAT64: 17})


def _struct_code(point: PointDefinition) -> str:
    if point.type in _INTEGER_CODES:
        return _INTEGER_CODES[point.type]
    return _FLOAT_CODES.get(point.type) or f"{2 * point.size}s"


def _none_raw(point: PointDefinition) -> "int | float | bytes":
    if point.type in _SENTINELS:
        return _SENTINELS[point.type]
    if point.type in _FLOAT_CODES:
        return math.nan
    return b"\xff" * 8 if point.type is PointType.EUI48 else bytes(2 * point.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Registers that follow each other and are written together."""

    offset: int
    """Registers from the start of the model."""
    data: bytes
    """The registers, big-endian."""

    @property
    def count(self) -> int:
        """Length in registers."""
        return len(self.data) // 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """A model with its repeat counts, compiled."""

    model_id: int
    """The model number."""
    name: str
    """The model's published name, for example `DERVoltVar`."""
    places: tuple[Place, ...]
    """Every point in the order of the registers."""
    by_path: Mapping[str, Place] = field(repr=False)
    """The same by name path."""
    counts: Mapping[str, int]
    """The repeat counts it was compiled with."""
    packing: struct.Struct = field(repr=False)
    """All points at once."""

    @property
    def length(self) -> int:
        """Registers of the whole model, ID and L included."""
        return self.packing.size // 2

    def place(self, path: str) -> Place:
        """Find a point by its name path.

        Raises: KeyError when the model has no such point.
        """
        return self.by_path[path]

    def decode(self, data: bytes) -> "Block":
        """Take the registers of the whole model apart; values are scaled when asked for.

        A model of an older revision that ends early reads as not implemented behind its end.
        """
        size = self.packing.size
        if len(data) < size:
            data = data + self.blank[len(data) :]
        return Block(layout=self, raw=self.packing.unpack(data[:size]))

    @property
    def blank(self) -> bytes:
        """The model with every point not implemented, ID, L and counts filled in."""
        return _blank(self)

    def encode(self, values: Mapping[str, Value]) -> bytes:
        """Put a whole model together; what is not named is not implemented.

        Raises: Unsupported when a value does not fit its point; KeyError for an unknown path.
        """
        for path in values:
            self.place(path)
        stated = dict(self._own_values()) | dict(values)
        exponents = {path: value for path, value in stated.items() if isinstance(value, int)}
        return b"".join(self._point_bytes(place, stated.get(place.path), exponents.get) for place in self.places)

    def encode_runs(
        self, values: Mapping[str, Value], scales: "Block", *, rounding: str = ROUND_HALF_EVEN
    ) -> tuple[Run, ...]:
        """Encode single points for writing; points that touch become one run, in register order.

        `scales` is the block read from the device: its scale factors decide the integers.
        Raises: Unsupported when a value does not fit its point.
        """
        runs: list[Run] = []
        for place in sorted(map(self.place, values), key=lambda place: place.offset):
            data = self._point_bytes(place, values[place.path], scales.exponent_at, rounding)
            if runs and runs[-1].offset + runs[-1].count == place.offset:
                runs[-1] = Run(offset=runs[-1].offset, data=runs[-1].data + data)
            else:
                runs.append(Run(offset=place.offset, data=data))
        return tuple(runs)

    def covering(self, start: int, end: int) -> tuple[Place, ...]:
        """List the points that lie in or touch the registers from `start` up to `end`."""
        return tuple(place for place in self.places if place.offset < end and place.end > start)

    def spans(self, start: int, end: int, most: int) -> tuple[tuple[int, int], ...]:
        """Cut registers into reads of at most `most`, never through a point: a number read in two halves may be torn."""
        return _spans(self, start, end, most)

    def _cut(self, start: int, end: int, most: int) -> Iterator[tuple[int, int]]:
        first = start
        last = start
        for place in self.covering(start, end):
            if place.end - first > most:
                yield first, last
                first = last
            last = min(place.end, end)
        if last > first:
            yield first, last

    def _own_values(self) -> Iterator[tuple[str, int]]:
        yield "ID", self.model_id
        yield "L", self.length - HEADER_REGISTERS
        for name, count in self.counts.items():
            if name in self.by_path:
                yield name, count

    def _point_bytes(
        self, place: Place, value: Value, exponent_of: Callable[[str], int | None], rounding: str = ROUND_HALF_EVEN
    ) -> bytes:
        exponent = place.scale if isinstance(place.scale, int) else exponent_of(place.scale) if place.scale else None
        return encode_point(place, value, exponent or 0, rounding=rounding)


# Layouts live as long as the process and compare by identity; the same few questions are asked at every access.
@functools.lru_cache(maxsize=512)
def _blank(layout: Layout) -> bytes:
    return layout.encode({})


@functools.lru_cache(maxsize=4096)
def _spans(layout: Layout, start: int, end: int, most: int) -> tuple[tuple[int, int], ...]:
    return tuple(layout._cut(start, end, most))  # noqa: SLF001 - its own module


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The registers of one model as they were read."""

    layout: Layout
    """How they are read."""
    raw: tuple[int | float | bytes, ...] = field(repr=False)
    """The unpacked, unscaled points."""

    def value(self, path: str) -> Value:
        """Read one point, scaled; None where the device does not implement it.

        Raises: PeerError when its scale factor is outside -10..10 or a text is not text; KeyError for an unknown path.
        """
        place = self.layout.place(path)
        return self._value(place)

    def number(self, path: str) -> Decimal | None:
        """Read a numeric point, scaled to its published unit."""
        value = self.value(path)
        if value is None or isinstance(value, Decimal):
            return value
        return Decimal(self._integer(path, value))

    def code(self, path: str) -> int | None:
        """Read an enumeration, bit field, count or unscaled integer."""
        value = self.value(path)
        return value if value is None else self._integer(path, value)

    def wire(self, path: str) -> tuple[int, int] | None:
        """Read an integer point as it stands on the wire: its integer and its power of ten."""
        place = self.layout.place(path)
        raw = self.raw[place.index]
        if not isinstance(raw, int) or raw == _SENTINELS[place.point.type]:
            return None
        return raw, self._exponent(place)

    def text(self, path: str) -> str | None:
        """Read a text point."""
        value = self.value(path)
        return None if value is None else str(value)

    def has(self, path: str) -> bool:
        """Whether the model has this point and the device implements it."""
        return path in self.layout.by_path and self.value(path) is not None

    def values(self) -> dict[str, Value]:
        """Read every point."""
        return {place.path: self._value(place) for place in self.layout.places}

    def exponent_at(self, path: str) -> int | None:
        """Read a scale factor; None where it is not implemented, which leaves its points unscaled.

        Raises: PeerError when it is outside -10..10.
        """
        place = self.layout.place(path)
        raw = self.raw[place.index]
        if raw == _SENTINELS[PointType.SUNSSF]:
            return None
        if not isinstance(raw, int) or not -MAX_EXPONENT <= raw <= MAX_EXPONENT:
            raise PeerError(
                f"the scale factor {raw!r} is outside -10..10; the device's point map is not usable",
                path=self._name(path),
            )
        return raw

    def resolution(self, path: str) -> Decimal:
        """Tell the smallest step of a point.

        Units: those of the point.
        """
        return Decimal(1).scaleb(self._exponent(self.layout.place(path)))

    def range(self, path: str) -> tuple[Decimal, Decimal]:
        """Tell the least and the greatest number that an integer point holds, its sentinel left out.

        Units: those of the point.
        """
        kind = self.layout.place(path).point.type
        low, high = _RANGES[kind]
        step = self.resolution(path)
        return (low + (low == _SENTINELS[kind])) * step, (high - (high == _SENTINELS[kind])) * step

    def _exponent(self, place: Place) -> int:
        if isinstance(place.scale, str):
            return self.exponent_at(place.scale) or 0
        return place.scale or 0

    def _value(self, place: Place) -> Value:
        raw = self.raw[place.index]
        kind = place.point.type
        if isinstance(raw, bytes):
            return _decode_bytes(kind, raw, self._name(place.path))
        if isinstance(raw, float):
            return Decimal(f"{raw:.{_DIGITS[kind]}g}") if math.isfinite(raw) else None
        if raw == _SENTINELS[kind] and kind is not PointType.PAD:
            return None
        if kind in _CODES or place.scale is None:
            return raw
        return Decimal(raw).scaleb(self._exponent(place))

    def _integer(self, path: str, value: Decimal | int | str) -> int:
        if isinstance(value, int):
            return value
        raise TypeError(f"{self._name(path)} is not an integer point")

    def _name(self, path: str) -> str:
        return f"{self.layout.model_id}.{path}"


def encode_point(place: Place, value: Value, exponent: int, *, rounding: str = ROUND_HALF_EVEN) -> bytes:
    """Encode one point.

    Raises: Unsupported when the value does not fit the point, its sentinel included.
    """
    point = place.point
    if value is None:
        return _NAN[point.type] if point.type in _NAN else struct.pack(f">{_struct_code(point)}", _none_raw(point))
    if point.type in _FLOAT_CODES:
        return struct.pack(f">{_FLOAT_CODES[point.type]}", float(value))
    if point.type not in _INTEGER_CODES:
        return _encode_bytes(place, str(value))
    if isinstance(value, str):
        raise Unsupported(f"{place.path} is a number; {value!r} cannot be written to it")
    scaled = place.scale is not None and point.type not in _CODES
    steps = Decimal(value).scaleb(-exponent) if scaled else Decimal(value)
    raw = int(steps.to_integral_value(rounding=rounding))
    low, high = _RANGES[point.type]
    if not low <= raw <= high or (raw == _SENTINELS[point.type] and raw != 0):
        raise Unsupported(f"{place.path} = {value} does not fit into {point.type} with scale factor {exponent}")
    return struct.pack(f">{_INTEGER_CODES[point.type]}", raw)


def _decode_bytes(kind: PointType, raw: bytes, name: str) -> str | None:
    if kind is PointType.EUI48:
        # Four registers hold six bytes; the first register is not used.
        return None if raw[2:] == b"\xff" * 6 else ":".join(f"{byte:02X}" for byte in raw[2:])
    if not any(raw):
        return None
    if kind is PointType.STRING:
        try:
            return raw.split(b"\0", 1)[0].decode("utf-8")
        except UnicodeDecodeError as error:
            raise PeerError(f"the text {raw!r} is not UTF-8", path=name) from error
    return str(ipaddress.ip_address(raw))


def _encode_bytes(place: Place, text: str) -> bytes:
    size = 2 * place.point.size
    if place.point.type is PointType.STRING:
        data = text.encode("utf-8")
    elif place.point.type is PointType.EUI48:
        data = bytes(2) + bytes.fromhex(text.replace(":", ""))
    else:
        data = ipaddress.ip_address(text).packed
    if len(data) > size or (b"\0" in data.rstrip(b"\0") and place.point.type is PointType.STRING):
        raise Unsupported(f"{place.path} = {text!r} does not fit into {size} bytes of {place.point.type}")
    return data.ljust(size, b"\0")


def compile_layout(model_id: int, counts: Mapping[str, int] | None = None) -> Layout:
    """Compile a published model with its repeat counts, named by count point (`NPt`) or, where the model's length decides, by group.

    Raises: Unsupported when the model is not published or a count is missing or negative.
    """
    return _compiled(model_id, tuple(sorted((counts or {}).items())))


# One entry per device type; the bound keeps a hostile device from filling memory with counts of its own.
@functools.lru_cache(maxsize=128)
def _compiled(model_id: int, counts: tuple[tuple[str, int], ...]) -> Layout:
    group = model_definition(model_id).group
    places: list[Place] = []
    _place_group(group, "", {}, dict(counts), places)
    code = "".join(_struct_code(place.point) for place in places)
    return Layout(
        model_id=model_id,
        name=group.name,
        places=tuple(places),
        by_path=MappingProxyType({place.path: place for place in places}),
        counts=MappingProxyType(dict(counts)),
        packing=struct.Struct(">" + code),
    )


def _place_group(
    group: GroupDefinition, prefix: str, scales: Mapping[str, str], counts: Mapping[str, int], places: list[Place]
) -> None:
    scales = {**scales, **{point.name: prefix + point.name for point in group.points if point.type is PointType.SUNSSF}}
    for point in group.points:
        scale = scales[point.scale] if isinstance(point.scale, str) else point.scale
        offset = places[-1].end if places else 0
        places.append(Place(path=prefix + point.name, offset=offset, index=len(places), scale=scale, point=point))
    for child in group.groups:
        if child.count is None:
            _place_group(child, f"{prefix}{child.name}.", scales, counts, places)
            continue
        for number in range(_repeats(child, counts)):
            _place_group(child, f"{prefix}{child.name}[{number}].", scales, counts, places)


def _repeats(group: GroupDefinition, counts: Mapping[str, int]) -> int:
    name = count_name(group)
    if counts.get(name, -1) < 0:
        raise Unsupported(f"the group {group.name} repeats: say how often, as {name!r}")
    return counts[name]


def count_name(group: GroupDefinition) -> str:
    """Name the count of a repeating group: its count point, or the group itself where the model's length decides."""
    return group.count if isinstance(group.count, str) else group.name


def counts_of(model_id: int, data: bytes, length: int) -> dict[str, int]:
    """Find the repeat counts of a model on a device from its fixed part and its L.

    `data` holds the registers from ID on, at least the fixed part.
    Raises: PeerError when the counts do not fit the model's length; Unsupported when the model is not published.
    """
    root = model_definition(model_id).group
    names = set(_count_names(root.groups))
    fixed = _registers(root, dict.fromkeys(names, 0))
    counts: dict[str, int] = {}
    offset = 0
    for point in root.points:
        if point.name in names:
            (counts[point.name],) = struct.unpack_from(">H", data.ljust(2 * fixed, b"\xff"), 2 * offset)
            if counts[point.name] == _SENTINELS[PointType.UINT16]:
                counts[point.name] = 0
        offset += point.size
    body = length + HEADER_REGISTERS
    for group in root.groups:
        if group.count == 0:
            counts[group.name] = max(0, body - fixed) // _registers(group, counts)
    if body > MAX_REPEATING and names:
        raise PeerError(
            f"L = {length}: a repeating model of more than {MAX_REPEATING} registers is not taken", path=f"{model_id}.L"
        )
    if names and (needed := _registers(root, counts)) > body:
        raise PeerError(
            f"L = {length}, but the counts {counts} need {needed - HEADER_REGISTERS} registers", path=f"{model_id}.L"
        )
    return counts


def fixed_length(model_id: int) -> int:
    """Tell how many registers from ID on hold no repeating group."""
    root = model_definition(model_id).group
    return sum(point.size for point in root.points)


def _count_names(groups: Iterable[GroupDefinition]) -> Iterator[str]:
    for group in groups:
        if group.count is not None:
            yield count_name(group)
        yield from _count_names(group.groups)


def _registers(group: GroupDefinition, counts: Mapping[str, int]) -> int:
    children = sum(
        _registers(child, counts) * (1 if child.count is None else counts[count_name(child)]) for child in group.groups
    )
    return sum(point.size for point in group.points) + children
