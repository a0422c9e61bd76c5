"""Responses, subscriptions, notifications and errors."""

from typing import Annotated

from tierline.protocols.sep2.resources.kinds import (
    AnyUri,
    DurationSeconds,
    EpochSeconds,
    Int48,
    LfdiHex,
    MridHex,
    String16,
    UInt8,
    UInt16,
    UInt32,
)
from tierline.protocols.sep2.resources.objects import IdentifiedObject, List, ListLink, Resource
from tierline.protocols.sep2.resources.rows import Attribute, Element, Value


class Response(Resource, frozen=True, kw_only=True):
    """What one device answers to one event."""

    created_date_time: Annotated[EpochSeconds | None, Element("createdDateTime")] = None
    end_device_lfdi: Annotated[LfdiHex, Element("endDeviceLFDI")]
    status: Annotated[UInt8 | None, Element("status")] = None
    subject: Annotated[MridHex, Element("subject")]
    """The mRID of the event."""


class DERControlResponse(Response, frozen=True, kw_only=True):
    """The answer to a DERControl."""


class ResponseList(List, frozen=True, kw_only=True):
    """A page of responses; derived ones are named by xsi:type."""

    items: Annotated[tuple[Response, ...], Element("Response", polymorphic=True)] = ()


class ResponseSet(IdentifiedObject, frozen=True, kw_only=True):
    """A place to post responses to."""

    response_list_link: Annotated[ListLink | None, Element("ResponseListLink")] = None


class ResponseSetList(List, frozen=True, kw_only=True):
    """A page of response sets."""

    poll_rate: Annotated[DurationSeconds | None, Attribute("pollRate")] = None
    items: Annotated[tuple[ResponseSet, ...], Element("ResponseSet")] = ()


class Condition(Value, frozen=True, kw_only=True):
    """Thresholds of a conditional subscription."""

    attribute_identifier: Annotated[UInt8, Element("attributeIdentifier")]
    lower_threshold: Annotated[Int48, Element("lowerThreshold")]
    upper_threshold: Annotated[Int48, Element("upperThreshold")]


class Subscription(Resource, frozen=True, kw_only=True):
    """A wish to be told of changes."""

    subscribed_resource: Annotated[AnyUri, Element("subscribedResource")]
    condition: Annotated[Condition | None, Element("Condition")] = None
    encoding: Annotated[UInt8, Element("encoding")]
    """0 XML, 1 EXI."""
    level: Annotated[String16, Element("level")]
    limit: Annotated[UInt32, Element("limit")]
    """The most list items per notice; 0 asks for notices without a body."""
    notification_uri: Annotated[AnyUri, Element("notificationURI")]


class SubscriptionList(List, frozen=True, kw_only=True):
    """A page of subscriptions."""

    poll_rate: Annotated[DurationSeconds | None, Attribute("pollRate")] = None
    items: Annotated[tuple[Subscription, ...], Element("Subscription")] = ()


class Notification(Resource, frozen=True, kw_only=True):
    """A notice of a change, with the changed resource when it fits."""

    subscribed_resource: Annotated[AnyUri, Element("subscribedResource")]
    new_resource_uri: Annotated[AnyUri | None, Element("newResourceURI")] = None
    resource: Annotated[Resource | None, Element("Resource", polymorphic=True)] = None
    status: Annotated[UInt8, Element("status")]
    """0 default, 1 cancelled, 2 moved, 3 definition changed, 4 deleted."""
    subscription_uri: Annotated[AnyUri, Element("subscriptionURI")]


class NotificationList(List, frozen=True, kw_only=True):
    """Several notices at once."""

    items: Annotated[tuple[Notification, ...], Element("Notification")] = ()


class Error(Value, frozen=True, kw_only=True):
    """Why a request was refused."""

    max_retry_duration: Annotated[UInt16 | None, Element("maxRetryDuration")] = None
    """When to come back, in seconds."""
    reason_code: Annotated[UInt16, Element("reasonCode")]
    """0 invalid format, 1 invalid values, 2 resource limit, 3 conditions not supported, 4 too many requests."""
