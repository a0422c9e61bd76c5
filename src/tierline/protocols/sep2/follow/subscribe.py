"""Ask a server to be told of changes, and ask it to stop.

Source: IEEE 2030.5-2018 9.5; CSIP 2.1 P31-P33, P39, P46-P52.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierline.protocols.sep2.client import delete, post
from tierline.protocols.sep2.codec import render
from tierline.protocols.sep2.resources import exchange

if TYPE_CHECKING:
    from tierline.protocols.sep2.client import Steps

_XML = 0
_LEVEL = "+S1"
"""Schema level of the 2018 edition, with extensions passed over."""


def subscribe(list_href: str, path: str, notification_uri: str) -> Steps[str]:
    """Subscribe to one resource, or renew that; gives the Location of the subscription, empty where none is stated.

    Notices come without a body: what changed is read from the server, which is the one place where all of it is true.

    Raises: Forbidden, LinkError, PeerError.
    """
    wish = exchange.Subscription(
        subscribed_resource=path, encoding=_XML, level=_LEVEL, limit=0, notification_uri=notification_uri
    )
    answer = yield from post(list_href, render(wish))
    return answer.location


def unsubscribe(location: str) -> Steps[None]:
    """Take a subscription back; one that the server has dropped already is no fault.

    Raises: Forbidden, LinkError, PeerError.
    """
    if location:
        yield from delete(location)
