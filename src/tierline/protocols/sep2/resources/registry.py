"""Which types may stand at the root of a document, and which list holds which item."""

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tierline.protocols.sep2.resources import der, devices, exchange, metering, pricing
from tierline.protocols.sep2.resources.objects import List
from tierline.protocols.sep2.resources.rows import Row, Space, Value, rows_of

ROOTS: Final[tuple[type[Value], ...]] = (
    devices.DeviceCapability,
    devices.Time,
    devices.SelfDevice,
    devices.EndDeviceList,
    devices.EndDevice,
    devices.Registration,
    devices.DeviceInformation,
    devices.FunctionSetAssignmentsList,
    devices.FunctionSetAssignments,
    devices.LogEventList,
    devices.LogEvent,
    devices.ConnectionPoint,
    der.DERProgramList,
    der.DERProgram,
    der.DERControlList,
    der.DERControl,
    der.DefaultDERControl,
    der.DERCurveList,
    der.DERCurve,
    der.DERList,
    der.DER,
    der.DERCapability,
    der.DERSettings,
    der.DERStatus,
    der.DERAvailability,
    metering.MirrorUsagePointList,
    metering.MirrorUsagePoint,
    metering.MirrorMeterReadingList,
    metering.MirrorMeterReading,
    metering.MirrorReadingSet,
    metering.Reading,
    metering.ReadingType,
    metering.UsagePointList,
    metering.UsagePoint,
    metering.MeterReadingList,
    metering.MeterReading,
    metering.ReadingSetList,
    metering.ReadingSet,
    metering.ReadingList,
    pricing.TariffProfileList,
    pricing.TariffProfile,
    pricing.RateComponentList,
    pricing.RateComponent,
    pricing.TimeTariffIntervalList,
    pricing.TimeTariffInterval,
    pricing.ConsumptionTariffIntervalList,
    pricing.ConsumptionTariffInterval,
    exchange.ResponseSetList,
    exchange.ResponseSet,
    exchange.ResponseList,
    exchange.Response,
    exchange.DERControlResponse,
    exchange.SubscriptionList,
    exchange.Subscription,
    exchange.NotificationList,
    exchange.Notification,
    exchange.Error,
)
"""Every type that can be sent or received on its own; a type's name is its name on the wire."""


@functools.cache
def roots_by_name() -> Mapping[str, type[Value]]:
    """Find the type of a root element, or of an xsi:type, by its name."""
    return MappingProxyType({cls.__name__: cls for cls in ROOTS})


def space_of(cls: type[Value]) -> Space:
    """Tell in which namespace the element of a type itself stands."""
    return Space.CSIP_AUS if cls is devices.ConnectionPoint else Space.SEP


def item_row(list_type: type[List]) -> Row:
    """Find the row of a list that holds its items."""
    return next(row for row in rows_of(list_type) if row.field == "items")


@functools.cache
def item_name(cls: type[Value]) -> str:
    """Find the element name under which a value stands in its list: a DERControlResponse stands there as Response."""
    for list_type in ROOTS:
        if issubclass(list_type, List):
            row = item_row(list_type)
            if isinstance(row.kind, type) and issubclass(cls, row.kind):
                return row.name
    return cls.__name__
