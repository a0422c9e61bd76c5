"""The configuration files of a scenario's nodes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from tierline.scenario.hierarchy import Way

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tierline.env import RealClock
    from tierline.scenario.script import Script
    from tierline.scenario.stations import Gateway, Station, Uplink

HOST: Final = "127.0.0.1"
UTILITY: Final = "utility"
"""The party that runs utility and substations, and the channel it speaks on."""
MARKET: Final = "market"
"""The party that runs the market, and the channel it speaks on."""
OWNERS: Final = "owners"
"""The party of the gateways and the plant."""
PLANT: Final = "plant"
PEN: Final = 32473
"""The private enterprise number for examples. Source: RFC 5612."""

CUSTOMERS: Final = "customers"
"""The group of an aggregator's own DERs that the market may ask for power."""
_FAST_S: Final = 120
"""How often an aggregator has its gateways walk and post: dispatch is faster than the utility's pace."""
_GRANT_LASTS: Final = timedelta(days=30)


def capture_of(node: str) -> str:
    """Name the file in which a node writes down what it sends."""
    return f"{node}.sent.jsonl"


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

    def station(self, station: Station, listeners: Sequence[int], *, grid: str) -> Path:
        """Write the configuration of a node that serves; `listeners` are the ports where others want its notices.

        It has no seed: a server that is started again must not give the same names twice.
        """
        rate_s = _FAST_S if station.is_aggregator else self.script.scenario.poll_rate_s
        tables: list[Table] = [
            (
                "node",
                {
                    "name": station.name,
                    "level": station.level,
                    "party": station.party,
                    "state": str(self.folder / station.name),
                },
            ),
            self._clock(),
            ("identity", {"pen": PEN}),
            self._tls(station.name),
            ("serve.sep2", {"listen": [f"{HOST}:{station.port}"], "poll_rate_s": rate_s, "post_rate_s": rate_s}),
        ]
        if listeners:
            tables.append(("serve.sep2.notify", {"allow": [f"{HOST}:{port}" for port in listeners]}))
        if station.is_utility:
            tables += [
                ("[serve.sep2.control_point]", {"party": one.name, "element": one.element})
                for one in self.script.hierarchy.substation
            ]
            tables.append(("grid", {"file": grid}))
        tables.append(("operator", {"listen": f"{HOST}:{station.operator_port}"}))
        tables.append(("capture", {"path": capture_of(station.name)}))
        tables += [self._uplink(station, uplink) for uplink in station.uplinks]
        if station.uplinks and station.listener_port:
            address = f"{HOST}:{station.listener_port}"
            tables.append(("listener", {"listen": address, "uri": f"https://{address}"}))
        if any(uplink.server.is_market for uplink in station.uplinks):
            tables += self._fleet(station)
        return self._write(station.name, *tables)

    def _uplink(self, station: Station, uplink: Uplink) -> Table:
        relays = not uplink.server.is_market
        return "[north]", {
            **self._north(uplink, station.pin),
            "rank": 1 if uplink.server.is_market else 0,
            "authority": "aggregator" if uplink.server.is_market else "utility",
            "use": "relay" if relays else "obey",
            **({"enrol": "take"} if relays and not station.is_aggregator else {}),
        }

    def _fleet(self, station: Station) -> list[Table]:
        """Let a market ask for power; only an aggregator has granted it that."""
        group = CUSTOMERS if station.is_aggregator else "system"
        tables: list[Table] = [("fleet", {"group": group, "read_s": self.script.scenario.read_s})]
        if station.is_aggregator:
            tables.append(
                (
                    "[grant]",
                    {
                        "party": MARKET,
                        "functions": ["target_w", "max_lim_w_pct"],
                        "power_w": 50e6,
                        "until": self.clock.t0 + _GRANT_LASTS,
                    },
                )
            )
        return tables

    def gateway(self, gateway: Gateway, unit: int) -> Path:
        """Write the configuration of a gateway; those of one process share a database, each has its own rows."""
        norths: list[Table] = []
        for uplink in gateway.uplinks:
            of_aggregator = uplink.server.is_aggregator
            norths.append(
                (
                    "[north]",
                    {
                        **self._north(uplink, gateway.pin),
                        "rank": 1 if of_aggregator and gateway.way is Way.DUAL else 0,
                        "authority": "aggregator" if of_aggregator else "utility",
                        # The utility knows the device from its interconnection; an aggregator has no need to.
                        "tells_serial": not of_aggregator,
                    },
                )
            )
        return self._write(
            gateway.name,
            (
                "node",
                {
                    "name": gateway.name,
                    "level": 2,
                    "party": OWNERS,
                    "state": str(self.folder / gateway.process),
                    "seed": self.seed,
                },
            ),
            self._clock(),
            ("identity", {"pen": PEN}),
            self._tls(gateway.name),
            ("capture", {"path": capture_of(gateway.name)}),
            *norths,
            *([("follow", {"mode": "dual"})] if gateway.way is Way.DUAL else []),
            (
                "[south]",
                {
                    "protocol": "sunspec",
                    "address": f"{HOST}:{gateway.modbus_port}",
                    "unit": unit,
                    "read_s": self.script.scenario.read_s,
                },
            ),
        )

    def _north(self, uplink: Uplink, pin: int) -> dict[str, Value]:
        return {
            "protocol": "sep2",
            "channel": uplink.server.party,
            "party": uplink.server.party,
            "server": f"https://{HOST}:{uplink.port}/dcap",
            "server_lfdi": str(uplink.server.lfdi),
            "pin": pin,
        }

    def plant(self, scenario: str, ports: list[int], switchgear_port: int, journal: str) -> Path:
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
                    "switchgear_port": switchgear_port,
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
            "party": OWNERS,
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
