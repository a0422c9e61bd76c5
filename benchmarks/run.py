"""Run every benchmark of this folder, each in a process of its own, one after the other.

    python benchmarks/run.py [--only codec,inverter] [--json FILE] [--page docs/measurements.md]

A benchmark is a file bench_NAME.py whose `main()` prints its table and returns it: row -> figure -> number. What counts are the
ratios to a reference measured in the same run; absolute figures belong to one machine on one day. --page rewrites the page of
measurements, keeping the sections of benchmarks that were not run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import ssl
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
Table = dict[str, dict[str, float]]


def names() -> list[str]:
    """Find the benchmarks."""
    return sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))


def load(name: str):
    """Import one benchmark."""
    path = FOLDER / f"bench_{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def run_one(name: str, target: Path) -> None:
    """Run one benchmark in this process and write down what it returned."""
    module = load(name)
    sys.argv = [str(FOLDER / f"bench_{name}.py")]
    found = module.main()
    target.write_text(json.dumps({"about": (module.__doc__ or name).split("\n", 1)[0], "table": found or {}}))


def machine() -> dict[str, str]:
    """Describe what the figures belong to."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip() or "unknown",
        "cpu": f"{os.cpu_count()} x {cpu[1] if cpu else platform.machine()}",
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "tierline": version("tierline"),
    }


def section(name: str, found: dict) -> str:
    """Write one benchmark as Markdown."""
    table: Table = found["table"]
    columns = list(dict.fromkeys(column for row in table.values() for column in row))
    lines = [["", *columns], ["---", *["---:"] * len(columns)]]
    lines += [[row, *(number(cells[c]) if c in cells else "" for c in columns)] for row, cells in table.items()]
    said = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## {name}\n\n{found['about']}\n\n{body}\n\n{said}; load at the start {found['load']}.\n"


def number(value: float) -> str:
    """Write three significant digits, or whole numbers."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def rewrite(page: Path, results: dict[str, dict]) -> None:
    """Renew the sections of the benchmarks that were run."""
    head = (
        "# Measurements\n\nThe last figures of `make bench`, each with the machine, the commit and the day it belongs to. Written by "
        "`benchmarks/run.py --page docs/measurements.md`. What counts are the ratios: both sides were measured in the same run, in turns.\n"
    )
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    kept = {part.split("\n", 1)[0].strip(): f"## {part}" for part in re.split(r"(?m)^## ", old)[1:]}
    made = {**kept, **{name: section(name, found) for name, found in results.items()}}
    page.write_text("\n".join([head, *(made[name].rstrip() + "\n" for name in sorted(made))]), encoding="utf-8")


def main() -> int:
    """Run them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="names with commas between them; all when absent")
    parser.add_argument("--json", type=Path, help="write all figures into this file")
    parser.add_argument("--page", type=Path, help="renew this page of measurements")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_one(options.one, options.json)
        return 0
    wanted = options.only.split(",") if options.only else names()
    if unknown := set(wanted) - set(names()):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(names())}")
    results, failed = {}, []
    here = machine()
    for name in wanted:
        load_average = f"{os.getloadavg()[0]:.1f}"
        print(f"== {name} (load {load_average})", flush=True)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="tierline-bench-") as folder:
            target = Path(folder) / "result.json"
            command = [sys.executable, __file__, "--one", name, "--json", str(target)]
            done = subprocess.run(command, check=False)
            if done.returncode or not target.exists():
                failed.append(name)
            else:
                results[name] = {**json.loads(target.read_text()), "machine": here, "load": load_average}
        print(f"   {time.monotonic() - began:.0f} s\n", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    if options.page:
        rewrite(options.page, results)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
