"""Tariffs and their prices: information, which never commands anything."""

from typing import Annotated

from tierline.protocols.sep2.resources.der import RandomizableEvent
from tierline.protocols.sep2.resources.kinds import (
    DurationSeconds,
    Hex16,
    Int32,
    PowerOfTen,
    String20,
    UInt8,
    UInt16,
    UInt32,
    UInt48,
)
from tierline.protocols.sep2.resources.metering import UnitValueType
from tierline.protocols.sep2.resources.objects import IdentifiedObject, Link, List, ListLink, Resource, SubscribableList
from tierline.protocols.sep2.resources.rows import Attribute, Element, Value


class TariffProfile(IdentifiedObject, frozen=True, kw_only=True):
    """A tariff: in which currency and steps its prices are, and what they are for."""

    currency: Annotated[UInt16 | None, Element("currency")] = None
    """ISO 4217 number."""
    price_power_of_ten_multiplier: Annotated[PowerOfTen | None, Element("pricePowerOfTenMultiplier")] = None
    primacy: Annotated[UInt8, Element("primacy")]
    """Lower is stronger."""
    rate_code: Annotated[String20 | None, Element("rateCode")] = None
    rate_component_list_link: Annotated[ListLink | None, Element("RateComponentListLink")] = None
    service_category_kind: Annotated[UInt8, Element("serviceCategoryKind")]
    """0 electricity."""


class TariffProfileList(SubscribableList, frozen=True, kw_only=True):
    """A page of tariffs."""

    poll_rate: Annotated[DurationSeconds | None, Attribute("pollRate")] = None
    items: Annotated[tuple[TariffProfile, ...], Element("TariffProfile")] = ()


class RateComponent(IdentifiedObject, frozen=True, kw_only=True):
    """One part of a tariff: the prices of what flows one way."""

    active_time_tariff_interval_list_link: Annotated[ListLink | None, Element("ActiveTimeTariffIntervalListLink")] = (
        None
    )
    flow_rate_end_limit: Annotated[UnitValueType | None, Element("flowRateEndLimit")] = None
    flow_rate_start_limit: Annotated[UnitValueType | None, Element("flowRateStartLimit")] = None
    reading_type_link: Annotated[Link, Element("ReadingTypeLink")]
    role_flags: Annotated[Hex16, Element("roleFlags")]
    time_tariff_interval_list_link: Annotated[ListLink, Element("TimeTariffIntervalListLink")]


class RateComponentList(List, frozen=True, kw_only=True):
    """A page of the parts of a tariff."""

    items: Annotated[tuple[RateComponent, ...], Element("RateComponent")] = ()


class TimeTariffInterval(RandomizableEvent, frozen=True, kw_only=True):
    """For how long which prices hold; an event, but of information."""

    consumption_tariff_interval_list_link: Annotated[ListLink | None, Element("ConsumptionTariffIntervalListLink")] = (
        None
    )
    tou_tier: Annotated[UInt8, Element("touTier")]
    """0 where no tiers are told apart."""


class TimeTariffIntervalList(SubscribableList, frozen=True, kw_only=True):
    """A page of intervals; the list of active ones has the same type on the wire."""

    items: Annotated[tuple[TimeTariffInterval, ...], Element("TimeTariffInterval")] = ()


class EnvironmentalCost(Value, frozen=True, kw_only=True):
    """What consumption costs the environment, beside its price."""

    amount: Annotated[UInt32, Element("amount")]
    cost_kind: Annotated[UInt8, Element("costKind")]
    cost_level: Annotated[UInt8, Element("costLevel")]
    num_cost_levels: Annotated[UInt8, Element("numCostLevels")]


class ConsumptionTariffInterval(Resource, frozen=True, kw_only=True):
    """A price, from a consumption on."""

    consumption_block: Annotated[UInt8, Element("consumptionBlock")]
    """0 where no blocks are told apart."""
    environmental_costs: Annotated[tuple[EnvironmentalCost, ...], Element("EnvironmentalCost")] = ()
    price: Annotated[Int32 | None, Element("price")] = None
    """Per unit of the ReadingType, in the tariff's currency and power of ten."""
    start_value: Annotated[UInt48, Element("startValue")]


class ConsumptionTariffIntervalList(List, frozen=True, kw_only=True):
    """A page of prices by consumption."""

    items: Annotated[tuple[ConsumptionTariffInterval, ...], Element("ConsumptionTariffInterval")] = ()
