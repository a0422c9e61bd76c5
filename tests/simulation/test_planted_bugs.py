"""Twenty bugs, planted one at a time into a copy of the program: a comparison with an independent reading must find each.

That is the oracle of one DER (1 to 10), the oracle of several channels (13, 16 to 20), what the utility of a relay ordered and
to whom (11, 12, 14), and where a subscriber said it wants to be told (15).

Being noticed by a crash or by another check does not count. A patch that no longer applies fails its test: mend the patch.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import tierline

ROOT = Path(__file__).parents[2]
PATCHES = sorted((ROOT / "tests" / "planted").glob("*.patch"))


@dataclass(frozen=True)
class Way:
    """How a bug is looked for, and which kinds of disagreement count."""

    program: str
    setting: dict
    seeds: tuple
    """Enough for all that are looked for in this way; each patch is caught by one of them."""
    kinds: frozenset


DER = Way("runs.py", {"hours": 8.0, "ders": 6}, tuple(range(1, 7)), frozenset({"applied", "responses", "draws"}))
CHANNELS = Way("planted_channels.py", {"lot": 40}, (1, 2), frozenset({"applied", "responses", "draws"}))
RELAY = Way("planted_relays.py", {}, (1, 2), frozenset({"identity", "applied", "responses", "draws"}))
NOTICES = Way("planted_notices.py", {}, (307, 301, 302, 308), frozenset({"told"}))
"""Its seeds are the answers of the listener."""
WAYS = (DER, CHANNELS, RELAY, NOTICES)
FIVE_LEVELS = {11: RELAY, 12: RELAY, 13: CHANNELS, 14: RELAY, 15: NOTICES}
"""From 16 on all are of several channels, up to 10 of one DER."""


def way_of(patch):
    """Tell by the number of a patch how its bug is looked for."""
    number = int(patch.name[:2])
    return FIVE_LEVELS.get(number, DER if number <= 10 else CHANNELS)


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


def test_there_are_twenty_planted_bugs():
    assert [int(patch.name[:2]) for patch in PATCHES] == list(range(1, 21))


@pytest.mark.simulation
@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_the_comparison_finds_the_planted_bug(patch, tmp_path):
    source, way = copy_with(patch, tmp_path), way_of(patch)
    for seed in way.seeds:
        found = found_by(source, way, seed)
        if found & way.kinds:
            print(f"\n{patch.stem}: {sorted(found)} by {way.program} at seed {seed}")
            return
    pytest.fail(f"{patch.stem} survived {len(way.seeds)} seeds")


@pytest.mark.simulation
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.program)
def test_without_a_planted_bug_the_same_seeds_find_nothing(way):
    source = Path(tierline.__file__).parents[1]
    assert [found_by(source, way, seed) for seed in way.seeds] == [set()] * len(way.seeds)
