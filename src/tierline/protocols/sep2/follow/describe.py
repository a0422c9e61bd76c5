"""Put what a DER is and does where the server wants it: at start and on change.

Source: CSIP 2.1 G28-G30, P43, P44.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierline.model.errors import PeerError
from tierline.protocols.sep2.client import follow_list, put
from tierline.protocols.sep2.codec import render
from tierline.protocols.sep2.mapping import description
from tierline.protocols.sep2.resources import der

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from tierline.model.identity import Lfdi
    from tierline.ports import DeviceFacts
    from tierline.protocols.sep2.client import Steps
    from tierline.protocols.sep2.follow.walk import Tree
    from tierline.protocols.sep2.resources.objects import Link
    from tierline.protocols.sep2.resources.rows import Value


@dataclass(frozen=True, slots=True)
class Sent:
    """What the server has, so that only changes are sent."""

    facts: DeviceFacts | None = None
    status: tuple[tuple[str, Decimal | int], ...] = ()


def describe(
    tree: Tree, lfdi: Lfdi, facts: DeviceFacts, status: Mapping[str, Decimal | int], time: int, sent: Sent
) -> Steps[Sent]:
    """Put capability, settings and maker's data when they changed, status and availability when they did.

    Raises: Forbidden, LinkError, PeerError.
    """
    now = Sent(facts, tuple(sorted(status.items())))
    if now == sent:
        return sent
    listed = yield from follow_list(tree.der_list, der.DERList)
    own = next((item for item in listed if isinstance(item, der.DER)), None)
    if own is None:
        raise PeerError("the server offers no DER for this device", path="DERList")
    if facts != sent.facts:
        yield from _put(own.der_capability_link, description.write_capability(facts))
        yield from _put(own.der_settings_link, description.write_settings(facts, time))
        yield from _put(tree.device_information, description.write_device_information(facts, lfdi))
    if now.status != sent.status:
        yield from _put(own.der_status_link, description.write_status(status, time))
        yield from _put(own.der_availability_link, description.write_availability(status, time))
    return now


def _put(link: Link | None, value: Value) -> Steps[None]:
    if link is not None:
        yield from put(link.href, render(value))
