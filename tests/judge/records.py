"""What an evidence folder holds, as values, and the reasons of a check."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


class Why:
    """The reasons of a check, in words; devices with the same reason share a line."""

    def __init__(self) -> None:
        self._reasons: dict[str, list[str]] = {}

    def add(self, reason: str, who: str = "") -> None:
        """Add a reason, and whom it concerns."""
        named = self._reasons.setdefault(reason, [])
        if who:
            named.append(who)

    def lines(self) -> list[str]:
        """List the reasons."""
        return [f"{reason}: {', '.join(who)}" if who else reason for reason, who in self._reasons.items()]


@dataclass(frozen=True)
class Device:
    """One inverter of the manifest."""

    service_point: str
    lfdi: str
    port: int
    unit: int
    process: str
    rating_w: float
    way: str = "direct"
    aggregator: str = ""


@dataclass
class Station:
    """One node that serves, and what it heard and kept."""

    name: str
    level: int
    party: str
    lfdi: str
    element: str = ""
    above: tuple[str, ...] = ()
    head: bool = False
    responses: list[Response] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    audit: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Flow:
    """One solved power flow."""

    t: float
    v: list[float | None]
    p: list[float]
    head_p: list[float]


@dataclass(frozen=True)
class Request:
    """One Modbus request that a device answered without an exception."""

    t: float
    pdu: bytes


@dataclass(frozen=True)
class Response:
    """One Response as received on the wire."""

    t: float
    lfdi: str
    peer: str
    mrid: str
    status: int
    created_t: float


@dataclass(frozen=True)
class Reading:
    """One stored reading."""

    received_t: float
    lfdi: str
    point: str
    t: float
    value: float = 0.0


@dataclass(frozen=True, eq=False)
class Control:
    """One control that the scenario issued."""

    check: str
    mrid: str
    group: str
    t: float
    start_t: float
    end_t: float
    setpoints: dict[str, Any]
    node: str = ""
    """The station that issued it; empty for the head of a spine, and for what owners said."""
    said: dict[str, str] = field(default_factory=dict)
    """The mRIDs under which owners said it to their devices, by LFDI; empty for what a station issued."""

    @property
    def limit_pct(self) -> float | None:
        """The active power limit in % of the rating, if there is one."""
        value = self.setpoints.get("max_lim_w_pct")
        return None if value is None else float(value)


@dataclass(frozen=True)
class Outage:
    """Something was away from `t` until `until` (infinite when it never came back)."""

    t: float
    until: float
    whom: frozenset[str]
    """LFDIs of a cut, the process of a kill."""
    signal: int | None = None


@dataclass(frozen=True)
class Wiring:
    """The switches from `t` on; the change to them began at `began`."""

    began: float
    t: float
    open: tuple[Any, ...]


@dataclass
class Operation:
    """Switches operated in the field from `t` on, and confirmed by `until`."""

    t: float
    check: str
    close: list[Any]
    open: list[Any]
    until: float = math.inf
    moved: int = 0


@dataclass(frozen=True)
class Explanation:
    """What one gateway said of its decision from `t` on."""

    t: float
    entries: list[dict[str, Any]]


@dataclass(frozen=True)
class Stay:
    """A device was in the group of a control from `since` to `until`; the ends of a control are ends like others."""

    control: Control
    since: float
    until: float
    arrived: bool = False
    """A switch brought the device; it did not belong when the event began."""
    left: bool = False
    """A switch took the device away before the event was over."""
