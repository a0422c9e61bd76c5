"""Which planted bug is looked for how; `python planted_list.py` writes it down as tests/planted/README.md.

What a bug does is the first line of its patch. A run finds a bug when it tells of all the kinds of disagreement that are named.
"""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "planted"
README = FOLDER / "README.md"
HEAD = """# Planted bugs

Each patch here plants one mistake that could be made into a copy of the program. `tests/simulation/test_planted_bugs.py` applies
it, runs the seed that is named below (and the others of that way, should that one not do any more), and asks for every kind of
disagreement that is named; a crash does not count. Without a patch the same seeds must find nothing. What is not found is a hole
in the simulation.

This page is written by `python tests/simulation/planted_list.py`, and a test keeps it so.

"""


@dataclass(frozen=True)
class Way:
    """How bugs are looked for."""

    program: str
    what: str
    """Whose reading the program is held against."""
    setting: dict
    seeds: tuple


@dataclass(frozen=True)
class Finder:
    """One way in which one bug is found."""

    way: Way
    seed: int
    """The first to be tried; the others of the way follow."""
    kinds: frozenset

    @property
    def seeds(self):
        """All seeds, in order of trial."""
        return (self.seed, *(seed for seed in self.way.seeds if seed != self.seed))


DER = Way("runs.py", "the oracle, one level", {"hours": 8.0, "ders": 6}, (2, 3, 4))
OWNER = Way("runs.py", "the oracle, the owner beside one level", {"hours": 16.0, "ders": 5}, (6, 12))
LEVELS = Way("planted_levels.py", "the oracle, the whole hierarchy", {"hours": 3.0, "ders": 6}, (2, 3, 5, 6))
CHANNELS = Way("planted_channels.py", "the oracle, several channels", {"lot": 40}, (1, 2))
RELAY = Way("planted_relays.py", "what the utility of a relay ordered, and to whom", {}, (1,))
NOTICES = Way("planted_notices.py", "where a subscriber said it wants to be told", {}, (307, 301, 302, 308))
"""Its seeds are the answers of the listener."""
WAYS = (DER, OWNER, LEVELS, CHANNELS, RELAY, NOTICES)


def _by(way, seed, *kinds):
    return Finder(way, seed, frozenset(kinds))


FINDERS = {
    1: (_by(DER, 2, "draws"),),
    2: (_by(DER, 2, "applied"),),
    3: (_by(DER, 2, "applied", "responses"),),
    4: (_by(DER, 2, "applied", "responses"),),
    5: (_by(DER, 2, "draws"),),
    6: (_by(DER, 2, "draws", "responses"),),
    7: (_by(DER, 4, "applied"),),
    8: (_by(DER, 2, "responses"),),
    9: (_by(DER, 2, "shown", "applied"),),
    10: (_by(DER, 2, "applied"),),
    11: (_by(LEVELS, 2, "shown", "applied", "draws"), _by(RELAY, 1, "identity")),
    12: (_by(LEVELS, 2, "shown", "applied"), _by(RELAY, 1, "draws")),
    13: (_by(CHANNELS, 1, "applied"),),
    14: (_by(LEVELS, 2, "shown", "applied", "responses"), _by(RELAY, 1, "applied")),
    15: (_by(NOTICES, 307, "told"),),
    16: (_by(CHANNELS, 1, "applied"),),
    17: (_by(CHANNELS, 2, "responses"),),
    18: (_by(CHANNELS, 1, "applied"),),
    19: (_by(CHANNELS, 1, "applied", "responses"),),
    20: (_by(CHANNELS, 1, "applied", "responses"),),
    21: (_by(LEVELS, 2, "shown", "applied"),),
    22: (_by(LEVELS, 2, "handover"),),
    23: (_by(LEVELS, 2, "responses"),),
    24: (_by(LEVELS, 2, "shown", "applied"),),
    25: (_by(LEVELS, 5, "shown", "applied"),),
    26: (_by(LEVELS, 2, "handover"),),
    27: (_by(LEVELS, 3, "applied"),),
    28: (_by(OWNER, 6, "applied", "responses", "shown"),),
    29: (_by(OWNER, 12, "applied", "responses", "shown"),),
    30: (_by(LEVELS, 5, "responses"),),
    31: (_by(DER, 3, "responses"),),
    32: (_by(LEVELS, 3, "responses"),),
}
"""By the number of the patch; each of its finders must find it."""


def patches():
    """Give all patches in order."""
    return sorted(FOLDER.glob("*.patch"))


def number_of(patch):
    """Give the number of a patch."""
    return int(patch.name.split("-")[0])


def what_of(patch):
    """Say what a bug does."""
    return patch.read_text().splitlines()[0]


def page():
    """Give the page."""
    rows = ["| patch | what is wrong then | found by | kinds |", "|---|---|---|---|"]
    for patch in patches():
        finders = FINDERS[number_of(patch)]
        found = "; ".join(f"{one.way.what} (`{one.way.program}`, seed {one.seed})" for one in finders)
        kinds = "; ".join(", ".join(sorted(one.kinds)) for one in finders)
        rows.append(f"| [{patch.stem}]({patch.name}) | {what_of(patch)} | {found} | {kinds} |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    README.write_text(page())
