"""Who stands where."""

from collections import Counter

import pytest
from pydantic import ValidationError

from tierline.engine.connectivity import feeder_of, normal_positions
from tierline.scenario.hierarchy import Enrolled, Hierarchy, Way, enrol

FIVE = {
    "market": "market",
    "substation": [{"name": "substation-a", "element": "trafo_142"}],
    "aggregator": [{"name": "pool-even", "market": True}, {"name": "pool-odd"}],
    "enrolment": {"direct_pct": 60, "aggregator_pct": 25, "dual_pct": 15},
}


def test_without_a_word_there_is_one_utility_above_all(site):
    hierarchy = Hierarchy()
    assert hierarchy.names == ["utility"]
    assert set(enrol(site.grid, hierarchy).values()) == {Enrolled(Way.DIRECT, "")}


def test_the_shares_hold_in_every_feeder(site):
    found = enrol(site.grid, Hierarchy.model_validate(FIVE))
    feeders = feeder_of(site.grid, normal_positions(site.grid))
    counts = Counter((feeders[point], one.way) for point, one in found.items())
    for feeder in {feeder for feeder, _ in counts}:
        total = sum(counts[feeder, way] for way in Way)
        for way, share in ((Way.DIRECT, 0.6), (Way.AGGREGATOR, 0.25), (Way.DUAL, 0.15)):
            assert abs(counts[feeder, way] - share * total) <= 1


def test_the_number_of_a_unit_says_which_aggregator_it_is(site):
    found = enrol(site.grid, Hierarchy.model_validate(FIVE))
    for number, point in enumerate(site.grid.service_points):
        one = found[point.id]
        assert one.aggregator == ("" if one.way is Way.DIRECT else ["pool-even", "pool-odd"][number % 2])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"utility": "market"}, "two nodes have the same name: market, market"),
        ({"utility": ""}, "a substation takes its programs from a utility"),
        ({"aggregator": []}, "DERs are enrolled with an aggregator, and there is none"),
        ({"utility": "", "substation": []}, "DERs are enrolled with a utility, and there is none"),
        ({"enrolment": {"direct_pct": 50}}, "make 100 together"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, says):
    with pytest.raises(ValidationError, match=says):
        Hierarchy.model_validate(FIVE | change)
