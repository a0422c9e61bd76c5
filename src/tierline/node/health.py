"""What can be said of a running node from outside: alive, ready, and its numbers for Prometheus.

The numbers are read when they are asked for; nothing is counted twice, nothing is kept up to date.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from tierline.engine.serving_status import latest_end, served_status
from tierline.model.control import EventStatus
from tierline.operations.serving.explain import seen_at
from tierline.operations.serving.registry import is_removed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prometheus_client.metrics_core import Metric

    from tierline.model.identity import DerId
    from tierline.model.records import ControlRecord
    from tierline.node.relay_clocks import RelayClocks
    from tierline.operations.serving.state import Serving


@dataclass(slots=True, kw_only=True)
class Health:
    """What a node says of itself."""

    name: str
    level: int
    serving: Serving
    speed: float = 1.0
    """How many civil seconds pass in a second of the wall."""
    poll_s: int = 600
    """How often a DER is expected to call. Units: civil seconds."""
    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Requests answered by method and status, as the IEEE 2030.5 server counts them."""
    outbox: Callable[[], int] | None = None
    """How many Responses wait to be posted north; None for a node that follows nobody."""
    unwalked: Callable[[], Sequence[str]] | None = None
    """The channels it relays from which nothing was read since the start; None for a node that relays nothing."""
    clocks: RelayClocks | None = None
    """How its clock agrees with those of the servers it relays; None for a node that relays nothing."""
    refused: Callable[[], Mapping[str, str]] | None = None
    """What its device refuses, by function, and why; None for a node that follows nobody."""

    @property
    def unready(self) -> dict[str, str]:
        """Say what is not ready and why, by its name; empty when the node does its work."""
        found = {"store": self.serving.trouble} if self.serving.trouble else {}
        for channel in () if self.unwalked is None else self.unwalked():
            found[f"relay {channel}"] = "its server was not read since the start; what is shown is as of before"
        return found

    @property
    def is_ready(self) -> bool:
        """Whether the node does its work."""
        return not self.unready

    @property
    def unhealthy(self) -> dict[str, str]:
        """Say what is wrong though the node does its work, by its name; empty when all is well."""
        differing = self.differing_clocks
        far_off = () if self.clocks is None else self.clocks.far_off()
        found = {
            f"clock of {channel}": f"{_difference(differing[channel])}; set this node's clock" for channel in far_off
        }
        refused = {} if self.refused is None else self.refused()
        return found | {f"device: {name}": f"it refuses what it is told: {why}" for name, why in refused.items()}

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is known to be wrong."""
        return not self.unready and not self.unhealthy

    @property
    def differing_clocks(self) -> dict[str, float]:
        """Give the relayed channels whose server's clock differs. Units: s, the server's minus ours."""
        return {} if self.clocks is None else {str(name): ahead for name, ahead in self.clocks.differing().items()}

    def ders(self) -> list[DerId]:
        """Give the DERs that are registered; not those who only stand for others, nor who was taken out."""
        serving = self.serving
        return [
            der
            for der, device in serving.devices.items()
            if device.aggregates is None and not is_removed(serving, device)
        ]

    def seen(self) -> int:
        """Count the DERs that called within the last two polls, themselves or by those who stand for them."""
        since = self.serving.clock.now() - timedelta(seconds=2 * self.poll_s)
        times = (seen_at(self.serving, der) for der in self.ders())
        return sum(at is not None and at >= since for at in times)

    def active(self) -> list[ControlRecord]:
        """Give the controls that are active now."""
        now = self.serving.clock.now()
        return [
            record
            for served in self.serving.programs.values()
            for record in served.controls.values()
            if latest_end(record.control) > now
            and served_status(record.control, [other.control for other in served.controls.values()], now)
            is EventStatus.ACTIVE
        ]


def _difference(ahead_s: float) -> str:
    return f"its server is {abs(ahead_s):.1f} s {'ahead' if ahead_s > 0 else 'behind'}"


def metrics_of(health: Health) -> bytes:
    """Write the numbers of a node in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Numbers(health))
    return generate_latest(registry)


class _Numbers(Collector):
    """Reads the numbers of one node."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterable[Metric]:
        health, serving = self._health, self._health.serving
        yield _gauge("tierline_ready", "Whether the node does its work.", float(health.is_ready))
        yield _gauge("tierline_healthy", "Whether nothing is known to be wrong.", float(health.is_healthy))
        if health.clocks is not None:
            yield _clocks(health.differing_clocks)
        yield _gauge("tierline_devices", "DERs in the registry.", len(health.ders()))
        yield _gauge("tierline_devices_seen", "DERs that called within two polls.", health.seen())
        yield _gauge("tierline_controls_active", "Controls that are active now.", len(health.active()))
        if health.outbox is not None:
            yield _gauge("tierline_outbox_waiting", "Responses that wait to be posted north.", health.outbox())
        yield _gauge("tierline_civil_time_seconds", "The node's clock.", serving.clock.now().timestamp())
        commands = 0 if serving.audit_tail is None else serving.audit_tail.sequence
        yield _counter("tierline_commands", "Commands in the audit.", {(): commands}, ())
        yield _counter("tierline_commits", "Transactions of the store.", {(): serving.commits}, ())
        yield _counter("tierline_responses", "Responses received, by status.", _responses(serving), ("status",))
        requests: dict[tuple[str, ...], int] = {
            (method, str(status)): count for (method, status), count in health.requests.items()
        }
        yield _counter("tierline_requests", "Requests answered.", requests, ("method", "status"))


def _responses(serving: Serving) -> dict[tuple[str, ...], int]:
    found: Counter[tuple[str, ...]] = Counter()
    for answers in serving.responses.values():
        found.update((status.name.lower(),) for _, status in answers)
    return dict(found)


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, value=value)


def _clocks(differing: Mapping[str, float]) -> GaugeMetricFamily:
    what = "How far the clock of a relayed channel's server is ahead, where it differs."
    family = GaugeMetricFamily("tierline_clock_ahead_seconds", what, labels=("channel",))
    for channel, ahead_s in sorted(differing.items()):
        family.add_metric((channel,), ahead_s)
    return family


def _counter(
    name: str, what: str, values: Mapping[tuple[str, ...], int], labels: tuple[str, ...]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, what, labels=labels)
    for label, value in sorted(values.items()):
        family.add_metric(label, value)
    return family
