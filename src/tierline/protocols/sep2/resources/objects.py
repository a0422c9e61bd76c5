"""The base types that resources derive from, links, lists, and the small values that many of them share."""

from typing import Annotated

from tierline.protocols.sep2.resources.kinds import (
    AnyUri,
    DurationSeconds,
    EpochSeconds,
    Hex8,
    Int16,
    MridHex,
    PowerOfTen,
    SignedPerCent,
    String32,
    Subscribable,
    UInt8,
    UInt16,
    UInt32,
    UInt48,
)
from tierline.protocols.sep2.resources.kinds import Bool as Boolean
from tierline.protocols.sep2.resources.rows import Attribute, Element, Value


class Resource(Value, frozen=True, kw_only=True):
    """Anything that has a path of its own."""

    href: Annotated[AnyUri | None, Attribute("href")] = None


class SubscribableResource(Resource, frozen=True, kw_only=True):
    """A resource whose changes a client may be told of."""

    subscribable: Annotated[Subscribable | None, Attribute("subscribable")] = None


class IdentifiedObject(Resource, frozen=True, kw_only=True):
    """A resource with a global name; one of the types whose elements are not in alphabetical order."""

    mrid: Annotated[MridHex, Element("mRID")]
    description: Annotated[String32 | None, Element("description")] = None
    version: Annotated[UInt16 | None, Element("version")] = None


class SubscribableIdentifiedObject(SubscribableResource, frozen=True, kw_only=True):
    """A subscribable resource with a global name."""

    mrid: Annotated[MridHex, Element("mRID")]
    description: Annotated[String32 | None, Element("description")] = None
    version: Annotated[UInt16 | None, Element("version")] = None


class RespondableSubscribableIdentifiedObject(Resource, frozen=True, kw_only=True):
    """An object that asks for responses."""

    reply_to: Annotated[AnyUri | None, Attribute("replyTo")] = None
    response_required: Annotated[Hex8 | None, Attribute("responseRequired")] = None
    """Bit 0 received, bit 1 specific (started, completed, ...), bit 2 the user's choice."""
    subscribable: Annotated[Subscribable | None, Attribute("subscribable")] = None
    mrid: Annotated[MridHex, Element("mRID")]
    description: Annotated[String32 | None, Element("description")] = None
    version: Annotated[UInt16 | None, Element("version")] = None


class Link(Value, frozen=True, kw_only=True):
    """Where a single resource is."""

    href: Annotated[AnyUri, Attribute("href")]


class ListLink(Link, frozen=True, kw_only=True):
    """Where a list is, and how many items it has."""

    all: Annotated[UInt32 | None, Attribute("all")] = None


class List(Resource, frozen=True, kw_only=True):
    """One page of a list; every list type adds its `items`."""

    all: Annotated[UInt32, Attribute("all")]
    """The true total over all pages."""
    results: Annotated[UInt32, Attribute("results")]
    """The number of items on this page."""


class SubscribableList(List, frozen=True, kw_only=True):
    """A list whose changes a client may be told of."""

    subscribable: Annotated[Subscribable | None, Attribute("subscribable")] = None


class DateTimeInterval(Value, frozen=True, kw_only=True):
    """A start and a duration."""

    duration: Annotated[DurationSeconds, Element("duration")]
    start: Annotated[EpochSeconds, Element("start")]


class SignedQuantity(Value, frozen=True, kw_only=True):
    """A signed number with its power of ten."""

    multiplier: Annotated[PowerOfTen, Element("multiplier")]
    value: Annotated[Int16, Element("value")]


class UnsignedQuantity(Value, frozen=True, kw_only=True):
    """A number from zero up with its power of ten."""

    multiplier: Annotated[PowerOfTen, Element("multiplier")]
    value: Annotated[UInt16, Element("value")]


class ActivePower(SignedQuantity, frozen=True, kw_only=True):
    """In watts."""


class ReactivePower(SignedQuantity, frozen=True, kw_only=True):
    """In vars."""


class ApparentPower(UnsignedQuantity, frozen=True, kw_only=True):
    """In volt-amperes."""


class CurrentRMS(UnsignedQuantity, frozen=True, kw_only=True):
    """In amperes."""


class VoltageRMS(UnsignedQuantity, frozen=True, kw_only=True):
    """In volts."""


class AmpereHour(UnsignedQuantity, frozen=True, kw_only=True):
    """In ampere-hours."""


class WattHour(UnsignedQuantity, frozen=True, kw_only=True):
    """In watt-hours."""


class ReactiveSusceptance(UnsignedQuantity, frozen=True, kw_only=True):
    """In siemens."""


class RealEnergy(Value, frozen=True, kw_only=True):
    """In watt-hours, wider than WattHour."""

    multiplier: Annotated[PowerOfTen, Element("multiplier")]
    value: Annotated[UInt48, Element("value")]


class PowerFactor(Value, frozen=True, kw_only=True):
    """A power factor as displacement with its power of ten."""

    displacement: Annotated[UInt16, Element("displacement")]
    multiplier: Annotated[PowerOfTen, Element("multiplier")]


class PowerFactorWithExcitation(Value, frozen=True, kw_only=True):
    """A power factor and its side."""

    displacement: Annotated[UInt16, Element("displacement")]
    excitation: Annotated[Boolean, Element("excitation")]
    """True is under-excited: absorbing reactive power."""
    multiplier: Annotated[PowerOfTen, Element("multiplier")]


class FixedVar(Value, frozen=True, kw_only=True):
    """Reactive power as a share of a named reference."""

    ref_type: Annotated[UInt8, Element("refType")]
    value: Annotated[SignedPerCent, Element("value")]
