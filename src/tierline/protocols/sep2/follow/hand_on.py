"""Hand on what a member said of itself: the same document, at the place its server above has for it.

Source: CSIP 2.1 G28-G30, P43, P44.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tierline.model.records import DerInfoKind
from tierline.protocols.sep2.client import follow_list, put
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.resources import der, devices, objects

if TYPE_CHECKING:
    from tierline.protocols.sep2.client import Steps
    from tierline.protocols.sep2.resources.objects import Link

_TYPES: dict[DerInfoKind, type[objects.Resource]] = {
    DerInfoKind.CAPABILITY: der.DERCapability,
    DerInfoKind.SETTINGS: der.DERSettings,
    DerInfoKind.STATUS: der.DERStatus,
    DerInfoKind.AVAILABILITY: der.DERAvailability,
    DerInfoKind.DEVICE_INFORMATION: devices.DeviceInformation,
}

Places = dict[DerInfoKind, str]
"""Where the server wants each kind of information of one member."""


def find_places(device: devices.EndDevice) -> Steps[Places]:
    """Find where an EndDevice's information goes: to its first DER, and to itself.

    Raises: Forbidden, LinkError, PeerError.
    """
    links: dict[DerInfoKind, Link | None] = {DerInfoKind.DEVICE_INFORMATION: device.device_information_link}
    # Whatever the link counted, as that may be long ago.
    at = device.der_list_link
    listed = yield from follow_list(None if at is None else objects.Link(href=at.href), der.DERList)
    one = next((item for item in listed if isinstance(item, der.DER)), None)
    if one is not None:
        links |= {
            DerInfoKind.CAPABILITY: one.der_capability_link,
            DerInfoKind.SETTINGS: one.der_settings_link,
            DerInfoKind.STATUS: one.der_status_link,
            DerInfoKind.AVAILABILITY: one.der_availability_link,
        }
    return {kind: link.href for kind, link in links.items() if link is not None}


def put_document(href: str, kind: DerInfoKind, document: bytes) -> Steps[None]:
    """Put a document as it was received, without the path it had there.

    Raises: PeerError for a document that is none of its kind; Forbidden, LinkError.
    """
    found = parse(document, _TYPES[kind])
    yield from put(href, render(msgspec.structs.replace(found, href=None)))
