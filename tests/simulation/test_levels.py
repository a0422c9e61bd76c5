"""Whole hierarchies with a substation, an aggregator, two channels and switching under seeded faults, held against the oracle."""

from collections import Counter

import pytest
from levels_runs import run_levels

from tierline.sim.hierarchy import WITHOUT_STREAMS

SEEDS = range(1, 10)
MOST_EXCUSED = 0.06
"""The share of samples at which a DER may be excused."""


@pytest.mark.simulation
def test_every_der_obeys_whoever_speaks_to_it_exactly_as_the_oracle_says():
    found, faults, figures = [], set(), Counter()
    for seed in SEEDS:
        levels, verdict, _ = run_levels(seed=seed, hours=6.0, ders=10)
        found += [(seed, one) for one in verdict.found]
        faults |= set(levels.world.faults)
        figures += Counter({key: value for key, value in vars(verdict).items() if key != "found"})
    print(f"\n{dict(figures)}")
    assert found == []
    assert faults == WITHOUT_STREAMS
    assert figures["excused"] <= MOST_EXCUSED * figures["samples"]
