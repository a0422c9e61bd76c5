"""A device's behaviour behind its registers: what may be written, what a write means, and how curves are adopted.

Measurements are set by code; settings arrive by Modbus and leave as typed changes. A write is checked whole before any of
it is taken.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from tierline.model.errors import PeerError
from tierline.protocols.sunspec.codec import Block, Place, Value
from tierline.protocols.sunspec.definitions import PointType
from tierline.protocols.sunspec.image import Gauge, MappedModel, RegisterImage
from tierline.protocols.sunspec.modbus import ExceptionCode, ModbusFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A setting was written."""

    model_id: int
    """The model number."""
    path: str
    """The point, for example `WMaxLimPct`."""
    value: Value
    """Its new value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """A stored curve, or set of controls, has become the active one."""

    model_id: int
    """The model number, for example 705."""
    values: Mapping[str, Value]
    """The active one by path inside it, for example `ActPt`, `Pt[0].V`, `MustTrip.Pt[0].Tms`."""


Change = Changed | Adopted


class AdoptionResult(IntEnum):
    """AdptCrvRslt and AdptCtlRslt."""

    IN_PROGRESS = 0
    COMPLETED = 1
    FAILED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """How a model keeps stored curves or controls."""

    group: str
    """The repeating group; its first one is active and read-only."""
    request: str
    """Where the number of the one to adopt is written; the first has number 1."""
    result: str
    """Where the outcome is read."""
    axis: str | None
    """The points of a curve that must rise, by name; None where there is no curve."""
    parts: tuple[str, ...] = ("",)
    """Prefixes of the curves inside the group."""


_TRIP_PARTS: Final = ("MustTrip.", "MayTrip.", "MomCess.")


def _curve(axis: str | None, parts: tuple[str, ...] = ("",)) -> Adoption:
    return Adoption(group="Crv", request="AdptCrvReq", result="AdptCrvRslt", axis=axis, parts=parts)


ADOPTIONS: Final[Mapping[int, Adoption]] = MappingProxyType(
    {
        705: _curve("V"),
        706: _curve("V"),
        # Trip curves run from long to short times or back, so neither axis must rise; they are checked for ActPt only.
        707: _curve(None, _TRIP_PARTS),
        708: _curve(None, _TRIP_PARTS),
        709: _curve(None, _TRIP_PARTS),
        710: _curve(None, _TRIP_PARTS),
        711: Adoption(group="Ctl", request="AdptCtlReq", result="AdptCtlRslt", axis=None, parts=()),
        712: _curve("W"),
    }
)
"""The models that keep stored curves (705 to 712)."""

_PERCENT: Final = (Decimal(0), Decimal(100))
_SIGNED_PERCENT: Final = (Decimal(-100), Decimal(100))
_UNIT: Final = (Decimal(0), Decimal(1))
_LIMITS: Final[Mapping[tuple[int, str], tuple[Decimal, Decimal]]] = MappingProxyType(
    {
        (704, "WMaxLimPct"): _PERCENT,
        (704, "WMaxLimPctRvrt"): _PERCENT,
        (704, "WSetPct"): _SIGNED_PERCENT,
        (704, "WSetPctRvrt"): _SIGNED_PERCENT,
        (704, "VarSetPct"): _SIGNED_PERCENT,
        (704, "VarSetPctRvrt"): _SIGNED_PERCENT,
        (704, "PFWInj.PF"): _UNIT,
        (704, "PFWAbs.PF"): _UNIT,
    }
)
"""Ranges that follow from what the points are percentages and factors of."""

REVERSIONS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "PFWInj": {"PFWInj.PF": "PFWInjRvrt.PF", "PFWInj.Ext": "PFWInjRvrt.Ext"},
        "PFWAbs": {"PFWAbs.PF": "PFWAbsRvrt.PF", "PFWAbs.Ext": "PFWAbsRvrt.Ext"},
        "WMaxLimPct": {"WMaxLimPct": "WMaxLimPctRvrt"},
        "WSet": {"WSet": "WSetRvrt", "WSetPct": "WSetPctRvrt"},
        "VarSet": {"VarSet": "VarSetRvrt", "VarSetPct": "VarSetPctRvrt"},
    }
)
"""The functions of 704 with a reversion timer, and where their values after it stand."""
_CONTROLS: Final = 704

_CODED: Final = frozenset({PointType.ENUM16, PointType.ENUM32})


def _ignore(_change: Change) -> None:
    """Do nothing with a change."""


def _accept(_change: Change) -> bool:
    """Accept every change that the registers allow."""
    return True


class SunSpecInverter:
    """A simulated inverter: a register image with the rules of models 701 to 715."""

    def __init__(
        self,
        image: RegisterImage,
        *,
        on_change: Callable[[Change], None] = _ignore,
        accepts: Callable[[Change], bool] = _accept,
        defers_adoption: bool = False,
    ) -> None:
        """Put rules behind an image.

        `accepts` is asked before a change is taken, so that a device may offer less than its registers could hold: a value it
        does not accept is refused, a curve is not adopted.
        """
        self.image = image
        """Its registers."""
        self._on_change = on_change
        self._accepts = accepts
        self._defers_adoption = defers_adoption
        self._pending: dict[int, int] = {}
        self._timers: dict[str, float] = {}
        self._gauges: dict[tuple[int, str], Gauge] = {}

    def read(self, address: int, count: int) -> bytes:
        """Give registers.

        Raises: ModbusFault outside the map.
        """
        return self.image.read(address, count)

    def set_measurements(self, values: Mapping[str, float | Decimal | None], *, model_id: int = 701) -> None:
        """Set measured points by name; None is not implemented.

        Units: those of the points (W, Var, V, Hz, degrees).
        Raises: KeyError for an unknown point.
        """
        for path, value in values.items():
            key = (model_id, path)
            if key not in self._gauges:
                self._gauges[key] = self.image.gauge(model_id, path)
            self._gauges[key].set(value)

    def write(self, address: int, data: bytes) -> None:
        """Take a write whole or not at all, and tell what it changed.

        Raises: ModbusFault 2 where nothing may be written, 3 for a value that is not allowed.
        """
        model, places = self._writable(address, len(data) // 2)
        candidate = self._candidate(model, address, data)
        for place in places:
            self._check(model, place, candidate)
        self.image.store(address, data)
        for place in places:
            self._on_change(Changed(model_id=model.layout.model_id, path=place.path, value=candidate.value(place.path)))
        paths = {place.path for place in places}
        adoption = ADOPTIONS.get(model.layout.model_id)
        if adoption and adoption.request in paths:
            self._request(model.layout.model_id, adoption, candidate.code(adoption.request) or 0)
        if model.layout.model_id == _CONTROLS:
            self._start_timers(paths, candidate)

    def settle(self) -> None:
        """Finish the adoptions that were requested, where they are deferred."""
        pending, self._pending = self._pending, {}
        for model_id, number in pending.items():
            self._adopt(model_id, ADOPTIONS[model_id], number)

    def tick(self, elapsed_s: float) -> None:
        """Let time pass for the reversion timers; where one ends, its function reverts and tells so as a change."""
        for name, remaining in list(self._timers.items()):
            left = remaining - elapsed_s
            if left > 0:
                self._timers[name] = left
                self.image.set_values(_CONTROLS, {f"{name}RvrtRem": math.ceil(left)})
            else:
                del self._timers[name]
                self._revert(name)

    def _start_timers(self, paths: set[str], controls: Block) -> None:
        """Start or stop the timers whose function or time was written: either is a sign of life."""
        for name in REVERSIONS:
            if not paths & {f"{name}Ena", f"{name}RvrtTms"}:
                continue
            seconds = controls.code(f"{name}RvrtTms") or 0
            self._timers.pop(name, None)
            if seconds and controls.code(f"{name}Ena") == 1:
                self._timers[name] = float(seconds)
            self.image.set_values(_CONTROLS, {f"{name}RvrtRem": seconds if name in self._timers else 0})

    def _revert(self, name: str) -> None:
        block = self.image.block(_CONTROLS)
        values = {path: block.value(source) for path, source in REVERSIONS[name].items() if block.has(source)}
        values[f"{name}Ena"] = block.code(f"{name}EnaRvrt") or 0
        self.image.set_values(_CONTROLS, {**values, f"{name}RvrtRem": 0})
        for path, value in values.items():
            self._on_change(Changed(model_id=_CONTROLS, path=path, value=value))

    def active(self, model_id: int) -> dict[str, Value]:
        """Read the active curve or control of a model, by path inside it."""
        return dict(_members(self.image.block(model_id), f"{ADOPTIONS[model_id].group}[0]."))

    def _writable(self, address: int, count: int) -> tuple[MappedModel, tuple[Place, ...]]:
        model = self.image.model_at(address)
        end = address + count
        if model is None or end > model.end:
            raise _fault(ExceptionCode.ILLEGAL_DATA_ADDRESS, f"registers {address}..{end - 1} do not lie in one model")
        places = model.layout.covering(address - model.address, end - model.address)
        block = self.image.block(model.layout.model_id)
        if places[0].offset + model.address < address or places[-1].end + model.address > end:
            raise _fault(ExceptionCode.ILLEGAL_DATA_ADDRESS, f"registers {address}..{end - 1} cut a point in two")
        for place in places:
            if not place.point.is_writable or _is_read_only(block, place):
                raise _fault(ExceptionCode.ILLEGAL_DATA_ADDRESS, f"{model.layout.model_id}.{place.path} is read-only")
            if block.value(place.path) is None:
                name = f"{model.layout.model_id}.{place.path}"
                raise _fault(ExceptionCode.ILLEGAL_DATA_ADDRESS, f"{name} is not implemented")
        return model, places

    def _candidate(self, model: MappedModel, address: int, data: bytes) -> Block:
        registers = bytearray(self.image.read(model.address, model.layout.length))
        start = 2 * (address - model.address)
        registers[start : start + len(data)] = data
        return model.layout.decode(bytes(registers))

    def _check(self, model: MappedModel, place: Place, candidate: Block) -> None:
        name = f"{model.layout.model_id}.{place.path}"
        try:
            value = candidate.value(place.path)
        except PeerError as error:
            raise _fault(ExceptionCode.ILLEGAL_DATA_VALUE, str(error)) from error
        if value is None:
            raise _fault(ExceptionCode.ILLEGAL_DATA_VALUE, f"{name} cannot be made not implemented")
        symbols = place.point.symbols
        if place.point.type in _CODED and symbols and value not in symbols.values():
            raise _fault(ExceptionCode.ILLEGAL_DATA_VALUE, f"{name} = {value} is none of {dict(symbols)}")
        low, high = _LIMITS.get((model.layout.model_id, place.path), (None, None))
        if low is not None and high is not None and not low <= (candidate.number(place.path) or 0) <= high:
            raise _fault(ExceptionCode.ILLEGAL_DATA_VALUE, f"{name} = {value} is outside {low}..{high}")
        if not self._accepts(Changed(model_id=model.layout.model_id, path=place.path, value=value)):
            raise _fault(ExceptionCode.ILLEGAL_DATA_VALUE, f"{name} = {value} is not offered by this device")
        adoption = ADOPTIONS.get(model.layout.model_id)
        if adoption and place.path == adoption.request and value not in range(_size(candidate, adoption) + 1):
            raise _fault(ExceptionCode.ILLEGAL_DATA_VALUE, f"{name} = {value}: there are {_size(candidate, adoption)}")

    def _request(self, model_id: int, adoption: Adoption, number: int) -> None:
        if number == 0:
            return
        self.image.set_values(model_id, {adoption.result: AdoptionResult.IN_PROGRESS})
        if self._defers_adoption:
            self._pending[model_id] = number
        else:
            self._adopt(model_id, adoption, number)

    def _adopt(self, model_id: int, adoption: Adoption, number: int) -> None:
        block = self.image.block(model_id)
        chosen = dict(_members(block, f"{adoption.group}[{number - 1}]."))
        if not is_valid_curve(chosen, adoption):
            self.image.set_values(model_id, {adoption.result: AdoptionResult.FAILED})
            return
        active = {
            f"{adoption.group}[0].{path}": value
            for path, value in chosen.items()
            if block.layout.place(f"{adoption.group}[0].{path}").point.is_writable
        }
        if not self._accepts(Adopted(model_id=model_id, values=MappingProxyType(chosen))):
            self.image.set_values(model_id, {adoption.result: AdoptionResult.FAILED})
            return
        self.image.set_values(model_id, {**active, adoption.result: AdoptionResult.COMPLETED})
        self._on_change(Adopted(model_id=model_id, values=MappingProxyType(self.active(model_id))))


def is_valid_curve(values: Mapping[str, Value], adoption: Adoption) -> bool:
    """Judge a stored curve before it is adopted: enough implemented points, and an axis that rises."""
    for part in adoption.parts:
        active = values.get(f"{part}ActPt")
        if not isinstance(active, int):
            # A part of a trip set that the device does not implement stays as it is; a curve must say how long it is.
            if part and active is None:
                continue
            return False
        stored = _stored_points(values, part)
        if not (0 if part else 1) <= active <= len(stored):
            return False
        used = stored[:active]
        if any(value is None for point in used for value in point.values()):
            return False
        axis = [Decimal(str(point[adoption.axis])) for point in used] if adoption.axis else []
        if any(right < left for left, right in itertools.pairwise(axis)):
            return False
    return all(value is not None for value in values.values()) if not adoption.parts else True


def _stored_points(values: Mapping[str, Value], part: str) -> list[dict[str, Value]]:
    points: list[dict[str, Value]] = []
    prefix = f"{part}Pt["
    for path, value in values.items():
        if path.startswith(prefix):
            number, name = path.removeprefix(prefix).split("].")
            if int(number) == len(points):
                points.append({})
            points[int(number)][name] = value
    return points


def _members(block: Block, prefix: str) -> Iterator[tuple[str, Value]]:
    for place in block.layout.places:
        if place.path.startswith(prefix):
            yield place.path.removeprefix(prefix), block.value(place.path)


def _is_read_only(block: Block, place: Place) -> bool:
    group, bracket, _ = place.path.partition("].")
    flag = f"{group}].ReadOnly"
    return bool(bracket) and flag in block.layout.by_path and block.code(flag) == 1


def _size(block: Block, adoption: Adoption) -> int:
    return sum(
        place.path.endswith(".ReadOnly") for place in block.layout.places if place.path.startswith(adoption.group)
    )


def _fault(code: ExceptionCode, message: str) -> ModbusFault:
    return ModbusFault(code, message)
