"""The gate: what `make check`, `make test` and `make soak` run, step by step, with the time each step took."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent

Step = tuple[str, list[str]]

SAYING = threading.Lock()
"""Held by the step that speaks."""


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
LEVELS = "tests/simulation/test_levels.py"
CORES = 2
Lot = list[Step]
"""Steps of which as many as there are cores run at the same time: whichever core is free takes the next, so the long ones come first."""

FAST = ["tests/unit", "tests/property", "tests/judge"]
# Branches are counted where a test is written for its module. To count them costs half as much again, and what the CSIP rows and
# foreign code walk through is walked through by those as well; the judge and the simulation run nothing that would be counted.
OPENDER = [f"tests/interop/test_opender{which}.py" for which in ("", "_defaults", "_functions")]
# What needs no clock of the wall: the unit tests, the simulation, foreign code in process, and the CSIP rows, whose clock stands
# still while anything is to be done.
BESIDE: Lot = [
    ("unit and property", pytest("tests/unit", "tests/property", *NORMAL, covered=True)),
    ("simulation: one level and parts", pytest("tests/simulation", *NORMAL, f"--ignore={LEVELS}", "-s")),
    ("simulation: all levels", pytest(LEVELS, *NORMAL, "-s")),
    ("CSIP rows", pytest("tests/csip", *NORMAL)),
    ("interoperability: OpenDER", pytest(*OPENDER, *NORMAL)),
    ("interoperability: all others", pytest("tests/interop", *NORMAL, *(f"--ignore={path}" for path in OPENDER))),
    ("judge", pytest("tests/judge", *NORMAL)),
]
# What talks over real sockets in real time runs beside nothing that is busy. Whole scenarios of few gateways mostly wait for their
# own clocks, so they leave room for the others.
SCENARIOS = ["tests/e2e/test_tiers.py", "tests/e2e/test_demo.py"]
END_TO_END: Lot = [
    ("end to end: scenarios", pytest(*SCENARIOS, *NORMAL)),
    ("end to end: nodes", pytest("tests/e2e", *NORMAL, *(f"--ignore={path}" for path in SCENARIOS), covered=True)),
]
SOAK: Lot = [
    ("many seeds: all levels", pytest(LEVELS, "-m", "soak", "-k", SEEDS, "-s")),
    ("many seeds: one level", pytest("tests/simulation", f"--ignore={LEVELS}", "-m", "soak", "-k", SEEDS, "-s")),
    ("schedules, kills, real bytes", pytest("tests", "-m", "soak", "-k", f"not ({SEEDS}) and not {FLEET}", "-s")),
]
# 153 gateways, judged to the second: at the speed of the demonstration they need the machine for themselves.
QUIET: Step = ("levels taken away", pytest("tests/e2e/test_tiers.py", "-m", "soak", "-k", FLEET, "-s"))
STEPS: dict[str, list[Step | Lot]] = {
    "check": [*STATIC, ("unit and property", pytest(*FAST, *NORMAL))],
    "test": [
        *STATIC,
        BESIDE,
        END_TO_END,
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


def run_beside(lot: Lot) -> int:
    """Run the steps of a lot at the same time, and show what each says when it is done; begin no more when one has failed."""
    print(f"== at the same time: {'; '.join(what for what, _ in lot)}", flush=True)
    with ThreadPoolExecutor(CORES) as pool:
        running = [pool.submit(run_quietly, step) for step in lot]
        for done in as_completed(running):
            if code := done.result():
                pool.shutdown(wait=True, cancel_futures=True)
                return code
    return 0


def run_quietly(step: Step) -> int:
    """Run one step, and show what it said when it is done."""
    started = time.monotonic()
    done = subprocess.run(step[1], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    with SAYING:
        print(f"== {step[0]}\n{done.stdout.decode(errors='replace')}", flush=True)
        return told(step, done.returncode, started)


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
    # Tests start nodes by the hundred; without this each of them would compile all of tierline anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.monotonic()
    for step in STEPS[name]:
        code = run_beside(step) if isinstance(step, list) else run(step)
        if code:
            return code
    print(f"== all of {name} passed in {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
