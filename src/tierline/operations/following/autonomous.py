"""A device that keeps the defaults of its jurisdiction wherever nobody commands it.

Two rules. What is commanded comes first: a default that stands in its way is left out, and a device that refuses the
defaults still gets what is commanded. Nothing is reported as held but what was commanded.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import structlog

from tierline.model.control import Reference, Setpoints
from tierline.model.defaults import curve_of
from tierline.model.errors import LinkError, PeerError, Unsupported
from tierline.model.functions import FUNCTIONS, Quantity, Unit
from tierline.model.identity import mrid
from tierline.ports import Adjustable, ReadBack, Yielding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tierline.model.control import FunctionName, Value
    from tierline.model.defaults import Default
    from tierline.model.telemetry import Alarm
    from tierline.ports import Behind, DeviceFacts, Southbound

log = structlog.get_logger(__name__)


class Autonomous:
    """A south link, with defaults for what is not commanded."""

    def __init__(self, south: Southbound, defaults: Mapping[str, Default]) -> None:
        self._south = south
        self._defaults = defaults
        self._values: dict[FunctionName, Value] | None = None
        self._gives_way = False
        """Whether what is being written was overtaken."""

    async def discover(self) -> DeviceFacts:
        """Find out what the device is, and which of the defaults it can keep.

        Raises: LinkError, PeerError.
        """
        return self._take(await self._south.discover())

    async def refreshed(self) -> DeviceFacts | None:
        """Give what the device is where that changed; the defaults follow its settings.

        Raises: LinkError, PeerError.
        """
        changed = await self._south.refreshed() if isinstance(self._south, Adjustable) else None
        return None if changed is None else self._take(changed)

    def _take(self, facts: DeviceFacts) -> DeviceFacts:
        self._values = values_for(facts, self._defaults)
        missing = sorted(self._defaults.keys() - self._values.keys())
        log.info("defaults_kept", functions=sorted(self._values), not_in_device=missing)
        return facts

    async def apply(
        self,
        target: Setpoints,
        *,
        ramp_time_s: Decimal | None = None,
        behind: Mapping[FunctionName, Behind] | None = None,
    ) -> ReadBack:
        """Make the device hold the target, and the defaults beside it; read the target back.

        Raises: LinkError, Unsupported, PeerError, all about the target.
        """
        self._gives_way = False
        if self._values is None:
            await self.discover()
        beside = beside_target(self._values or {}, target)
        if beside:
            whole = Setpoints.of({**beside, **target})
            try:
                back = await self._south.apply(whole, ramp_time_s=ramp_time_s, behind=behind)
            except (Unsupported, PeerError) as error:
                # It may be a default that the device refuses: what is commanded must not fail because of it.
                log.warning("defaults_refused", functions=sorted(beside), reason=str(error))
                if self._gives_way:
                    raise LinkError("a newer target does not wait for this one without its defaults") from error
            else:
                refused = {name: refusal for name, refusal in back.refused.items() if name in beside}
                if not refused:
                    return _of_target(back, target)
                # Nothing that is commanded may wait for a default that the device does not keep.
                log.warning("defaults_refused", functions=sorted(refused), reason=next(iter(refused.values())).reason)
                whole = Setpoints.of({name: value for name, value in whole.items() if name not in refused})
                rest = await self._south.apply(whole, ramp_time_s=ramp_time_s, behind=behind)
                return _of_target(replace(rest, writes=back.writes + rest.writes), target)
        return await self._south.apply(target, ramp_time_s=ramp_time_s, behind=behind)

    def give_way(self, target: Setpoints) -> None:
        """Let an apply that only waits end, where it holds up what a newer target asks for at once."""
        self._gives_way = True
        if isinstance(self._south, Yielding):
            self._south.give_way(Setpoints.of({**beside_target(self._values or {}, target), **target}))

    async def measure(self) -> tuple[Sequence[tuple[str, int, int, int]], Sequence[Alarm]]:
        """Measure the device.

        Raises: LinkError, PeerError.
        """
        return await self._south.measure()

    async def close(self) -> None:
        """Let go of the device."""
        await self._south.close()


def _of_target(back: ReadBack, target: Setpoints) -> ReadBack:
    """Leave the defaults out of what was read back."""
    kept = {name: value for name, value in back.setpoints.items() if name in target}
    refused = {name: refusal for name, refusal in back.refused.items() if name in target}
    return ReadBack(setpoints=Setpoints.of(kept), writes=back.writes, refused=refused)


def beside_target(values: Mapping[FunctionName, Value], target: Setpoints) -> dict[FunctionName, Value]:
    """Choose the defaults that do not stand in the way of what is commanded.

    There is one reactive power function at a time (IEEE 1547-2018 5.3.1); the others act side by side.
    """
    reactive = any(FUNCTIONS[name].quantity is Quantity.REACTIVE_POWER for name in target)
    return {
        name: value
        for name, value in values.items()
        if name not in target and not (reactive and FUNCTIONS[name].quantity is Quantity.REACTIVE_POWER)
    }


def values_for(facts: DeviceFacts, defaults: Mapping[str, Default]) -> dict[FunctionName, Value]:
    """Put defaults into the terms of one device: those it keeps, percentages of apparent power brought to setMaxVar."""
    found: dict[FunctionName, Value] = {}
    for number, (name, default) in enumerate(sorted(defaults.items())):
        if name not in facts.functions:
            continue
        if not isinstance(default.value, tuple):
            found[name] = default.value
            continue
        reference, scale = _reference(name, facts)
        # The curve has no name of its own in any register: one that is the same at every start will do.
        found[name] = curve_of(default, mrid(number, 0), y_reference=reference, y_scale=scale)
    return {name: value for name, value in found.items() if not facts.capability.why_not(name, value)}


def _reference(function: FunctionName, facts: DeviceFacts) -> tuple[Reference, Decimal]:
    row = FUNCTIONS[function]
    if row.unit is not Unit.PCT_REFERENCE:
        return Reference.NONE, Decimal(1)
    if row.quantity is not Quantity.REACTIVE_POWER:
        return Reference.SET_MAX_W, Decimal(1)
    apparent, reactive = facts.settings.get("set_max_va"), facts.settings.get("set_max_var")
    # The rows are in percent of apparent power, for which IEEE 2030.5 has no reference.
    return Reference.SET_MAX_VAR, Decimal(apparent) / Decimal(reactive) if apparent and reactive else Decimal(1)
