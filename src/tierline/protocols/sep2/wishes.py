"""What peers want to be told of: Subscriptions, as they are made, renewed and cancelled.

A subscription stands under the EndDevice of whoever is told, and nobody else sees it: it says where that peer listens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from tierline.model.errors import Forbidden, PeerError, Unsupported
from tierline.operations.serving.subscriptions import Wish
from tierline.protocols.sep2.hrefs import Href, PageQuery, Place, parse_path
from tierline.protocols.sep2.notifier import has_values, is_subscribable
from tierline.protocols.sep2.refusals import ConditionUnsupported, parsed
from tierline.protocols.sep2.resources import exchange
from tierline.protocols.sep2.transport import Response

if TYPE_CHECKING:
    from tierline.model.identity import DerId
    from tierline.model.parties import Principal
    from tierline.model.records import SubscriptionRecord
    from tierline.operations.serving.state import Serving
    from tierline.protocols.sep2.inbox import Sent
    from tierline.protocols.sep2.views import Views

_MISSING: Final = Response(status=404)
_ONE_ITEM: Final = PageQuery()
_VALUE: Final = 0
"""Condition.attributeIdentifier: the value of a Reading."""


class Subscribing(Protocol):
    """Keeps what peers want to be told of; `operations.serving.subscriptions.Subscriptions` is the one."""

    async def subscribe(self, principal: Principal, der: DerId, wish: Wish) -> SubscriptionRecord:
        """Keep a wish; the same again renews it."""

    async def cancel(self, principal: Principal, subscription_id: str) -> None:
        """End a subscription."""


class Wishes:
    """Takes the subscriptions of peers."""

    def __init__(self, serving: Serving, views: Views, subscriptions: Subscribing | None) -> None:
        self._serving = serving
        self._views = views
        self._subscriptions = subscriptions

    async def subscribe(self, sent: Sent) -> Response:
        """Take a new subscription: 201; one that is there already is renewed: 204, with its place."""
        if not sent.is_own:
            raise Forbidden("subscriptions stand under the EndDevice of whoever is told")
        return await self._wish(sent, parsed(sent.request.body, exchange.Subscription))

    async def renew(self, sent: Sent) -> Response:
        """Take one again at its place."""
        known = self._own(sent)
        if known is None:
            return _MISSING
        wanted = parsed(sent.request.body, exchange.Subscription)
        if (wanted.subscribed_resource, wanted.notification_uri) != (known.resource, known.notification_uri):
            raise PeerError("another resource or listener needs another subscription", path="Subscription")
        return await self._wish(sent, wanted)

    async def _wish(self, sent: Sent, wanted: exchange.Subscription) -> Response:
        if self._subscriptions is None:
            raise Unsupported("this node tells nobody of changes")
        href = parse_path(wanted.subscribed_resource)
        if href is None or self._views.body(href, _ONE_ITEM, sent.peer, sent.now) is None:
            return _MISSING
        if not is_subscribable(href.place):
            raise PeerError(f"{href} has no changes to be told of", path="Subscription/subscribedResource")
        condition = wanted.condition
        if condition is not None and not (has_values(href.place) and condition.attribute_identifier == _VALUE):
            raise ConditionUnsupported(
                "only the values of readings have thresholds; subscribe to the resource as a whole"
            )
        wish = Wish(
            resource=wanted.subscribed_resource,
            notification_uri=wanted.notification_uri,
            encoding=wanted.encoding,
            level=wanted.level,
            limit=wanted.limit,
            lower=None if condition is None else condition.lower_threshold,
            upper=None if condition is None else condition.upper_threshold,
        )
        record = await self._subscriptions.subscribe(sent.principal, sent.peer.der_id, wish)
        at = Href(place=Place.SUBSCRIPTION, der=record.der_id, subscription=record.subscription_id)
        is_renewed = record.created_at < record.renewed_at
        return Response(status=204 if is_renewed else 201, location=str(at))

    async def cancel(self, sent: Sent) -> Response:
        """End one."""
        known = self._own(sent)
        if known is None or self._subscriptions is None:
            return _MISSING
        await self._subscriptions.cancel(sent.principal, known.subscription_id)
        return Response(status=204)

    def _own(self, sent: Sent) -> SubscriptionRecord | None:
        if not sent.is_own:
            return None
        return self._serving.subscriptions_of.get(sent.peer.der_id, {}).get(sent.href.subscription or "")
