"""The published SunSpec model definitions, read as data from the installed pysunspec2.

Nothing is retyped here: models, points, scale factors, access and symbols are what the SunSpec Alliance publishes as JSON.
"""

import functools
import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tierline.model.errors import Unsupported


class PointType(StrEnum):
    """The point types of the SunSpec information model specification."""

    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    RAW16 = "raw16"
    ACC16 = "acc16"
    ACC32 = "acc32"
    ACC64 = "acc64"
    ENUM16 = "enum16"
    ENUM32 = "enum32"
    BITFIELD16 = "bitfield16"
    BITFIELD32 = "bitfield32"
    BITFIELD64 = "bitfield64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    STRING = "string"
    SUNSSF = "sunssf"
    COUNT = "count"
    PAD = "pad"
    IPADDR = "ipaddr"
    IPV6ADDR = "ipv6addr"
    EUI48 = "eui48"


@dataclass(frozen=True, slots=True, kw_only=True)
class PointDefinition:
    """One point as it is published."""

    name: str
    """The SunSpec name, for example `WMaxLimPct`."""
    type: PointType
    """How its registers are read."""
    size: int
    """Length in registers of 16 bit."""
    scale: str | int | None
    """The name of its scale factor point, a constant exponent of ten, or None where the point is not scaled."""
    units: str
    """The published unit; empty where the point has none."""
    is_writable: bool
    """Published as RW."""
    is_static: bool
    """Published as static: it does not change while the device runs."""
    symbols: Mapping[str, int]
    """Enumeration values, or bit numbers of a bit field, by name."""
    constant: int | None
    """The published value of ID and, for a model of fixed length, of L."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDefinition:
    """A group of points and of further groups; a count makes it repeat."""

    name: str
    """The SunSpec name, for example `Crv`."""
    count: str | int | None
    """The name of the count point; 0: as often as the model's length allows; None: once."""
    points: tuple[PointDefinition, ...]
    """Its own points, which come before its groups."""
    groups: tuple["GroupDefinition", ...]
    """Its groups, in the order of the registers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDefinition:
    """One published model."""

    id: int
    """The model number, for example 705."""
    group: GroupDefinition
    """Its root group, which also names the model (`DERVoltVar`)."""


@functools.cache
def model_definition(model_id: int) -> ModelDefinition:
    """Load the published definition of a model.

    Raises: Unsupported when no such model is published.
    Source: SunSpec model definitions, JSON encoding.
    """
    models = importlib.resources.files("sunspec2") / "models" / "json"
    source = models / f"model_{model_id}.json"
    if not source.is_file():
        raise Unsupported(f"SunSpec model {model_id} is not among the published models of the installed pysunspec2")
    document = json.loads(source.read_text(encoding="utf-8"))
    return ModelDefinition(id=int(document["id"]), group=_group(document["group"]))


# The JSON of a published model has no narrower type than Any; it is turned into typed values here and nowhere else.
def _group(raw: Mapping[str, Any]) -> GroupDefinition:
    return GroupDefinition(
        name=raw["name"],
        count=raw.get("count"),
        points=tuple(_point(point) for point in raw.get("points", ())),
        groups=tuple(_group(group) for group in raw.get("groups", ())),
    )


def _point(raw: Mapping[str, Any]) -> PointDefinition:
    constant = raw.get("value")
    return PointDefinition(
        name=raw["name"],
        type=PointType(raw["type"]),
        size=int(raw["size"]),
        scale=raw.get("sf"),
        units=raw.get("units", ""),
        is_writable=raw.get("access") == "RW",
        is_static=raw.get("static") == "S",
        symbols={symbol["name"]: int(symbol["value"]) for symbol in raw.get("symbols", ())},
        constant=None if constant is None else int(constant),
    )
