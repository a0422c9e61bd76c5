"""Paths of our own server as typed values, built and parsed from one table.

A path is never a file name nor a URL: what does not fit a row exactly is no path of ours. Paths are opaque to clients, and
short, because EPRI's client keeps path and query in 64 bytes. Programs, controls and curves are shared by all devices, so
their paths name no device.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tierline.model.errors import PeerError


class Place(StrEnum):
    """Everything that has a path; the value is the path's pattern."""

    DEVICE_CAPABILITY = "/dcap"
    TIME = "/tm"
    SELF_DEVICE = "/sdev"
    SELF_DEVICE_INFORMATION = "/sdev/di"
    END_DEVICE_LIST = "/edev"
    END_DEVICE = "/edev/{der}"
    REGISTRATION = "/edev/{der}/rg"
    DEVICE_INFORMATION = "/edev/{der}/di"
    CONNECTION_POINT = "/edev/{der}/cp"
    FUNCTION_SET_ASSIGNMENTS_LIST = "/edev/{der}/fsa"
    FUNCTION_SET_ASSIGNMENTS = "/edev/{der}/fsa/{fsa}"
    DER_PROGRAM_LIST = "/edev/{der}/fsa/{fsa}/derp"
    DEVICE_TARIFF_PROFILE_LIST = "/edev/{der}/fsa/{fsa}/tp"
    DER_LIST = "/edev/{der}/der"
    DER = "/edev/{der}/der/{number}"
    DER_CAPABILITY = "/edev/{der}/der/{number}/dercap"
    DER_SETTINGS = "/edev/{der}/der/{number}/derg"
    DER_STATUS = "/edev/{der}/der/{number}/ders"
    DER_AVAILABILITY = "/edev/{der}/der/{number}/dera"
    LOG_EVENT_LIST = "/edev/{der}/lel"
    LOG_EVENT = "/edev/{der}/lel/{number}"
    SUBSCRIPTION_LIST = "/edev/{der}/sub"
    SUBSCRIPTION = "/edev/{der}/sub/{subscription}"
    DER_PROGRAM = "/derp/{program}"
    DER_CONTROL_LIST = "/derp/{program}/derc"
    ACTIVE_DER_CONTROL_LIST = "/derp/{program}/actderc"
    DEFAULT_DER_CONTROL = "/derp/{program}/dderc"
    DER_CURVE_LIST = "/derp/{program}/dc"
    DER_CONTROL = "/derc/{control}"
    DER_CURVE = "/dc/{curve}"
    MIRROR_USAGE_POINT_LIST = "/mup"
    MIRROR_USAGE_POINT = "/mup/{mup}"
    MIRROR_METER_READING = "/mup/{mup}/mr/{number}"
    USAGE_POINT_LIST = "/upt"
    DEVICE_USAGE_POINT_LIST = "/edev/{der}/upt"
    USAGE_POINT = "/upt/{mup}"
    METER_READING_LIST = "/upt/{mup}/mr"
    METER_READING = "/upt/{mup}/mr/{meter}"
    READING_TYPE = "/upt/{mup}/mr/{meter}/rt"
    READING = "/upt/{mup}/mr/{meter}/r"
    READING_SET_LIST = "/upt/{mup}/mr/{meter}/rs"
    READING_SET = "/upt/{mup}/mr/{meter}/rs/{set}"
    READING_LIST = "/upt/{mup}/mr/{meter}/rs/{set}/r"
    TARIFF_PROFILE_LIST = "/tp"
    TARIFF_PROFILE = "/tp/{tariff}"
    RATE_COMPONENT_LIST = "/tp/{tariff}/rc"
    RATE_COMPONENT = "/tp/{tariff}/rc/1"
    RATE_READING_TYPE = "/tp/{tariff}/rc/1/rt"
    TIME_TARIFF_INTERVAL_LIST = "/tp/{tariff}/rc/1/tti"
    ACTIVE_TIME_TARIFF_INTERVAL_LIST = "/tp/{tariff}/rc/1/actti"
    TIME_TARIFF_INTERVAL = "/tp/{tariff}/rc/1/tti/{price}"
    CONSUMPTION_TARIFF_INTERVAL_LIST = "/tp/{tariff}/rc/1/tti/{price}/cti"
    CONSUMPTION_TARIFF_INTERVAL = "/tp/{tariff}/rc/1/tti/{price}/cti/1"
    RESPONSE_SET_LIST = "/rsps"
    RESPONSE_SET = "/rsps/{set}"
    RESPONSE_LIST = "/rsps/{set}/rsp"
    RESPONSE = "/rsps/{set}/rsp/{response}"
    NOTIFICATION = "/ntfy"


