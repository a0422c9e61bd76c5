"""From setpoints to what must be written: pure functions of the target and of the blocks read from the device.

Three rules. Everything is checked before anything is written, and what cannot be held is left out, alone. What restricts is written before what frees, and a value
before the point that switches it on. Registers that act at once do not wait for curves.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Final, assert_never

from tierline.model.control import Curve, CurvePoint, Droop, FixedVar, PowerFactor, Setpoints
from tierline.model.control import Value as Canonical
from tierline.model.errors import Unsupported
from tierline.model.ramps import ramp_of
from tierline.protocols.sunspec.codec import Block, Value
from tierline.protocols.sunspec.inverter import ADOPTIONS, Adoption
from tierline.protocols.sunspec.mapping import (
    FUNCTIONS,
    CurveRow,
    DroopRow,
    FixedVarRow,
    FunctionRow,
    PermissionRow,
    PowerFactorRow,
    Rank,
    Release,
    ScalarRow,
)

_RESTRICTING: Final = frozenset({Rank.LIMIT, Rank.RESTRICT})
"""When limits of active power are written."""
ENABLE: Final = "Ena"
"""What switches a model of stored curves on."""
OPEN_LOOP_SHARE: Final = Decimal("0.768621786840241")
"""ln 10 / ln 20: a low-pass filter of the first order that has settled to 95 % after a time has come to 90 % after this share of it.

rampPT1Tms (IEEE 2030.5-2018 DERCurve) counts to 95 %, the open loop response time (IEEE 1547-2018 3.1, SunSpec RspTms) to 90 %.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePoints:
    """Write points of one model, in one step."""

    rank: Rank
    """When."""
    model_id: int
    """The model number."""
    values: Mapping[str, Value]
    """By path."""
    rounding: str | None = None
    """How numbers are brought to the device's resolution; None: to the nearest step."""
    functions: frozenset[str] = field(default=frozenset(), compare=False)
    """Whose step it is; what comes of it concerns these alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptStored:
    """Make a stored curve or control hold values and adopt it."""

    rank: Rank
    """When."""
    model_id: int
    """The model number."""
    values: Mapping[str, Value]
    """By path inside the curve's group; what is not named is taken over from the active one."""
    functions: frozenset[str] = field(default=frozenset(), compare=False)
    """Whose step it is; what comes of it concerns these alone."""


Step = WritePoints | AdoptStored


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What must be written for a target, and what cannot be."""

    steps: tuple[Step, ...]
    """In the order they are safe in."""
    refused: Mapping[str, str]
    """The functions that the device cannot hold with the values wanted, and why; no step concerns them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadMan:
    """What the device does by itself when nobody has spoken to it for a while: the last resort."""

    after_s: int
    """Seconds after the last sign of life; the writer must give one more often."""
    default: Setpoints = field(default_factory=Setpoints)
    """What then holds of the functions commanded; those that are not in it are switched off."""


_ROWS: Final[Mapping[str, FunctionRow]] = MappingProxyType({row.name: row for row in FUNCTIONS})


def rows_named(names: Iterable[str]) -> tuple[FunctionRow, ...]:
    """Find the rows of functions.

    Raises: Unsupported for a function that SunSpec has no place for.
    """
    wanted = tuple(names)
    unknown = sorted(set(wanted) - _ROWS.keys())
    if unknown:
        raise Unsupported(f"SunSpec models 701 to 715 have no place for {', '.join(unknown)}")
    return tuple(_ROWS[name] for name in wanted)


def is_supported(row: FunctionRow, block: Block) -> bool:
    """Whether the device implements all that a function needs."""
    if isinstance(row, CurveRow | DroopRow):
        adoption = ADOPTIONS[row.model_id]
        needed = f"{adoption.group}[0].{row.part}ActPt" if isinstance(row, CurveRow) else f"{adoption.group}[0].KOf"
        return block.has(ENABLE) and block.has(needed) and staging_index(block, adoption) is not None
    return all(block.has(path) for path in _paths(row))


