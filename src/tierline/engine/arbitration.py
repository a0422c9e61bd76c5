"""From what all channels want at one moment to what one DER does, with the explanation (docs/rules.md section 5).

A `Claim` is one function wanted by one channel, by an event or a default. `arbitrate` is a pure function of the set of
claims: their order does not matter. It knows three ways to merge, taken from the function table: the tightest of all
limits, one winner for each quantity, and a logical AND of permissions.

The AND is also what lets only those close who opened: a claim to close never outweighs the claim of another to stay open,
so the DER stays open until the claim of the one who opened it ends or changes.
"""

import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from types import MappingProxyType

from tierline.engine.validity import lack_of_value
from tierline.model.capability import ANYTHING, Capability
from tierline.model.control import FunctionName, Setpoints, Value
from tierline.model.functions import FUNCTIONS, Bound, Merge, Quantity, Unit, quantity_at
from tierline.model.identity import ChannelId, Mrid
from tierline.model.parties import Authority
from tierline.model.validity import fault_of

_RESOLUTION_PCT = Decimal("0.01")
"""Source: IEEE 2030.5-2018, PerCent: hundredths of a percent."""
_POWER_FACTORS = frozenset({"fixed_pf_inject_w", "fixed_pf_absorb_w"})
"""Two halves of one reactive-power function: one control may set both."""


