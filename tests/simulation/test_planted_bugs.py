"""Bugs, planted one at a time into a copy of the program: a comparison with an independent reading must find each.

Which bug is found how stands in `planted_list.py`. Being noticed by a crash or by another check does not count. A patch that no
longer applies fails its test: mend the patch.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import planted_list
import pytest

import tierline

PATCHES = planted_list.patches()
FOUND = [
    pytest.param(patch, finder, id=f"{patch.stem}-{Path(finder.way.program).stem}")
    for patch in PATCHES
    for finder in planted_list.FINDERS.get(planted_list.number_of(patch), ())
]


def found_by(source, way, seed):
    """Run one seed of a copy of the program in a process of its own; give the kinds of disagreement."""
    out = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(way.program)), json.dumps({"seed": seed, **way.setting})],
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


def test_every_planted_bug_has_a_number_a_sentence_and_somebody_who_finds_it():
    numbers = [planted_list.number_of(patch) for patch in PATCHES]
    assert numbers == list(range(1, len(PATCHES) + 1)) == sorted(planted_list.FINDERS)
    assert all(planted_list.FINDERS.values())
    assert [patch.name for patch in PATCHES if not planted_list.what_of(patch).endswith(".")] == []


def test_the_page_of_planted_bugs_is_up_to_date():
    assert planted_list.README.read_text() == planted_list.page(), "run python tests/simulation/planted_list.py"


@pytest.mark.simulation
@pytest.mark.parametrize(("patch", "finder"), FOUND)
def test_the_comparison_finds_the_planted_bug(patch, finder, tmp_path):
    source = copy_with(patch, tmp_path)
    tried = {}
    for seed in finder.seeds:
        tried[seed] = found_by(source, finder.way, seed)
        if finder.kinds <= tried[seed]:
            print(f"\n{patch.stem}: {sorted(tried[seed])} by {finder.way.program} at seed {seed}")
            return
    pytest.fail(f"{patch.stem} survived, {sorted(finder.kinds)} is asked for: {tried}")


@pytest.mark.simulation
@pytest.mark.parametrize("way", planted_list.WAYS, ids=lambda way: way.program)
def test_without_a_planted_bug_the_same_seeds_find_nothing(way):
    source = Path(tierline.__file__).parents[1]
    assert [found_by(source, way, seed) for seed in way.seeds] == [set()] * len(way.seeds)