def _paths(row: ScalarRow | PermissionRow | PowerFactorRow | FixedVarRow) -> tuple[str, ...]:
    match row:
        case PermissionRow(path=path):
            return (path,)
        case ScalarRow(path=path, enable=enable, mode=mode):
            return (path, *((enable,) if enable else ()), *((mode[0],) if mode else ()))
        case PowerFactorRow(displacement=displacement, excitation=excitation, enable=enable):
            return (displacement, excitation, enable)
        case FixedVarRow(path=path, reference=reference, enable=enable):
            return (path, reference, enable)


def staging_index(block: Block, adoption: Adoption) -> int | None:
    """Find a stored curve that may be written, by index from 0; never the active one, which is the first."""
    index = 1
    while (flag := f"{adoption.group}[{index}].ReadOnly") in block.layout.by_path:
        if block.code(flag) == 0:
            return index
        index += 1
    return None


def plan(
    target: Setpoints,
    blocks: Mapping[int, Block],
    dead_man: DeadMan | None = None,
    *,
    fits: Callable[[Step], object] = lambda _: None,
) -> Plan:
    """List the steps that bring a device from what its blocks say to the target, but for what it cannot hold of it.

    `fits` raises Unsupported for a step whose values no register holds. A step whose points already hold is left to the
    writer, who compares registers.
    """
    steps: list[Step] = []
    refused: dict[str, str] = {}
    owners: dict[tuple[int, str], str] = {}
    for name, value in target.items():
        try:
            own = _own_steps(name, value, blocks, dead_man, owners)
            for step in own:
                fits(step)
        except Unsupported as refusal:
            refused[name] = str(refusal)
        else:
            steps += own
    steps = [*_merged(steps), *_releases(target, blocks)]
    return Plan(steps=tuple(sorted(steps, key=lambda step: step.rank)), refused=refused)


def _own_steps(
    name: str,
    value: Canonical,
    blocks: Mapping[int, Block],
    dead_man: DeadMan | None,
    owners: dict[tuple[int, str], str],
) -> list[Step]:
    """List the steps of one function; `owners` are those that have been listed, by what switches them on.

    Raises: Unsupported when the device cannot carry it out.
    """
    (row,) = rows_named([name])
    block = blocks.get(row.model_id)
    if block is None or not is_supported(row, block):
        raise Unsupported(f"the device does not implement what {name} needs in model {row.model_id}")
    steps: list[Step] = []
    if dead_man is not None and isinstance(row, ScalarRow | PowerFactorRow | FixedVarRow):
        steps += _reversion_steps(row, value, dead_man, block)
    steps += _steps(row, value, block)
    if (enable := _enable(row)) and not isinstance(row, CurveRow | DroopRow):
        rival = owners.setdefault((row.model_id, enable), name)
        if rival != name:
            raise Unsupported(f"{rival} and {name} share {row.model_id}.{enable}: command one of them")
    return [replace(step, functions=frozenset({name})) for step in steps]


def is_restriction(name: str, value: Canonical) -> bool:
    """Tell whether a value of a function keeps active power down: while it is refused nothing else that does is given back."""
    match _ROWS.get(name):
        case PermissionRow():
            return value is False
        case ScalarRow(rank=rank) | CurveRow(rank=rank):
            return rank in _RESTRICTING
        case _:
            return False


def is_held_up(target: Setpoints, running: Setpoints) -> bool:
    """Tell whether a target has registers to write at once that differ from what is being written: all but values of curves."""
    released = running.keys() - target.keys()
    return bool(released) or any(
        running.get(name) != value for name, value in target.items() if not isinstance(value, Curve | Droop)
    )


def _enable(row: FunctionRow) -> str:
    match row:
        case ScalarRow(enable=enable) | PowerFactorRow(enable=enable) | FixedVarRow(enable=enable):
            return enable
        case PermissionRow():
            return ""
        case CurveRow() | DroopRow():
            return ENABLE
        case _:
            assert_never(row)


