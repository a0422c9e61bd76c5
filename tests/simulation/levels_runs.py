"""One run of several levels with its judgement, quietly; also as a program: `python levels_runs.py '{"seed": 1, …}'`."""

import json
import sys
import time
from pathlib import Path

from comparison import Disagreement
from levels_comparison import compare_levels
from runs import listening

import tierline
from tierline.sim.levels import Levels, LevelsSetting


def run_levels(**setting):
    """Give (levels, verdict, seconds of CPU); errors that were only logged count as disagreements of kind "bug"."""
    began = time.process_time()
    with listening() as bugs:
        levels = Levels(LevelsSetting(**setting))
        evidence = levels.run()
    simulated = time.process_time()
    verdict = compare_levels(evidence, setting["seed"])
    verdict.found += [Disagreement("bug", "", 0.0, bug) for bug in dict.fromkeys(bugs)]
    return levels, verdict, (simulated - began, time.process_time() - simulated)


if __name__ == "__main__":
    levels, verdict, cpu = run_levels(**json.loads(sys.argv[1]))
    servers = levels.evidence.servers.values()
    print(
        json.dumps(
            {
                "source": str(Path(tierline.__file__).parent),
                "digest": levels.world.trace.digest,
                "found": [[one.kind, one.der, one.at_s, one.what[:2000]] for one in verdict.found],
                "faults": sorted(levels.world.faults),
                "cpu": cpu,
                "figures": {key: value for key, value in vars(verdict).items() if key != "found"},
                "deeds": {server.name: len(server.deeds) for server in servers},
                "refused": sum(server.refused for server in servers),
            }
        )
    )
