"""Tariffs and prices as a server above shows them: information, never a control."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tierline.model.control import EventStatus
from tierline.model.identity import ChannelId, Lfdi, Mrid
from tierline.model.records import Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a kilowatt-hour costs for a time."""

    mrid: Mrid
    created_at: datetime
    start: datetime
    duration_s: int
    price: int
    """Per kWh, in the tariff's currency and power of ten."""
    status: EventStatus = EventStatus.SCHEDULED
    """SCHEDULED unless it was withdrawn or replaced: whether it is active follows from the time."""
    status_at: datetime
    tou_tier: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """A tariff with the prices of its one rate component."""

    mrid: Mrid
    description: str
    currency: int
    """ISO 4217 number; 0 where none is stated."""
    price_power_of_ten: int
    rate_component: Mrid
    flow: Flow
    service: int
    primacy: int
    prices: tuple[Price, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffsSeen:
    """All tariffs that a channel shows to this node, and for whom."""

    channel: ChannelId
    tariffs: Mapping[Mrid, Tariff] = field(default_factory=dict)
    shown_to: Mapping[Mrid, frozenset[Lfdi]] = field(default_factory=dict)
    """The EndDevices that each concerns, where this node stands for many."""
    unread: frozenset[Mrid] = frozenset()
    """Listed, but not shown as they should be: they stay as they were."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """What cannot be kept, and why."""
    is_whole: bool = True
    """False where another server of the channel was not read: what is not seen may be shown there."""