def _steps(row: FunctionRow, value: Canonical, block: Block) -> Iterator[Step]:
    model_id = row.model_id
    match row, value:
        case PermissionRow(path=path), bool():
            yield WritePoints(rank=Rank.PERMIT if value else Rank.CEASE, model_id=model_id, values={path: int(value)})
        case ScalarRow(), Decimal():
            yield from _scalar_steps(row, value, block)
        case PowerFactorRow(), PowerFactor():
            yield WritePoints(rank=Rank.ENGAGE, model_id=model_id, values=_value_points(row, value))
            yield WritePoints(rank=Rank.ENGAGE, model_id=model_id, values={row.enable: 1})
        case FixedVarRow(), FixedVar():
            if value.reference not in row.references:
                raise Unsupported(f"{row.name}: {model_id}.{row.reference} has no {value.reference.name}")
            yield from _moded(
                row.enable, {row.path: value.value_pct}, (row.reference, row.references[value.reference]), block
            )
        case CurveRow(), Curve():
            yield AdoptStored(rank=row.rank, model_id=model_id, values=curve_values(row, value, block))
            yield WritePoints(rank=row.rank, model_id=model_id, values={ENABLE: 1})
        case DroopRow(), Droop():
            yield AdoptStored(rank=Rank.ADOPT, model_id=model_id, values=_droop_values(value))
            yield WritePoints(rank=Rank.ADOPT, model_id=model_id, values={ENABLE: 1})
        case _:
            raise Unsupported(f"{row.name} does not take a value of type {type(value).__name__}")


def timer_of(row: FunctionRow, block: Block) -> str | None:
    """Name the point of a function's reversion timer, where the device has one."""
    if not isinstance(row, ScalarRow | PowerFactorRow | FixedVarRow) or not row.timer:
        return None
    timer = f"{row.timer}RvrtTms"
    return timer if block.has(timer) and block.has(f"{row.timer}EnaRvrt") else None


def _reversion_steps(
    row: ScalarRow | PowerFactorRow | FixedVarRow, value: Canonical, dead_man: DeadMan, block: Block
) -> Iterator[WritePoints]:
    timer = timer_of(row, block)
    if timer is None:
        return
    rank = row.rank if isinstance(row, ScalarRow) else Rank.ENGAGE
    default = dead_man.default.get(row.name)
    values: dict[str, Value] = {f"{row.timer}EnaRvrt": 0}
    # What a percentage refers to does not revert: a default with another reference cannot be left to the timer.
    same = not isinstance(default, FixedVar) or (isinstance(value, FixedVar) and default.reference == value.reference)
    if default is not None and same:
        values[f"{row.timer}EnaRvrt"] = 1
        values |= {row.reversion[path]: number for path, number in _value_points(row, default).items()}
    rounding = row.rounding if isinstance(row, ScalarRow) else None
    yield WritePoints(rank=rank, model_id=row.model_id, values=values, rounding=rounding)
    yield WritePoints(rank=rank, model_id=row.model_id, values={timer: dead_man.after_s})


def _value_points(row: ScalarRow | PowerFactorRow | FixedVarRow, value: Canonical) -> dict[str, Value]:
    match row, value:
        case ScalarRow(path=path), Decimal():
            return {path: value}
        case PowerFactorRow(displacement=displacement, excitation=excitation), PowerFactor():
            return {displacement: value.displacement, excitation: int(value.absorbing)}
        case FixedVarRow(path=path), FixedVar():
            return {path: value.value_pct}
        case _:
            raise Unsupported(f"{row.name} does not take a value of type {type(value).__name__}")


def _scalar_steps(row: ScalarRow, value: Decimal, block: Block) -> Iterator[WritePoints]:
    if row.rank is Rank.SETTING and value and abs(value) < block.resolution(row.path) / 2:
        raise Unsupported(
            f"{row.name} = {value} is finer than {row.model_id}.{row.path}, whose step is {block.resolution(row.path)}"
        )
    if row.mode:
        yield from _moded(row.enable, {row.path: value}, row.mode, block)
        return
    yield WritePoints(rank=row.rank, model_id=row.model_id, values={row.path: value}, rounding=row.rounding)
    if row.enable:
        yield WritePoints(rank=row.rank, model_id=row.model_id, values={row.enable: 1})


def _moded(enable: str, values: Mapping[str, Value], mode: tuple[str, int], block: Block) -> Iterator[WritePoints]:
    """Write a value whose meaning another point selects: never the old value with the new meaning, or the reverse, while on."""
    model_id = block.layout.model_id
    if block.code(enable) == 1 and block.code(mode[0]) != mode[1]:
        yield WritePoints(rank=Rank.ENGAGE, model_id=model_id, values={enable: 0})
    yield WritePoints(rank=Rank.ENGAGE, model_id=model_id, values={**values, mode[0]: mode[1]})
    yield WritePoints(rank=Rank.ENGAGE, model_id=model_id, values={enable: 1})


