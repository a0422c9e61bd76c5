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
from tierline.scenario.configuration import HOST, PEN, PLANT, UTILITY, ConfigWriter
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

GATEWAY_PROCESSES: Final = 4

OPERATOR_PORT: Final = 8080
"""Where the commands look for an operator API when they are not told."""

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
class Gateway:
    """One gateway and the inverter it speaks to."""

    name: str
    service_point: str
    process: str
    modbus_port: int
    relay_port: int
    pin: int
    lfdi: Lfdi
    rating_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is started."""

    folder: Path
    """The state folder, absolute."""
    site: Site
    server_port: int
    operator_port: int
    gateways: tuple[Gateway, ...]
    files: Mapping[str, tuple[Path, ...]]
    """The configuration files of each process, the utility's and the plant's among them."""

    @property
    def journal(self) -> Path:
        """What the plant writes."""
        return self.folder / PLANT / "journal.jsonl"

    @property
    def replay(self) -> Path:
        """What the plant alone would have done."""
        return self.folder / PLANT / "replay.jsonl"

    @property
    def database(self) -> Path:
        """The utility's database."""
        return self.folder / UTILITY / "tierline.db"

    @property
    def token_file(self) -> Path:
        """Where the utility leaves its operator's token."""
        return self.folder / UTILITY / "operator.token"

    @property
    def operator_url(self) -> str:
        """Where the utility's operator API is."""
        return f"http://{HOST}:{self.operator_port}"

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
    for name in ("config", "logs", UTILITY, PLANT):
        (folder / name).mkdir(parents=True)
    (folder / _MARKER).write_text("made by tierline; emptied by the next scenario that uses it\n", encoding="utf-8")
    return folder


def ports_needed(site: Site, gateways: int) -> int:
    """Tell how many ports a scenario needs: server, operator, an inverter each, a relay each.

    Raises: ConfigError when the grid has fewer service points than gateways are wanted.
    """
    points = len(site.grid.service_points)
    if not 1 <= gateways <= points:
        raise ConfigError(f"--gateways {gateways}: grid {site.grid.name!r} has 1 to {points} service points")
    return 2 + points + gateways


async def make_plan(
    folder: Path, site: Site, writer: ConfigWriter, block: Block, *, gateways: int, network: Network, random: Random
) -> Plan:
    """Make certificates and write every configuration file, for the ports of a block.

    Raises: ConfigError.
    """
    points = site.grid.service_points
    server_port, spare, *rest = block.ports
    operator_port = OPERATOR_PORT if await are_free(network, [OPERATOR_PORT]) else spare
    modbus, relays = rest[: len(points)], rest[len(points) :]
    keys = folder / "pki"
    root = make_serca("tierline demo root", _BORN, demo=True)
    issuer = make_mica(root, "tierline demo devices", _BORN)
    make_key_folder(keys)
    write_new(keys / "root.pem", root.certificate_pem, mode=0o644)
    server = make_server(issuer, HardwareName(type_oid=f"{_HARDWARE}.1", serial=b"utility"), _BORN, ip_addresses=[HOST])
    write_credential(keys, UTILITY, server)
    made = []
    for number, relay_port in enumerate(relays):
        row = number * len(points) // gateways  # a smaller fleet is spread over the whole grid
        point = points[row]
        name = f"gw-{point.id}"
        device = make_device(issuer, HardwareName(type_oid=f"{_HARDWARE}.2", serial=point.id.encode()), _BORN)
        write_credential(keys, name, device)
        gateway = Gateway(
            name=name,
            service_point=point.id,
            process=f"gateways-{number % GATEWAY_PROCESSES + 1}",
            modbus_port=modbus[row],
            relay_port=relay_port,
            pin=pin(random.bits(32)),
            lfdi=device.lfdi,
            rating_w=rating_w(point, oversize=site.setup.oversize),
        )
        made.append(gateway)
    files = {
        UTILITY: (writer.utility(server_port=server_port, operator_port=operator_port, grid=site.grid_file),),
        PLANT: (writer.plant(site.field, modbus, "journal.jsonl"),),
    }
    for gateway in made:
        path = writer.gateway(
            gateway.name,
            process=gateway.process,
            relay_port=gateway.relay_port,
            modbus_port=gateway.modbus_port,
            unit=UNIT,
            pin=gateway.pin,
        )
        files[gateway.process] = (*files.get(gateway.process, ()), path)
    return Plan(
        folder=folder,
        site=site,
        server_port=server_port,
        operator_port=operator_port,
        gateways=tuple(made),
        files=files,
    )
