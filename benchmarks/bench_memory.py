"""How much memory each process of the demonstration takes, and what one more gateway adds.

    python benchmarks/bench_memory.py [--gateways 153] [--seconds 30] [--speed 30]

The demo is run twice: with one gateway in each of its processes, then with all; both are looked at some seconds after every
gateway has walked. PSS counts a page that several processes share by parts, so PSS may be added up; RSS may not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FEW = 4
"""One gateway for each of the four processes."""
READY_S = 120
MIB = 1024.0


def figures(pid: int) -> tuple[float, float]:
    """Read RSS and PSS of a process in MiB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    rss, pss = (int(re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)[1]) / MIB for key in ("Rss", "Pss"))
    return rss, pss


def children(parent: int) -> dict[int, list[str]]:
    """Find the processes that a process started, with the node files they run."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may end while we look
            ours = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == parent
            if ours:
                words = (folder / "cmdline").read_bytes().decode().split("\0")
                found[int(folder.name)] = [Path(word).stem for word in words if word.endswith(".toml")]
    return found


def look(gateways: int, seconds: float, speed: float) -> dict[str, tuple[int, float, float]]:
    """Run the demo for a while; gives nodes, RSS and PSS of each of its processes by name."""
    with tempfile.TemporaryDirectory(prefix="tierline-bench-memory-") as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "tierline", "demo", "--headless", "--gateways", str(gateways)]
        command += ["--speed", str(speed), "--state", f"{folder}/state"]
        with log.open("wb") as out:
            demo = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            wait_until_ready(demo, log)
            time.sleep(seconds)
            found = {}
            for pid, nodes in children(demo.pid).items():
                name = nodes[0] if len(nodes) == 1 and not nodes[0].startswith("gw-") else "gateways"
                number = 1 + sum(key.startswith("gateways") for key in found)
                found[f"gateways-{number}" if name == "gateways" else name] = (len(nodes), *figures(pid))
            found["demo (starts the others, relays their uplinks)"] = (0, *figures(demo.pid))
            return found
        finally:
            demo.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                demo.wait(30)
            demo.kill()
            demo.wait()


def wait_until_ready(demo: subprocess.Popen, log: Path) -> None:
    """Wait until every gateway has walked once."""
    end = time.monotonic() + READY_S
    while b'"gateways"' not in log.read_bytes():
        if demo.poll() is not None or time.monotonic() > end:
            sys.exit(f"the demo did not come up:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)


def main() -> dict[str, dict[str, float]]:
    """Print the table and return it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateways", type=int, default=153)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--speed", type=float, default=30)
    options = parser.parse_args()
    few = look(FEW, options.seconds, options.speed)
    many = look(options.gateways, options.seconds, options.speed)
    results = {
        name: {"nodes": float(nodes), "RSS MiB": rss, "PSS MiB": pss}
        for name, (nodes, rss, pss) in sorted(many.items())
    }
    results["all processes"] = {"PSS MiB": sum(pss for _, _, pss in many.values())}
    # A process costs much before it has any gateway, so what one more adds is a difference between two runs.
    grown = sum(rss for name, (_, rss, _) in many.items() if name.startswith("gateways"))
    grown -= sum(rss for name, (_, rss, _) in few.items() if name.startswith("gateways"))
    results["one more gateway"] = {"RSS MiB": grown / max(1, options.gateways - FEW)}
    print(f"{options.gateways} gateways, {options.seconds:.0f} s after all have walked, {os.cpu_count()} cores")
    for name, row in results.items():
        print(f"{name:50}" + "".join(f"  {key} {value:8.2f}" for key, value in row.items()))
    return results


if __name__ == "__main__":
    main()
