"""What stands in paths: identifiers of programs, controls, curves and Responses, and how they are found again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from tierline.model.identity import DerId, der_id
from tierline.model.records import DerInfoKind
from tierline.protocols.sep2.hrefs import Href, Place
from tierline.protocols.sep2.resources import der, devices

if TYPE_CHECKING:
    from tierline.model.control import Curve
    from tierline.model.identity import Mrid
    from tierline.protocols.sep2.resources.rows import Value

FSA: Final = "t"
"""The one assignment of a device: that of its topology groups (CSIP 2.1 P26)."""

RESPONSES: Final = "r"
"""The one response set."""

INFO_PLACES = {
    Place.DER_CAPABILITY: DerInfoKind.CAPABILITY,
    Place.DER_SETTINGS: DerInfoKind.SETTINGS,
    Place.DER_STATUS: DerInfoKind.STATUS,
    Place.DER_AVAILABILITY: DerInfoKind.AVAILABILITY,
    Place.DEVICE_INFORMATION: DerInfoKind.DEVICE_INFORMATION,
}
"""Where each kind of information is."""

INFO_TYPES: dict[DerInfoKind, type[Value]] = {
    DerInfoKind.CAPABILITY: der.DERCapability,
    DerInfoKind.SETTINGS: der.DERSettings,
    DerInfoKind.STATUS: der.DERStatus,
    DerInfoKind.AVAILABILITY: der.DERAvailability,
    DerInfoKind.DEVICE_INFORMATION: devices.DeviceInformation,
}
"""What each kind of information is on the wire."""

_BASE32: Final = "abcdefghijklmnopqrstuvwxyz234567"
_ID_LENGTH: Final = 13
"""Of 64 bits in base32."""


def info_kind(place: Place) -> DerInfoKind | None:
    """Tell which information is put at a place."""
    return INFO_PLACES.get(place)


def short(mrid: Mrid) -> str:
    """Give the identifier of a program, control or curve in paths; hashed, as the mRIDs of some makers begin with zeros."""
    return der_id(int.from_bytes(hashlib.sha256(mrid.encode()).digest()[:8], "big"))


def response_id(mrid: Mrid, der: DerId, status: int) -> str:
    """Give the identifier of a Response in paths: that of its event, its DER and its status."""
    return f"{short(mrid)}{der}{_BASE32[status >> 5]}{_BASE32[status & 31]}"


def read_response_id(text: str) -> tuple[str, DerId, int]:
    """Take the identifier of a Response apart: event, DER and status."""
    status = _BASE32.index(text[-2]) << 5 | _BASE32.index(text[-1])
    return text[:_ID_LENGTH], DerId(text[_ID_LENGTH:-2]), status


def curve_href(curve: Curve) -> str:
    """Give the path of a curve."""
    return str(Href(place=Place.DER_CURVE, curve=short(curve.mrid)))


class Index:
    """Finds what a path names among what is known; made anew when what is known has changed."""

    def __init__(self, known: dict[Mrid, Any]) -> None:  # Any: only the keys matter
        self._known = known
        self._of_path: dict[str, Mrid] = {}
        self._made_for: tuple[int, Mrid | None] = (0, None)

    def find(self, wanted: str) -> Mrid | None:
        """Give the mRID that a path's identifier stands for."""
        # What is added comes last and what is removed makes it shorter, so these two tell every change.
        state = (len(self._known), next(reversed(self._known), None))
        if state != self._made_for:
            self._made_for = state
            self._of_path = {short(mrid): mrid for mrid in self._known}
        return self._of_path.get(wanted)
