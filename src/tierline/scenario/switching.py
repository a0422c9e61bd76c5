"""The switches of the plant, operated as a control room does: write, then read where they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierline.env import RealClock
from tierline.node.switchgear import UNIT
from tierline.protocols.sunspec.link import Endpoint, ModbusLink

if TYPE_CHECKING:
    from tierline.ports import Network


class Switchgear:
    """The remote terminal unit of the plant."""

    def __init__(self, network: Network, host: str, port: int) -> None:
        self._link = ModbusLink(
            network,
            Endpoint(host=host, port=port, unit=UNIT),
            deadline=RealClock.of_this_machine().deadline,
            fraction=lambda: 0.5,
        )

    async def operate(self, number: int, *, closed: bool) -> bool:
        """Operate a switch; gives whether it is closed then.

        Raises: LinkError when the plant does not answer; PeerError when it has no such switch.
        """
        await self._link.write(number, int(closed).to_bytes(2, "big"))
        return int.from_bytes(await self._link.read(number, 1), "big") == 1

    async def close(self) -> None:
        """Let go."""
        await self._link.close()