Wish = tuple[FunctionName, Value, ChannelId, Mrid]
"""One value of one function, and who wants it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratings:
    """What percentages of active power refer to, from the settings of the DER."""

    set_max_w: Decimal
    """Units: W, above 0."""
    set_max_charge_rate_w: Decimal | None = None
    """What negative active power in percent refers to; None: set_max_w."""
    at_pcc: bool = False
    """Whether the EndDevice stands for a whole facility at its connection point. Source: CSIP 2.1 P28."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One function that one channel wants at this moment."""

    function: FunctionName
    value: Value
    channel: ChannelId
    mrid: Mrid
    """The event, the default control, or what else stands behind it."""
    authority: Authority
    """That of the channel; DEFAULT for a default."""
    rank: int
    """Of the channel, unique per DER, lower first."""
    primacy: int = 0
    creation_time: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    is_event: bool = True
    """False for defaults and the owner's standing limits: they are never displaced."""
    ramp_time_s: Decimal | None = None
    program: Mrid | None = None
    """Of a default: the program whose it is. Defaults rank by it (E20, A9): one set anew has another mRID and the same rank."""

    @property
    def strength(self) -> tuple[int, int, int, datetime, str, str]:
        """What sorts claims, the strongest greatest (A3)."""
        ranked = self.mrid if self.program is None else self.program
        return (-self.authority, -self.rank, -self.primacy, self.creation_time, ranked, self.function)

    @property
    def source(self) -> tuple[ChannelId, Mrid]:
        """Who speaks."""
        return (self.channel, self.mrid)

    @property
    def wish(self) -> Wish:
        """What is wanted, and by whom."""
        return (self.function, self.value, self.channel, self.mrid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One claim, and what became of it."""

    function: FunctionName
    value: Value
    channel: ChannelId
    mrid: Mrid
    is_event: bool
    applied: bool = False
    """Whether the function's value comes from this claim: true for exactly one claim of an applied function."""
    applied_value: Value | None = None
    """What is applied of it: the value itself, or what the limits leave of it."""
    binding: bool | None = None
    """For limits and permissions: whether it is this one that bounds. None for all others."""
    displaced: bool = False
    """Whether its event ends because another channel won all it commands."""
    reason: str = ""
    """Why, in words an operator can read."""

    @property
    def wish(self) -> Wish:
        """What is wanted, and by whom."""
        return (self.function, self.value, self.channel, self.mrid)

    @property
    def has_part(self) -> bool:
        """Whether it is carried out: applied, or in force beside what is applied."""
        return self.applied or self.binding is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What one DER does at one moment, and why."""

    setpoints: Setpoints = field(default_factory=Setpoints)
    """Functions that are absent are released."""
    ramp_time_s: Decimal | None = None
    """How long the change may take; None: the DER's own ramp rate."""
    explanation: tuple[Entry, ...] = ()
    """One entry for each claim, by function, the strongest first."""
    refused: frozenset[tuple[ChannelId, Mrid]] = frozenset()
    """The events and defaults of which the DER refused something at the write (E24)."""

    @property
    def displaced(self) -> frozenset[tuple[ChannelId, Mrid]]:
        """The events that are displaced (A3)."""
        return frozenset((entry.channel, entry.mrid) for entry in self.explanation if entry.displaced)

    @property
    def sources(self) -> frozenset[tuple[ChannelId, Mrid]]:
        """The events and defaults that are carried out, at least in part."""
        return frozenset((entry.channel, entry.mrid) for entry in self.explanation if entry.has_part)

    def without(self, refused: Mapping[FunctionName, str]) -> "Applied":
        """Leave out the functions that the DER refused at the write, each for a reason (E24)."""
        held_back = [entry for entry in self.explanation if entry.function in refused and entry.has_part]
        return replace(
            self,
            setpoints=Setpoints.of({name: value for name, value in self.setpoints.items() if name not in refused}),
            explanation=tuple(
                entry
                if entry not in held_back
                else replace(
                    entry, applied=False, applied_value=None, binding=None, reason=_refused(refused[entry.function])
                )
                for entry in self.explanation
            ),
            refused=frozenset((entry.channel, entry.mrid) for entry in held_back),
        )

    def to_json(self) -> bytes:
        """Write it down for `tierline explain`, the same bytes for the same decision."""
        document = {
            "setpoints": {name: _plain(value) for name, value in self.setpoints.items()},
            "ramp_time_s": self.ramp_time_s,
            "explanation": [
                asdict(entry) | {"value": _plain(entry.value), "applied_value": _plain(entry.applied_value)}
                for entry in self.explanation
            ],
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str).encode()


def arbitrate(
    claims: Iterable[Claim],
    *,
    ratings: Ratings,
    supported: frozenset[FunctionName],
    carries_ramp_time: bool = True,
    capability: Capability = ANYTHING,
    given_up: Mapping[Wish, str] = MappingProxyType({}),
) -> Applied:
    """Merge what all channels want into what the DER does.

    A claim that the DER cannot carry out (any more: it may have been exchanged) is refused and binds nobody; so is one that
    was given up, for the reason that is given, after the DER refused it at the write (E24).
    """
    ordered = sorted(set(claims), key=lambda claim: claim.strength, reverse=True)
    verdicts = {
        claim: _Verdict(
            _refused(given_up[claim.wish])
            if claim.wish in given_up
            else _refusal(claim, supported, carries_ramp_time, capability)
        )
        for claim in ordered
    }
    usable = [claim for claim in ordered if not verdicts[claim].reason]
    bounds = _judge_limits(usable, verdicts, ratings)
    _judge_permissions(usable, verdicts)
    _judge_winners(usable, verdicts, bounds, ratings)
    displaced = _displaced(usable, verdicts)
    explained = sorted(ordered, key=lambda claim: claim.function)  # stable: within a function the strongest stays first
    applied = [claim for claim in ordered if verdicts[claim].applied]
    return Applied(
        setpoints=Setpoints.of({c.function: _value_of(c, verdicts[c]) for c in applied}),
        ramp_time_s=next((claim.ramp_time_s for claim in applied if claim.ramp_time_s is not None), None),
        explanation=tuple(_entry(claim, verdicts[claim], claim.source in displaced) for claim in explained),
    )


@dataclass(slots=True)
class _Verdict:
    """What becomes of one claim, while it is being found out."""

    reason: str
    applied: bool = False
    clipped: Value | None = None
    binding: bool | None = None
    lost_to: Claim | None = None


_Verdicts = Mapping[Claim, _Verdict]
_Bounds = Mapping[tuple[Quantity, Bound | None], Claim]
"""The limit that binds, for each side of each quantity."""


def _refusal(
    claim: Claim,
    supported: frozenset[FunctionName],
    carries_ramp_time: bool,  # noqa: FBT001  # private
    capability: Capability,
) -> str:
    row = FUNCTIONS.get(claim.function)
    if row is None or row.merge is Merge.NONE or claim.function not in supported:
        return "not carried out by this DER"
    if claim.ramp_time_s is not None and not carries_ramp_time:
        return "its ramp time is not carried out by this DER"
    return fault_of(claim.function, claim.value) or lack_of_value(
        claim.function, claim.value, carries_ramp_time=carries_ramp_time, capability=capability
    )


def _refused(why: str) -> str:
    return f"refused by the device: {why}"


def _value_of(claim: Claim, verdict: _Verdict) -> Value:
    return claim.value if verdict.clipped is None else verdict.clipped


def _entry(claim: Claim, verdict: _Verdict, displaced: bool) -> Entry:  # noqa: FBT001  # private, named by its place
    return Entry(
        function=claim.function,
        value=claim.value,
        channel=claim.channel,
        mrid=claim.mrid,
        is_event=claim.is_event,
        applied=verdict.applied,
        applied_value=_value_of(claim, verdict) if verdict.applied else None,
        binding=verdict.binding,
        displaced=displaced,
        reason=verdict.reason,
    )


def _judge_limits(usable: Iterable[Claim], verdicts: _Verdicts, ratings: Ratings) -> _Bounds:
    """Keep all limits in force; of each function the tightest is applied, of each quantity the tightest binds (A2)."""
    bounds: dict[tuple[Quantity, Bound | None], Claim] = {}
    for group in _grouped(usable, {Merge.TIGHTEST}, lambda claim: _bounded(claim, ratings)):
        tightest = min(group, key=lambda claim: _watts(claim, ratings))  # of equal ones the strongest stands first
        for claim in group:
            verdict = verdicts[claim]
            verdict.binding = _watts(claim, ratings) == _watts(tightest, ratings)
            verdict.reason = "binding" if verdict.binding else f"not binding: {_said(tightest)} is tighter"
        for same in _grouped(group, {Merge.TIGHTEST}, lambda claim: claim.function):
            verdicts[min(same, key=lambda claim: _watts(claim, ratings))].applied = True
        bounds[_bounded(tightest, ratings)] = tightest
    return bounds


def _judge_permissions(usable: Iterable[Claim], verdicts: _Verdicts) -> None:
    """Permit what nobody forbids (A4)."""
    for group in _grouped(usable, {Merge.ALL_PERMIT}, lambda claim: claim.function):
        permitted = all(claim.value for claim in group)
        spoken = next(claim for claim in group if bool(claim.value) is permitted)
        verdicts[spoken].applied = True
        for claim in group:
            verdict = verdicts[claim]
            verdict.binding = not claim.value
            if permitted:
                verdict.reason = "permitted by all"
            else:
                verdict.reason = f"not binding: {_said(spoken)} forbids" if claim.value else "binding"


def _judge_winners(usable: Iterable[Claim], verdicts: _Verdicts, bounds: _Bounds, ratings: Ratings) -> None:
    """Let one control win each quantity (A3, A5), within the limits."""
    for group in _grouped(usable, {Merge.ONE_WINNER, Merge.DEFAULT_ONLY}, _contested):
        winner = group[0]
        for claim in group:
            verdict = verdicts[claim]
            if claim is winner or _complements(claim, winner):
                verdict.applied, verdict.reason = True, "ranks first"
                _clip(claim, verdict, bounds, ratings)
            else:
                verdict.lost_to, verdict.reason = winner, f"not applied: {_said(winner)} ranks first"


def _displaced(usable: Iterable[Claim], verdicts: _Verdicts) -> frozenset[tuple[ChannelId, Mrid]]:
    """Find the events of which other channels won everything (A3)."""
    found: dict[tuple[ChannelId, Mrid], bool] = {}
    for claim in usable:
        if claim.is_event:
            lost_to = verdicts[claim].lost_to
            is_lost = lost_to is not None and lost_to.channel != claim.channel
            found[claim.source] = found.get(claim.source, True) and is_lost
    return frozenset(source for source, is_lost in found.items() if is_lost)


def _grouped(claims: Iterable[Claim], merges: set[Merge], key: Callable[[Claim], Hashable]) -> list[list[Claim]]:
    groups: dict[Hashable, list[Claim]] = {}
    for claim in claims:
        if FUNCTIONS[claim.function].merge in merges:
            groups.setdefault(key(claim), []).append(claim)
    return list(groups.values())


def _bounded(claim: Claim, ratings: Ratings) -> tuple[Quantity, Bound | None]:
    """Say what a limit bounds, on which side."""
    return quantity_at(claim.function, at_pcc=ratings.at_pcc), FUNCTIONS[claim.function].bound


def _contested(claim: Claim) -> Hashable:
    """Say what only one may win: a quantity; a setting is its own."""
    row = FUNCTIONS[claim.function]
    return claim.function if row.default_only else row.quantity


def _complements(claim: Claim, winner: Claim) -> bool:
    return claim.source == winner.source and _POWER_FACTORS.issuperset({claim.function, winner.function})


def _clip(claim: Claim, verdict: _Verdict, bounds: _Bounds, ratings: Ratings) -> None:
    quantity = quantity_at(claim.function, at_pcc=ratings.at_pcc)
    for bound, sign in ((Bound.MAX_GENERATION, 1), (Bound.MAX_ABSORPTION, -1)):
        limit = bounds.get((quantity, bound))
        if limit is not None and sign * _watts(claim, ratings) > _watts(limit, ratings):
            verdict.clipped = _from_watts(claim.function, sign * _watts(limit, ratings), ratings)
            verdict.reason = f"ranks first, clipped by {_said(limit)}"


def _watts(claim: Claim, ratings: Ratings) -> Decimal:
    value = claim.value
    assert isinstance(value, Decimal)  # `fault_of` has looked
    if FUNCTIONS[claim.function].unit is Unit.W:
        return value
    return value * _reference_w(value, ratings) / 100


def _from_watts(function: FunctionName, watts: Decimal, ratings: Ratings) -> Decimal:
    if FUNCTIONS[function].unit is Unit.W:
        return watts
    # Rounding towards zero never exceeds the limit it comes from.
    return (watts * 100 / _reference_w(watts, ratings)).quantize(_RESOLUTION_PCT, rounding=ROUND_DOWN)


def _reference_w(value: Decimal, ratings: Ratings) -> Decimal:
    """Give what a percentage refers to. Source: IEEE 2030.5-2018, opModFixedW, opModMaxLimW."""
    charge = ratings.set_max_charge_rate_w
    return charge if value < 0 and charge is not None else ratings.set_max_w


def _said(claim: Claim) -> str:
    return f"{claim.function} of {claim.channel}"


def _plain(value: Value | None) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Decimal):
        return str(value)
    return asdict(value)
