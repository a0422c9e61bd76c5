"""What `make demo` does: run the demonstration, and let the independent judge read its evidence when there is some."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def evidence_folder(arguments: list[str]) -> str | None:
    """Find where the demonstration leaves its evidence."""
    words = [part for argument in arguments for part in argument.split("=", 1)]
    return words[words.index("--evidence") + 1] if "--evidence" in words else None


def main(arguments: list[str]) -> int:
    """Run `tierline demo`; with --evidence, judge what it left."""
    demo = subprocess.run([sys.executable, "-m", "tierline", "demo", *arguments], check=False)
    folder = evidence_folder(arguments)
    if demo.returncode or folder is None:
        return demo.returncode
    judge = [sys.executable, str(ROOT / "tests" / "judge" / "judge.py"), folder]
    return subprocess.run(judge, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
