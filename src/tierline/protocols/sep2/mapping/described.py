"""What a DER said of itself, as canonical points: the way back from DERCapability, DERSettings and DERAvailability."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierline.model.errors import PeerError
from tierline.model.records import DerInfoKind
from tierline.operations.serving.members import Told
from tierline.protocols.sep2.codec import parse
from tierline.protocols.sep2.mapping.functions import functions_of_bitmap
from tierline.protocols.sep2.mapping.numbers import from_scale
from tierline.protocols.sep2.resources import der
from tierline.protocols.sep2.resources.objects import SignedQuantity, UnsignedQuantity
from tierline.protocols.sep2.resources.rows import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from tierline.protocols.sep2.resources.rows import Value

_KINDS: dict[DerInfoKind, type[Value]] = {
    DerInfoKind.CAPABILITY: der.DERCapability,
    DerInfoKind.SETTINGS: der.DERSettings,
    DerInfoKind.AVAILABILITY: der.DERAvailability,
}


def read_told(kind: DerInfoKind, document: bytes) -> Told:
    """Read the quantities and the functions of a document, by canonical name; nothing from one that cannot be read.

    What was kept was read once, when it came; a document of an older edition of this program tells nothing.
    """
    expected = _KINDS.get(kind)
    if expected is None:
        return Told()
    try:
        resource = parse(document, expected)
    except PeerError:
        return Told()
    values: dict[str, Decimal] = {}
    for row in rows_of(expected):
        value: object = getattr(resource, row.field)  # the names are those of the rows
        if isinstance(value, SignedQuantity | UnsignedQuantity):
            values[row.field] = from_scale(value.value, value.multiplier)
    return Told(values=values, functions=_functions(resource))


def lacking(capability: bytes, functions: Iterable[str]) -> tuple[str, ...]:
    """Say which of some functions a DERCapability does not name; of what it has no bit for nothing can be said."""
    told = read_told(DerInfoKind.CAPABILITY, capability).functions
    if told is None:
        return ()
    known = functions_of_bitmap(-1)
    return tuple(name for name in functions if name in known and name not in told)


def _functions(resource: Value) -> frozenset[str] | None:
    match resource:
        case der.DERCapability():
            return functions_of_bitmap(resource.modes_supported)
        case der.DERSettings() if resource.modes_enabled is not None:
            return functions_of_bitmap(resource.modes_enabled)
        case _:
            return None
