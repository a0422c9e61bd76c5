"""The tree that the rows of the aggregator stand on: four DERs below five levels, as figure 15 of the procedures draws it."""

from bench.documents import Assignment, Program, mrid

LADDER = {
    "eda1": ("SPA1", "TFA", "SGA", "FDA", "SY"),
    "eda2": ("SPA2", "TFA", "SGA", "FDA", "SY"),
    "edb1": ("SPB1", "TFB", "SGB", "FDB", "SY"),
    "edb2": ("SPB2", "TFB", "SGB", "FDB", "SY"),
}
"""DER to its groups, the most local first."""


class Figure:
    """The programs of the groups, and who is assigned to which."""

    SEGMENT_A = ("eda1", "eda2")

    def __init__(self):
        groups = sorted({name for groups in LADDER.values() for name in groups})
        level = {name: next(groups.index(name) for groups in LADDER.values() if name in groups) for name in groups}
        self.programs = {
            name: Program(
                mrid(f"5E{number:02X}"),
                level[name],
                [],
                {"opModMaxLimW": 5000 + 100 * number} if level[name] in {0, 4} else None,
            )
            for number, name in enumerate(groups)
        }

    def limit_of(self, group):
        """Give the default of a group, in percent."""
        return self.programs[group].default["opModMaxLimW"] / 100

    def assign(self, device, groups):
        """Put a DER into groups."""
        device.assignments = [Assignment(mrid("F1"), [self.programs[name] for name in groups])]

    def open(self, server):
        """Assign everybody as it is at first; what changes is told, so nothing is polled."""
        server.poll_s = 900
        for device, groups in zip(server.devices[1:], LADDER.values(), strict=True):
            self.assign(device, groups)