_NUMBER: Final = "number"
_ID: Final = "[a-z2-7]{1,13}"
"""Lower-case base32; 13 characters hold 64 bits, as in `model.identity.DerId`."""
_RESPONSE: Final = "response"
_RESPONSE_ID: Final = "[a-z2-7]{28}"
"""Its event and its DER, 13 characters each, and its status."""
_SMALL_NUMBER: Final = "0|[1-9][0-9]{0,8}"
_LIMIT_CAP: Final = 255
_UINT32: Final = 2**32 - 1
_INT64: Final = 2**63 - 1
_ID_PATTERN: Final = re.compile(_ID)
_RESPONSE_ID_PATTERN: Final = re.compile(_RESPONSE_ID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Href:
    """A place and the identifiers in its path; `str()` gives the path."""

    place: Place
    der: str | None = None
    """The `DerId`."""
    fsa: str | None = None
    program: str | None = None
    control: str | None = None
    curve: str | None = None
    mup: str | None = None
    """A mirror, and the usage point that is read from it."""
    meter: str | None = None
    """A series of one."""
    set: str | None = None
    response: str | None = None
    subscription: str | None = None
    tariff: str | None = None
    price: str | None = None
    """An interval of one."""
    number: int | None = None
    """Counts within the device: a DER from 1, a log event, a series of readings."""

    def __post_init__(self) -> None:
        """Refuse an identifier that is missing, superfluous or malformed: a bug of ours, as parsing makes no such value."""
        wanted = _names(self.place)
        for field in fields(self)[1:]:
            value: object = getattr(self, field.name)
            if (value is not None) != (field.name in wanted):
                raise ValueError(f"{self.place.name} takes {wanted or 'no identifiers'}, {field.name} is {value!r}")
            if isinstance(value, int) and not 0 <= value < 10**9:
                raise ValueError(f"{value} is no number of a resource")
            pattern = _RESPONSE_ID_PATTERN if field.name == _RESPONSE else _ID_PATTERN
            if isinstance(value, str) and not pattern.fullmatch(value):
                raise ValueError(f"{value!r} is no identifier: {pattern.pattern} is needed")

    def __str__(self) -> str:
        return self.place.value.format_map({name: getattr(self, name) for name in _names(self.place)})


@functools.cache
def _names(place: Place) -> tuple[str, ...]:
    return tuple(re.findall(r"{(\w+)}", place.value))


@functools.cache
def _patterns() -> Mapping[tuple[str, int], tuple[tuple[Place, re.Pattern[str]], ...]]:
    """Sort the places by first segment and number of segments, so that parsing tries a few patterns at most."""
    table: dict[tuple[str, int], list[tuple[Place, re.Pattern[str]]]] = {}
    for place in Place:
        pattern = re.sub(r"{(\w+)}", _segment, place.value)
        table.setdefault(_shape(place.value), []).append((place, re.compile(pattern)))
    return MappingProxyType({shape: tuple(rows) for shape, rows in table.items()})


def _segment(match: re.Match[str]) -> str:
    kinds = {_NUMBER: _SMALL_NUMBER, _RESPONSE: _RESPONSE_ID}
    return f"(?P<{match[1]}>{kinds.get(match[1], _ID)})"


def _shape(path: str) -> tuple[str, int]:
    segments = path.split("/")
    return segments[1], len(segments)


def parse_path(path: str) -> Href | None:
    """Find what a request's path names, or None if it is no path of ours."""
    if len(path) > 64 or not path.startswith("/"):
        return None
    for place, pattern in _patterns().get(_shape(path), ()):
        match = pattern.fullmatch(path)
        if match:
            found = match.groupdict()
            number = found.pop(_NUMBER, None)
            return Href(place=place, number=None if number is None else int(number), **found)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """Which part of a list is wanted."""

    start: int = 0
    """Parameter `s`: the first position, from 0."""
    limit: int = 1
    """Parameter `l`: the most items; one unless asked, never more than 255."""
    after: int | None = None
    """Parameter `a`: only items after this time, in seconds since 1970."""


_PARAMETERS: Final = {"s": ("start", _UINT32), "l": ("limit", _UINT32), "a": ("after", _INT64)}


def parse_query(query: str) -> PageQuery:
    """Read the query of a list; parameters nobody knows are passed over.

    Raises: PeerError for a bad number or a parameter given twice.
    """
    values: dict[str, int] = {}
    for part in query.split("&") if query else ():
        name, _, text = part.partition("=")
        if name in _PARAMETERS:
            field, most = _PARAMETERS[name]
            if field in values:
                raise PeerError("the parameter stands here more than once", path=f"?{name}")
            if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) > most:
                raise PeerError(f"{text[:48]!r} is not a whole number from 0 to {most}", path=f"?{name}")
            values[field] = int(text)
    if "limit" in values:
        values["limit"] = min(values["limit"], _LIMIT_CAP)
    return PageQuery(**values)