def room(row: CurveRow, block: Block) -> int:
    """Count the points that a stored curve of the device has."""
    prefix = f"{ADOPTIONS[row.model_id].group}[0].{row.part}Pt["
    return sum(path.startswith(prefix) for path in block.layout.by_path) // 2


def curve_values(row: CurveRow, curve: Curve, block: Block) -> dict[str, Value]:
    """Put a canonical curve into the points of a stored one, by path inside its group.

    Raises: Unsupported when the device has too few points or lacks what the curve asks for.
    """
    prefix = f"{ADOPTIONS[row.model_id].group}[0]."
    most = room(row, block)
    if not 1 <= len(curve.points) <= most:
        raise Unsupported(f"{row.name}: the curve has {len(curve.points)} points, the device takes 1 to {most}")
    values: dict[str, Value] = {f"{row.part}ActPt": len(curve.points)}
    for index, point in enumerate(curve.points):
        values[f"{row.part}Pt[{index}].{row.x}"] = point.x
        values[f"{row.part}Pt[{index}].{row.y}"] = point.y
    if row.references is not None:
        if curve.y_reference not in row.references:
            raise Unsupported(f"{row.name}: {row.model_id}.DeptRef has no {curve.y_reference.name}")
        values["DeptRef"] = row.references[curve.y_reference]
    if ramp := ramp_of(row.name, curve):
        raise Unsupported(f"{row.name}: SunSpec curves have no ramp of their own, asked for by {ramp}")
    extras: dict[str, Value] = {
        "RspTms": curve.low_pass_s * OPEN_LOOP_SHARE if curve.low_pass_s else curve.open_loop_s,
        "VRef": curve.v_ref_pct,
        "VRefAutoTms": curve.autonomous_v_ref_time_constant_s,
        "VRefAutoEna": 1 if curve.autonomous_v_ref else None,
    }
    for path, value in extras.items():
        if value is None:
            continue
        if not block.has(prefix + path):
            raise Unsupported(
                f"{row.name}: the device does not implement {row.model_id}.{prefix}{path}, asked for as {value}"
            )
        values[path] = value
    if not curve.autonomous_v_ref and block.has(prefix + "VRefAutoEna"):
        values["VRefAutoEna"] = 0
    return values


def _droop_values(droop: Droop) -> dict[str, Value]:
    return {
        "DbOf": droop.dead_band_over_hz,
        "DbUf": droop.dead_band_under_hz,
        "KOf": droop.slope_over,
        "KUf": droop.slope_under,
        "RspTms": droop.open_loop_s,
    }


def _merged(steps: Iterable[Step]) -> list[Step]:
    """Join the curves of one set, so that a set is adopted once, and drop repeated enables."""
    merged: list[Step] = []
    for step in steps:
        twin = next(
            (
                index
                for index, other in enumerate(merged)
                if isinstance(step, AdoptStored) and isinstance(other, AdoptStored) and other.model_id == step.model_id
            ),
            None,
        )
        if twin is not None:
            merged[twin] = _joined(merged[twin], step, values={**merged[twin].values, **step.values})
        elif step in merged and ADOPTIONS.get(step.model_id) is not None:
            same = merged.index(step)
            merged[same] = _joined(merged[same], step, values=step.values)
        else:
            merged.append(step)
    return merged


def _joined(one: Step, other: Step, values: Mapping[str, Value]) -> Step:
    return replace(one, values=values, functions=one.functions | other.functions)


