from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tierline.engine.arbitration import Claim, Ratings, arbitrate
from tierline.model.functions import FUNCTIONS, Bound, Merge
from tierline.model.identity import ChannelId, Mrid
from tierline.model.parties import Authority

LIMITS = ("max_lim_w_pct", "gen_lim_w", "load_lim_w", "exp_lim_w", "imp_lim_w")
SETPOINTS = ("fixed_w_pct", "target_w", "target_var", "dynamic_reactive_current")
PERMISSIONS = ("connect", "energize")
CHANNELS = {
    "p": (Authority.PROTECTION, 0),
    "u": (Authority.UTILITY, 1),
    "a": (Authority.AGGREGATOR, 2),
    "o": (Authority.OWNER, 3),
}


def value_of(function):
    if function in PERMISSIONS:
        return st.booleans()
    row = FUNCTIONS[function]
    signed = function in {"fixed_w_pct", "target_w", "target_var"}
    high = int(row.high) if row.high is not None else 20_000
    return st.decimals(-high if signed else 0, high, places=2)


@st.composite
def one_claim(draw, functions=LIMITS + SETPOINTS + PERMISSIONS):
    function = draw(st.sampled_from(functions))
    channel = draw(st.sampled_from(sorted(CHANNELS)))
    is_event = draw(st.booleans())
    authority, rank = CHANNELS[channel]
    return Claim(
        function=function,
        value=draw(value_of(function)),
        channel=ChannelId(channel),
        mrid=Mrid(draw(st.sampled_from("ABC")) if is_event else "D"),
        authority=authority if is_event else Authority.DEFAULT,
        rank=rank,
        is_event=is_event,
    )


def claims(**more):
    """One claim for each function of each channel at most, as the life cycle gives them."""
    return st.lists(one_claim(**more), unique_by=lambda claim: (claim.channel, claim.function), max_size=14)


RATINGS = st.builds(
    Ratings,
    set_max_w=st.decimals(1, 20_000, places=1),
    set_max_charge_rate_w=st.none() | st.decimals(1, 20_000, places=1),
    at_pcc=st.booleans(),
)
ALL = frozenset(FUNCTIONS)


def watts(function, value, ratings):
    if not function.endswith("_pct"):
        return value
    charge = ratings.set_max_charge_rate_w
    return value * (charge if value < 0 and charge is not None else ratings.set_max_w) / 100


@given(claims(), RATINGS, st.randoms(use_true_random=False))
def test_the_result_does_not_depend_on_the_order_of_arrival(wanted, ratings, luck):
    shuffled = list(wanted)
    luck.shuffle(shuffled)
    first = arbitrate(wanted, ratings=ratings, supported=ALL)
    assert arbitrate(shuffled, ratings=ratings, supported=ALL) == first
    assert arbitrate(shuffled, ratings=ratings, supported=ALL).to_json() == first.to_json()


@given(claims(), RATINGS)
def test_no_limit_of_any_channel_is_exceeded(wanted, ratings):
    applied = arbitrate(wanted, ratings=ratings, supported=ALL).setpoints
    for limit in (claim for claim in wanted if claim.function in LIMITS):
        assert applied[limit.function] <= limit.value
        at_pcc = limit.function in {"exp_lim_w", "imp_lim_w"}
        for name in ("fixed_w_pct", "target_w"):
            if name in applied and (ratings.at_pcc or not at_pcc):
                power = watts(name, applied[name], ratings)
                bound = watts(limit.function, limit.value, ratings)
                sign = 1 if FUNCTIONS[limit.function].bound is Bound.MAX_GENERATION else -1
                assert sign * power <= bound


@given(claims(), one_claim(functions=LIMITS), RATINGS)
def test_more_limits_never_relax(wanted, more, ratings):
    before = arbitrate(wanted, ratings=ratings, supported=ALL).setpoints
    fresh = replace(more, channel=ChannelId("z"), rank=99)
    after = arbitrate([*wanted, fresh], ratings=ratings, supported=ALL).setpoints
    for name in before:
        assert name in after
        if isinstance(before[name], Decimal):
            assert abs(after[name]) <= abs(before[name])


@given(claims(), RATINGS)
def test_every_applied_value_has_one_source_and_one_writer_per_quantity(wanted, ratings):
    applied = arbitrate(wanted, ratings=ratings, supported=ALL)
    sources = [entry for entry in applied.explanation if entry.applied]
    assert {entry.function: entry.applied_value for entry in sources} == dict(applied.setpoints)
    assert len(sources) == len(applied.setpoints)
    contested = [FUNCTIONS[name].quantity for name in applied.setpoints if FUNCTIONS[name].merge is Merge.ONE_WINNER]
    assert len(contested) == len(set(contested))


@given(claims(), RATINGS)
def test_permissions_are_anded_and_no_limit_is_ever_displaced(wanted, ratings):
    applied = arbitrate(wanted, ratings=ratings, supported=ALL)
    for name in PERMISSIONS:
        votes = [claim.value for claim in wanted if claim.function == name]
        assert applied.setpoints.get(name) == (all(votes) if votes else None)
    for entry in applied.explanation:
        assert not (entry.displaced and entry.function in LIMITS + PERMISSIONS)
        assert not (entry.displaced and not entry.is_event)
        assert (entry.binding is None) == (entry.function in SETPOINTS)


@given(claims(), RATINGS)
def test_taking_the_displaced_away_changes_nothing(wanted, ratings):
    applied = arbitrate(wanted, ratings=ratings, supported=ALL)
    rest = [claim for claim in wanted if claim.source not in applied.displaced]
    again = arbitrate(rest, ratings=ratings, supported=ALL)
    assert again.setpoints == applied.setpoints
    assert not again.displaced
