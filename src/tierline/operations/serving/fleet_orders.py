"""From the target of a fleet to the wishes for its programs, and the words in which the audit tells of them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from tierline.engine.disaggregate import Policy, Shared, share
from tierline.model.control import Setpoints
from tierline.operations.serving.audit import entry
from tierline.operations.serving.deriving import Wish
from tierline.operations.serving.fleet_values import by_rating, percent, set_to
from tierline.operations.serving.wording import worded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from tierline.engine.governor import Request
    from tierline.model.control import FunctionName, Value
    from tierline.model.identity import ChannelId, DerId, Mrid
    from tierline.model.parties import Principal
    from tierline.model.records import AuditRecord, ControlRecord
    from tierline.operations.serving.deriving import Derived
    from tierline.operations.serving.fleet_programs import FleetPrograms
    from tierline.operations.serving.grants import Source
    from tierline.operations.serving.members import Member
    from tierline.operations.serving.state import Serving

SET = frozenset({"target_w", "fixed_w_pct"})
"""What sets the active power of all together."""
SHARED_OUT = SET | {"gen_lim_w"}
"""What members need different values for."""
IN_COMMON = frozenset({"max_lim_w_pct", "connect", "energize", "fixed_pf_inject_w", "fixed_pf_absorb_w", "fixed_var"})
"""What is the same for every member: percentages of its own, and yes or no."""
CARRIED = SHARED_OUT | IN_COMMON
"""What a fleet can carry out, once it is granted."""

_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Orders:
    """What a fleet is to hold, and how it is shared out."""

    target: Setpoints
    shared: Shared | None
    """The active power that is set; None when none is."""
    members: Mapping[DerId, Member]
    policy: Policy
    starts_at: datetime | None = None
    """When all of it is to begin; None: now."""

    def wishes(self, source: Source, programs: FleetPrograms) -> Iterator[Wish]:
        """Say what each program shall hold because of one source."""

        def wish(program: Mrid, values: Mapping[FunctionName, Value]) -> Wish:
            return Wish(
                program=program,
                setpoints=Setpoints.of(values),
                parent=source.behind.mrid,
                party=source.principal.party,
                channel=source.behind.channel,
                until=source.behind.until,
                not_after=source.granted_until,
                starts_at=self.starts_at,
            )

        limits = self._limits()
        # Beside a limit in watts each member has its own percentage, the tighter one.
        alike = IN_COMMON if limits is None else IN_COMMON - {"max_lim_w_pct"}
        common = {name: self.target[name] for name in source.functions if name in alike}
        if common:
            yield wish(programs.in_common(), common)
        for der_id, member in self.members.items():
            own: dict[FunctionName, Value] = {}
            if limits is not None and "gen_lim_w" in source.functions:
                own["max_lim_w_pct"] = limits[der_id]
            if self.shared is not None and not SET.isdisjoint(source.functions) and der_id in self.shared.watts:
                name, value = set_to(member, self.shared.watts[der_id])
                limit = own.get(name)
                own[name] = min(value, limit) if isinstance(limit, Decimal) else value
            if own:
                yield wish(programs.of_member(der_id), own)

    def details(
        self, sources: Iterable[Source], requests: Mapping[ChannelId, Request]
    ) -> list[tuple[Source, dict[str, object]]]:
        """Say for the audit what is held because of each source; a request stands beside the first of its channel."""
        unsaid = dict(requests)
        return [(source, self._detail(source, unsaid.pop(source.behind.channel, None))) for source in sources]

    def _detail(self, source: Source, request: Request | None) -> dict[str, object]:
        detail: dict[str, object] = {
            "parent": source.behind.mrid,
            "channel": source.behind.channel,
            "setpoints": worded(Setpoints.of({name: self.target[name] for name in source.functions})),
        }
        if source.grant is not None:
            detail["grant"] = {"power_w": source.grant.power_w, "until": source.grant.until.isoformat()}
        if self.shared is not None and not SET.isdisjoint(source.functions):
            detail["total_w"], detail["rest_w"] = self.shared.total_w, self.shared.rest_w
            detail["unmeasured"] = sorted(self.shared.unmeasured)
        if request is not None:
            # What the governor remembers across a restart.
            detail["relief_w"], detail["members"] = request.power_w, sorted(request.devices)
        return detail

    def _limits(self) -> dict[DerId, Decimal] | None:
        """Give each member its part of a limit in watts, in percent, which every DER understands.

        Who has not said what it is rated for gets 0 %: nobody can tell how much it would add.
        """
        limit_w, limit_pct = self.target.get("gen_lim_w"), self.target.get("max_lim_w_pct", _HUNDRED)
        if not isinstance(limit_w, Decimal):
            return None
        assert isinstance(limit_pct, Decimal)
        shared = share(limit_w, [by_rating(member) for member in self.members.values()], self.policy)
        return {
            der_id: min(limit_pct, percent(watts, self.members[der_id].rating_w))
            for der_id, watts in shared.watts.items()
        }


@dataclass(frozen=True, slots=True)
class Telling:
    """How the audit names what is done."""

    what: str
    outcome: str
    me: Principal
    """Who lets go of what nobody wants any more."""


def audited(
    serving: Serving, derived: Derived, details: Iterable[tuple[Source, dict[str, object]]], telling: Telling
) -> list[AuditRecord]:
    """Say of every source what was made of it, and what was let go; the caller holds `serving.writing`."""
    acts = []
    for source, detail in details:
        made = [record.mrid for record in derived.made if _comes_from(record, source.behind.mrid)]
        if made:
            acts.append((source.principal, "control", telling.outcome, detail | {"derived": made}))
    if derived.cancelled:
        acts.append((telling.me, "cancel", "released", {"controls": [record.mrid for record in derived.cancelled]}))
    audit: list[AuditRecord] = []
    for principal, verb, outcome, detail in acts:
        after = audit[-1] if audit else None
        audit.append(entry(principal, serving, verb, telling.what, outcome, detail, after=after))
    return audit


def _comes_from(record: ControlRecord, parent: Mrid) -> bool:
    provenance = record.control.provenance
    return provenance is not None and provenance.derived_from == parent
