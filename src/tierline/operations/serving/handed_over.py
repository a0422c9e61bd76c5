"""Which DERs a control point shows in this node's stead, remembered across restarts.

It is written with whatever is written next: a DER that is forgotten is shown its assignments here too, which harms nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tierline.model.identity import DerId, PartyId
from tierline.model.records import KnownRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tierline.model.records import Record
    from tierline.operations.serving.state import Consequence, Serving

_PREFIX: Final = "handed_over/"


def remembering(serving: Serving) -> Consequence:
    """Write down, with every change, who was handed over or taken back since the last one."""

    def consequence(_put: Sequence[Record], _delete: Sequence[Record]) -> Iterable[Record]:
        standing = serving.standing
        changed, standing.unsaved = standing.unsaved, set()
        for der in sorted(changed):
            yield KnownRecord(
                party=serving.party,
                name=f"{_PREFIX}{der}",
                value=" ".join(sorted(standing.handed_over.get(der, ()))),
            )

    return consequence


def recall(serving: Serving) -> None:
    """Go on from what was written down, where it still holds.

    Raises: LinkError when the store cannot be read.
    """
    for record in serving.store.each(KnownRecord, prefix=_PREFIX):
        der = DerId(record.name.removeprefix(_PREFIX))
        readers = {PartyId(name) for name in record.value.split()} & serving.standing.control_points(serving, der)
        if readers:
            serving.standing.handed_over[der] = readers
