"""The client face: one inverter, found, read and commanded over SunSpec Modbus.

Four rules. One writer: an apply runs to its end before the next begins. It ends early only while it waits for a device to
adopt a curve, so that nothing else waits for that. Nothing is reported as held that was not read back from the device after
it was written. And what the device refuses keeps nothing else from being written, but for what frees active power while a
limit of it is refused.
"""

import asyncio
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, assert_never

import structlog

from tierline.model.capability import Capability, Firmness, Refusal
from tierline.model.control import FunctionName, Setpoints
from tierline.model.errors import LinkError, PeerError, Unsupported
from tierline.model.identity import DerId
from tierline.model.points import POINTS
from tierline.model.telemetry import Alarm
from tierline.ports import Behind, Clock, DeviceFacts, Network, Random, ReadBack
from tierline.protocols.sunspec import mapping, orders
from tierline.protocols.sunspec.capability import capability_of
from tierline.protocols.sunspec.codec import (
    HEADER_REGISTERS,
    Block,
    Layout,
    Run,
    Value,
    compile_layout,
    counts_of,
    fixed_length,
)
from tierline.protocols.sunspec.image import BASE, MARKER
from tierline.protocols.sunspec.inverter import ADOPTIONS, Adoption, AdoptionResult
from tierline.protocols.sunspec.link import Endpoint, ModbusLink, Patience
from tierline.protocols.sunspec.modbus import MAX_READ, MAX_WRITE, ExceptionCode, ModbusFault

log = structlog.get_logger(__name__)

BASES: Final = (BASE, 0, 50000)
"""Where the map may begin (SunSpec device information model specification); the commonest first."""
END_ID: Final = 0xFFFF
"""The ID of the end model."""
REFRESH_EVERY: Final = timedelta(hours=1)
"""Between two looks at ratings and settings. They change by an installer's hand: an hour is soon, and costs a few reads."""
MAX_MODELS: Final = 128
"""Models of one device; more than that is not a map."""


_FREEING: Final = frozenset({mapping.Rank.FREE, mapping.Rank.PERMIT})


class Declined(PeerError):
    """The device did not take what was written; what it held before it holds still, or it holds something else."""

    def __init__(self, why: str, *, path: str = "", firmness: Firmness = Firmness.DECLINED) -> None:
        super().__init__(why, path=path)
        self.firmness = firmness
        """Whether that says something of what was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopting:
    """How long a device may take to adopt a curve. Unscaled time."""

    poll_s: float = 0.2
    """Between two looks at the result."""
    most_s: float = 10.0
    """In all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """A model of the device that is spoken here."""

    layout: Layout
    """How its registers are read, with the device's own counts."""
    address: int
    """The register of its ID."""
    length: int
    """Registers the device has of it, ID and L included; an older revision may end early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a model of the device held when it was last read; kept up to date while it is written."""

    layout: Layout
    """How the registers are read."""
    address: int
    """The register of its ID."""
    registers: bytearray
    """From ID on."""

    def block(self) -> Block:
        """Take the registers apart."""
        return self.layout.decode(bytes(self.registers))

    def at(self, start: int, end: int) -> bytes:
        """Give some registers."""
        return bytes(self.registers[2 * start : 2 * end])