def _releases(target: Setpoints, blocks: Mapping[int, Block]) -> Iterator[WritePoints]:
    """Release what is not in the target, but for what shares its switch with something that is, whether that is refused or not."""
    wanted = {(row.model_id, _enable(row)) for row in FUNCTIONS if row.name in target}
    for row in FUNCTIONS:
        block = blocks.get(row.model_id)
        if row.name in target or block is None or not is_supported(row, block):
            continue
        own = frozenset({row.name})
        if isinstance(row, PermissionRow):
            yield WritePoints(rank=Rank.PERMIT, model_id=row.model_id, values={row.path: 1}, functions=own)
            continue
        enable = _enable(row)
        if _release(row) is Release.DISABLE and (row.model_id, enable) not in wanted:
            is_limit = isinstance(row, ScalarRow | CurveRow) and row.rank in _RESTRICTING
            wanted.add((row.model_id, enable))
            rank = Rank.FREE if is_limit else Rank.RELEASE
            yield WritePoints(rank=rank, model_id=row.model_id, values={enable: 0}, functions=own)


def _release(row: FunctionRow) -> Release:
    match row:
        case ScalarRow(release=release) | CurveRow(release=release):
            return release
        case PermissionRow():
            return Release.PERMIT
        case DroopRow():
            # Frequency droop is mandatory and on by default (IEEE 1547-2018 6.5.2.7): it is adjusted, never switched off.
            return Release.KEEP
        case PowerFactorRow() | FixedVarRow():
            return Release.DISABLE
        case _:
            assert_never(row)


def models_concerned(target: Setpoints) -> frozenset[int]:
    """Tell which models an apply must read: those commanded and those whose functions would be released."""
    return frozenset(row.model_id for row in FUNCTIONS if row.name in target or _release(row) is not Release.KEEP)


def held(target: Setpoints, blocks: Mapping[int, Block]) -> Setpoints:
    """Read the functions of the target back from blocks; a function that is off is absent."""
    found: dict[str, Canonical] = {}
    for row in rows_named(target):
        value = held_value(row, blocks[row.model_id], target[row.name])
        if value is not None:
            found[row.name] = value
    return Setpoints.of(found)


def held_value(row: FunctionRow, block: Block, wanted: Canonical) -> Canonical | None:
    """Read one function back; the identity of a curve, which no register holds, is that of the curve wanted."""
    enable = _enable(row)
    if enable and block.code(enable) != 1:
        return None
    match row:
        case PermissionRow(path=path):
            return block.code(path) == 1
        case ScalarRow(path=path, mode=mode):
            return None if mode and block.code(mode[0]) != mode[1] else block.number(path)
        case PowerFactorRow():
            displacement = block.number(row.displacement)
            if displacement is None:
                return None
            return PowerFactor(displacement=displacement, absorbing=block.code(row.excitation) == 1)
        case FixedVarRow():
            value = block.number(row.path)
            references = {code: reference for reference, code in row.references.items()}
            reference = references.get(block.code(row.reference) or 0)
            return None if value is None or reference is None else FixedVar(value_pct=value, reference=reference)
        case CurveRow():
            return _held_curve(row, block, wanted) if isinstance(wanted, Curve) else None
        case DroopRow():
            return _held_droop(block)
        case _:
            assert_never(row)


def _held_curve(row: CurveRow, block: Block, wanted: Curve) -> Curve:
    prefix = f"{ADOPTIONS[row.model_id].group}[0]."
    count = block.code(f"{prefix}{row.part}ActPt") or 0
    points = tuple(
        CurvePoint(
            x=block.number(f"{prefix}{row.part}Pt[{index}].{row.x}") or Decimal(0),
            y=block.number(f"{prefix}{row.part}Pt[{index}].{row.y}") or Decimal(0),
        )
        for index in range(count)
    )
    held_curve = replace(wanted, points=points)
    if wanted.open_loop_s is not None:
        held_curve = replace(held_curve, open_loop_s=block.number(prefix + "RspTms"))
    if wanted.v_ref_pct is not None:
        held_curve = replace(held_curve, v_ref_pct=block.number(prefix + "VRef"))
    return held_curve


def _held_droop(block: Block) -> Droop | None:
    numbers = [block.number(f"Ctl[0].{name}") for name in ("DbOf", "DbUf", "KOf", "KUf", "RspTms")]
    over, under, slope_over, slope_under, open_loop = numbers
    if over is None or under is None or slope_over is None or slope_under is None or open_loop is None:
        return None
    return Droop(
        dead_band_over_hz=over,
        dead_band_under_hz=under,
        slope_over=slope_over,
        slope_under=slope_under,
        open_loop_s=open_loop,
    )
