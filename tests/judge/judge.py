"""Judge the evidence of a demo run: `python tests/judge/judge.py DIR [--grid FILE] [--models DIR] [--listed]`.

Python's standard library only, and nothing of tierline: the judge and the judged share docs/evidence.md, the grid file and the published SunSpec
models (of the installed pysunspec2, read as data). Writes DIR/verdict.json; exit 0 when all is well, 1 when not.

Beyond docs/evidence.md the judge needs, in the journal's `start` line,
- `"repeats": {"705": {"NCrv": 3, "NPt": 10}}`: how often the groups of model 705 repeat, and
- `"scale_factors": {"704": {"WMaxLimPct_SF": -1}, "705": {"V_SF": -2, "DeptRef_SF": -2, "RspTms_SF": 0}}`: what the read-only points hold
(more names and models do no harm), because requests alone do not show them. It takes a register never written as unknown: a limit counts from
the write of WMaxLimPctEna on. Reversion timers that run out (WMaxLimPctRvrtTms) are followed. `restart` in steps.jsonl is the moment a process
is started, not when it is ready; `kill` and `cut` are the moment they take effect.

Where the manifest names stations (the levels above and beside the utility), eight checks are required, else the three of a spine, or *circuit* alone
where it says that nobody stands above the gateways: then owners say the limit to each of them, and the Responses are those the gateways keep. Which group a
device belongs to follows from the grid file and the journal's `switches` lines; those between a `switch` step and its `switched` step are one
change. A gateway has one poll (300 s) to find out that it was moved. A Response reaches the head from the device itself, through a substation, or
through the aggregator of a device that has no other link; any other peer is a fault.

"On time" is 1 s of wall time: `speed` simulated seconds, to either side.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from check_channels import check_channels
from check_circuit import check_circuit
from check_dispatch import check_dispatch
from check_evidence import check_evidence
from check_island import check_island
from check_loss import check_loss
from check_privacy import check_privacy
from check_switching import check_switching
from check_volt_var import check_volt_var
from grid import Grid
from reading import read
from registers import Layout, models_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from evidence import Evidence

GRID = Path(__file__).resolve().parents[2] / "src" / "tierline" / "scenario" / "data" / "oberrhein.json"
CHECKS: dict[str, Callable[[Evidence, Layout], tuple[list[str], dict[str, Any]]]] = {
    "circuit": check_circuit,
    "loss": check_loss,
    "volt_var": check_volt_var,
    "switching": check_switching,
    "channels": check_channels,
    "island": check_island,
    "dispatch": check_dispatch,
    "privacy": check_privacy,
}
SPINE = ("circuit", "loss", "volt_var")
"""What can be judged where there are no levels."""
ALONE = ("circuit",)
"""What can be judged where nobody stands above the gateways."""


def judge(folder: Path, grid: Path = GRID, models: Path | None = None, *, listed: bool = False) -> dict[str, Any]:
    """Judge a folder and write its verdict; `listed` judges only the checks that the manifest names, else all are required
    for which there are levels."""
    evidence = read(folder, Grid.read(grid))
    checks: dict[str, dict[str, Any]] = {}
    named = evidence.manifest.get("checks", [])
    required = ALONE if evidence.alone else CHECKS if evidence.stations else SPINE
    names = [name for name in CHECKS if name in named or (not listed and name in required)]
    for name in names:
        checks[name] = _verdict(partial(_check, name, evidence, models))
    checks["evidence"] = _verdict(partial(check_evidence, evidence))
    for name in [name for name in named if name not in CHECKS]:
        checks["evidence"]["ok"] = False
        checks["evidence"]["why"].append(f"the manifest names the check {name!r}, which this judge does not know")
    if not names:
        checks["evidence"]["ok"] = False
        checks["evidence"]["why"].append("the manifest names no check")
    verdict = {
        "ok": all(check["ok"] for check in checks.values()),
        "devices": len({device.lfdi for device in evidence.devices}),
        "checks": checks,
    }
    (folder / "verdict.json").write_text(json.dumps(verdict, indent=2) + "\n", encoding="utf-8")
    return verdict


def _check(name: str, evidence: Evidence, models: Path | None) -> tuple[list[str], dict[str, Any]]:
    return CHECKS[name](evidence, Layout(evidence.start, models or models_folder()))


def _verdict(check: Callable[[], tuple[list[str], dict[str, Any]]]) -> dict[str, Any]:
    try:
        why, figures = check()
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OSError) as error:
        # Evidence too broken to be judged is a reason, never a crash that leaves an old verdict in place.
        why, figures = [f"could not be judged: {error!r}"], {}
    return {"ok": not why, "why": why, **figures}


def summary(verdict: dict[str, Any]) -> str:
    """Tell a verdict in a few lines."""
    lines = [f"{'ok' if verdict['ok'] else 'NOT OK'}: {verdict['devices']} devices"]
    for name, check in verdict["checks"].items():
        figures = ", ".join(f"{key} {value}" for key, value in check.items() if key not in {"ok", "why"})
        lines.append(f"  {name:<9} {'ok' if check['ok'] else 'NOT OK'}  {figures}")
        lines += [f"    - {reason if len(reason) <= 400 else reason[:400] + ' …'}" for reason in check["why"][:20]]
        if len(check["why"]) > 20:
            lines.append(f"    - and {len(check['why']) - 20} more, see verdict.json")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Judge from the command line."""
    parser = argparse.ArgumentParser(description="Judge the evidence of a demo run.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="the evidence folder")
    parser.add_argument("--grid", type=Path, default=GRID, help="the grid file (default: the committed one)")
    parser.add_argument("--models", type=Path, help="folder of SunSpec model_NNN.json (default: that of pysunspec2)")
    parser.add_argument("--listed", action="store_true", help="judge only the checks that the manifest names")
    options = parser.parse_args(arguments)
    verdict = judge(options.folder, options.grid, options.models, listed=options.listed)
    print(summary(verdict))
    return 0 if verdict["ok"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
