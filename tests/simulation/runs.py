"""One run with its judgement, quietly; also as a program, for other processes: `python runs.py '{"seed": 1, …}'`."""

import json
import sys
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

import structlog
from comparison import Disagreement
from comparison_owner import compare_with_owners

import tierline
from tierline.sim.hierarchy import Hierarchy, Setting
from tierline.sim.workload import Mix


@contextmanager
def listening():
    """Silence the log, but catch what a program only logs: an error of its own."""
    bugs = []

    def listen(_logger, _name, event):
        if event["event"] in {"task_failed", "task_refused"}:
            bugs.append(traceback.format_exc())
        raise structlog.DropEvent

    old = structlog.get_config()
    structlog.configure(processors=[listen])
    try:
        yield bugs
    finally:
        structlog.configure(**old)


def judged(make, compare, seed):
    """Make a simulation, run and judge it; errors that were only logged count as disagreements of kind "bug"."""
    began = time.process_time()
    with listening() as bugs:
        simulation = make()
        evidence = simulation.run()
    simulated = time.process_time()
    verdict = compare(evidence, seed)
    verdict.found += [Disagreement("bug", "", 0.0, bug) for bug in dict.fromkeys(bugs)]
    return simulation, verdict, (simulated - began, time.process_time() - simulated)


def run(**setting):
    """Give (hierarchy, verdict, seconds of CPU)."""
    if "mix" in setting:
        setting["mix"] = Mix(**{k: tuple(v) if isinstance(v, list) else v for k, v in setting["mix"].items()})
    return judged(lambda: Hierarchy(Setting(**setting)), compare_with_owners, setting["seed"])


def tell(simulation, verdict, cpu, **more):
    """Print what came of a run, for another process."""
    told = {
        "source": str(Path(tierline.__file__).parent),
        "digest": simulation.world.trace.digest,
        "found": [[one.kind, one.der, one.at_s, one.what[:2000]] for one in verdict.found],
        "faults": sorted(simulation.world.faults),
        "cpu": cpu,
        "figures": {key: value for key, value in vars(verdict).items() if key != "found"},
    }
    print(json.dumps(told | more))


if __name__ == "__main__":
    hierarchy, *came = run(**json.loads(sys.argv[1]))
    tell(hierarchy, *came, deeds=len(hierarchy.evidence.deeds), refused=hierarchy.evidence.refused)
