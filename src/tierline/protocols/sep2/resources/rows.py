"""What one row of an element table says, and how the rows of a resource are read from its annotations.

A resource is declared once: each field is one row, `Annotated[type of the value, Element(name on the wire)]`. The order of
the fields is the order on the wire (in the 2018 schema: base type first, then the own elements in case-insensitive
alphabetical order; extensions of CSIP-AUS after all of them). Reader, writer and the tests' generators are derived from it.
"""

import functools
from dataclasses import dataclass
from enum import Enum, StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec

SEP_NAMESPACE: Final = "urn:ieee:std:2030.5:ns"
DRAFT_NAMESPACE: Final = "http://ieee.org/2030.5"
"""The namespace of draft 2.0.4, still spoken by some clients."""


class Edition(StrEnum):
    """Which edition of the schema a row exists since, or which one is spoken to a peer."""

    IEEE_2018 = "2018"
    IEEE_2023 = "2023"
    CSIP_AUS_1_2 = "csip-aus-1.2"
    CSIP_AUS_1_3_BETA = "csip-aus-1.3-beta"
    CSIP_AUS_1_3 = "csip-aus-1.3"


_SPOKEN: Final = {
    # every edition includes the 2018 one; CSIP-AUS versions build upon each other
    Edition.IEEE_2018: (Edition.IEEE_2018,),
    Edition.IEEE_2023: (Edition.IEEE_2018, Edition.IEEE_2023),
    Edition.CSIP_AUS_1_2: (Edition.IEEE_2018, Edition.CSIP_AUS_1_2),
    Edition.CSIP_AUS_1_3_BETA: (Edition.IEEE_2018, Edition.CSIP_AUS_1_2, Edition.CSIP_AUS_1_3_BETA),
    Edition.CSIP_AUS_1_3: (
        Edition.IEEE_2018,
        Edition.CSIP_AUS_1_2,
        Edition.CSIP_AUS_1_3_BETA,
        Edition.CSIP_AUS_1_3,
    ),
}

CSIP_AUS_NAMESPACES: Final = {
    Edition.CSIP_AUS_1_2: "https://csipaus.org/ns",
    Edition.CSIP_AUS_1_3_BETA: "https://csipaus.org/ns/v1.3-beta/storage",
    Edition.CSIP_AUS_1_3: "https://csipaus.org/ns/v1.3",
}


def includes(spoken: Edition, since: Edition) -> bool:
    """Tell whether a peer that speaks one edition knows the rows that exist since another."""
    return since in _SPOKEN[spoken]


class Space(Enum):
    """The namespace family of a row; its address depends on the edition spoken."""

    SEP = "sep"
    CSIP_AUS = "csipaus"


class Value(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Anything that has rows. Frozen trees of values hold no cycles, hence they stay outside the garbage collector."""


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number within bounds."""

    name: str
    low: int
    high: int
    what: str = "a whole number"


@dataclass(frozen=True, slots=True)
class Bitmap:
    """Bits written as up to `digits` hexadecimal digits; the value is a number, so that digits' case and padding vanish."""

    name: str
    digits: int

    @property
    def high(self) -> int:
        """The largest value."""
        return (1 << 4 * self.digits) - 1


@dataclass(frozen=True, slots=True)
class HexText:
    """An identifier of exactly `digits` hexadecimal digits, upper case; shorter input is padded on the left."""

    name: str
    digits: int


@dataclass(frozen=True, slots=True)
class Boolean:
    """True or false."""

    name: str = "boolean"


@dataclass(frozen=True, slots=True)
class Text:
    """Characters up to a length; without one the document's limit is the only bound."""

    name: str
    max_length: int | None = None


Kind = Integer | Bitmap | HexText | Boolean | Text


@dataclass(frozen=True, slots=True)
class Element:
    """A child element: its name on the wire and where it differs from the common case."""

    name: str
    since: Edition = Edition.IEEE_2018
    space: Space = Space.SEP
    limit: int | None = None
    """The most repetitions of a repeated element."""
    polymorphic: bool = False
    """The element may hold a derived type, named by xsi:type."""
    aliases: tuple[str, ...] = ()
    """Older names, read but never written."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """An XML attribute and its name on the wire."""

    name: str
    since: Edition = Edition.IEEE_2018


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One element or attribute of one type, everything about it."""

    field: str
    """Name of the Python attribute."""
    order: int
    """Position within the type."""
    mark: Element | Attribute
    kind: Kind | type[Value]
    """How the content is written: a kind of text, or a nested type."""
    required: bool
    repeated: bool

    @property
    def name(self) -> str:
        """The name on the wire."""
        return self.mark.name


@functools.cache
def rows_of(cls: type[Value]) -> tuple[Row, ...]:
    """List the rows of a type in the order of the wire."""
    hints = get_type_hints(cls, include_extras=True)
    fields = msgspec.structs.fields(cls)
    return tuple(_row(cls, field.name, order, field.required, hints[field.name]) for order, field in enumerate(fields))


def _row(cls: type[Value], field: str, order: int, required: bool, hint: Any) -> Row:  # noqa: FBT001
    # Any: a type annotation has no static type of its own
    content, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    mark = next((note for note in notes if isinstance(note, Element | Attribute)), None)
    if mark is None:
        raise TypeError(f"{cls.__name__}.{field} needs an Element or Attribute in its annotation")
    if get_origin(content) in {Union, UnionType}:
        content = next(part for part in get_args(content) if part is not NoneType)
    repeated = get_origin(content) is tuple
    if repeated:
        content = get_args(content)[0]
    if get_origin(content) is Annotated:
        content, *notes = get_args(content)
    kind = next((note for note in notes if isinstance(note, Kind)), content)
    return Row(field=field, order=order, mark=mark, kind=kind, required=required, repeated=repeated)
