"""How the state of an event is written down, byte for byte the same for equal states.

JSON; a value that JSON has no type for is an object whose key `$` names its type. Fields that have their default are left
out, so a field that is added later reads old documents.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any

from tierline.engine.lifecycle import EventState, Fate, State
from tierline.model.control import (
    Control,
    Curve,
    CurvePoint,
    Droop,
    EventStatus,
    FixedVar,
    Interval,
    PowerFactor,
    Provenance,
    Reference,
    ResponseRequired,
    Setpoints,
)
from tierline.model.programs import ResponseStatus

_ROWS: tuple[type[Any], ...] = (
    EventState,
    Control,
    Interval,
    Setpoints,
    Provenance,
    PowerFactor,
    Droop,
    FixedVar,
    Curve,
    CurvePoint,
)
_CODES: tuple[type[Enum], ...] = (State, Fate, EventStatus, ResponseRequired, ResponseStatus, Reference)
_READERS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(  # Any: what JSON holds, and what it stands for
    {
        "Decimal": Decimal,
        "datetime": datetime.fromisoformat,
        "bytes": bytes.fromhex,
        **{code.__name__: code for code in _CODES},
    }
)
_ROWS_BY_NAME: Mapping[str, type[Any]] = MappingProxyType({row.__name__: row for row in _ROWS})


def dump(state: EventState) -> bytes:
    """Write a state down."""
    return json.dumps(_plain(state), separators=(",", ":"), ensure_ascii=False).encode()


def load(document: bytes) -> EventState:
    """Read what `dump` wrote.

    Raises: ValueError when it is something else.
    """
    try:
        state = _value(json.loads(document))
    except (KeyError, TypeError, ArithmeticError) as error:
        raise ValueError(f"no document of an event: {document[:80]!r}") from error
    if not isinstance(state, EventState):
        raise ValueError(f"no document of an event: {document[:80]!r}")  # noqa: TRY004  # the value is wrong, not its type
    return state


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        kept = {f.name: getattr(value, f.name) for f in fields(value)}
        defaults = {f.name: f.default for f in fields(value) if f.default is not MISSING}
        cells = {name: _plain(v) for name, v in kept.items() if name not in defaults or v != defaults[name]}
        return {"$": type(value).__name__, **cells}
    match value:
        case tuple():
            return [_plain(item) for item in value]
        case Enum():
            return {"$": type(value).__name__, "is": value.value}
        case Decimal():
            return {"$": "Decimal", "is": str(value)}
        case datetime():
            return {"$": "datetime", "is": value.isoformat()}
        case bytes():
            return {"$": "bytes", "is": value.hex()}
        case _:
            return value


def _value(plain: object) -> Any:  # Any: the type is the one the document names
    if isinstance(plain, list):
        return tuple(_value(item) for item in plain)
    if not isinstance(plain, dict):
        return plain
    name = plain["$"]
    if name in _READERS:
        return _READERS[name](plain["is"])
    return _ROWS_BY_NAME[name](**{key: _value(item) for key, item in plain.items() if key != "$"})
