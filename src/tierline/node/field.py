"""The field: a simulated plant behind one Modbus TCP listener per service point, and the journal of what happened there.

The plant knows no programs and no servers. It advances in steps of one simulated second; a late step is made up for, so
that simulated time never drifts from the clock.
"""

from __future__ import annotations

import asyncio
import json
import math
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import structlog

from tierline.env import RealFiles, RealNetwork
from tierline.model.errors import ConfigError
from tierline.model.topology import Grid
from tierline.node.compose import clock_of, random_of
from tierline.node.field_inverter import FieldInverter
from tierline.node.switchgear import UNIT as SWITCHGEAR
from tierline.node.switchgear import Switchgear
from tierline.plant.site import DRAWS_PER_UNIT, Plant, PlantSetup
from tierline.plant.weather import Weather
from tierline.protocols.sunspec.codec import HEADER_REGISTERS
from tierline.protocols.sunspec.definitions import PointType
from tierline.protocols.sunspec.north import NorthFace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from tierline.node.config import FieldPart, NodeConfig
    from tierline.ports import Clock, Files, Network, Random
    from tierline.protocols.sunspec.image import RegisterImage
    from tierline.protocols.sunspec.modbus import Received

log = structlog.get_logger(__name__)

STEP_S: Final = 1.0
"""Simulated seconds between power flows."""
FLOW_EVERY: Final = 10
"""Steps between the power flows that are written down."""
FLUSH_S: Final = 1.0
"""Wall seconds between writings of the journal."""
UNIT: Final = 1
"""The Modbus unit identifier of every device."""
_MBAP: Final = 7
"""Bytes of a frame in front of its PDU."""
_AT_ONCE: Final = 60
"""Steps of a replay between two looks at the event loop."""


class Journal:
    """What happened in the field, one JSON object a line; kept in memory between flushes."""

    def __init__(self, files: Files, path: str | None) -> None:
        self._files = files
        self._path = path
        self._lines: list[str] = []

    def begin(self) -> None:
        """Begin anew: a journal tells of one run."""
        self._lines.clear()
        if self._path is not None:
            self._files.write(self._path, b"")

    def note(self, kind: str, t: float, **rest: Any) -> None:  # Any: whatever JSON holds
        """Write something down."""
        if self._path is not None:
            self._lines.append(json.dumps({"kind": kind, "t": round(t, 3), **rest}, separators=(",", ":")))

    def flush(self) -> None:
        """Bring what was noted to the file."""
        if self._path is not None and self._lines:
            lines, self._lines = self._lines, []
            self._files.append(self._path, ("\n".join(lines) + "\n").encode())


class JournaledFace(NorthFace):
    """One device on the network, every request of which is told."""

    def __init__(self, device: FieldInverter, field: Field, port: int) -> None:
        super().__init__({UNIT: device})
        self._inverter = device
        self._field = field
        self._port = port

    def answer(self, received: Received) -> bytes:
        """Carry out one frame, give its reply and tell the journal."""
        reply = super().answer(received)
        self._field.note_request(self._port, self._inverter, received, reply[_MBAP:])
        return reply


