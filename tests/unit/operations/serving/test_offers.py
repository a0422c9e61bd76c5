from decimal import Decimal

import pytest

from tierline.model.errors import Unsupported
from tierline.operations.serving import groups
from tierline.operations.serving.members import Member
from tierline.operations.serving.offers import check_offers, offer_of
from tierline.operations.serving.topology import find_group


@pytest.fixture
async def pilot(serving, operator, der):
    """Two groups: pv-1 is in both, pv-2 in the first."""
    for name, points in (("pilot", ("pv-1", "pv-2")), ("early", ("pv-1",))):
        await groups.create_group(operator, serving, name)
        group_id = find_group(serving, name).group.id
        await groups.add_members(operator, serving, group_id, [der(point).der_id for point in points])


def member(der_id, price=None, rating="5000"):
    return Member(der_id=der_id, values={"rtg_max_w": Decimal(rating)}, functions=None, measured_w=None, price=price)


@pytest.mark.usefixtures("pilot")
def test_an_offer_of_its_own_comes_before_those_of_its_groups_of_which_the_cheapest_counts(serving, der):
    offers = {"pilot": Decimal("0.12"), "early": Decimal("0.10"), "pv-3": Decimal("0.30")}
    offer = offer_of(serving, offers)
    assert [offer(der(f"pv-{number}").der_id) for number in (1, 2, 3, 4)] == [
        Decimal("0.10"),
        Decimal("0.12"),
        Decimal("0.30"),
        None,
    ]
    assert offer_of(serving, offers | {"pv-1": Decimal("0.20")})(der("pv-1").der_id) == Decimal("0.20")


def test_who_is_given_for_nothing_has_made_an_offer(serving, der):
    check_offers(serving, [member(der("pv-1").der_id, Decimal(0))])


def test_members_without_an_offer_are_named(serving, der):
    known = [member(der(f"pv-{number}").der_id) for number in (4, 3, 2, 1)]
    with pytest.raises(Unsupported, match=r"pv-1, pv-2, pv-3 and 1 more made none: .*\[fleet\.offers\]"):
        check_offers(serving, known)
    with pytest.raises(Unsupported, match="; pv-2 made none"):
        check_offers(serving, [member(der("pv-1").der_id, Decimal(1)), known[2]])


def test_who_cannot_be_set_needs_no_offer(serving, der):
    check_offers(serving, [member(der("pv-1").der_id, rating="0")])
