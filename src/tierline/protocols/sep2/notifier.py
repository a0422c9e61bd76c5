"""Notices as documents, sans-IO: what a subscriber is told is what it would read at this moment.

Two rules. A notice names the resource by the very path that was subscribed to. What the subscriber may not see any more is
told as gone, never shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tierline.model.records import NoticeStatus
from tierline.operations.serving.watching import OF_SERIES, Watch, Watched
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.hrefs import Href, Place, parse_path
from tierline.protocols.sep2.resources import Notification, Resource
from tierline.protocols.sep2.views.names import Index
from tierline.protocols.sep2.views.usage import find_series

if TYPE_CHECKING:
    from datetime import datetime

    from tierline.model.records import EndDeviceRecord, NoticeRecord, SubscriptionRecord
    from tierline.operations.serving.state import Serving

Show = Callable[[str, int, "EndDeviceRecord", "datetime"], "bytes | None"]
"""Gives the document at a path as an EndDevice sees it now, with so many list items at most; None when it is gone."""

_WATCHED: Final = {
    Place.END_DEVICE_LIST: Watched.END_DEVICES,
    Place.END_DEVICE: Watched.END_DEVICE,
    Place.FUNCTION_SET_ASSIGNMENTS_LIST: Watched.ASSIGNMENTS,
    Place.DER_PROGRAM_LIST: Watched.PROGRAMS,
    Place.DER_PROGRAM: Watched.PROGRAM,
    Place.DER_CONTROL_LIST: Watched.CONTROLS,
    Place.ACTIVE_DER_CONTROL_LIST: Watched.ACTIVE_CONTROLS,
    Place.DEFAULT_DER_CONTROL: Watched.DEFAULT,
    Place.READING: Watched.READING,
    Place.READING_LIST: Watched.READINGS,
    Place.TARIFF_PROFILE_LIST: Watched.TARIFFS,
    Place.DEVICE_TARIFF_PROFILE_LIST: Watched.TARIFFS,
    Place.TIME_TARIFF_INTERVAL_LIST: Watched.PRICES,
    Place.ACTIVE_TIME_TARIFF_INTERVAL_LIST: Watched.ACTIVE_PRICES,
}
"""What can be subscribed to. Source: CSIP 2.1 P31-P33, P39 and P46-P51; IEEE 2030.5-2018, Reading and SubscribableList."""


def is_subscribable(place: Place) -> bool:
    """Tell whether changes of what is at a place can be told."""
    return place in _WATCHED


def has_values(place: Place) -> bool:
    """Tell whether what is at a place has values, so that a subscription to it may have thresholds."""
    return _WATCHED.get(place) in OF_SERIES


_href: Final = lru_cache(maxsize=1024)(parse_path)
"""One wish asks several times what its path names."""


class Locator:
    """Says what the paths of a serving node stand for."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._programs = Index(serving.programs)
        self._tariffs = Index(serving.tariffs)

    def __call__(self, path: str) -> Watch | None:
        """Find what a path names; None when it names nothing that can be subscribed to."""
        href = _href(path)
        kind = None if href is None else _WATCHED.get(href.place)
        if href is None or kind is None:
            return None
        if href.program is not None:
            mrid = self._programs.find(href.program)
            return None if mrid is None else Watch(kind, mrid)
        if href.tariff is not None:
            mrid = self._tariffs.find(href.tariff)
            return None if mrid is None else Watch(kind, mrid)
        if href.mup is not None:
            found = find_series(self._serving, href)
            return None if found is None else Watch(kind, found[0].der_id, href.mup, found[1])
        return Watch(kind, href.der or "")


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
