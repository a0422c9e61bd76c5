"""The whole hierarchy against the oracle, with more switching than usual: `python planted_levels.py '{"seed": 2, "hours": 3}'`.

As `levels_runs.py`, but that DERs move between the utility and the substation four times an hour, so that a short run is enough.
"""

import json
import sys

from levels_comparison import compare_levels
from runs import judged, tell

from tierline.sim.levels import Levels, LevelsSetting
from tierline.sim.workload import CROSSING_MODES, Mix

MIX = Mix(switchings=4.0, modes=CROSSING_MODES)


if __name__ == "__main__":
    setting = json.loads(sys.argv[1])
    tell(*judged(lambda: Levels(LevelsSetting(mix=MIX, **setting)), compare_levels, setting["seed"]))
