"""Metering: readings that a client posts to its mirror, and usage points as whoever may see them reads them."""

from typing import Annotated

from tierline.protocols.sep2.resources.kinds import (
    Bool,
    DurationSeconds,
    EpochSeconds,
    Hex16,
    Int32,
    Int48,
    LfdiHex,
    PowerOfTen,
    Subscribable,
    UInt8,
    UInt48,
)
from tierline.protocols.sep2.resources.objects import (
    DateTimeInterval,
    IdentifiedObject,
    Link,
    List,
    ListLink,
    Resource,
    SubscribableList,
)
from tierline.protocols.sep2.resources.rows import Attribute, Element, Value


class Reading(Resource, frozen=True, kw_only=True):
    """One value; its unit and power of ten are those of the ReadingType."""

    subscribable: Annotated[Subscribable | None, Attribute("subscribable")] = None
    consumption_block: Annotated[UInt8 | None, Element("consumptionBlock")] = None
    quality_flags: Annotated[Hex16 | None, Element("qualityFlags")] = None
    time_period: Annotated[DateTimeInterval | None, Element("timePeriod")] = None
    tou_tier: Annotated[UInt8 | None, Element("touTier")] = None
    value: Annotated[Int48 | None, Element("value")] = None
    local_id: Annotated[Hex16 | None, Element("localID")] = None


class UnitValueType(Value, frozen=True, kw_only=True):
    """A number with unit and power of ten."""

    multiplier: Annotated[PowerOfTen, Element("multiplier")]
    unit: Annotated[UInt8, Element("unit")]
    value: Annotated[Int32, Element("value")]


class ReadingType(Resource, frozen=True, kw_only=True):
    """What a series of readings measures."""

    accumulation_behaviour: Annotated[UInt8 | None, Element("accumulationBehaviour")] = None
    calorific_value: Annotated[UnitValueType | None, Element("calorificValue")] = None
    commodity: Annotated[UInt8 | None, Element("commodity")] = None
    conversion_factor: Annotated[UnitValueType | None, Element("conversionFactor")] = None
    data_qualifier: Annotated[UInt8 | None, Element("dataQualifier")] = None
    flow_direction: Annotated[UInt8 | None, Element("flowDirection")] = None
    interval_length: Annotated[DurationSeconds | None, Element("intervalLength")] = None
    kind: Annotated[UInt8 | None, Element("kind")] = None
    max_number_of_intervals: Annotated[UInt8 | None, Element("maxNumberOfIntervals")] = None
    number_of_consumption_blocks: Annotated[UInt8 | None, Element("numberOfConsumptionBlocks")] = None
    number_of_tou_tiers: Annotated[UInt8 | None, Element("numberOfTouTiers")] = None
    phase: Annotated[UInt8 | None, Element("phase")] = None
    power_of_ten_multiplier: Annotated[PowerOfTen | None, Element("powerOfTenMultiplier")] = None
    sub_interval_length: Annotated[DurationSeconds | None, Element("subIntervalLength")] = None
    supply_limit: Annotated[UInt48 | None, Element("supplyLimit")] = None
    tiered_consumption_blocks: Annotated[Bool | None, Element("tieredConsumptionBlocks")] = None
    uom: Annotated[UInt8 | None, Element("uom")] = None


class MirrorReadingSet(IdentifiedObject, frozen=True, kw_only=True):
    """Readings of one period."""

    time_period: Annotated[DateTimeInterval, Element("timePeriod")]
    readings: Annotated[tuple[Reading, ...], Element("Reading")] = ()


class MirrorMeterReading(IdentifiedObject, frozen=True, kw_only=True):
    """A series: its type, its last reading, or sets of readings."""

    last_update_time: Annotated[EpochSeconds | None, Element("lastUpdateTime")] = None
    mirror_reading_sets: Annotated[tuple[MirrorReadingSet, ...], Element("MirrorReadingSet")] = ()
    next_update_time: Annotated[EpochSeconds | None, Element("nextUpdateTime")] = None
    reading: Annotated[Reading | None, Element("Reading")] = None
    reading_type: Annotated[ReadingType | None, Element("ReadingType")] = None


class MirrorMeterReadingList(List, frozen=True, kw_only=True):
    """Several series posted at once."""

    items: Annotated[tuple[MirrorMeterReading, ...], Element("MirrorMeterReading")] = ()


class MirrorUsagePoint(IdentifiedObject, frozen=True, kw_only=True):
    """What one device measures at one place."""

    role_flags: Annotated[Hex16, Element("roleFlags")]
    service_category_kind: Annotated[UInt8, Element("serviceCategoryKind")]
    status: Annotated[UInt8, Element("status")]
    device_lfdi: Annotated[LfdiHex, Element("deviceLFDI")]
    mirror_meter_readings: Annotated[tuple[MirrorMeterReading, ...], Element("MirrorMeterReading")] = ()
    post_rate: Annotated[DurationSeconds | None, Element("postRate")] = None


class MirrorUsagePointList(List, frozen=True, kw_only=True):
    """A page of mirror usage points."""

    poll_rate: Annotated[DurationSeconds | None, Attribute("pollRate")] = None
    items: Annotated[tuple[MirrorUsagePoint, ...], Element("MirrorUsagePoint")] = ()


class UsagePoint(IdentifiedObject, frozen=True, kw_only=True):
    """What is measured at one place, to be read."""

    role_flags: Annotated[Hex16, Element("roleFlags")]
    service_category_kind: Annotated[UInt8, Element("serviceCategoryKind")]
    status: Annotated[UInt8, Element("status")]
    device_lfdi: Annotated[LfdiHex | None, Element("deviceLFDI")] = None
    meter_reading_list_link: Annotated[ListLink | None, Element("MeterReadingListLink")] = None


class UsagePointList(SubscribableList, frozen=True, kw_only=True):
    """A page of usage points."""

    poll_rate: Annotated[DurationSeconds | None, Attribute("pollRate")] = None
    items: Annotated[tuple[UsagePoint, ...], Element("UsagePoint")] = ()


class MeterReading(IdentifiedObject, frozen=True, kw_only=True):
    """A series: where its type, its latest reading and its sets of readings are."""

    rate_component_list_link: Annotated[ListLink | None, Element("RateComponentListLink")] = None
    reading_link: Annotated[Link | None, Element("ReadingLink")] = None
    reading_set_list_link: Annotated[ListLink | None, Element("ReadingSetListLink")] = None
    reading_type_link: Annotated[Link, Element("ReadingTypeLink")]


class MeterReadingList(SubscribableList, frozen=True, kw_only=True):
    """A page of series."""

    items: Annotated[tuple[MeterReading, ...], Element("MeterReading")] = ()


class ReadingSet(IdentifiedObject, frozen=True, kw_only=True):
    """Readings of one period."""

    time_period: Annotated[DateTimeInterval, Element("timePeriod")]
    reading_list_link: Annotated[ListLink | None, Element("ReadingListLink")] = None


class ReadingSetList(SubscribableList, frozen=True, kw_only=True):
    """A page of sets of readings."""

    items: Annotated[tuple[ReadingSet, ...], Element("ReadingSet")] = ()


class ReadingList(SubscribableList, frozen=True, kw_only=True):
    """A page of readings."""

    items: Annotated[tuple[Reading, ...], Element("Reading")] = ()
