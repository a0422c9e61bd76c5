"""The gate: what `make check`, `make test` and `make soak` run, step by step, with the time each step took."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent

Step = tuple[str, list[str]]


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
FAST = ["tests/unit", "tests/property", "tests/judge"]
COVERED: list[Step] = [
    (
        "unit, property, interop, end to end",
        pytest(*FAST, "tests/interop", "tests/e2e", "-m", "not soak", covered=True),
    ),
    ("coverage", [sys.executable, "tools/check_coverage.py"]),
]
SIMULATION: list[Step] = [("simulation", pytest("tests/simulation", "-m", "not soak"))]
STEPS: dict[str, list[Step]] = {
    "check": [*STATIC, ("unit and property", pytest(*FAST, "-m", "not soak"))],
    "test": [*STATIC, *COVERED, *SIMULATION],
    "soak": [("soak", pytest("tests", "-m", "soak", "-s"))],
}


def main(name: str) -> int:
    """Run the steps of one target; stop at the first that fails."""
    os.chdir(ROOT)
    os.environ.setdefault("HYPOTHESIS_PROFILE", "ci")
    began = time.monotonic()
    for what, command in STEPS[name]:
        print(f"== {what}", flush=True)
        started = time.monotonic()
        done = subprocess.run(command, check=False)
        print(f"   {time.monotonic() - started:.0f} s", flush=True)
        if done.returncode:
            print(f"== {what} failed: {' '.join(command)}", flush=True)
            return done.returncode
    print(f"== all of {name} passed in {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
