"""Make the virtual environment: locked packages by hash, then the project itself without dependencies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main(folder: str, lock: str) -> int:
    """Make or renew the environment in a folder."""
    python = Path(folder) / "bin" / "python"
    if not python.exists():
        print(f"making {folder} …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    print(f"installing {lock} …", flush=True)
    subprocess.run([*pip, "--require-hashes", "-r", lock], check=True)
    # hash mode refuses an editable install, so the project comes in a second call; its build tools are not locked packages
    subprocess.run([*pip, "--no-deps", "--editable", "."], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
