"""The registers of a whole device: the "SunS" marker, its models one after the other, and the end model."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tierline.model.errors import ConfigError
from tierline.protocols.sunspec.codec import Block, Layout, Place, Value, encode_point
from tierline.protocols.sunspec.modbus import ExceptionCode, ModbusFault

MARKER: Final = b"SunS"
"""Two registers at the base address of every SunSpec map."""
END: Final = b"\xff\xff\x00\x00"
"""The end model: ID 0xFFFF, L 0."""
BASE: Final = 40000
"""The usual base address; 0 and 50000 are the others (SunSpec device information model specification)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedModel:
    """A model and where it lies."""

    layout: Layout
    """How its registers are read."""
    address: int
    """The register of its ID."""

    @property
    def end(self) -> int:
        """The register behind its last one."""
        return self.address + self.layout.length


class RegisterImage:
    """All registers of a device in one array."""

    def __init__(self, models: Sequence[tuple[Layout, Mapping[str, Value]]], *, base: int = BASE) -> None:
        self.base = base
        """The register of the marker."""
        self.models: dict[int, MappedModel] = {}
        """By model number, in the order of the registers."""
        self.registers = bytearray(MARKER)
        """Big-endian, from the base on."""
        for layout, values in models:
            if layout.model_id in self.models:
                raise ConfigError(f"model {layout.model_id} stands twice in the device's list of models")
            self.models[layout.model_id] = MappedModel(layout=layout, address=base + len(self.registers) // 2)
            self.registers += layout.encode(values)
        self.registers += END
        if self.end > 0x10000:
            raise ConfigError(
                f"the models end at register {self.end}, behind 65535: leave some out or lower base {base}"
            )

    @property
    def end(self) -> int:
        """The register behind the end model."""
        return self.base + len(self.registers) // 2

    def read(self, address: int, count: int) -> bytes:
        """Give registers.

        Raises: ModbusFault 2 outside the map.
        """
        start = 2 * (address - self.base)
        stop = start + 2 * count
        if start < 0 or stop > len(self.registers):
            raise ModbusFault(
                ExceptionCode.ILLEGAL_DATA_ADDRESS,
                f"registers {address}..{address + count - 1} are outside {self.base}..{self.end - 1}",
            )
        return bytes(self.registers[start:stop])

    def block(self, model_id: int) -> Block:
        """Read one model as it stands."""
        model = self.models[model_id]
        return model.layout.decode(self.read(model.address, model.layout.length))

    def model_at(self, address: int) -> MappedModel | None:
        """Find the model whose registers hold an address."""
        return next((model for model in self.models.values() if model.address <= address < model.end), None)

    def store(self, address: int, data: bytes) -> None:
        """Set registers that lie in the map."""
        start = 2 * (address - self.base)
        self.registers[start : start + len(data)] = data

    def set_values(self, model_id: int, values: Mapping[str, Value]) -> None:
        """Set points of a model.

        Raises: Unsupported when a value does not fit its point; KeyError for an unknown path.
        """
        model = self.models[model_id]
        for run in model.layout.encode_runs(values, self.block(model_id)):
            self.store(model.address + run.offset, run.data)

    def gauge(self, model_id: int, path: str) -> "Gauge":
        """Prepare one numeric point for being set often.

        Raises: KeyError for an unknown path.
        """
        model = self.models[model_id]
        place = model.layout.place(path)
        exponent = self.block(model_id).resolution(path).adjusted()
        return Gauge(image=self, address=model.address + place.offset, place=place, exponent=exponent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One numeric point of an image, prepared: its scale factor is fixed once."""

    image: RegisterImage
    """Where it is set."""
    address: int
    """Its first register."""
    place: Place
    """Its definition."""
    exponent: int
    """Its scale factor."""

    def set(self, value: float | Decimal | None) -> None:
        """Set the point; a value outside its range is held at the end of the range, None and NaN are not implemented.

        Units: those of the point.
        """
        self.image.store(self.address, self._bytes(value))

    def _bytes(self, value: float | Decimal | None) -> bytes:
        if value is None or value != value:  # noqa: PLR0124 - NaN is the one value that differs from itself
            return encode_point(self.place, None, self.exponent)
        size, signed = 16 * self.place.size, self.place.point.type.startswith("int")
        # The ends of the range leave the sentinel out: -2^(n-1) signed, 2^n - 1 unsigned.
        high = (1 << size - 1) - 1 if signed else (1 << size) - 2
        low = -high if signed else 0
        raw = min(high, max(low, round(float(value) / 10.0**self.exponent)))
        return struct.pack(f">{_CODE[self.place.size, signed]}", raw)


_CODE: Final = {(1, True): "h", (1, False): "H", (2, True): "i", (2, False): "I", (4, True): "q", (4, False): "Q"}
