"""Nested values of the model as JSON texts: every value names its type, only types of the model are ever made.

A field that a newer edition added may be absent in an older text when it has a default; a field that is not known is
refused, since dropping it would change what a control says.
"""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from tierline.model import control, programs, telemetry, topology

_TYPES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        control.Control,
        control.Curve,
        control.CurvePoint,
        control.Droop,
        control.EventStatus,
        control.FixedVar,
        control.Interval,
        control.PowerFactor,
        control.Provenance,
        control.Reference,
        control.ResponseRequired,
        control.Setpoints,
        programs.DefaultControl,
        programs.Program,
        telemetry.Phase,
        telemetry.Qualifier,
        telemetry.Quality,
        telemetry.Reading,
        topology.Group,
        topology.Membership,
        topology.Tier,
    )
}
"""All that a text can bring to life. Any: the classes have nothing in common."""

_TYPE = "~"


def dump(value: object) -> str:
    """Write a value of the model down."""
    return json.dumps(_plain(value), separators=(",", ":"))


def parse(text: str) -> Any:
    """Read a value back. Any: the text itself says what it holds.

    Raises: ValueError when the text is damaged, or names a type or field that this edition does not know.
    """
    return _frozen(json.loads(text, object_hook=_value))


def _plain(value: object) -> object:
    match value:
        case Enum():
            return {_TYPE: type(value).__name__, "v": value.value}
        case bool() | int() | float() | str() | None:
            return value
        case Decimal():
            return {_TYPE: "n", "v": str(value)}
        case datetime():
            return {_TYPE: "t", "v": value.isoformat()}
        case bytes():
            return {_TYPE: "b", "v": value.hex()}
        case tuple() | list():
            return [_plain(item) for item in value]
    if not is_dataclass(value) or type(value).__name__ not in _TYPES:
        raise TypeError(f"{type(value).__name__} cannot be written into a document")
    known = {field.name: getattr(value, field.name) for field in fields(value)}
    return {_TYPE: type(value).__name__} | {name: _plain(item) for name, item in known.items()}


def _value(found: dict[str, Any]) -> object:
    name = found.pop(_TYPE, None)
    match name:
        case "n":
            return Decimal(found["v"])
        case "t":
            return datetime.fromisoformat(found["v"])
        case "b":
            return bytes.fromhex(found["v"])
    kind = _TYPES.get(str(name))
    if kind is None:
        raise ValueError(f"document names the type {name!r}, which this edition does not know")
    if issubclass(kind, Enum):
        return kind(found["v"])
    unknown = found.keys() - {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f"document has the field {min(unknown)!r} of {name}, which this edition does not know")
    try:
        return kind(**{key: _frozen(item) for key, item in found.items()})
    except TypeError as error:
        raise ValueError(f"document has a {name} that lacks a field: {error}") from error


def _frozen(value: object) -> object:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
