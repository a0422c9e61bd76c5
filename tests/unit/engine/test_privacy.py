import pytest

from tierline.engine.privacy import Relation, may_see, may_see_sum
from tierline.model.points import POINTS, Label

WHO_AND_WHERE = {Label.IDENTITY, Label.LOCATION, Label.SECRET}


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_what_tells_who_or_where_somebody_is_goes_to_nobody_above(point):
    if point.label in WHO_AND_WHERE:
        for relation in (Relation.GRANTED, Relation.NONE):
            assert not may_see(point.label, relation)
            assert not may_see_sum(point.label, relation, members=10**6, min_cell=1)


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_who_is_nearer_to_a_der_sees_no_less_of_it(point):
    seen = [may_see(point.label, relation) for relation in (Relation.NONE, Relation.GRANTED, Relation.STANDS_FOR)]
    assert seen == sorted(seen)
    assert may_see(point.label, Relation.OWN)


@pytest.mark.parametrize(
    "point", [row for row in POINTS.values() if row.label is Label.PERSONAL], ids=lambda row: row.name
)
def test_what_a_home_does_is_told_above_as_a_sum_of_enough_homes_only(point):
    assert may_see(point.label, Relation.STANDS_FOR)
    assert not may_see(point.label, Relation.GRANTED)
    assert not may_see_sum(point.label, Relation.GRANTED, members=4, min_cell=5)
    assert may_see_sum(point.label, Relation.GRANTED, members=5, min_cell=5)
    assert not may_see_sum(point.label, Relation.NONE, members=1000, min_cell=5)


def test_active_power_is_personal_and_a_pin_secret():
    assert POINTS["w"].label is Label.PERSONAL
    assert not may_see(POINTS["registration_pin"].label, Relation.STANDS_FOR)


def test_what_one_may_see_of_each_one_may_see_of_few():
    assert may_see_sum(Label.OPERATIONAL, Relation.GRANTED, members=1, min_cell=5)
