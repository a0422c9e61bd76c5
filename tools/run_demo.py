"""What `make demo` does: run the demonstration, and let the independent judge read its evidence when there is some."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main(arguments: list[str]) -> int:
    """Run `tierline demo`; with --evidence, judge what it left."""
    demo = subprocess.run([sys.executable, "-m", "tierline", "demo", *arguments], check=False)
    if demo.returncode or "--evidence" not in arguments:
        return demo.returncode
    folder = arguments[arguments.index("--evidence") + 1]
    judge = [sys.executable, str(ROOT / "tests" / "judge" / "judge.py"), folder]
    return subprocess.run(judge, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
