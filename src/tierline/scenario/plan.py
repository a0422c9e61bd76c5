"""What a running scenario consists of: processes, nodes, ports and files; and how it is written down.

Every node gets a configuration file of its own and could be run alone from it; which nodes share a process is a matter of
memory, nothing else.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from tierline.model.errors import ConfigError
from tierline.model.identity import pin
from tierline.node.field import UNIT, load_plant
from tierline.node.field_inverter import rating_w
from tierline.scenario.addresses import are_free
from tierline.scenario.configuration import HOST, PEN, PLANT, ConfigWriter
from tierline.scenario.hierarchy import enrol
from tierline.scenario.stations import Gateway, Uplink, make_stations, servers_of
from tierline.security.hardware_name import HardwareName
from tierline.security.keys import make_key_folder, write_credential, write_new
from tierline.security.pki import make_device, make_mica, make_serca, make_server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tierline.model.identity import Lfdi
    from tierline.model.topology import Grid
    from tierline.plant.site import PlantSetup
    from tierline.ports import Network, Random
    from tierline.scenario.addresses import Block
    from tierline.scenario.script import Script
    from tierline.scenario.stations import Station

GATEWAY_PROCESSES: Final = 4

OPERATOR_PORT: Final = 8080
"""Where the commands look for an operator API when they are not told: that of the head."""

_BORN: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""From when the certificates count: before any day of a scenario, and before today."""
_YEAR: Final = 2026
"""The year of the simulated day; weather files name month and day only."""
_HARDWARE: Final = f"1.3.6.1.4.1.{PEN}.1"
_MARKER: Final = "tierline-scenario"
"""A file that says that a state folder is ours to empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The plant and its place, read from the files of a scenario."""

    setup: PlantSetup
    grid: Grid
    starts: datetime
    """The civil time at which the scenario's local day begins to count."""
    field: str
    """How a configuration names the plant: a name, or an absolute path."""
    grid_file: str
    """How a configuration names the grid."""

    @classmethod
    def of(cls, field: str, folder: Path) -> Site:
        """Read the plant of a scenario by its name, or its path from a folder on.

        Raises: ConfigError.
        """
        setup, grid, weather = load_plant(field, folder)
        day = weather.days.get(setup.day)
        if day is None:
            raise ConfigError(f"weather of {weather.place} has no day {setup.day!r}; it has {', '.join(weather.days)}")
        midnight = datetime(_YEAR, day.month, day.day, tzinfo=UTC) - timedelta(hours=weather.utc_offset_h)
        is_shipped = "/" not in field and "." not in field
        beside = (folder / field).absolute()
        own_grid = beside.parent / setup.grid
        return cls(
            setup=setup,
            grid=grid,
            starts=midnight + timedelta(hours=setup.starts_at_h),
            field=field if is_shipped else str(beside),
            grid_file=str(own_grid) if not is_shipped and own_grid.is_file() else setup.grid.removesuffix(".json"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is started."""

    folder: Path
    """The state folder, absolute."""
    site: Site
    stations: Mapping[str, Station]
    """The nodes that serve, from the top down; each is a process."""
    gateways: tuple[Gateway, ...]
    switchgear_port: int
    """Where the switches of the plant are operated."""
    files: Mapping[str, tuple[Path, ...]]
    """The configuration files of each process, the stations' and the plant's among them."""

    @property
    def head(self) -> Station | None:
        """The station whose operator acts unless another is named: the utility, or the highest there is below the market.

        None where nobody stands above the gateways.
        """
        below = [station for station in self.stations.values() if not station.is_market]
        return next(iter(below or self.stations.values()), None)

    @property
    def head_name(self) -> str:
        """Its name, empty where nobody stands above the gateways."""
        return "" if self.head is None else self.head.name

    @property
    def journal(self) -> Path:
        """What the plant writes."""
        return self.folder / PLANT / "journal.jsonl"

    @property
    def replay(self) -> Path:
        """What the plant alone would have done."""
        return self.folder / PLANT / "replay.jsonl"

    def database(self, station: Station) -> Path:
        """Say where a station keeps its database."""
        return self.folder / station.name / "tierline.db"

    def token_file(self, station: Station) -> Path:
        """Say where a station leaves its operator's token."""
        return self.folder / station.name / "operator.token"

    @staticmethod
    def operator_url(station: Station) -> str:
        """Say where the operator API of a station is."""
        return f"http://{HOST}:{station.operator_port}"

    def log(self, process: str) -> Path:
        """Where a process logs to."""
        return self.folder / "logs" / f"{process}.log"

    @property
    def gateway_processes(self) -> tuple[str, ...]:
        """The names of the processes that host gateways."""
        return tuple(dict.fromkeys(gateway.process for gateway in self.gateways))


def make_folder(folder: Path) -> Path:
    """Make an empty state folder, emptying one of an earlier scenario.

    Raises: ConfigError when it is something else's.
    """
    folder = folder.absolute()
    if folder.exists():
        if any(folder.iterdir()) and not (folder / _MARKER).is_file():
            raise ConfigError(f"the folder {folder} is in use for something else; name another one with --state")
        shutil.rmtree(folder)
    for name in ("config", "logs", PLANT):
        (folder / name).mkdir(parents=True)
    (folder / _MARKER).write_text("made by tierline; emptied by the next scenario that uses it\n", encoding="utf-8")
    return folder


def ports_needed(site: Site, script: Script, gateways: int) -> int:
    """Tell how many ports a scenario needs at most.

    Raises: ConfigError when the grid has fewer service points than gateways are wanted.
    """
    points = len(site.grid.service_points)
    if not 1 <= gateways <= points:
        raise ConfigError(f"--gateways {gateways}: grid {site.grid.name!r} has 1 to {points} service points")
    levels = script.hierarchy
    servers = len(levels.names)
    # Of a station: its server, its operator API, its listener and two uplinks. Of a gateway: all control points, one aggregator.
    return 5 * servers + points + 1 + gateways * (1 + len(levels.substation) + (1 if levels.aggregator else 0))


async def make_plan(
    folder: Path, site: Site, writer: ConfigWriter, block: Block, *, gateways: int, network: Network, random: Random
) -> Plan:
    """Make certificates and write every configuration file, for the ports of a block.

    Raises: ConfigError.
    """
    points = site.grid.service_points
    ports = iter(block.ports)
    modbus = [next(ports) for _ in points]
    switchgear_port = next(ports)
    keys = _Keys(folder / "pki")
    stations = make_stations(
        writer.script.hierarchy,
        keys.server,
        lambda: pin(random.bits(32)),
        lambda: next(ports),
        OPERATOR_PORT if await are_free(network, [OPERATOR_PORT]) else 0,
    )
    enrolled = enrol(site.grid, writer.script.hierarchy)
    made = []
    for number in range(gateways):
        row = number * len(points) // gateways  # a smaller fleet is spread over the whole grid
        point = points[row]
        name = f"gw-{point.id}"
        one = enrolled[point.id]
        gateway = Gateway(
            name=name,
            service_point=point.id,
            process=f"gateways-{number % GATEWAY_PROCESSES + 1}",
            modbus_port=modbus[row],
            uplinks=tuple(Uplink(server, next(ports)) for server in servers_of(stations, one)),
            way=one.way,
            aggregator=one.aggregator,
            pin=pin(random.bits(32)),
            lfdi=keys.device(name, point.id),
            rating_w=rating_w(point, oversize=site.setup.oversize),
        )
        made.append(gateway)
    files: dict[str, tuple[Path, ...]] = {
        station.name: (writer.station(station, _listeners(stations, station), grid=site.grid_file),)
        for station in stations.values()
    }
    files[PLANT] = (writer.plant(site.field, modbus, switchgear_port, "journal.jsonl"),)
    for gateway in made:
        files[gateway.process] = (*files.get(gateway.process, ()), writer.gateway(gateway, UNIT))
    return Plan(
        folder=folder, site=site, stations=stations, gateways=tuple(made), switchgear_port=switchgear_port, files=files
    )


def _listeners(stations: Mapping[str, Station], above: Station) -> list[int]:
    """Find where those below a station want its notices."""
    return [
        station.listener_port
        for station in stations.values()
        if any(uplink.server.name == above.name for uplink in station.uplinks)
    ]


class _Keys:
    """The certificates of a scenario, made as they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        root = make_serca("tierline demo root", _BORN, demo=True)
        self._issuer = make_mica(root, "tierline demo devices", _BORN)
        make_key_folder(folder)
        write_new(folder / "root.pem", root.certificate_pem, mode=0o644)

    def server(self, name: str) -> Lfdi:
        """Make the certificate of a node that serves; it is a client of those above it, too."""
        hardware = HardwareName(type_oid=f"{_HARDWARE}.1", serial=name.encode())
        made = make_server(self._issuer, hardware, _BORN, ip_addresses=[HOST])
        write_credential(self._folder, name, made)
        return made.lfdi

    def device(self, name: str, serial: str) -> Lfdi:
        """Make the certificate of a gateway."""
        made = make_device(self._issuer, HardwareName(type_oid=f"{_HARDWARE}.2", serial=serial.encode()), _BORN)
        write_credential(self._folder, name, made)
        return made.lfdi
