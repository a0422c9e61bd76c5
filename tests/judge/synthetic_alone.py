"""A complete evidence folder of gateways with nobody above them, made by simple formulas: what the judge must call good.

It is the first limit of the spine alone, said by the owners of the feeder. As in `synthetic`, nothing is taken from the judge.
"""

from __future__ import annotations

import hashlib
import json

from synthetic import CIRCUIT, T0, WMAX_LIM_PCT_ENA, Folder, Good, Lines, text_of, write, write_one


class Alone(Good):
    """Builds the folder."""

    end = CIRCUIT.end + 180
    checks = ("circuit",)

    def __init__(self) -> None:
        super().__init__()
        self.members = self.feeders[CIRCUIT.group]
        self.said = {
            point: hashlib.sha256(f"said to {point}".encode()).hexdigest()[:32].upper() for point in self.members
        }

    def folder(self) -> Folder:
        """Build everything."""
        whole = super().folder()
        manifest = json.loads(whole["manifest"]) | {"alone": True, "stations": []}
        kept = {name: whole[name] for name in ("journal", "replay", "responses", "steps")}
        return {"manifest": text_of(manifest), **kept, "explanations": text_of(self.explanations())}

    def power(self, point: str, t: float, *, with_controls: bool) -> float:
        """As in the spine, but for the limit that nobody has said."""
        inside = point in self.members
        return super().power(point, t, with_controls=with_controls and inside)

    def requests(self) -> Lines:
        """What the gateways wrote."""
        lines: Lines = []
        for point in self.members:
            port, unit = self.address[point]
            for t, pdu in (
                (CIRCUIT.start + 2, write(WMAX_LIM_PCT_ENA, 1, CIRCUIT.pct * 10)),
                (CIRCUIT.end + 2, write_one(WMAX_LIM_PCT_ENA, 0)),
            ):
                lines.append({"kind": "request", "t": T0 + t, "port": port, "unit": unit, "pdu": pdu})
        return lines

    def responses(self) -> Lines:
        """What each gateway keeps: three Responses, under the name that it gave."""
        lines: Lines = [
            {
                "t": T0 + created + 0.1,
                "lfdi": self.lfdi[point],
                "peer": self.lfdi[point],
                "mrid": self.said[point],
                "status": status,
                "created_t": T0 + created,
            }
            for point in self.members
            for status, created in ((1, 120), (2, CIRCUIT.start + 2), (3, CIRCUIT.end))
        ]
        return sorted(lines, key=lambda item: item["t"])

    def explanations(self) -> Lines:
        """What each gateway said: first that it holds nothing, then who binds it, then nothing again."""
        lines: Lines = [{"t": T0 + 10, "lfdi": lfdi, "entries": []} for lfdi in self.lfdi.values()]
        for point in self.members:
            entry = {
                "function": "max_lim_w_pct",
                "value": str(CIRCUIT.pct),
                "channel": "owner",
                "party": "owner",
                "mrid": self.said[point],
                "is_event": True,
                "applied": True,
                "applied_value": str(CIRCUIT.pct),
                "binding": True,
                "displaced": False,
                "reason": "binding",
            }
            lines.append({"t": T0 + CIRCUIT.start + 2, "lfdi": self.lfdi[point], "entries": [entry]})
            lines.append({"t": T0 + CIRCUIT.end + 2, "lfdi": self.lfdi[point], "entries": []})
        return sorted(lines, key=lambda item: item["t"])

    def steps(self) -> Lines:
        """What the owners said."""
        return [
            {"kind": "ready", "t": T0 + 60},
            {
                "kind": "limit",
                "t": T0 + 120,
                "check": "circuit",
                "group": CIRCUIT.group,
                "start_t": T0 + CIRCUIT.start,
                "duration_s": CIRCUIT.end - CIRCUIT.start,
                "setpoints": {"max_lim_w_pct": CIRCUIT.pct},
                "said": {self.lfdi[point]: mrid for point, mrid in self.said.items()},
            },
        ]