class SunSpecDevice:
    """The southbound link to one SunSpec device."""

    def __init__(
        self,
        *,
        network: Network,
        clock: Clock,
        random: Random,
        endpoint: Endpoint,
        der_id: DerId,
        patience: Patience | None = None,
        adopting: Adopting | None = None,
        dead_man: orders.DeadMan | None = None,
    ) -> None:
        self._clock = clock
        self._der_id = der_id
        self._adopting = adopting or Adopting()
        self._dead_man = dead_man
        self._timers: frozenset[tuple[int, str]] = frozenset()
        self._link = ModbusLink(network, endpoint, deadline=clock.deadline, fraction=random.fraction, patience=patience)
        self._writer = asyncio.Lock()
        self._running: Setpoints | None = None
        """What is being written."""
        self._gives_way = asyncio.Event()
        self._adoptions: dict[int, orders.AdoptStored] = {}
        """What the device was asked to adopt, by model, where no outcome was seen yet."""
        self._models: dict[int, FoundModel] = {}
        self._facts: DeviceFacts | None = None
        self._looked_at = clock.now()
        self._connection = 0
        """On which connection the facts were read."""

    async def discover(self) -> DeviceFacts:
        """Find the map, walk its models and read what the device is and can do.

        Raises: LinkError, PeerError when there is no SunSpec map.
        """
        async with self._writer:
            self._adoptions.clear()  # it may be another device, or have lost what it was asked
            self._models = await self._walk()
            blocks = {model_id: (await self._held(model_id)).block() for model_id in self._models}
        if 1 not in blocks:
            raise PeerError(f"{self._link.endpoint} has no model 1 (common)")
        return self._know(_facts(blocks, capability_of(blocks)))

    async def refreshed(self) -> DeviceFacts | None:
        """Read ratings and settings again, once an hour and on a new connection, and give the facts where they changed.

        Raises: LinkError, PeerError.
        """
        facts = self._facts
        is_due = self._clock.now() >= self._looked_at + REFRESH_EVERY or self._link.connections != self._connection
        if facts is None or not is_due:
            return None
        if not self._models:
            async with self._writer:
                await self._know_map()
        blocks = {model_id: (await self._held(model_id)).block() for model_id in _DESCRIBING & self._models.keys()}
        if 1 not in blocks:
            raise PeerError(f"{self._link.endpoint} has no model 1 (common)")
        changed = self._know(_facts(blocks, facts.capability))
        if changed == facts:
            return None
        log.info("settings_changed", der_id=self._der_id, settings={k: str(v) for k, v in changed.settings.items()})
        return changed

    def _know(self, facts: DeviceFacts) -> DeviceFacts:
        self._facts, self._looked_at, self._connection = facts, self._clock.now(), self._link.connections
        return facts

    async def apply(
        self,
        target: Setpoints,
        *,
        ramp_time_s: Decimal | None = None,
        behind: Mapping[FunctionName, Behind] | None = None,  # noqa: ARG002 - nothing is derived here
    ) -> ReadBack:
        """Make the device hold exactly `target`, writing only what differs, and read it back.

        SunSpec has no ramp time of one command, so one that is asked for is refused. What the device cannot hold or does not
        take of the target stands in the answer; all else of it holds.
        Raises: LinkError (what holds is unknown, or it gave way), Unsupported (nothing was written), PeerError (the device
        answers nonsense, or is another one).
        """
        if ramp_time_s is not None:
            raise Unsupported(f"SunSpec has no ramp time of one command; {ramp_time_s} s cannot be kept to")
        async with self._writer:
            self._gives_way.clear()
            self._running = target
            try:
                return await self._hold(target)
            finally:
                self._running = None

    def give_way(self, target: Setpoints) -> None:
        """Let an apply that waits for an adoption end, where it holds up what another target writes at once.

        The device goes on adopting; the next apply that wants the same curve waits for its outcome instead of asking again.
        """
        if self._running is not None and orders.is_held_up(target, self._running):
            self._gives_way.set()

    async def _hold(self, target: Setpoints) -> ReadBack:
        await self._know_map()
        concerned = sorted(orders.models_concerned(target) & self._models.keys())
        held = {model_id: await self._held(model_id) for model_id in concerned}
        # What does not fit is left out before anything is written.
        plan = orders.plan(
            target, _blocks(held), self._dead_man, fits=lambda step: step_changes(step, held[step.model_id])
        )
        refused = {name: Refusal(reason=why, firmness=Firmness.NEVER) for name, why in plan.refused.items()}
        writes = 0
        for step in plan.steps:
            if step.functions <= refused.keys():
                continue
            if step.rank in _FREEING and _is_unrestrained(target, refused):
                if step_changes(step, held[step.model_id]):
                    waits = Refusal(reason="it waits while a limit is refused", firmness=Firmness.PASSING)
                    refused |= dict.fromkeys(step.functions - refused.keys(), waits)
                continue
            try:
                writes += await self._carry_out(step, held[step.model_id])
            except Declined as fault:
                log.warning("declined", der_id=self._der_id, functions=sorted(step.functions), reason=str(fault))
                refused |= dict.fromkeys(step.functions, Refusal(reason=str(fault), firmness=fault.firmness))
        if writes:
            for model_id in {step.model_id for step in plan.steps}:
                held[model_id] = await self._held(model_id)
        blocks = _blocks(held)
        for step in orders.plan(target, blocks, self._dead_man).steps:
            if step.functions <= refused.keys():
                continue
            if changes := step_changes(step, held[step.model_id]):
                what = ", ".join(f"{step.model_id}.{path} = {value}" for path, value in step.values.items())
                why = f"{self._link.endpoint} does not hold {what} ({len(changes)} runs of registers differ)"
                refused |= dict.fromkeys(step.functions, Refusal(reason=why, firmness=Firmness.DECLINED))
        kept = Setpoints.of({name: value for name, value in target.items() if name not in refused})
        self._timers = frozenset(
            (row.model_id, timer)
            for row in orders.rows_named(kept)
            if (timer := orders.timer_of(row, blocks[row.model_id])) is not None
        )
        return ReadBack(setpoints=orders.held(kept, blocks), writes=writes, refused=refused)

    async def keep_alive(self) -> None:
        """Give the device a sign of life: restart the reversion timers in use and count its controller heartbeat up.

        Call it once a second where the device has model 715 (SunSpec model 715, ControllerHb), else well within the dead-man time.
        Raises: LinkError, PeerError.
        """
        async with self._writer:
            await self._know_map()
            if self._dead_man is not None:
                for model_id, timer in sorted(self._timers):
                    held = await self._held(model_id)
                    (run,) = held.layout.encode_runs({timer: self._dead_man.after_s}, held.block())
                    await self._write(held, run)
            if mapping.HEARTBEAT_MODEL in self._models:
                held = await self._held(mapping.HEARTBEAT_MODEL)
                count = held.block().code(mapping.HEARTBEAT_PATH)
                if count is not None:
                    # 0xFFFFFFFF is the sentinel of an unsigned number, so the count wraps before it.
                    (run,) = held.layout.encode_runs({mapping.HEARTBEAT_PATH: (count + 1) % 0xFFFFFFFF}, held.block())
                    await self._write(held, run)

    async def measure(self) -> tuple[Sequence[tuple[str, int, int, int]], Sequence[Alarm]]:
        """Read the measurements: (point, phase, value, power of ten) each, and the alarms that are active.

        Raises: LinkError, PeerError.
        """
        if not self._models:
            async with self._writer:
                await self._know_map()
        blocks: dict[int, Block] = {}
        for model_id in sorted({row.model_id for row in mapping.MEASUREMENTS} & self._models.keys()):
            blocks[model_id] = (await self._held(model_id, _measured(self._models[model_id].layout))).block()
        readings: list[tuple[str, int, int, int]] = []
        for row in mapping.MEASUREMENTS:
            block = blocks.get(row.model_id)
            if block is not None and (wire := block.wire(row.path)) is not None:
                value, power_of_ten = wire
                readings.append((row.name, int(POINTS[row.name].phase), row.sign * value + row.plus, power_of_ten))
        return readings, self._alarms(blocks)

    async def close(self) -> None:
        """Let go of the device."""
        await self._link.close()

    def _alarms(self, blocks: Mapping[int, Block]) -> list[Alarm]:
        block = blocks.get(mapping.ALARM_MODEL)
        bits = block.code(mapping.ALARM_PATH) if block is not None else None
        now = self._clock.now()
        return [
            Alarm(der_id=self._der_id, point=row.name, active=True, time=now, details=row.symbol)
            for row in mapping.ALARMS
            if bits and bits >> row.bit & 1
        ]

    async def _walk(self) -> dict[int, FoundModel]:
        address = await self._base() + len(MARKER) // 2
        models: dict[int, FoundModel] = {}
        for _ in range(MAX_MODELS):
            header = await self._header(address)
            if header is None:
                return models
            model_id, length = header
            found = await self._found(model_id, address, length)
            if found is not None:
                models.setdefault(model_id, found)
            address += HEADER_REGISTERS + length
            if address >= 0xFFFF:
                break
        raise PeerError(f"{self._link.endpoint}: the list of models has no end (at register {address})")

    async def _base(self) -> int:
        lost: LinkError | None = None
        for base in BASES:
            try:
                if await self._link.read(base, len(MARKER) // 2) == MARKER:
                    return base
            except ModbusFault:
                # Registers outside the map are refused by most devices; that is an answer, not a failure.
                continue
            except LinkError as error:
                # Some devices do not answer at all outside their map.
                lost = error
        if lost is not None:
            raise lost
        raise PeerError(f"{self._link.endpoint} has no SunSpec map at {', '.join(map(str, BASES))}")

    async def _header(self, address: int) -> tuple[int, int] | None:
        try:
            data = await self._link.read(address, HEADER_REGISTERS)
        except ModbusFault:
            # Some devices have no L behind the end ID, so two registers cannot be read there.
            data = await self._link.read(address, 1) + b"\0\0"
        model_id, length = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:], "big")
        return None if model_id == END_ID else (model_id, length)

    async def _found(self, model_id: int, address: int, length: int) -> FoundModel | None:
        if model_id not in mapping.MODELS:
            return None
        fixed = min(fixed_length(model_id), HEADER_REGISTERS + length)
        data = await self._link.read(address, fixed)
        try:
            layout = compile_layout(model_id, counts_of(model_id, data, length))
        except PeerError as error:
            # One model with impossible counts must not hide the others.
            log.warning("model_not_usable", der_id=self._der_id, model_id=model_id, reason=str(error))
            return None
        return FoundModel(layout=layout, address=address, length=min(layout.length, HEADER_REGISTERS + length))

    async def _know_map(self) -> None:
        if not self._models:
            self._models = await self._walk()

    async def _held(self, model_id: int, end: int | None = None) -> Held:
        model = self._models[model_id]
        registers = bytearray(model.layout.blank)
        for first, last in model.layout.spans(0, min(end or model.length, model.length), MAX_READ):
            registers[2 * first : 2 * last] = await self._link.read(model.address + first, last - first)
        if int.from_bytes(registers[:2], "big") != model_id:
            # The device was replaced or changed its map: it is walked again before anything else is believed.
            self._models = {}
            raise PeerError(f"{self._link.endpoint}: model {model_id} is no longer at register {model.address}")
        return Held(layout=model.layout, address=model.address, registers=registers)

    async def _carry_out(self, step: orders.Step, held: Held) -> int:
        match step:
            case orders.WritePoints():
                writes = 0
                for run in step_changes(step, held):
                    writes += await self._write(held, run)
                return writes
            case orders.AdoptStored():
                is_due = step.model_id in self._adoptions or step_changes(step, held)
                return await self._adopt(step, held) if is_due else 0
            case _:
                assert_never(step)

    async def _write(self, held: Held, run: Run) -> int:
        """Write a run and read it back; gives the number of writes."""
        writes = 0
        for first, last in held.layout.spans(run.offset, run.offset + run.count, MAX_WRITE):
            data = run.data[2 * (first - run.offset) : 2 * (last - run.offset)]
            await self._told(held.address + first, data)
            back = await self._link.read(held.address + first, last - first)
            held.registers[2 * first : 2 * last] = back
            writes += 1
            if back != data:
                names = ", ".join(place.path for place in held.layout.covering(first, last))
                raise Declined(
                    f"{self._link.endpoint} holds {back.hex()} after {data.hex()} was written to {names}",
                    path=str(held.layout.model_id),
                )
        return writes

    async def _told(self, address: int, data: bytes) -> None:
        try:
            await self._link.write(address, data)
        except ModbusFault as fault:
            failed = fault.code == ExceptionCode.SERVER_DEVICE_FAILURE
            raise Declined(str(fault), firmness=Firmness.PASSING if failed else Firmness.DECLINED) from fault

    async def _adopt(self, step: orders.AdoptStored, held: Held) -> int:
        """Write a stored curve that is not active, have it adopted, and see it active.

        Until the device adopts it as a whole the old curve stays; a failure on the way changes nothing that is in force.
        """
        adoption = ADOPTIONS[step.model_id]
        asked = self._adoptions.pop(step.model_id, None)
        if asked is not None:
            await self._see_earlier(asked, held, adoption)
            if not step_changes(step, held):
                return 0
        index = orders.staging_index(held.block(), adoption)
        assert index is not None  # orders.plan has refused a model without one
        writes = 0
        for run in staging_runs(step, held, adoption, index):
            writes += await self._write(held, run)
        # The first stored curve has number 1.
        (request,) = held.layout.encode_runs({adoption.request: index + 1}, held.block())
        await self._told(held.address + request.offset, request.data)
        await self._see_adopted(step, held, adoption)
        return writes + 1

    async def _see_earlier(self, asked: orders.AdoptStored, held: Held, adoption: Adoption) -> None:
        """Wait for what the device was asked to adopt before an apply gave way: until then nothing stored may be written."""
        try:
            await self._see_adopted(asked, held, adoption)
        except PeerError as error:
            # The old values hold. If they are wanted still, the device is asked once more and says so again.
            log.info("earlier_adoption_failed", der_id=self._der_id, model_id=asked.model_id, reason=str(error))

    async def _see_adopted(self, step: orders.AdoptStored, held: Held, adoption: Adoption) -> None:
        before = held.block().code(adoption.result)
        looks = max(1, round(self._adopting.most_s / self._adopting.poll_s))
        for look in range(looks):
            fresh = await self._held(step.model_id)
            held.registers[:] = fresh.registers
            result = held.block().code(adoption.result)
            # The outcome of an earlier adoption may stand there for a moment: a failure is believed at once only when it is new.
            if result == AdoptionResult.FAILED and (before != AdoptionResult.FAILED or look > 0):
                raise Declined(
                    f"{self._link.endpoint} did not adopt the values it was given for {held.layout.name}; the old ones hold",
                    path=f"{step.model_id}.{adoption.result}",
                )
            if result == AdoptionResult.COMPLETED and not step_changes(step, held):
                return
            if await self._has_to_give_way():
                self._adoptions[step.model_id] = step
                raise LinkError(
                    f"{self._link.endpoint} goes on adopting the new {held.layout.name}; a newer target does not wait for it"
                )
        raise Declined(
            f"{self._link.endpoint} did not show the new {held.layout.name} within {self._adopting.most_s} s "
            f"({adoption.result} = {held.block().code(adoption.result)}); it may still adopt it"
        )

    async def _has_to_give_way(self) -> bool:
        """Wait for the time between two looks, or until something more urgent is to be written."""
        try:
            async with asyncio.timeout(self._adopting.poll_s):
                await self._gives_way.wait()
        except TimeoutError:
            return False
        return True