class Field:
    """A plant and its devices."""

    def __init__(
        self,
        part: FieldPart,
        plant: Plant,
        *,
        clock: Clock,
        clock_start: datetime,
        network: Network,
        journal: Journal,
        seed: int | None,
    ) -> None:
        self._part = part
        self._clock = clock
        self._clock_start = clock_start
        self._network = network
        self._journal = journal
        self._seed = seed
        self._faces: list[NorthFace] = []
        self._begin = clock_start
        self._steps = 0
        self.plant = plant
        """What is simulated."""
        self.inverters = [FieldInverter(plant, row) for row in range(len(plant.ids))]
        """In the order of the service points."""

    @property
    def now(self) -> datetime:
        """The simulated time that the plant has reached."""
        return self._begin + timedelta(seconds=self._steps * STEP_S)

    async def listen(self) -> None:
        """Bring the plant to its first instant and open the listeners.

        Raises: ConfigError when a port cannot be had.
        """
        now = self._part.begin or self._clock.now()
        self._begin = datetime.fromtimestamp(math.ceil(now.timestamp()), UTC)
        self._journal.begin()
        self._note_start()
        self._advance()
        self._advance()  # the first answered the voltage of an idle grid
        self._note_flow()
        if not self._part.replay:
            for inverter, port in zip(self.inverters, self._part.ports, strict=True):
                face = JournaledFace(inverter, self, port)
                await face.listen(self._network, self._part.host, port)
                self._faces.append(face)
            if self._part.switchgear_port is not None:
                gear = NorthFace({SWITCHGEAR: Switchgear(lambda: self.plant.switches, self.operate)})
                await gear.listen(self._network, self._part.host, self._part.switchgear_port)
                self._faces.append(gear)
        self._journal.flush()
        log.info(
            "field_ready",
            devices=0 if self._part.replay else len(self.inverters),
            journal=None if self._part.journal is None else str(self._part.journal),
        )

    async def run(self) -> None:
        """Step until cancelled, or to the end of the duration when there is one."""
        try:
            if self._part.replay:
                await self._replay()
            else:
                async with asyncio.TaskGroup() as group:
                    flushing = group.create_task(self._flushing())
                    await self._stepping()
                    flushing.cancel()
        finally:
            self._journal.note("end", self._end_t())
            self._journal.flush()
            for face in self._faces:
                await face.close()

    def operate(self, positions: Mapping[int, bool]) -> None:
        """Move switches, and write it down.

        Raises: ConfigError for a switch the grid does not have.
        """
        self.plant.operate(positions)
        self._note_switches(self.now.timestamp())

    def note_request(self, port: int, device: FieldInverter, received: Received, reply: bytes) -> None:
        """Write a request down, unless it only reads measurements."""
        pdu = received.raw[_MBAP:]
        t = self._clock.now().timestamp()
        if reply[0] & 0x80:
            self._journal.note("refused", t, port=port, unit=received.unit, pdu=pdu.hex(), exception=reply[1])
        elif not _reads_only(pdu, device.measured):
            self._journal.note("request", t, port=port, unit=received.unit, pdu=pdu.hex())

    async def _stepping(self) -> None:
        last = None if self._part.duration_s is None else round(self._part.duration_s / STEP_S)
        while last is None or self._steps < last:
            await self._clock.sleep_until(self.now + timedelta(seconds=STEP_S))
            self._step()
            # A step that is late is followed at once by the next; the devices answer in between.
            await asyncio.sleep(0)

    async def _replay(self) -> None:
        for _ in range(round((self._part.duration_s or 0) / STEP_S)):
            self._step()
            if self._steps % _AT_ONCE == 0:
                self._journal.flush()
                await asyncio.sleep(0)

    async def _flushing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self._journal.flush()

    def _step(self) -> None:
        self._steps += 1
        for inverter in self.inverters:
            inverter.tick(STEP_S)
        self._advance()
        if self._steps % FLOW_EVERY == 0:
            self._note_flow()

    def _advance(self) -> None:
        into_s = (self.now - self._clock_start).total_seconds()
        self.plant.step(self.plant.setup.starts_at_h * 3600.0 + into_s, STEP_S)

    def _end_t(self) -> float:
        return max(self.now, self._clock.now()).timestamp() if not self._part.replay else self.now.timestamp()

    def _note_start(self) -> None:
        plant, image = self.plant, self.inverters[0].device.image
        grid = plant.grid
        t = self._begin.timestamp()
        self._journal.note(
            "start",
            t,
            seed=self._seed,
            source_pu=plant.source_u_pu,
            nodes=[node.id for node in grid.nodes],
            service_points=list(plant.ids),
            feeders=[feeder.id for feeder in grid.feeders],
            base=image.base,
            models=[[number, model.layout.length - HEADER_REGISTERS] for number, model in image.models.items()],
            scale_factors=_scale_factors(image),
            repeats={str(number): dict(m.layout.counts) for number, m in image.models.items() if m.layout.counts},
        )
        self._note_switches(t)

    def _note_switches(self, t: float) -> None:
        self._journal.note("switches", t, open=[number for number, closed in self.plant.switches.items() if not closed])

    def _note_flow(self) -> None:
        flow, state = self.plant.flow, self.plant.fleet.state
        self._journal.note(
            "flow",
            self.now.timestamp(),
            v=np.round(flow.node_v_pu, 6).tolist(),
            p=np.round(state.p_w, 1).tolist(),
            q=np.round(state.q_var, 1).tolist(),
            head_p=np.round(flow.head_p_w, 1).tolist(),
            head_q=np.round(flow.head_q_var, 1).tolist(),
        )


