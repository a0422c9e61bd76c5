from dataclasses import dataclass
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tierline.engine.disaggregate import Policy, Share, Tuning, correct, share
from tierline.model.identity import DerId

WATTS = st.decimals(0, 50_000, places=1)
POLICIES = st.sampled_from(Policy)
TARGETS = st.decimals(-300_000, 300_000, places=1)


@st.composite
def one_member(draw, number):
    return Share(
        der_id=DerId(f"d{number:02}"),
        rating_w=draw(WATTS),
        absorb_w=draw(st.just(Decimal(0)) | WATTS),
        available_w=draw(st.none() | WATTS),
        measured_w=draw(st.none() | WATTS),
        price=draw(st.none() | st.decimals(-1, 1, places=1)),
    )


@st.composite
def groups(draw, least=0):
    return [draw(one_member(number)) for number in range(draw(st.integers(least, 8)))]


def least_and_most(members):
    return -sum(member.absorb_w for member in members), sum(member.most_w for member in members)


@given(target=TARGETS, members=groups(), policy=POLICIES)
def test_the_shares_add_up_to_what_all_can_do_of_the_target(target, members, policy):
    shared = share(target, members, policy)
    least, most = least_and_most(members)
    assert shared.total_w == min(max(target, least), most)
    assert shared.total_w + shared.rest_w == target
    assert abs(shared.total_w - sum(shared.watts.values())) <= len(members)


@given(target=TARGETS, members=groups(), policy=POLICIES)
def test_nobody_is_told_more_than_it_can_do(target, members, policy):
    shared = share(target, members, policy)
    assert shared.watts.keys() == {member.der_id for member in members}
    for member in members:
        assert -member.absorb_w <= shared.watts[member.der_id] <= member.most_w


@given(target=TARGETS, members=groups(least=2), policy=POLICIES, data=st.data())
def test_the_order_of_the_members_does_not_matter(target, members, policy, data):
    shuffled = data.draw(st.permutations(members))
    assert share(target, shuffled, policy) == share(target, members, policy)


@given(one=TARGETS, other=TARGETS, members=groups(), policy=POLICIES)
def test_a_higher_target_is_no_smaller_share_for_anybody(one, other, members, policy):
    less, more = share(min(one, other), members, policy), share(max(one, other), members, policy)
    for der_id, watts in less.watts.items():
        assert watts <= more.watts[der_id]


@dataclass
class Plant:
    """A member as it really is: it follows slowly, or not at all."""

    watts: Decimal
    follows: Decimal

    def obey(self, told):
        self.watts += self.follows * (told - self.watts)


@st.composite
def worlds(draw):
    members = [
        Share(der_id=DerId(f"d{number:02}"), rating_w=draw(st.decimals(1000, 50_000, places=0)))
        for number in range(draw(st.integers(1, 8)))
    ]
    plants = {}
    for member in members:
        is_dead = draw(st.booleans())
        watts = member.rating_w * draw(st.decimals(0, 1, places=2))
        follows = Decimal(0) if is_dead else draw(st.decimals("0.3", 1, places=1))
        plants[member.der_id] = Plant(watts, follows)
    stuck = sum((plant.watts for plant in plants.values() if not plant.follows), Decimal(0))
    able = sum((member.rating_w for member in members if plants[member.der_id].follows), Decimal(0))
    return members, plants, stuck + able * draw(st.decimals(0, 1, places=2))


@given(world=worlds(), policy=POLICIES)
def test_the_sum_reaches_the_target_whoever_does_not_follow(world, policy):
    members, plants, target = world
    tuning = Tuning(dead_band_w=Decimal(200))
    shared = share(target, members, policy)
    for _ in range(400):
        for der_id, told in shared.watts.items():
            plants[der_id].obey(told)
        measured = sum(plant.watts for plant in plants.values()).quantize(Decimal(1))
        shared = correct(target, measured, shared, members, policy, tuning)
        least, most = least_and_most(members)
        assert least <= shared.total_w <= most
    assert abs(target - measured) <= 200
