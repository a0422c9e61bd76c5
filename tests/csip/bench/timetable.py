"""The event matrix of BASIC-015 to 026 brought to the wire: the data of the engine's vectors, on a clock that is worth waiting for.

No event of the matrix is randomized, so only the order of its instants matters: each instant of a vector (a walk, a start, an
end) becomes one step of a timetable.
"""

import runpy
from decimal import Decimal
from pathlib import Path

from bench.documents import Event, Program

_VECTORS = runpy.run_path(str(Path(__file__).parents[2] / "vectors" / "basic.py"))["VECTORS"]
LEAD_S = 40
"""From the beginning to the second instant: a gateway starts meanwhile."""
WALK_S = 30
"""From an instant at which the head-end shows something new to the next: longer than a poll."""
STEP_S = 18
"""From any other instant to the next."""


class Timetable:
    """One vector on the clock, from a beginning on."""

    def __init__(self, row, begin, *, code="7", lead_s=LEAD_S, walk_s=WALK_S, step_s=STEP_S):
        """Lay out the vector of a row, that of this supersede_code where it has two."""
        names = [name for name in _VECTORS if name.startswith(row)]
        self.vector = _VECTORS[names[-1] if code == "14" else names[0]]
        events = [e for walk in self.vector["walks"] for p in walk["programs"] for e in p["events"]]
        instants = {walk["at"] for walk in self.vector["walks"]}
        instants |= {t for e in events for t in (e["start"], e["start"] + e["duration"])}
        self.at = {}
        shown = {walk["at"] for walk in self.vector["walks"]}
        for n, t in enumerate(sorted(instants)):
            self.at[t] = begin
            begin += (walk_s if t in shown else step_s) if n else lead_s
        self.end = begin

    def walks(self):
        """Give when the head-end shows what."""
        return [
            (self.at[walk["at"]], [self._program(one) for one in walk["programs"]]) for walk in self.vector["walks"]
        ]

    def _program(self, row):
        return Program(row["mrid"], row["primacy"], [self._event(one) for one in row["events"]], row["default"] or None)

    def _event(self, row):
        start = self.at[row["start"]]
        return Event(
            row["mrid"],
            start,
            self.at[row["start"] + row["duration"]] - start,
            row["modes"],
            created=row["creation_time"],
            status=row["status"] or None,
            response_required=f"{row['response_required']:02X}",
        )

    def periods(self):
        """Give (from, until, {element: value in percent}) for every step of which the vector says what applies."""
        instants = sorted(self.at)
        found = []
        for begun, ended in zip(instants, [*instants[1:], None], strict=True):
            applied = [modes for t, modes in self.vector["applied"] if t >= begun and (ended is None or t < ended)]
            if applied:
                until = self.end if ended is None else self.at[ended]
                values = {name: Decimal(value) / 100 for name, (value, _) in applied[-1].items()}
                found.append((self.at[begun], until, values))
        return found

    def responses(self):
        """Give, by event, what is answered: (not before, status), in order."""
        found = {}
        for at, mrid, status in sorted(self.vector["responses"]):
            found.setdefault(mrid, []).append((self.at[at], status))
        return found

    @property
    def supersede_code(self):
        return self.vector["supersede_code"]