def step_changes(step: orders.Step, held: Held) -> tuple[Run, ...]:
    """List the runs of registers that differ from what a step wants; for a stored curve, in the active one.

    Raises: Unsupported when a value does not fit its point.
    """
    match step:
        case orders.WritePoints(values=values, rounding=rounding):
            wanted = held.layout.encode_runs(values, held.block(), rounding=rounding or ROUND_HALF_EVEN)
        case orders.AdoptStored(model_id=model_id, values=values):
            prefix = f"{ADOPTIONS[model_id].group}[0]."
            wanted = held.layout.encode_runs({prefix + path: value for path, value in values.items()}, held.block())
        case _:
            assert_never(step)
    return tuple(run for run in wanted if held.at(run.offset, run.offset + run.count) != run.data)


def staging_runs(step: orders.AdoptStored, held: Held, adoption: Adoption, index: int) -> tuple[Run, ...]:
    """List what must be written to a stored curve: the wanted values, and the active one's where nothing is wanted."""
    layout = held.layout
    active, staging = f"{adoption.group}[0].", f"{adoption.group}[{index}]."
    block = held.block()
    values: dict[str, Value] = {}
    for place in layout.places:
        if not place.path.startswith(active) or not place.point.is_writable:
            continue
        path = place.path.removeprefix(active)
        value = step.values.get(path, block.value(place.path))
        if value is not None:
            values[staging + path] = value
    runs = (_differing(run, held) for run in layout.encode_runs(values, block))
    return tuple(run for run in runs if run is not None)


