"""The gate: what `make check`, `make test` and `make soak` run, step by step, with the time each step took."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent

Step = tuple[str, list[str]]

SAYING = threading.Lock()
"""Held by the lane that speaks."""


def tool(name: str, *arguments: str) -> list[str]:
    """Call a tool of the environment."""
    return [str(BIN / name), *arguments]


def pytest(*arguments: str, covered: bool = False) -> list[str]:
    """Run tests, optionally with branch coverage."""
    if covered:
        return [sys.executable, "-m", "coverage", "run", "-m", "pytest", *arguments]
    return [sys.executable, "-m", "pytest", *arguments]


STATIC: list[Step] = [
    ("format", tool("ruff", "format", "--check", "--quiet", ".")),
    ("lint", tool("ruff", "check", "--quiet", ".")),
    ("types", tool("mypy")),
    ("imports", tool("lint-imports")),
    ("docs", [sys.executable, "tools/make_docs.py", "--check"]),
]
NORMAL = ["-m", "not soak"]
SEEDS = "many_seeds and not real_bytes"
FLEET = "the_whole_fleet"
Lane = list[Step]
"""Steps one after the other, beside other lanes."""

FAST = ["tests/unit", "tests/property", "tests/judge"]
# What needs no clock of the wall runs beside the unit tests: the simulation, foreign code in process, and the CSIP rows, whose
# clock stands still while anything is to be done. What talks over real sockets in real time runs alone.
BESIDE: list[Lane] = [
    [("unit and property", pytest(*FAST, *NORMAL, covered=True))],
    [
        ("simulation", pytest("tests/simulation", *NORMAL, "-s")),
        ("interoperability", pytest("tests/interop", *NORMAL, covered=True)),
        ("CSIP rows", pytest("tests/csip", *NORMAL, covered=True)),
    ],
]
SOAK: list[Lane] = [
    [("many seeds", pytest("tests/simulation", "-m", "soak", "-k", SEEDS, "-s"))],
    [("schedules, kills, real bytes", pytest("tests", "-m", "soak", "-k", f"not ({SEEDS}) and not {FLEET}", "-s"))],
]
# 153 gateways, judged to the second: at the speed of the demonstration they need the machine for themselves.
QUIET: Step = ("levels taken away", pytest("tests/e2e/test_tiers.py", "-m", "soak", "-k", FLEET, "-s"))
STEPS: dict[str, list[Step | list[Lane]]] = {
    "check": [*STATIC, ("unit and property", pytest(*FAST, *NORMAL))],
    "test": [
        *STATIC,
        BESIDE,
        ("end to end", pytest("tests/e2e", *NORMAL, covered=True)),
        ("coverage", [sys.executable, "tools/check_coverage.py"]),
    ],
    "soak": [SOAK, QUIET],
}


def run(step: Step) -> int:
    """Run one step and show what it says."""
    what, command = step
    print(f"== {what}", flush=True)
    started = time.monotonic()
    done = subprocess.run(command, check=False)
    return told(step, done.returncode, started)


def run_beside(lanes: list[Lane]) -> int:
    """Run lanes at the same time; show what each says when it is done, one after the other."""
    names = "; ".join(", ".join(what for what, _ in lane) for lane in lanes)
    print(f"== at the same time: {names}", flush=True)
    with ThreadPoolExecutor(len(lanes)) as pool:
        failed = [done.result() for done in [pool.submit(run_lane, lane) for lane in lanes]]
    return next((code for code in failed if code), 0)


def run_lane(lane: Lane) -> int:
    """Run the steps of a lane, and show what each says when it is done; stop at the first that fails."""
    for step in lane:
        started = time.monotonic()
        done = subprocess.run(step[1], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        with SAYING:
            print(f"== {step[0]}\n{done.stdout.decode(errors='replace')}", flush=True)
            if code := told(step, done.returncode, started):
                return code
    return 0


def told(step: Step, code: int, started: float) -> int:
    """Say how long a step took and whether it failed."""
    print(f"   {time.monotonic() - started:.0f} s", flush=True)
    if code:
        print(f"== {step[0]} failed: {' '.join(step[1])}", flush=True)
    return code


def main(name: str) -> int:
    """Run the steps of one target; stop at the first that fails."""
    os.chdir(ROOT)
    os.environ.setdefault("HYPOTHESIS_PROFILE", "ci")
    began = time.monotonic()
    for step in STEPS[name]:
        code = run_beside(step) if isinstance(step, list) else run(step)
        if code:
            return code
    print(f"== all of {name} passed in {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
