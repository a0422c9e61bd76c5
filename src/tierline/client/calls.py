"""Every call of the operator API as a value: what is sent, and the type of what comes back.

Building a call touches nothing, so the synchronous and the asynchronous client share this module.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tierline.client import answers

T_co = TypeVar("T_co", covariant=True)

Time = datetime | str
"""An aware time, or ISO 8601 text with a time zone."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """One request; `T_co` is the type of its answer."""

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, object] | None = None


def status() -> Call[answers.Status]:
    """Show the node at a glance."""
    return Call("GET", "/status")


def devices(group: str | None = None, *, offset: int = 0, limit: int = 100) -> Call[answers.Devices]:
    """List DERs, of one group or all, a page at a time."""
    return Call("GET", "/devices", _given(group=group, offset=offset, limit=limit))


def device(name: str) -> Call[answers.DeviceDetail]:
    """Show a DER by DerId, LFDI (or its beginning) or service point."""
    return Call("GET", f"/devices/{_segment(name)}")


def add_devices(new: Sequence[Mapping[str, object]]) -> Call[answers.Registered]:
    """Enrol DERs, all or none; each with any of lfdi, service_point, pin, managed_by, aggregates."""
    return Call("POST", "/devices", body={"devices": list(new)})


def enable_device(name: str) -> Call[answers.Device]:
    """Let a DER in."""
    return Call("POST", f"/devices/{_segment(name)}/enable")


def disable_device(name: str) -> Call[answers.Device]:
    """Shut a DER out from its next request on."""
    return Call("POST", f"/devices/{_segment(name)}/disable")


def remove_device(name: str) -> Call[answers.Device]:
    """Take a DER out: nobody is let in by its LFDI, and it leaves its groups; what it reported stays."""
    return Call("DELETE", f"/devices/{_segment(name)}")


def place_device(name: str, service_point: str) -> Call[answers.Device]:
    """Say where a DER hangs in the grid, nowhere when empty; it leaves and joins groups at once."""
    return Call("POST", f"/devices/{_segment(name)}/place", body={"service_point": service_point})


def explain(name: str) -> Call[answers.Explanation]:
    """Say what a DER should do now, and why."""
    return Call("GET", f"/devices/{_segment(name)}/explain")


def readings(name: str, since: Time | None = None, *, limit: int = 10_000) -> Call[answers.Readings]:
    """List the readings of a DER from a time on; of the last hour without one."""
    return Call("GET", f"/devices/{_segment(name)}/readings", _given(since=_text(since), limit=limit))


def latest_readings(group: str | None = None, point: str | None = None) -> Call[answers.Readings]:
    """List the newest reading of every point of every DER."""
    return Call("GET", "/readings/latest", _given(group=group, point=point))


def groups(*, of_fleets: bool = False) -> Call[answers.Groups]:
    """List all groups with their programs; those of single DERs of a fleet only when asked for."""
    return Call("GET", "/groups", _given(of_fleets=1 if of_fleets else None))


def group(name: str) -> Call[answers.Group]:
    """Show a group by its name, id or element of the grid."""
    return Call("GET", f"/groups/{_segment(name)}")


def create_group(name: str, *, everybody: bool = False, party: str | None = None) -> Call[answers.Group]:
    """Make a group: an empty one, or one of everybody or of all DERs of a party, whose members follow by themselves."""
    return Call("POST", "/groups", body={"name": name, "everybody": everybody, "party": party})


def rename_group(name: str, new_name: str) -> Call[answers.Group]:
    """Give a group another name; it stays the same group."""
    return Call("PUT", f"/groups/{_segment(name)}", body={"name": new_name})


def delete_group(name: str) -> Call[answers.Group]:
    """Let a group go, with its program and what is over in it."""
    return Call("DELETE", f"/groups/{_segment(name)}")


def members(group: str) -> Call[answers.Members]:
    """List who belongs to a group now, since when and why."""
    return Call("GET", f"/groups/{_segment(group)}/members")


def add_members(group: str, devices: Sequence[str], *, reason: str = "") -> Call[answers.Members]:
    """Take DERs into a group."""
    return Call("POST", f"/groups/{_segment(group)}/members", body={"devices": list(devices), "reason": reason})


def remove_members(group: str, devices: Sequence[str], *, reason: str = "") -> Call[answers.Members]:
    """Take DERs out of a group."""
    body = {"devices": list(devices), "reason": reason}
    return Call("POST", f"/groups/{_segment(group)}/members/remove", body=body)


def programs(*, of_fleets: bool = False) -> Call[answers.Programs]:
    """List all programs, the strongest first; those of single DERs of a fleet only when asked for."""
    return Call("GET", "/programs", _given(of_fleets=1 if of_fleets else None))


def curves() -> Call[answers.Curves]:
    """List the curves that controls and defaults use."""
    return Call("GET", "/curves")


def default(group: str) -> Call[answers.Default]:
    """Show what holds for a group while no control does."""
    return Call("GET", f"/groups/{_segment(group)}/default")


def set_default(group: str, setpoints: Mapping[str, answers.Setpoint]) -> Call[answers.Default]:
    """Set what holds for a group while no control does; it is replaced as a whole."""
    return Call("PUT", f"/groups/{_segment(group)}/default", body={"setpoints": dict(setpoints)})


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRequest:
    """A control to create or to preview."""

    group: str
    """A group by name, id or element of the grid: `feeder-1`."""
    setpoints: Mapping[str, answers.Setpoint]
    duration_s: int
    start: Time | None = None
    """When it begins; now when neither this nor `start_in_s` is given."""
    start_in_s: float | None = None
    """Civil seconds from now, by the node's clock."""
    randomize_start_s: int = 0
    randomize_duration_s: int = 0
    ramp_time_s: float | None = None
    reason: str = ""
    """Why, for the audit; never sent to a DER."""

    def body(self) -> dict[str, object]:
        """Write it down as the API reads it."""
        return {
            "group": self.group,
            "setpoints": dict(self.setpoints),
            "start": _text(self.start),
            "start_in_s": self.start_in_s,
            "duration_s": self.duration_s,
            "randomize_start_s": self.randomize_start_s,
            "randomize_duration_s": self.randomize_duration_s,
            "ramp_time_s": self.ramp_time_s,
            "reason": self.reason,
        }