def _differing(run: Run, held: Held) -> Run | None:
    """Cut a run down to the points that differ and those between them: few writes, and none where nothing differs."""
    places = [
        place
        for place in held.layout.covering(run.offset, run.offset + run.count)
        if held.at(place.offset, place.end) != run.data[2 * (place.offset - run.offset) : 2 * (place.end - run.offset)]
    ]
    if not places:
        return None
    start, end = places[0].offset, places[-1].end
    return Run(offset=start, data=run.data[2 * (start - run.offset) : 2 * (end - run.offset)])


def _is_unrestrained(target: Setpoints, refused: Mapping[FunctionName, Refusal]) -> bool:
    """Tell whether something that would keep active power down is refused."""
    return any(name in target and orders.is_restriction(name, target[name]) for name in refused)


def _blocks(held: Mapping[int, Held]) -> dict[int, Block]:
    return {model_id: model.block() for model_id, model in held.items()}


_DESCRIBING: Final = frozenset({1} | {row.model_id for row in (*mapping.NAMEPLATE, *mapping.SETTINGS)})
"""The models that tell what a device is and how it is adjusted."""


def _facts(blocks: Mapping[int, Block], capability: Capability) -> DeviceFacts:
    common = blocks[1]
    return DeviceFacts(
        manufacturer=common.text("Mn") or "",
        model=common.text("Md") or "",
        serial=common.text("SN") or "",
        version=common.text("Vr") or "",
        nameplate=_point_values(mapping.NAMEPLATE, blocks),
        settings=_point_values(mapping.SETTINGS, blocks),
        functions=frozenset(capability.functions),
        capability=capability,
    )


def _point_values(rows: Iterable[mapping.PointRow], blocks: Mapping[int, Block]) -> dict[str, Decimal | int]:
    values: dict[str, Decimal | int] = {}
    for row in rows:
        block = blocks.get(row.model_id)
        value = block.value(row.path) if block is not None and row.path in block.layout.by_path else None
        if isinstance(value, int):
            values[row.name] = row.sign * value + row.plus
        elif isinstance(value, Decimal):
            values[row.name] = row.sign * value
    return values


@functools.lru_cache(maxsize=64)
def _measured(layout: Layout) -> int:
    """Find the end of the registers that hold all measured points of a model and their scale factors.

    For 701 these are 123 from ID on: one read, which also shows that the model is still where it was.
    """
    paths = {row.path for row in mapping.MEASUREMENTS if row.model_id == layout.model_id}
    if layout.model_id == mapping.ALARM_MODEL:
        paths.add(mapping.ALARM_PATH)
    places = [layout.place(path) for path in paths]
    places += [layout.place(place.scale) for place in places if isinstance(place.scale, str)]
    return max(place.end for place in places)
