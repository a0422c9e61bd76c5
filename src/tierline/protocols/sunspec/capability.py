"""What a device can be told to keep, read off the models it has: counts, number types, scale factors, references.

One rule: what is said to be kept here is not refused by `orders` for its value, whatever else the device makes of it.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import assert_never

from tierline.model.capability import Capability, Keeps, Span
from tierline.protocols.sunspec import orders
from tierline.protocols.sunspec.codec import Block
from tierline.protocols.sunspec.inverter import ADOPTIONS
from tierline.protocols.sunspec.mapping import (
    FUNCTIONS,
    CurveRow,
    DroopRow,
    FixedVarRow,
    FunctionRow,
    PermissionRow,
    PowerFactorRow,
    Rank,
    ScalarRow,
)


def capability_of(blocks: Mapping[int, Block]) -> Capability:
    """Say what a device keeps of each function that it implements.

    Raises: PeerError for a scale factor that none is.
    """
    return Capability(
        functions={
            row.name: _keeps(row, blocks[row.model_id])
            for row in FUNCTIONS
            if row.model_id in blocks and orders.is_supported(row, blocks[row.model_id])
        }
    )


def _keeps(row: FunctionRow, block: Block) -> Keeps:
    match row:
        case PermissionRow():
            return Keeps(parts={})
        case ScalarRow():
            # A setting that became 0 would be another one; a limit or a set-point of 0 is what a tiny one means.
            return Keeps(parts={"value": _span(block, row.path, is_never_lost=row.rank is Rank.SETTING)})
        case PowerFactorRow():
            return Keeps(parts={"displacement": _span(block, row.displacement)})
        case FixedVarRow():
            return Keeps(parts={"value_pct": _span(block, row.path)}, references=frozenset(row.references))
        case CurveRow():
            return Keeps(
                parts=dict(_parts_of_curve(row, block)),
                points=orders.room(row, block),
                references=None if row.references is None else frozenset(row.references),
            )
        case DroopRow():
            group = f"{ADOPTIONS[row.model_id].group}[0]."
            return Keeps(
                parts={
                    "dead_band_over_hz": _span(block, f"{group}DbOf"),
                    "dead_band_under_hz": _span(block, f"{group}DbUf"),
                    "slope_over": _span(block, f"{group}KOf", is_never_lost=True),
                    "slope_under": _span(block, f"{group}KUf", is_never_lost=True),
                    "open_loop_s": _span(block, f"{group}RspTms"),
                }
            )
        case _:
            assert_never(row)


def _parts_of_curve(row: CurveRow, block: Block) -> Iterator[tuple[str, Span]]:
    group = f"{ADOPTIONS[row.model_id].group}[0]."
    if orders.room(row, block):
        yield "x", _span(block, f"{group}{row.part}Pt[0].{row.x}")
        yield "y", _span(block, f"{group}{row.part}Pt[0].{row.y}")
    for part, path in (
        ("open_loop_s", "RspTms"),
        ("v_ref_pct", "VRef"),
        ("autonomous_v_ref_time_constant_s", "VRefAutoTms"),
    ):
        if block.has(group + path):
            yield part, _span(block, group + path)
    if block.has(f"{group}RspTms"):
        most = _span(block, f"{group}RspTms").high / orders.OPEN_LOOP_SHARE
        yield "low_pass_s", Span(low=Decimal(0), high=most)
    if block.has(f"{group}VRefAutoEna"):
        yield "autonomous_v_ref", Span(low=Decimal(0), high=Decimal(1))


def _span(block: Block, path: str, *, is_never_lost: bool = False) -> Span:
    low, high = block.range(path)
    return Span(low=low, high=high, finest=block.resolution(path) / 2 if is_never_lost else Decimal(0))
