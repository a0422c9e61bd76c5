"""What can be seen of a running scenario: read from the logs of its nodes and from the plant's journal as they grow."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from tierline.engine.following.obey import OWNER
from tierline.scenario.configuration import PLANT
from tierline.scenario.tail import Tail

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierline.scenario.plan import Plan

_KEPT: Final = 8
"""Responses and events that are remembered for showing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A Response that the utility has received, or that a gateway keeps for its owner."""

    t: float
    lfdi: str
    mrid: str
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """The plant at one instant."""

    t: float
    volts: tuple[float, ...]
    """By node [pu]."""
    watts: tuple[float, ...]
    """By service point."""


@dataclass(slots=True)
class Scene:
    """Everything seen so far."""

    plan: Plan
    started: set[str] = field(default_factory=set)
    """Processes that have said that they are ready."""
    walked: set[str] = field(default_factory=set)
    """LFDIs of gateways that have read the whole tree of every channel once, or have found their device where there is none."""
    relayed: set[str] = field(default_factory=set)
    """Stations that have read once all that their servers show them."""
    _channels: dict[str, set[str]] = field(default_factory=dict)
    _wanted: dict[str, set[str]] = field(default_factory=dict)
    """The channels of each gateway, by LFDI: those heard, those there are."""
    answers: dict[str, set[tuple[str, int]]] = field(default_factory=dict)
    """(LFDI, status) by mRID."""
    last_answers: deque[Answer] = field(default_factory=lambda: deque(maxlen=_KEPT))
    said: deque[tuple[datetime, str]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    """What the scenario did, in words."""
    failed_writes: int = 0
    """Orders that an inverter did not take."""
    power: Power | None = None
    """The newest power flow."""
    _tails: dict[str, Tail] = field(default_factory=dict)
    _journal: Tail | None = None

    def __post_init__(self) -> None:
        for gateway in self.plan.gateways:
            self._wanted[gateway.lfdi.upper()] = {uplink.server.party for uplink in gateway.uplinks}

    def look(self) -> None:
        """Read what is new."""
        for process in (*self.plan.stations, PLANT, *self.plan.gateway_processes):
            tail = self._tails.setdefault(process, Tail(self.plan.log(process)))
            for line in tail.read():
                self._take(process, line)
        if self._journal is None:
            self._journal = Tail(self.plan.journal)
        flows = [line for line in self._journal.read() if line.get("kind") == "flow"]
        if flows:
            newest = flows[-1]
            self.power = Power(t=newest["t"], volts=tuple(newest["v"]), watts=tuple(newest["p"]))

    def say(self, when: datetime, what: str) -> None:
        """Remember something the scenario did."""
        self.said.append((when, what))

    def answered(self, mrid: str, status: int) -> int:
        """Count the DERs that have answered something to an event."""
        return sum(1 for _, given in self.answers.get(mrid.upper(), ()) if given == status)

    def counts(self, mrid: str) -> Mapping[int, int]:
        """Count the DERs by what they have answered to an event."""
        return Counter(status for _, status in self.answers.get(mrid.upper(), ()))

    def _take(self, process: str, line: Mapping[str, Any]) -> None:  # Any: whatever a log line holds
        match line.get("event"):
            case "field_ready" | "operator_api_listens":
                self.started.add(process)
            case "walked" if "members" in line:
                self.relayed.add(process)
            case "walked":
                self._hear(str(line.get("lfdi", "")).upper(), str(line.get("channel", "")))
            case "write_failed":
                self.failed_writes += 1
            case "device_found" if not self._wanted.get(str(line.get("lfdi", "")).upper(), {""}):
                self.walked.add(str(line["lfdi"]).upper())  # it has nobody to walk to
            case "response_received" | "response_due" if process == self.plan.head_name or self._is_owners(line):
                answer = Answer(
                    t=float(line["t"]),
                    lfdi=str(line["lfdi"]).upper(),
                    mrid=str(line["mrid"]).upper(),
                    status=int(line["status"]),
                )
                self.answers.setdefault(answer.mrid, set()).add((answer.lfdi, answer.status))
                self.last_answers.append(answer)

    def _is_owners(self, line: Mapping[str, Any]) -> bool:  # Any: whatever a log line holds
        """Tell whether a gateway has answered to its owner, which is all that is seen where nobody stands above it."""
        return self.plan.head is None and line.get("channel") == OWNER

    def _hear(self, lfdi: str, channel: str) -> None:
        heard = self._channels.setdefault(lfdi, set())
        heard.add(channel)
        if heard >= self._wanted.get(lfdi, set()):
            self.walked.add(lfdi)


def clock_text(t: float) -> str:
    """Write a civil time of day."""
    return datetime.fromtimestamp(t, UTC).strftime("%H:%M:%S")
