"""Hold branch coverage to what is promised: 100 % in model and engine, 95 % over all, at most ten exclusions with a reason."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FULL = "src/tierline/model/*,src/tierline/engine/*"
MOST_PRAGMAS = 10


def main() -> int:
    """Combine what the tests measured and compare."""
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "combine", "--quiet"], check=False)
    faults = []
    for what, arguments in (
        ("model and engine", ["--include", FULL, "--fail-under=100"]),
        ("all", ["--fail-under=95"]),
    ):
        if subprocess.run([*coverage, "report", *arguments], check=False).returncode:
            faults.append(f"branch coverage of {what} is too low")
    pragmas = [
        (path, line)
        for path in sorted((ROOT / "src").rglob("*.py"))
        for line in path.read_text().splitlines()
        if "pragma: no cover" in line or "pragma: no branch" in line
    ]
    if len(pragmas) > MOST_PRAGMAS:
        faults.append(f"{len(pragmas)} coverage pragmas, at most {MOST_PRAGMAS} are allowed")
    faults += [
        f"{path}: a pragma without its reason: {line.strip()}"
        for path, line in pragmas
        if not re.search(r"pragma: no (cover|branch)\S* - \S", line)
    ]
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
