"""Several channels at one DER against the oracle, as a program: `python planted_channels.py '{"seed": 1, "lot": 40}'`."""

import json
import random
import runpy
import sys
from pathlib import Path

import tierline

PROPERTY = Path(__file__).parents[1] / "property" / "test_channels_against_oracle.py"


def found_in(seed, lot):
    """Play a lot of schedules, every other one with restarts; give what differs, by its kind."""
    differences = runpy.run_path(str(PROPERTY))["differences"]
    found = []
    for number in range(seed * lot, (seed + 1) * lot):
        luck = random.Random(-1 - number)
        moments = [second + luck.choice((0, 0.25, 0.75)) for second in luck.sample(range(100), 8)]
        wrong, _ = differences(number, restarts=moments if number % 2 else ())
        found += [[kind_of(one), "the-der", float(number), one[:2000]] for one in wrong]
    return found


def kind_of(complaint):
    """Tell what was compared."""
    if complaint.startswith("at "):
        return "applied"
    return "responses" if ": we answer" in complaint else "draws"


if __name__ == "__main__":
    print(json.dumps({"source": str(Path(tierline.__file__).parent), "found": found_in(**json.loads(sys.argv[1]))}))
