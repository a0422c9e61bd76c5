"""Notices as documents, sans-IO: what a subscriber is told is what it would read at this moment.

Two rules. A notice names the resource by the very path that was subscribed to. What the subscriber may not see any more is
told as gone, never shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tierline.model.records import NoticeStatus
from tierline.operations.serving.watching import Watch, Watched
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.hrefs import Href, PageQuery, Place, parse_path
from tierline.protocols.sep2.resources import Notification, Resource
from tierline.protocols.sep2.views import short

if TYPE_CHECKING:
    from datetime import datetime

    from tierline.model.identity import Mrid
    from tierline.model.records import EndDeviceRecord, NoticeRecord, SubscriptionRecord
    from tierline.operations.serving.state import Serving
    from tierline.protocols.sep2.views import Views

Show = Callable[[str, int, "EndDeviceRecord", "datetime"], "bytes | None"]
"""Gives the document at a path as an EndDevice sees it now, with so many list items at most; None when it is gone."""

LONGEST_PAGE: Final = 255
"""Items; as for the limit of a query."""

_WATCHED: Final = {
    Place.END_DEVICE_LIST: Watched.END_DEVICES,
    Place.END_DEVICE: Watched.END_DEVICE,
    Place.FUNCTION_SET_ASSIGNMENTS_LIST: Watched.ASSIGNMENTS,
    Place.DER_PROGRAM_LIST: Watched.PROGRAMS,
    Place.DER_PROGRAM: Watched.PROGRAM,
    Place.DER_CONTROL_LIST: Watched.CONTROLS,
    Place.DEFAULT_DER_CONTROL: Watched.DEFAULT,
}
"""What can be subscribed to. Source: CSIP 2.1 P31-P33, P39 and P46-P51."""


def shown_by(views: Views) -> Show:
    """Show what a server shows at a GET, as many items of a list as a page may have at most."""

    def show(path: str, limit: int, device: EndDeviceRecord, now: datetime) -> bytes | None:
        href = parse_path(path)
        return None if href is None else views.body(href, PageQuery(limit=min(limit, LONGEST_PAGE)), device, now)

    return show


def is_subscribable(place: Place) -> bool:
    """Tell whether changes of what is at a place can be told."""
    return place in _WATCHED


class Locator:
    """Says what the paths of a serving node stand for."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._programs: dict[str, Mrid] = {}
        self._made_for: tuple[int, Mrid | None] = (0, None)

    def __call__(self, path: str) -> Watch | None:
        """Find what a path names; None when it names nothing that can be subscribed to."""
        href = parse_path(path)
        kind = None if href is None else _WATCHED.get(href.place)
        if href is None or kind is None:
            return None
        if href.program is not None:
            mrid = self._program(href.program)
            return None if mrid is None else Watch(kind, mrid)
        return Watch(kind, href.der or "")

    def _program(self, wanted: str) -> Mrid | None:
        known = self._serving.programs
        # What is added comes last and what is removed makes it shorter, so these two tell every change.
        state = (len(known), next(reversed(known), None))
        if state != self._made_for:
            self._made_for = state
            self._programs = {short(mrid): mrid for mrid in known}
        return self._programs.get(wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One notice, ready to be sent."""

    document: bytes
    is_last: bool
    """Whether the resource is gone, so that there is nothing more to subscribe to."""


class Notifier:
    """Makes the documents of notices."""

    def __init__(self, show: Show) -> None:
        """Show each subscriber what it would be shown at a GET."""
        self._show = show

    def tell(
        self, subscription: SubscriptionRecord, notice: NoticeRecord, device: EndDeviceRecord, now: datetime
    ) -> Told:
        """Say what there is to say now about what is subscribed to."""
        shown = self._show(subscription.resource, subscription.limit, device, now)
        is_last = shown is None or notice.status is not NoticeStatus.CHANGED
        status = notice.status
        if shown is None and status is NoticeStatus.CHANGED:
            status = NoticeStatus.DELETED
        document = render(
            Notification(
                subscribed_resource=subscription.resource,
                resource=None if shown is None or is_last or not subscription.limit else parse(shown, Resource),
                status=status.value,
                subscription_uri=str(
                    Href(
                        place=Place.SUBSCRIPTION,
                        der=subscription.der_id,
                        subscription=subscription.subscription_id,
                    )
                ),
            )
        )
        return Told(document=document, is_last=is_last)
