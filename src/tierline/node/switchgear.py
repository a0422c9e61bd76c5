"""The switches of a simulated network as a remote terminal unit shows them over Modbus: one holding register for each.

A switch has its register at the address of its number: 1 is closed, 0 is open. Whoever operates a switch writes its register;
what is read back is where it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tierline.protocols.sunspec.modbus import ExceptionCode, ModbusFault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

UNIT: Final = 1
"""The Modbus unit that holds the switches."""

_REGISTER: Final = 2
"""Bytes of a register."""


class Switchgear:
    """The `DeviceModel` behind the listener of a field's switches."""

    def __init__(
        self, positions: Callable[[], Mapping[int, bool]], operate: Callable[[Mapping[int, bool]], None]
    ) -> None:
        """Show what `positions` gives, whether each switch is closed, and have `operate` move them."""
        self._positions = positions
        self._operate = operate

    def read(self, address: int, count: int) -> bytes:
        """Give where switches stand.

        Raises: ModbusFault where there is no switch.
        """
        positions = self._positions()
        return b"".join(
            int(positions[number]).to_bytes(_REGISTER, "big") for number in _numbers(positions, address, count)
        )

    def write(self, address: int, data: bytes) -> None:
        """Operate switches, all of a request at once.

        Raises: ModbusFault where there is no switch, or for a value that is neither 0 nor 1.
        """
        numbers = _numbers(self._positions(), address, len(data) // _REGISTER)
        values = [int.from_bytes(data[at : at + _REGISTER], "big") for at in range(0, len(data), _REGISTER)]
        if not {0, 1}.issuperset(values):
            raise ModbusFault(ExceptionCode.ILLEGAL_DATA_VALUE, f"a switch is 0, open, or 1, closed; not {values}")
        self._operate({number: value == 1 for number, value in zip(numbers, values, strict=True)})


def _numbers(positions: Mapping[int, bool], address: int, count: int) -> range:
    wanted = range(address, address + count)
    if missing := [number for number in wanted if number not in positions]:
        raise ModbusFault(ExceptionCode.ILLEGAL_DATA_ADDRESS, f"there is no switch {missing[0]}")
    return wanted
