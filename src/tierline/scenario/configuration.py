"""The configuration files of a scenario's nodes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from tierline.env import RealClock
    from tierline.scenario.script import Script

HOST: Final = "127.0.0.1"
UTILITY: Final = "utility"
PLANT: Final = "plant"
PEN: Final = 32473
"""The private enterprise number for examples. Source: RFC 5612."""

Value = str | int | float | bool | datetime | list[int] | list[str]
Table = tuple[str, Mapping[str, Value]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigWriter:
    """Writes one file for each node into a folder."""

    folder: Path
    """The state folder, absolute."""
    clock: RealClock
    script: Script
    seed: int

    def utility(self, *, server_port: int, operator_port: int, grid: str) -> Path:
        """Write the configuration of the utility.

        It has no seed: a server that is started again must not give the same names twice.
        """
        return self._write(
            UTILITY,
            ("node", {"name": UTILITY, "level": 4, "party": UTILITY, "state": str(self.folder / UTILITY)}),
            self._clock(),
            ("identity", {"pen": PEN}),
            self._tls(UTILITY),
            (
                "serve.sep2",
                {
                    "listen": [f"{HOST}:{server_port}"],
                    "poll_rate_s": self.script.scenario.poll_rate_s,
                    "post_rate_s": self.script.scenario.poll_rate_s,
                },
            ),
            ("operator", {"listen": f"{HOST}:{operator_port}"}),
            ("grid", {"file": grid}),
        )

    def gateway(self, name: str, *, process: str, relay_port: int, modbus_port: int, unit: int, pin: int) -> Path:
        """Write the configuration of a gateway; those of one process share a database, each has its own rows."""
        return self._write(
            name,
            (
                "node",
                {
                    "name": name,
                    "level": 2,
                    "party": "owners",
                    "state": str(self.folder / process),
                    "seed": self.seed,
                },
            ),
            self._clock(),
            ("identity", {"pen": PEN}),
            self._tls(name),
            (
                "[north]",
                {
                    "protocol": "sep2",
                    "channel": UTILITY,
                    "party": UTILITY,
                    "server": f"https://{HOST}:{relay_port}/dcap",
                    "pin": pin,
                },
            ),
            (
                "[south]",
                {
                    "protocol": "sunspec",
                    "address": f"{HOST}:{modbus_port}",
                    "unit": unit,
                    "read_s": self.script.scenario.read_s,
                },
            ),
        )

    def plant(self, scenario: str, ports: list[int], journal: str) -> Path:
        """Write the configuration of the plant."""
        return self._write(
            PLANT,
            self._plant_node(),
            self._clock(),
            (
                "field",
                {
                    "scenario": scenario,
                    "ports": ports,
                    "journal": journal,
                },
            ),
        )

    def replay(self, scenario: str, begin: datetime, duration_s: int, journal: str) -> Path:
        """Write the configuration of the plant alone, over a span of time: the same node, hence the same draws."""
        return self._write(
            "replay",
            self._plant_node(),
            self._clock(),
            (
                "field",
                {
                    "scenario": scenario,
                    "journal": journal,
                    "begin": begin,
                    "duration_s": duration_s,
                    "replay": True,
                },
            ),
        )

    def _plant_node(self) -> Table:
        node: dict[str, Value] = {
            "name": PLANT,
            "level": 1,
            "party": "owners",
            "state": str(self.folder / PLANT),
            "seed": self.seed,
        }
        return "node", node

    def _clock(self) -> Table:
        clock = self.clock
        return "clock", {"start": clock.t0, "monotonic_s": clock.m0, "speed": clock.speed}

    def _tls(self, name: str) -> Table:
        keys = self.folder / "pki"
        return "tls", {
            "certificate": str(keys / f"{name}.pem"),
            "key": str(keys / f"{name}.key"),
            "anchors": [str(keys / "root.pem")],
            "demo": True,
        }

    def _write(self, name: str, *tables: Table) -> Path:
        path = self.folder / "config" / f"{name}.toml"
        path.write_text("\n".join(_table(*table) for table in tables), encoding="utf-8")
        return path


def _table(name: str, values: Mapping[str, Value]) -> str:
    return "".join([f"[{name}]\n", *(f"{key} = {_value(value)}\n" for key, value in values.items())])


def _value(value: Value) -> str:
    """Write a value; strings and lists of JSON are strings and lists of TOML, but for characters that no path of ours has."""
    if isinstance(value, str | bool | int | float | list):
        return json.dumps(value, ensure_ascii=False)
    return value.isoformat()
