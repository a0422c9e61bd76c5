"""The gate: what `make check`, `make test` and `make soak` run, step by step, with the time each step took."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
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
REAL = ["tests/interop", "tests/e2e", "tests/csip"]
NORMAL = ["-m", "not soak"]
# The simulation needs no clock and no sockets, so it runs beside the unit tests; what talks over real sockets in real time runs alone.
BESIDE: list[Step] = [
    ("unit and property", pytest(*FAST, *NORMAL, covered=True)),
    ("simulation", pytest("tests/simulation", *NORMAL, "-s")),
]
SEEDS = "many_seeds and not real_bytes"
SOAK: list[Step] = [
    ("many seeds", pytest("tests/simulation", "-m", "soak", "-k", SEEDS, "-s")),
    ("schedules, kills, real bytes", pytest("tests", "-m", "soak", "-k", f"not ({SEEDS})", "-s")),
]
STEPS: dict[str, list[Step | list[Step]]] = {
    "check": [*STATIC, ("unit and property", pytest(*FAST, *NORMAL))],
    "test": [
        *STATIC,
        BESIDE,
        ("interoperability and end to end", pytest(*REAL, *NORMAL, covered=True)),
        ("coverage", [sys.executable, "tools/check_coverage.py"]),
    ],
    "soak": [SOAK],
}


def run(step: Step) -> int:
    """Run one step and show what it says."""
    what, command = step
    print(f"== {what}", flush=True)
    started = time.monotonic()
    done = subprocess.run(command, check=False)
    return told(step, done.returncode, started)


def run_beside(steps: list[Step]) -> int:
    """Run steps at the same time; show what each says when it is done, one after the other."""
    print(f"== at the same time: {', '.join(what for what, _ in steps)}", flush=True)
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        said = [stack.enter_context(tempfile.TemporaryFile()) for _ in steps]
        running = [
            subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
            for (_, command), out in zip(steps, said, strict=True)
        ]
        failed = 0
        for step, process, out in zip(steps, running, said, strict=True):
            code = process.wait()
            out.seek(0)
            print(f"== {step[0]}\n{out.read().decode(errors='replace')}", flush=True)
            failed = failed or told(step, code, started)
    return failed


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
