"""What is known of the DERs of a group, for those who share something out among them: ratings, abilities, measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from tierline.engine.disaggregate import Share
from tierline.model.points import POINTS
from tierline.model.records import DerInfoKind
from tierline.model.telemetry import Quality
from tierline.operations.serving.relief import ratings_w

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from tierline.model.control import FunctionName
    from tierline.model.identity import DerId, GroupId
    from tierline.model.telemetry import PointName, Reading
    from tierline.operations.serving.state import Serving

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one document of a DER says."""

    values: Mapping[str, Decimal] = field(default_factory=dict)
    """By point name (rtg_max_w, set_max_w, stat_w_avail …), in the unit of the point."""
    functions: frozenset[str] | None = None
    """What it can carry out; None when the document does not say."""


ReadTold = Callable[[DerInfoKind, bytes], Told]
"""Reads a document as it was received; the south face knows its form."""

Offer = Callable[["DerId"], Decimal | None]
"""What a DER asks for what it delivers, by contract; None when nothing was agreed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One DER, as far as it can be told what to do."""

    der_id: DerId
    values: Mapping[str, Decimal]
    """What it said of itself: settings before ratings; `rtg_max_w` is that of its service point where it said nothing."""
    functions: frozenset[FunctionName] | None
    """What it can carry out; None when it never said."""
    measured_w: Decimal | None
    """Its active power, when it was measured lately."""
    price: Decimal | None

    @property
    def rating_w(self) -> Decimal:
        """What its percentages of active power refer to."""
        return self._set_or_rated("max_w")

    @property
    def absorb_w(self) -> Decimal:
        """The most it can absorb."""
        return self._set_or_rated("max_charge_rate_w")

    @property
    def can_be_set(self) -> bool:
        """Whether it is known how much it may be told, and there is a function to tell it by."""
        if not self.rating_w and not self.absorb_w:
            return False
        return self.functions is None or not self.functions.isdisjoint(SETTABLE)

    @property
    def available_w(self) -> Decimal | None:
        """What it could generate now; what it once said counts no more when it is silent."""
        return None if self.measured_w is None else self.values.get("stat_w_avail")

    def share(self) -> Share:
        """Give what the rules of sharing out need of a member that can be set."""
        can_absorb = self.functions is None or not self.functions.isdisjoint(SETTABLE - {"max_lim_w_pct"})
        return Share(
            der_id=self.der_id,
            rating_w=self.rating_w,
            absorb_w=self.absorb_w if can_absorb else _ZERO,
            available_w=self.available_w,
            measured_w=self.measured_w,
            price=self.price,
        )

    def _set_or_rated(self, name: str) -> Decimal:
        value = self.values.get(f"set_{name}", self.values.get(f"rtg_{name}", _ZERO))
        return max(_ZERO, value)


SETTABLE = frozenset({"target_w", "fixed_w_pct", "max_lim_w_pct"})
"""The functions by which active power can be set, the best first known; a limit lets a DER do less than its share only."""


class Members:
    """Looks up the DERs of groups; documents are read once each."""

    def __init__(self, serving: Serving, read: ReadTold, offer: Offer | None = None) -> None:
        self._serving = serving
        self._read = read
        self._offer = offer
        self._told: dict[tuple[DerId, DerInfoKind], tuple[datetime, Told]] = {}

    def of(self, group_id: GroupId, now: datetime, max_age: timedelta) -> dict[DerId, Member]:
        """Give the enabled DERs of a group; a measurement older than `max_age` is as good as none."""
        serving = self._serving
        rated = ratings_w(serving)
        found = {}
        for der_id in sorted(serving.members_of.get(group_id, ())):
            device = serving.devices[der_id]
            if not device.enabled or device.aggregates is not None:
                continue
            values: dict[str, Decimal] = {}
            if (rating_w := rated.get(device.service_point)) is not None:
                values["rtg_max_w"] = rating_w
            functions: frozenset[str] | None = None
            for kind in (DerInfoKind.CAPABILITY, DerInfoKind.SETTINGS, DerInfoKind.AVAILABILITY):
                told = self._of_document(der_id, kind)
                values |= told.values
                functions = functions if told.functions is None else told.functions
            reading = self.reading(der_id, "w")
            is_fresh = reading is not None and is_usable(reading, now - max_age)
            found[der_id] = Member(
                der_id=der_id,
                values=values,
                functions=functions,
                measured_w=reading.scaled if reading is not None and is_fresh else None,
                price=None if self._offer is None else self._offer(der_id),
            )
        return found

    def reading(self, der_id: DerId, point: PointName) -> Reading | None:
        """Give the newest reading of a point of a DER."""
        record = self._serving.latest.get((der_id, point, int(POINTS[point].phase)))
        return None if record is None else record.reading

    def _of_document(self, der_id: DerId, kind: DerInfoKind) -> Told:
        record = self._serving.infos.get((der_id, kind))
        if record is None:
            return Told()
        known = self._told.get((der_id, kind))
        if known is None or known[0] != record.changed_at:
            known = self._told[der_id, kind] = (record.changed_at, self._read(kind, record.document))
        return known[1]


def is_usable(reading: Reading, since: datetime) -> bool:
    """Tell whether a reading is young enough and not in question."""
    return reading.time >= since and Quality.QUESTIONABLE not in reading.quality
