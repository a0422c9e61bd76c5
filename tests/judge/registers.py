"""Modbus requests and the SunSpec map, from the published model definitions read as plain data.

`start` of the journal says which models are chained and, in `repeats` and `scale_factors`, what its registers hold at the points that requests
alone do not show.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READS = {0x03, 0x04}
READ_WRITE = 0x17
WRITE_ONE = 0x06
WRITE_MANY = 0x10
KNOWN = {*READS, READ_WRITE, WRITE_ONE, WRITE_MANY}


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


def read_span(pdu: bytes) -> range | None:
    """Find the addresses that a request reads."""
    if pdu[0] in READS or pdu[0] == READ_WRITE:
        return range(_word(pdu, 1), _word(pdu, 1) + _word(pdu, 3))
    return None


def written(pdu: bytes) -> dict[int, int]:
    """Find the registers that a request writes."""
    if pdu[0] == WRITE_ONE:
        return {_word(pdu, 1): _word(pdu, 3)}
    if pdu[0] in {WRITE_MANY, READ_WRITE}:
        head = 1 if pdu[0] == WRITE_MANY else 5
        address, count, size = _word(pdu, head), _word(pdu, head + 2), pdu[head + 4]
        data = pdu[head + 5 :]
        if size != 2 * count or len(data) != size:
            message = f"a write of {count} registers carries {len(data)} bytes: {pdu.hex()}"
            raise ValueError(message)
        return {address + index: _word(data, 2 * index) for index in range(count)}
    return {}


@dataclass(frozen=True)
class Point:
    """One point: where it is and how it reads."""

    address: int
    size: int
    signed: bool
    scale: str | int | None


def models_folder() -> Path:
    """Find the model definitions inside the installed pysunspec2, without importing it."""
    spec = importlib.util.find_spec("sunspec2")
    if spec is None or spec.origin is None:
        message = "the SunSpec model definitions were not found: install pysunspec2 or give --models DIR"
        raise ValueError(message)
    return Path(spec.origin).parent / "models" / "json"


class Layout:
    """The points of models 704 and 705 by name (`WMaxLimPct`, `Crv[1].Pt[0].V`, indexes from 0) at their addresses."""

    def __init__(self, start: dict[str, Any], folder: Path, models: tuple[int, ...] = (704, 705)) -> None:
        self._points: dict[tuple[int, str], Point] = {}
        self._scale: dict[str, dict[str, int]] = start.get("scale_factors", {})
        self._repeats: dict[str, dict[str, int]] = start.get("repeats", {})
        address = start["base"] + 2  # after the two registers of `SunS`
        for model, length in start["models"]:
            if model in models:
                definition = json.loads((folder / f"model_{model}.json").read_text(encoding="utf-8"))
                end = self._walk(model, definition["group"], address, "")
                if end - address != length + 2:
                    message = (
                        f"model {model} takes {end - address - 2} registers with repeats "
                        f"{self._repeats.get(str(model), {})}, but the start line says {length}"
                    )
                    raise ValueError(message)
            address += 2 + length

    def _walk(self, model: int, group: dict[str, Any], address: int, prefix: str) -> int:
        for point in group.get("points", []):
            self._points[model, prefix + point["name"]] = Point(
                address, point["size"], point["type"].startswith(("int", "sunssf")), point.get("sf")
            )
            address += point["size"]
        for inner in group.get("groups", []):
            count = inner.get("count")
            if count is None:
                address = self._walk(model, inner, address, f"{prefix}{inner['name']}.")
                continue
            if isinstance(count, str):
                count = self.repeat(model, count)
            for index in range(count):
                address = self._walk(model, inner, address, f"{prefix}{inner['name']}[{index}].")
        return address

    def repeat(self, model: int, name: str) -> int:
        """Find how often a group repeats."""
        try:
            return int(self._repeats[str(model)][name])
        except KeyError:
            message = f"the start line of the journal lacks repeats[{str(model)!r}][{name!r}]"
            raise ValueError(message) from None

    def point(self, model: int, name: str) -> Point:
        """Find a point by name."""
        try:
            return self._points[model, name]
        except KeyError:
            message = f"the devices have no point {name} of model {model}"
            raise ValueError(message) from None

    def span(self, model: int, *names: str) -> set[int]:
        """Find all addresses of some points."""
        found: set[int] = set()
        for name in names:
            point = self.point(model, name)
            found.update(range(point.address, point.address + point.size))
        return found

    def resolution(self, model: int, name: str) -> float:
        """Find what one count of a point is worth."""
        scale = self.point(model, name).scale
        if scale is None:
            return 1.0
        if isinstance(scale, str):
            try:
                scale = self._scale[str(model)][scale]
            except KeyError:
                message = f"the start line of the journal lacks scale_factors[{str(model)!r}][{scale!r}]"
                raise ValueError(message) from None
        return float(10.0**scale)

    def decode(self, registers: dict[int, int], model: int, name: str) -> float | None:
        """Read a point from the registers written so far; None when it was not written."""
        point = self.point(model, name)
        addresses = range(point.address, point.address + point.size)
        if any(address not in registers for address in addresses):
            return None
        value = 0
        for address in addresses:
            value = value << 16 | registers[address]
        bits = 16 * point.size
        if point.signed and value >> (bits - 1):
            value -= 1 << bits
        return value * self.resolution(model, name)
