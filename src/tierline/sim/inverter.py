"""A device in process: it keeps what it is told whatever happens to its gateway, and fails some requests in four ways."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tierline.model.errors import LinkError, PeerError
from tierline.ports import DeviceFacts, ReadBack
from tierline.sim.evidence import FAILURE, Window, second

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tierline.model.control import FunctionName, Setpoints
    from tierline.model.telemetry import Alarm
    from tierline.ports import Behind
    from tierline.sim.evidence import Inverter
    from tierline.sim.nodes import Node

ANSWER_S = 0.04
SILENCE_S = 2.0
"""How long nobody answers before the link gives up."""

RATING_W = Decimal(10_000)


class InverterLink:
    """The way from one life of a gateway to its device, as the port `Southbound`."""

    def __init__(self, inverter: Inverter, node: Node) -> None:
        self._inverter = inverter
        self._node = node

    async def discover(self) -> DeviceFacts:
        """Tell what the device is.

        Raises: LinkError when it is made to fail.
        """
        await self._work()
        return DeviceFacts(
            manufacturer="tierline",
            model="simulated",
            serial=self._inverter.name,
            version="1",
            nameplate={"rtg_max_w": RATING_W, "rtg_max_va": RATING_W},
            settings={"set_max_w": RATING_W},
            functions=self._inverter.functions,
            carries_ramp_time=self._inverter.carries_ramp_time,
        )

    async def apply(
        self,
        target: Setpoints,
        *,
        ramp_time_s: Decimal | None = None,
        behind: Mapping[FunctionName, Behind] | None = None,  # noqa: ARG002 - nothing is derived here
    ) -> ReadBack:
        """Hold the target.

        Raises: LinkError or PeerError when it is made to fail: before the write, after it, or by refusing it.
        """
        del ramp_time_s
        inverter, clock = self._inverter, self._node.clock
        began_s = clock.deadline()
        fate = self._fate()
        if fate is not None and inverter.trouble_since_s is None:
            inverter.trouble_since_s = began_s
        await clock.sleep(ANSWER_S if fate != "silent" else SILENCE_S)
        if fate == "silent":
            raise LinkError(f"{inverter.name} does not answer")
        if fate == "refused":
            raise PeerError(f"{inverter.name} refuses")
        self._hold(target)
        if fate == "answer lost":
            await clock.sleep(SILENCE_S)
            raise LinkError(f"{inverter.name} did not confirm")
        await clock.sleep(ANSWER_S)
        if inverter.trouble_since_s is not None:
            inverter.troubles.append(Window(from_s=inverter.trouble_since_s, until_s=clock.deadline()))
            inverter.trouble_since_s = None
        return ReadBack(setpoints=inverter.held, writes=len(target))

    async def measure(self) -> tuple[Sequence[tuple[str, int, int, int]], Sequence[Alarm]]:
        """Measure something that is never the same twice.

        Raises: LinkError when it is made to fail.
        """
        await self._work()
        now_s = second(self._node.clock.now())
        value = self._inverter.random.between(0, int(RATING_W))
        self._inverter.measured["w", now_s // 1] = value
        return [("w", 0, value, 0), ("inverter_status", 0, 1 + value % 3, 0)], ()

    async def close(self) -> None:
        """Let go of nothing."""

    async def _work(self) -> None:
        if self._fate() is not None:
            await self._node.clock.sleep(SILENCE_S)
            raise LinkError(f"{self._inverter.name} does not answer")
        await self._node.clock.sleep(ANSWER_S)

    def _fate(self) -> str | None:
        """Draw how this request fails; None: it does not."""
        drawn = self._inverter.random.fraction()
        if drawn >= FAILURE or self._node.clock.deadline() >= self._inverter.calm_from_s:
            return None
        return ("silent", "refused", "answer lost")[int(drawn / FAILURE * 3)]

    def _hold(self, target: Setpoints) -> None:
        self._inverter.held = target
        self._inverter.writes.append((self._node.clock.deadline(), target))
        self._node.record(f"holds {target}")
