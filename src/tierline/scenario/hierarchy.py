"""Who stands between the top and the gateways of a scenario, and who is enrolled where.

`[hierarchy]` names the nodes; a level that is not named is not there. Without the table there is one utility above all gateways;
with `utility = ""` and nothing else there is nobody above them.
- `market`, `utility`: the name of that node, empty for none;
- `[[hierarchy.substation]]`: `name`, and `element`, the transformer or feeder whose DERs it serves in the utility's stead;
- `[[hierarchy.aggregator]]`: `name`, and `market`, whether the market sees it;
- `[hierarchy.enrolment]`: `direct_pct`, `aggregator_pct`, `dual_pct`, which share of each feeder is enrolled with the utility, with an
  aggregator, with both.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tierline.engine.connectivity import feeder_of, normal_positions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierline.model.topology import Grid

Share = Annotated[float, Field(ge=0, le=100)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Substation(_Part):
    """A control point for what one element of the grid feeds."""

    name: str
    element: str
    """A transformer or feeder of the grid file."""


class Aggregator(_Part):
    """A party with DERs of its own customers."""

    name: str
    market: bool = False
    """Whether the market may ask it for power."""


class Enrolment(_Part):
    """The shares of each feeder."""

    direct_pct: Share = 100.0
    """With the utility alone."""
    aggregator_pct: Share = 0.0
    """With an aggregator alone: what the utility asks for reaches them through it."""
    dual_pct: Share = 0.0
    """With both, over two links."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.direct_pct + self.aggregator_pct + self.dual_pct != 100.0:
            raise ValueError("direct_pct, aggregator_pct and dual_pct make 100 together")
        return self


class Hierarchy(_Part):
    """The levels of a scenario."""

    market: str = ""
    """The name of the market node, empty for none."""
    utility: str = "utility"
    """The name of the utility node, empty for none."""
    substation: list[Substation] = []
    aggregator: list[Aggregator] = []
    enrolment: Enrolment = Enrolment()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = self.names
        if len(set(names)) < len(names):
            raise ValueError(f"two nodes have the same name: {', '.join(names)}")
        if self.substation and not self.utility:
            raise ValueError("a substation takes its programs from a utility; name one")
        has_shared = self.enrolment.aggregator_pct + self.enrolment.dual_pct > 0
        if has_shared and not self.aggregator:
            raise ValueError("DERs are enrolled with an aggregator, and there is none; add [[hierarchy.aggregator]]")
        if self.enrolment.direct_pct + self.enrolment.dual_pct > 0 and not self.utility and names:
            raise ValueError("DERs are enrolled with a utility, and there is none; set aggregator_pct = 100")
        return self

    @property
    def names(self) -> list[str]:
        """All nodes that serve, from the top down."""
        top = [name for name in (self.market, self.utility) if name]
        return top + [one.name for one in self.substation] + [one.name for one in self.aggregator]


class Way(StrEnum):
    """Over which links a gateway is commanded."""

    DIRECT = "direct"
    AGGREGATOR = "aggregator"
    DUAL = "dual"
    ALONE = "alone"
    """Over none: there is nobody above it."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Where one DER is enrolled."""

    way: Way
    aggregator: str
    """Its aggregator, empty for none."""


def enrol(grid: Grid, hierarchy: Hierarchy) -> Mapping[str, Enrolled]:
    """Say for each service point where its DER is enrolled.

    The shares hold in every feeder, spread over its length; which aggregator it is goes by the number of the unit.
    """
    if not hierarchy.names:
        return {point.id: Enrolled(Way.ALONE, "") for point in grid.service_points}
    feeders = feeder_of(grid, normal_positions(grid))
    shares = hierarchy.enrolment
    wanted = {Way.DIRECT: shares.direct_pct, Way.AGGREGATOR: shares.aggregator_pct, Way.DUAL: shares.dual_pct}
    given: dict[str | None, dict[Way, int]] = {}
    found = {}
    for number, point in enumerate(grid.service_points):
        counts = given.setdefault(feeders[point.id], dict.fromkeys(wanted, 0))
        so_far = sum(counts.values())
        way = max(wanted, key=lambda one: wanted[one] * (so_far + 1) / 100 - counts[one])
        counts[way] += 1
        names = [one.name for one in hierarchy.aggregator]
        found[point.id] = Enrolled(way, "" if way is Way.DIRECT else names[number % len(names)])
    return found