def compose_field(config: NodeConfig) -> Field:
    """Put a field together; nothing is opened on the network yet.

    Raises: ConfigError.
    """
    part = config.field
    if part is None:
        raise ConfigError("[field] is missing; it says what is simulated")
    if part.replay and part.duration_s is None:
        raise ConfigError("[field] duration_s is missing; a replay must know where it ends")
    setup, grid, weather = load_plant(part.scenario, config.folder)
    devices = len(grid.service_points)
    if not part.replay and len(part.ports) != devices:
        raise ConfigError(
            f"[field] ports: {len(part.ports)} given; grid {grid.name!r} has {devices} service points and each needs one"
        )
    plant = Plant(setup, grid, weather, _draws(random_of(config), devices))
    clock = clock_of(config)
    return Field(
        part,
        plant,
        clock=clock,
        clock_start=clock.t0,
        network=RealNetwork(),
        journal=Journal(RealFiles(), None if part.journal is None else str(config.state / part.journal)),
        seed=config.node.seed,
    )


def load_plant(scenario: str, folder: Path) -> tuple[PlantSetup, Grid, Weather]:
    """Read what a scenario says about its plant, and its grid and weather.

    A bare name is a scenario that comes with tierline, anything else a path from `folder` on. Grid and weather stand beside the
    scenario file, or come with tierline.
    Raises: ConfigError.
    """
    shipped = resources.files("tierline.scenario") / "data"
    files = RealFiles()
    is_shipped = "/" not in scenario and "." not in scenario
    beside = (folder / scenario).parent

    def text(name: str, *, own: bool) -> str:
        if not own and (shipped / name).is_file():
            return files.read(str(shipped / name)).decode()
        return files.read(str(beside / name)).decode()

    if is_shipped and not (shipped / f"{scenario}.toml").is_file():
        raise ConfigError(f"there is no scenario {scenario!r} that comes with tierline; give the path of a file")
    setup = PlantSetup.from_toml(
        text(f"{scenario}.toml", own=False) if is_shipped else text((folder / scenario).name, own=True)
    )
    has_own = {name for name in (setup.grid, setup.weather) if not is_shipped and (beside / name).is_file()}
    return (
        setup,
        Grid.from_json(text(setup.grid, own=setup.grid in has_own)),
        Weather.from_json(text(setup.weather, own=setup.weather in has_own)),
    )


def _draws(random: Random, units: int) -> NDArray[np.float64]:
    return np.array([[random.fraction() for _ in range(units)] for _ in range(DRAWS_PER_UNIT)])


def _reads_only(pdu: bytes, registers: range) -> bool:
    address, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
    return pdu[0] in {3, 4} and registers.start <= address and address + count <= registers.stop


def _scale_factors(image: RegisterImage) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for number in image.models:
        block = image.block(number)
        factors = {
            place.path: code
            for place in block.layout.places
            if place.point.type is PointType.SUNSSF and (code := block.code(place.path)) is not None
        }
        if factors:
            found[str(number)] = factors
    return found
