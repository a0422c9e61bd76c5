"""One run with its judgement, quietly; also as a program, for other processes: `python runs.py '{"seed": 1, …}'`."""

import json
import sys
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

import structlog
from comparison import Disagreement, compare

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


def run(**setting):
    """Give (hierarchy, verdict, seconds of CPU); errors that were only logged count as disagreements of kind "bug"."""
    if "mix" in setting:
        setting["mix"] = Mix(**{k: tuple(v) if isinstance(v, list) else v for k, v in setting["mix"].items()})
    began = time.process_time()
    with listening() as bugs:
        hierarchy = Hierarchy(Setting(**setting))
        evidence = hierarchy.run()
    simulated = time.process_time()
    verdict = compare(evidence, setting["seed"])
    verdict.found += [Disagreement("bug", "", 0.0, bug) for bug in dict.fromkeys(bugs)]
    return hierarchy, verdict, (simulated - began, time.process_time() - simulated)


if __name__ == "__main__":
    hierarchy, verdict, cpu = run(**json.loads(sys.argv[1]))
    print(
        json.dumps(
            {
                "source": str(Path(tierline.__file__).parent),
                "digest": hierarchy.world.trace.digest,
                "found": [[one.kind, one.der, one.at_s, one.what[:2000]] for one in verdict.found],
                "faults": sorted(hierarchy.world.faults),
                "cpu": cpu,
                "figures": {key: value for key, value in vars(verdict).items() if key != "found"},
                "deeds": len(hierarchy.evidence.deeds),
                "refused": hierarchy.evidence.refused,
            }
        )
    )
