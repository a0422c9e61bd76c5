"""Control on its way down: what one total means for each member of a group, by a declared policy.

Two rules. Nobody is told more than it can do; what one cannot take goes to the others (water-filling). And the arithmetic is
exact, in fractions, so that neither the order of the members nor their number changes anything.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from math import floor
from typing import assert_never

from tierline.model.identity import DerId

_WATT = Decimal(1)


class Policy(StrEnum):
    """How a total is shared out."""

    RATING = "rating"
    """In proportion to what each is rated for."""
    AVAILABLE = "available"
    """In proportion to what each could do now."""
    PRICE = "price"
    """The cheapest first; those that name no price last."""
    EQUAL = "equal"
    """The same to each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One member, as far as its share depends on it. Units: W, generation positive."""

    der_id: DerId
    rating_w: Decimal
    """The most it can generate; not negative."""
    absorb_w: Decimal = Decimal(0)
    """The most it can absorb; not negative."""
    available_w: Decimal | None = None
    """What it could generate now; None when it does not say: then its rating counts."""
    measured_w: Decimal | None = None
    """What it does now; None when that is not known."""
    price: Decimal | None = None
    """What it asks for what it delivers, in any one unit."""

    @property
    def most_w(self) -> Decimal:
        """The most it can be told to generate now."""
        return self.rating_w if self.available_w is None else max(Decimal(0), min(self.rating_w, self.available_w))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What each member shall do."""

    watts: Mapping[DerId, Decimal]
    """One value for each member, in steps of the resolution, rounded towards zero."""
    total_w: Decimal
    """What was shared out, before rounding: the target, or as much of it as all can do together."""
    rest_w: Decimal
    """What of the target nobody can take; 0 when all of it was shared out."""
    unmeasured: frozenset[DerId]
    """Members that counted by their rating because nobody knows what they do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How the shares follow what comes of them."""

    dead_band_w: Decimal
    """An error up to this is left alone."""
    gain: Decimal = Decimal("0.5")
    """The part of an error that one step corrects; above 0 and below 2, else it does not settle."""


def share(target_w: Decimal, members: Sequence[Share], policy: Policy, *, resolution_w: Decimal = _WATT) -> Shared:
    """Share a total out among members; negative totals go to those that can absorb.

    When it is more than all can do together, all do what they can, and the rest is said.
    """
    ordered = sorted(members, key=lambda member: member.der_id)
    generates = target_w >= 0
    caps = [Fraction(member.most_w if generates else member.absorb_w) for member in ordered]
    most_w = sum((member.most_w if generates else member.absorb_w for member in ordered), Decimal(0))
    given_w = min(abs(target_w), most_w)
    parts = _poured(Fraction(given_w), ordered, caps, policy, generates=generates)
    sign = 1 if generates else -1
    step = Fraction(resolution_w)
    return Shared(
        watts={
            member.der_id: sign * floor(part / step) * resolution_w for member, part in zip(ordered, parts, strict=True)
        },
        total_w=sign * given_w,
        rest_w=target_w - sign * given_w,
        unmeasured=frozenset(member.der_id for member in ordered if member.measured_w is None),
    )


def correct(
    target_w: Decimal,
    measured_w: Decimal,
    last: Shared,
    members: Sequence[Share],
    policy: Policy,
    tuning: Tuning,
    *,
    resolution_w: Decimal = _WATT,
) -> Shared:
    """Move the shares towards what makes the sum measured reach the target, whoever does not follow.

    It sums up the error, within what all can do together: `last.total_w` never goes beyond that, so nothing winds up. Shares
    stay as they are while the error is within the dead band, the members are the same and each is rated for its share.
    """
    error_w = target_w - measured_w
    fits = _fits(last, members)
    if fits and abs(error_w) <= tuning.dead_band_w:
        return last
    # What those before could not take, others may.
    total_w = last.total_w if fits else last.total_w + last.rest_w
    return share(total_w + tuning.gain * error_w, members, policy, resolution_w=resolution_w)


def _fits(last: Shared, members: Sequence[Share]) -> bool:
    """Tell whether shares are of these members, and none beyond what it is rated for."""
    if last.watts.keys() != {member.der_id for member in members}:
        return False
    return all(-member.absorb_w <= last.watts[member.der_id] <= member.rating_w for member in members)


def _poured(
    amount: Fraction, members: Sequence[Share], caps: Sequence[Fraction], policy: Policy, *, generates: bool
) -> list[Fraction]:
    match policy:
        case Policy.EQUAL:
            return _filled(amount, caps, [Fraction(1)] * len(caps))
        case Policy.AVAILABLE:
            return _filled(amount, caps, caps)
        case Policy.RATING:
            return _filled(amount, caps, _weights(members, caps, generates=generates))
        case Policy.PRICE:
            return _by_price(amount, members, caps, generates=generates)
        case _:
            assert_never(policy)


def _weights(members: Iterable[Share], caps: Sequence[Fraction], *, generates: bool) -> list[Fraction]:
    return [Fraction(member.rating_w) for member in members] if generates else list(caps)


def _by_price(
    amount: Fraction, members: Sequence[Share], caps: Sequence[Fraction], *, generates: bool
) -> list[Fraction]:
    """Fill tier after tier of equal prices: what is generated costs least, what is absorbed saves most."""
    tiers: dict[tuple[bool, Decimal], list[int]] = {}
    for index, member in enumerate(members):
        price = Decimal(0) if member.price is None else member.price
        tiers.setdefault((member.price is None, price if generates else -price), []).append(index)
    parts = [Fraction(0)] * len(members)
    for _, indices in sorted(tiers.items()):
        of_tier = [caps[index] for index in indices]
        weights = _weights([members[index] for index in indices], of_tier, generates=generates)
        poured = min(amount, sum(of_tier, Fraction(0)))
        for index, part in zip(indices, _filled(poured, of_tier, weights), strict=True):
            parts[index] = part
        amount -= poured
    return parts


def _filled(amount: Fraction, caps: Sequence[Fraction], weights: Sequence[Fraction]) -> list[Fraction]:
    """Fill vessels of some capacities to one level per weight; `amount` is at most the sum of the capacities."""
    parts = [Fraction(0)] * len(caps)
    vessels = sorted(
        (cap / weight, index) for index, (cap, weight) in enumerate(zip(caps, weights, strict=True)) if cap
    )
    weight = sum((weights[index] for _, index in vessels), Fraction(0))
    for level, index in vessels:
        part = min(level, amount / weight) * weights[index]
        parts[index] = part
        amount -= part
        weight -= weights[index]
    return parts
