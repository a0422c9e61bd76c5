"""Ten bugs, planted one at a time into a copy of the program: the comparison with the oracle must find each of them.

Being noticed by a crash or by another check does not count. A patch that no longer applies fails its test: mend the patch.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tierline

ROOT = Path(__file__).parents[2]
PATCHES = sorted((ROOT / "tests" / "planted").glob("*.patch"))
RUNS = Path(__file__).with_name("runs.py")
SETTING = {"hours": 8.0, "ders": 6}
SEEDS = range(1, 7)
"""Enough for all; each patch is caught by one of them."""
BY_THE_ORACLE = {"applied", "responses", "draws"}


def found_by(source, seed):
    """Run one seed of a copy of the program in a process of its own; give the kinds of disagreement."""
    out = subprocess.run(
        [sys.executable, str(RUNS), json.dumps({"seed": seed, **SETTING})],
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.returncode == 0, out.stderr[-2000:]
    told = json.loads(out.stdout.splitlines()[-1])
    assert Path(told["source"]) == source / "tierline", "another copy of the program was run"
    return {kind for kind, *_ in told["found"]}


def copy_with(patch, folder):
    """Give the sources with one bug planted."""
    shutil.copytree(Path(tierline.__file__).parent, folder / "src" / "tierline", ignore=shutil.ignore_patterns("__py*"))
    # As if there were no repository round the folder: paths are then counted from here.
    outside = os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    done = subprocess.run(
        ["git", "apply", str(patch)], cwd=folder, env=outside, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{patch.name} does not apply any more: {done.stderr}"
    return folder / "src"


def test_there_are_ten_planted_bugs():
    assert len(PATCHES) == 10


@pytest.mark.simulation
@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_the_comparison_with_the_oracle_finds_the_planted_bug(patch, tmp_path):
    source = copy_with(patch, tmp_path)
    for seed in SEEDS:
        found = found_by(source, seed)
        if found & BY_THE_ORACLE:
            print(f"\n{patch.stem}: {sorted(found)} at seed {seed}")
            return
    pytest.fail(f"{patch.stem} survived {len(SEEDS)} seeds")


@pytest.mark.simulation
def test_without_a_planted_bug_the_same_seeds_find_nothing():
    source = Path(tierline.__file__).parents[1]
    assert [found_by(source, seed) for seed in SEEDS] == [set()] * len(SEEDS)