def create_control(control: ControlRequest) -> Call[answers.Created]:
    """Create a control for a group; its members see it from their next walk on."""
    return Call("POST", "/controls", body=control.body())


def preview_control(control: ControlRequest) -> Call[answers.Preview]:
    """Show what a control would do, without sending it."""
    return Call("POST", "/controls/preview", body=control.body())


def controls(group: str | None = None, state: str | None = None, *, limit: int = 1000) -> Call[answers.Controls]:
    """List controls, the newest first; of one group or in one state."""
    return Call("GET", "/controls", _given(group=group, state=state, limit=limit))


def control(mrid: str) -> Call[answers.ControlDetail]:
    """Show a control and how far every DER has come with it."""
    return Call("GET", f"/controls/{_segment(mrid)}")


def cancel_control(mrid: str, *, randomized: bool = False, reason: str = "") -> Call[answers.Control]:
    """Cancel a control."""
    return Call("POST", f"/controls/{_segment(mrid)}/cancel", body={"randomized": randomized, "reason": reason})


def responses(since: Time | None = None, *, limit: int = 10_000) -> Call[answers.Responses]:
    """List what DERs answered, from a time on or all."""
    return Call("GET", "/responses", _given(since=_text(since), limit=limit))


def grid() -> Call[answers.GridShown]:
    """Show the network of the node and who hangs where."""
    return Call("GET", "/grid")


def switches() -> Call[answers.Switches]:
    """List all switches and how they stand."""
    return Call("GET", "/switches")


def preview_switching(closed: Mapping[int, bool]) -> Call[answers.Moves]:
    """Show who would move if switches stood so."""
    return Call("POST", "/switches/preview", body={"closed": _by_text(closed)})


def confirm_switching(closed: Mapping[int, bool]) -> Call[answers.Moves]:
    """Take over switch positions confirmed from the field; membership follows at once."""
    return Call("POST", "/switches", body={"closed": _by_text(closed)})


def tariffs() -> Call[answers.Tariffs]:
    """List the tariffs of the node."""
    return Call("GET", "/tariffs")


def create_tariff(
    description: str,
    currency: int,
    *,
    price_power_of_ten: int = -5,
    group: str | None = None,
    flow: str = "delivered",
    primacy: int | None = None,
) -> Call[answers.Tariff]:
    """Make a tariff for a group or everybody; `currency` is the number of ISO 4217, `flow` delivered or received."""
    body = {
        "description": description,
        "currency": currency,
        "price_power_of_ten": price_power_of_ten,
        "group": group,
        "flow": flow,
        "primacy": primacy,
    }
    return Call("POST", "/tariffs", body=body)


def remove_tariff(tariff: str) -> Call[answers.Tariff]:
    """Let a tariff go that has no prices now or later; shows what it was."""
    return Call("DELETE", f"/tariffs/{_segment(tariff)}")


def prices(tariff: str, since: Time | None = None, *, limit: int = 10_000, ended: bool = False) -> Call[answers.Prices]:
    """List the prices of a tariff that hold at or after a time, from now on without one; with `ended` those withdrawn too."""
    given = _given(since=_text(since), limit=limit, ended="true" if ended else None)
    return Call("GET", f"/tariffs/{_segment(tariff)}/prices", given)


def withdraw_prices(tariff: str, starts: Sequence[Time]) -> Call[answers.Prices]:
    """Withdraw the prices that begin at some times, all or none."""
    body = {"starts": [_text(start) for start in starts]}
    return Call("POST", f"/tariffs/{_segment(tariff)}/prices/withdraw", body=body)


def set_prices(tariff: str, new_prices: Sequence[Mapping[str, object]]) -> Call[answers.Prices]:
    """Publish prices, all or none; each with start, duration_s and price per kWh."""
    return Call("PUT", f"/tariffs/{_segment(tariff)}/prices", body={"prices": list(new_prices)})


def audit(after: int | None = None, *, limit: int = 100) -> Call[answers.Audit]:
    """List acts in their order: those after a sequence number, or the last ones."""
    return Call("GET", "/audit", _given(after=after, limit=limit))


def verify_audit() -> Call[answers.Verification]:
    """Check that nothing in the audit was changed, removed or put in between."""
    return Call("GET", "/audit/verify")


def tokens() -> Call[answers.Tokens]:
    """List the tokens that were made; never their secrets."""
    return Call("GET", "/tokens")


def create_token(name: str, role: str = "viewer") -> Call[answers.Secret]:
    """Make a token for one more person or program."""
    return Call("POST", "/tokens", body={"name": name, "role": role})


def revoke_token(name: str) -> Call[answers.Token]:
    """Make a token useless from the next request on."""
    return Call("DELETE", f"/tokens/{_segment(name)}")


def _given(**values: str | int | None) -> dict[str, str | int]:
    return {name: value for name, value in values.items() if value is not None}


def _text(time: Time | None) -> str | None:
    return time.isoformat() if isinstance(time, datetime) else time


def _segment(text: str) -> str:
    return quote(text, safe="")


def _by_text(closed: Mapping[int, bool]) -> dict[str, bool]:
    return {str(number): is_closed for number, is_closed in closed.items()}
