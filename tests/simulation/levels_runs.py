"""One run of several levels with its judgement, quietly; also as a program: `python levels_runs.py '{"seed": 1, …}'`."""

import gc
import json
import sys
from contextlib import contextmanager

from levels_comparison import compare_levels
from runs import judged, tell

from tierline.sim.levels import Levels, LevelsSetting


@contextmanager
def keeping():
    """Let go of nothing: a run keeps what it makes until it is judged, and to look again and again for what may go costs a tenth."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


def run_levels(**setting):
    """Give (levels, verdict, seconds of CPU)."""
    with keeping():
        return judged(lambda: Levels(LevelsSetting(**setting)), compare_levels, setting["seed"])


if __name__ == "__main__":
    levels, *came = run_levels(**json.loads(sys.argv[1]))
    servers = levels.evidence.servers.values()
    tell(
        levels,
        *came,
        deeds={server.name: len(server.deeds) for server in servers},
        refused=sum(server.refused for server in servers),
    )
