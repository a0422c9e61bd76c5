"""The steps of a scenario, carried out on what runs: controls, cut uplinks, killed processes, switches."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from tierline.client import ControlRequest
from tierline.model.errors import LinkError
from tierline.scenario.evidence import reason_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tierline.client import AsyncClient
    from tierline.ports import Clock
    from tierline.scenario.evidence import Steps
    from tierline.scenario.owners import Owners
    from tierline.scenario.plan import Plan
    from tierline.scenario.processes import Processes
    from tierline.scenario.relay import Relay
    from tierline.scenario.scene import Scene
    from tierline.scenario.script import ControlStep, CutStep, KillStep, LimitStep, Script, SwitchStep
    from tierline.scenario.stations import Gateway
    from tierline.scenario.switching import Switchgear

log = structlog.get_logger(__name__)

_S = TypeVar("_S")

COMPLETED: Final = 3
"""The Response that closes an event."""
_TRIES: Final = 20
_AGAIN_S: Final = 15.0
"""Civil seconds between two attempts to reach an operator API, and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A control that the scenario has issued."""

    mrids: frozenset[str]
    """One, or one for each gateway whose owner said it."""
    group: str
    text: str
    """Its setpoints in words."""
    limit_pct: float | None
    start: datetime
    end: datetime
    members: frozenset[str]
    """LFDIs of those who got it."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """Everything that steps act on."""

    plan: Plan
    script: Script
    clock: Clock
    clients: Mapping[str, AsyncClient]
    """The operator API of each station."""
    switchgear: Switchgear
    owners: Owners
    processes: Processes
    relay: Relay
    scene: Scene
    steps: Steps
    members: Mapping[str, frozenset[str]]
    """LFDIs of the members of each group, by name and by element."""
    issued: list[Issued] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    """Processes that are killed and not started again yet."""

    async def play(self, ready: datetime) -> None:
        """Carry out every step at its time, then wait until the last event is over and answered."""
        for at_min, action in sorted(self._actions(), key=lambda item: item[0]):
            await self.clock.sleep_until(ready + timedelta(minutes=at_min))
            await action()
        await self.clock.sleep_until(ready + timedelta(minutes=self.script.settled_min))
        latest = ready + timedelta(minutes=self.script.scenario.ends_at_min)
        while self.clock.now() < latest and not self.is_answered:
            await self.clock.sleep(10)

    @property
    def is_answered(self) -> bool:
        """Whether every member has closed every event."""
        return all(
            sum(self.scene.answered(mrid, COMPLETED) for mrid in event.mrids) >= len(event.members)
            for event in self.issued
        )

    def chosen(self, step: CutStep) -> list[Gateway]:
        """Find the gateways of a cut; fewer than asked for where a small fleet has no more."""
        members = self._members(step.group)
        found = [gateway for gateway in self.plan.gateways if gateway.lfdi in members]
        return [gateway for gateway in found if gateway.process != step.sparing][: step.count]

    def _actions(self) -> list[tuple[float, Callable[[], Awaitable[None]]]]:
        actions = [(control.at_min, _bound(self._issue, control)) for control in self.script.control]
        actions += [(limit.at_min, _bound(self._limit, limit)) for limit in self.script.limit]
        for cut in self.script.cut:
            actions.append((cut.at_min, _bound(self._cut, cut)))
            actions.append((cut.until_min, _bound(self._restore, cut)))
        actions += [(switch.at_min, _bound(self._switch, switch)) for switch in self.script.switch]
        for kill in self.script.kill:
            actions.append((kill.at_min, _bound(self._kill, kill)))
            actions.append((kill.at_min + kill.down_s / 60, _bound(self._restart, kill)))
        return actions

    def _members(self, group: str) -> frozenset[str]:
        return self.members[group]

    async def _issue(self, step: ControlStep) -> None:
        node = step.node or self.plan.head_name
        members = self._members(step.group if node == self.plan.head_name else f"{node}/{step.group}")
        if not members:
            self._say(f"{step.group} has no DER: nothing is sent to it")
            return
        request = ControlRequest(
            group=step.group,
            setpoints=step.setpoints,
            start_in_s=step.starts_in_min * 60,
            duration_s=round(step.lasts_min * 60),
            reason=reason_of(node),
        )
        control = (await self._asked(lambda: self.clients[node].create_control(request)))["control"]
        start = datetime.fromisoformat(control["start"])
        event = Issued(
            mrids=frozenset([control["mrid"]]),
            group=step.group,
            text=_in_words(step.setpoints),
            limit_pct=step.setpoints.get("max_lim_w_pct"),
            start=start,
            end=start + timedelta(seconds=control["duration_s"]),
            members=members,
        )
        self.issued.append(event)
        self.steps.note(
            "control",
            datetime.fromisoformat(control["created_at"]),
            check=step.check,
            node=node,
            mrid=control["mrid"],
            group=step.group,
            start_t=start.timestamp(),
            duration_s=control["duration_s"],
            setpoints=step.setpoints,
        )
        self._say(f"{event.text} for {step.group} ({len(members)} DERs), {start:%H:%M:%S} to {event.end:%H:%M:%S}")

    async def _limit(self, step: LimitStep) -> None:
        """Let the owners of a part of the grid speak, all at once."""
        members = [gateway for gateway in self.plan.gateways if gateway.lfdi in self._members(step.element)]
        if not members:
            self._say(f"{step.element} has no DER: nothing is said")
            return
        start = (self.clock.now() + timedelta(minutes=step.starts_in_min)).replace(microsecond=0)
        duration_s = round(step.lasts_min * 60)

        async def told(gateway: Gateway) -> str:
            return await self._asked(lambda: self.owners.limit(gateway, step.setpoints, start, duration_s))

        async with asyncio.TaskGroup() as group:
            tasks = {gateway.lfdi: group.create_task(told(gateway)) for gateway in members}
        said = {str(lfdi): task.result() for lfdi, task in tasks.items()}
        event = Issued(
            mrids=frozenset(said.values()),
            group=step.element,
            text=_in_words(step.setpoints),
            limit_pct=step.setpoints.get("max_lim_w_pct"),
            start=start,
            end=start + timedelta(seconds=duration_s),
            members=frozenset(said),
        )
        self.issued.append(event)
        self._note(
            "limit",
            check=step.check,
            group=step.element,
            start_t=start.timestamp(),
            duration_s=duration_s,
            setpoints=step.setpoints,
            said=said,
        )
        self._say(
            f"owners of {len(said)} DERs of {event.group}: {event.text}, {start:%H:%M:%S} to {event.end:%H:%M:%S}"
        )

    async def _cut(self, step: CutStep) -> None:
        if step.node:
            self.relay.cut([step.node])
            self._note("cut", check=step.check, node=step.node)
            self._say(f"{step.node} is cut off from those above it")
            return
        chosen = self.chosen(step)
        self.relay.cut(gateway.name for gateway in chosen)
        self._note("cut", check=step.check, lfdis=[gateway.lfdi for gateway in chosen])
        self._say(f"the uplinks of {len(chosen)} gateways of {step.group} are cut")

    async def _restore(self, step: CutStep) -> None:
        if step.node:
            self._note("restore", check=step.check, node=step.node)
            self.relay.restore([step.node])
            self._say(f"{step.node} reaches those above it again")
            return
        chosen = self.chosen(step)
        self._note("restore", check=step.check, lfdis=[gateway.lfdi for gateway in chosen])
        self.relay.restore(gateway.name for gateway in chosen)
        self._say(f"the uplinks of {len(chosen)} gateways of {step.group} work again")

    async def _kill(self, step: KillStep) -> None:
        self._note("kill", check=step.check, process=step.process, signal=9)
        self.down.add(step.process)
        self._say(f"{step.process} is killed (signal 9)")
        await self.processes.kill(step.process)

    async def _restart(self, step: KillStep) -> None:
        self._note("restart", check=step.check, process=step.process)
        await self.processes.start(step.process, self.plan.files[step.process])
        self.down.discard(step.process)
        self._say(f"{step.process} is started again")

    async def _switch(self, step: SwitchStep) -> None:
        """Operate switches in the field; what is read back is confirmed to the utility."""
        positions = dict.fromkeys(step.close, True) | dict.fromkeys(step.open, False)
        self._note("switch", check=step.check, close=step.close, open=step.open)
        stand = {number: await self.switchgear.operate(number, closed=closed) for number, closed in positions.items()}
        moved = (await self._asked(lambda: self.clients[self.plan.head_name].confirm_switching(stand)))["moves"]
        self._note("switched", check=step.check, moved=len(moved))
        words = [f"{number} {'closed' if closed else 'open'}" for number, closed in stand.items()]
        self._say(f"switches {', '.join(words)}; {len(moved)} DERs change their groups")

    async def _asked(self, ask: Callable[[], Awaitable[_S]]) -> _S:
        """Ask an operator API, again while it is being started.

        Raises: LinkError when it stays away.
        """
        for _ in range(_TRIES):
            try:
                return await ask()
            except LinkError:
                await self.clock.sleep(_AGAIN_S)
        return await ask()

    def _note(self, kind: str, **rest: object) -> None:
        self.steps.note(kind, self.clock.now(), **rest)

    def _say(self, what: str) -> None:
        self.scene.say(self.clock.now(), what)
        log.info("step", what=what)


def _bound(action: Callable[[_S], Awaitable[None]], step: _S) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        await action(step)

    return run


def _in_words(setpoints: Mapping[str, object]) -> str:
    limit = setpoints.get("max_lim_w_pct")
    return f"at most {limit} %" if limit is not None else ", ".join(name.replace("_", "-") for name in setpoints)
