"""One TOML file becomes one frozen configuration; every mistake names file, line, key and what to write instead."""

from __future__ import annotations

import re
import tomllib
from datetime import datetime  # noqa: TC003 - pydantic reads the annotations at run time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tierline.engine.following.obey import LIMITS, OWNER
from tierline.model.control import Setpoints
from tierline.model.errors import ConfigError
from tierline.model.parties import ChannelMode
from tierline.model.profiles import confirmable
from tierline.model.validity import fault_of
from tierline.operations.serving.fleet_orders import CARRIED

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Address(_Part):
    """A host and a port."""

    host: str
    port: Annotated[int, Field(ge=0, le=65535)]

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: object) -> object:
    """Read `127.0.0.1:8443`, `[::1]:8443` or `name:8443`."""
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})", text)
    if match is None:
        raise ValueError(f"{text!r} is not host:port, for example 127.0.0.1:8443 or [::1]:8443")
    return {"host": match[1] or match[2], "port": int(match[3])}


def aware(when: datetime | None) -> datetime | None:
    """Refuse a time without a time zone: it would mean another instant on another machine."""
    if when is not None and when.tzinfo is None:
        raise ValueError(f"{when.isoformat()} has no time zone; write {when.isoformat()}Z for UTC")
    return when


class NodePart(_Part):
    """Who this node is."""

    name: Annotated[str, Field(pattern=_NAME)]
    level: Annotated[int, Field(ge=1, le=5)]
    """5 market, 4 utility or substation, 3 aggregator, 2 facility, 1 DER."""
    party: Annotated[str, Field(pattern=_NAME)]
    """Whose node it is."""
    state: Path = Path("state")
    """Folder of what it keeps, relative to the file."""
    seed: int | None = None
    """Makes randomness repeatable: for demonstrations and tests only."""


class ClockPart(_Part):
    """Civil time that runs faster than the wall, for demonstrations."""

    start: datetime
    monotonic_s: float
    """CLOCK_MONOTONIC at `start`."""
    speed: Annotated[float, Field(gt=0, le=1000)] = 1.0

    _aware = field_validator("start")(aware)


class IdentityPart(_Part):
    """What goes into the names this node gives."""

    pen: Annotated[int, Field(ge=1, le=2**32 - 1)]
    """Private enterprise number of the party, from IANA."""


class TlsPart(_Part):
    """Certificates; all files PEM."""

    certificate: Path
    """Leaf first, then the intermediates."""
    key: Path
    """Readable by its owner only."""
    anchors: Annotated[list[Path], Field(min_length=1)]
    """Trusted roots."""
    demo: bool = False
    """Accept certificates marked as made for demonstrations."""


class StorePart(_Part):
    """Where records are kept."""

    path: Path = Path("tierline.db")
    """SQLite file, relative to the state folder; several nodes of one process may share one."""
    keep_readings_days: Annotated[int, Field(ge=1)] = 30
    """Readings received are dropped after that many days."""
    keep_controls_days: Annotated[int, Field(ge=1)] = 400
    """Controls that ended and their Responses are dropped after that many days; the audit is kept."""


class NotifyPart(_Part):
    """Notices to those who subscribe."""

    allow: list[Address] = []
    """Listeners that may be told although their address is private, loopback or link-local."""

    _read = field_validator("allow", mode="before")(
        lambda value: [parse_address(item) for item in value] if isinstance(value, list) else value
    )


class ControlPointPart(_Part):
    """A substation that serves, in this node's stead, the DERs which one element of the grid feeds."""

    party: Annotated[str, Field(pattern=_NAME)]
    """Under which name it is registered here."""
    element: str
    """A transformer or feeder of the grid file."""


class Sep2Serve(_Part):
    """The IEEE 2030.5 server."""

    listen: Annotated[list[Address], Field(min_length=1)]
    poll_rate_s: Annotated[int, Field(ge=10, le=86400)] = 600
    """How often clients are told to walk. Source: CSIP 2.1 G19, 10 minutes."""
    post_rate_s: Annotated[int, Field(ge=10, le=86400)] = 300
    """How often clients are told to post readings."""
    notify: NotifyPart = NotifyPart()
    control_point: list[ControlPointPart] = []

    _read = field_validator("listen", mode="before")(
        lambda value: [parse_address(item) for item in value] if isinstance(value, list) else value
    )


class ServePart(_Part):
    """South faces: what this node offers to those below."""

    sep2: Sep2Serve


class OperatorPart(_Part):
    """The operator API."""

    listen: Address = Address(host="127.0.0.1", port=8080)
    certificate: Path | None = None
    key: Path | None = None

    _read = field_validator("listen", mode="before")(parse_address)


class GridPart(_Part):
    """The network whose groups this node serves."""

    file: str
    """A path, or `oberrhein` for the network that comes with tierline."""


class GovernorPart(_Part):
    """A limit to what one mistake or one stolen token can do: how much may be moved within a sliding window."""

    name: Annotated[str, Field(pattern=_NAME)]
    window_s: Annotated[int, Field(ge=1)]
    power_w: Annotated[float, Field(ge=0)] | None = None
    """The most generation that may be taken away, by ratings; no bound when absent."""
    devices: Annotated[int, Field(ge=0)] | None = None
    """The most DERs that may be reached; no bound when absent."""
    per_principal: bool = True
    """Whether each operator has this much; all share it when false."""


class NorthPart(_Part):
    """A link to a server above."""

    protocol: Literal["sep2"]
    channel: Annotated[str, Field(pattern=_NAME)]
    party: Annotated[str, Field(pattern=_NAME)]
    """The party that speaks over it."""
    authority: Literal["utility", "aggregator", "owner"] = "utility"
    rank: Annotated[int, Field(ge=0)] = 0
    server: str
    """https://host:port/path of its DeviceCapability."""
    server_lfdi: str | None = None
    """LFDI of the server's certificate; any server the anchors vouch for when absent."""
    pin: Annotated[int, Field(ge=0, le=999_999)] | None = None
    """The registration PIN; not compared when absent."""
    poll_s: Annotated[int, Field(ge=1)] | None = None
    """Overrides the server's pollRate."""
    use: Literal["obey", "relay"] = "obey"
    """Whether what it brings is carried out here, by the device or the fleet, or passed through to those below."""
    enrol: Literal["none", "take", "offer"] = "none"
    """For a relay. take: those the server lists are registered here; offer: those registered here are registered there."""
    tells_serial: bool = False
    """Whether the server is told the serial number of the device, which says who its owner is."""
    readings: bool = True
    """For a relay: whether what those below measure is handed on."""
    subscribe: bool = True
    """For a relay: whether it asks to be told of changes, where [listener] says where; it polls as well."""
    prices: bool = True
    """Whether the tariffs that the server offers are followed: kept, shown, and served to those below whom they concern. They are
    information; nothing is controlled by them."""


class ListenerPart(_Part):
    """Where servers above send their notices to."""

    listen: Address
    uri: str
    """https://host:port under which those servers reach it."""

    _read = field_validator("listen", mode="before")(parse_address)


class FleetPart(_Part):
    """The DERs registered here as one device, which obeys for them what a level above asks for."""

    group: str
    """The group of them, by name, id or element of the grid; made when missing."""
    policy: Literal["rating", "available", "price", "equal"] = "rating"
    """How a total is shared out."""
    offers: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = {}
    """For policy price: what DERs ask per kWh, in any one currency, by service point or group."""
    min_cell: Annotated[int, Field(ge=1)] = 5
    """A sum over fewer members is not told."""
    read_s: Annotated[int, Field(ge=1)] = 60
    """How often the sum is measured and the shares are corrected."""


class GrantPart(_Part):
    """What a party above may make of this fleet; without one it is answered that nothing is applicable."""

    party: Annotated[str, Field(pattern=_NAME)]
    functions: Annotated[list[str], Field(min_length=1)]
    """Names of functions, such as target_w or max_lim_w_pct."""
    power_w: Annotated[float, Field(gt=0)]
    """The most it may move at once."""
    until: datetime

    _aware = field_validator("until")(aware)


class SouthPart(_Part):
    """A link to a device."""

    protocol: Literal["sunspec"]
    address: Address
    unit: Annotated[int, Field(ge=1, le=247)] = 1
    read_s: Annotated[int, Field(ge=1)] = 60
    """How often it is measured."""
    timeout_s: Annotated[float, Field(gt=0)] = 3.0
    """Unscaled."""

    _read = field_validator("address", mode="before")(parse_address)


class RecordPart(_Part):
    """In single mode: from an instant on another channel is the one that is obeyed."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)

    channel: Annotated[str, Field(pattern=_NAME)]
    """That of a [[north]]; what is under way on the one obeyed before is given up then."""
    since: datetime = Field(alias="from")
    """The instant, in this node's time."""

    _aware = field_validator("since")(aware)


class CapturePart(_Part):
    """Every message this node sends, in clear, for tests of what leaves it; refused where [tls] demo is not set."""

    path: Path = Path("capture.jsonl")
    """Relative to the state folder."""


class FollowPart(_Part):
    """How controls from above are obeyed."""

    mode: ChannelMode = ChannelMode.SINGLE
    supersede_code: Literal["7", "14"] = "14"
    """What a DER answers to an event that another program superseded before it began."""
    owner_limits: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Limits the owner always keeps in force, by function, such as max_lim_w_pct."""
    opt_out: list[Literal["utility", "aggregator", "owner"]] = ["aggregator", "owner"]
    """Whose events the owner may refuse, by authority of the channel."""
    record: list[RecordPart] = []
    profile: Literal["ieee1547", "rule21"] | None = None
    """Whose defaults the device keeps wherever no channel commands it: those that are in force by default, were verified and the
    device can carry out (see [defaults](defaults.md)). None: what is not commanded is left to the device."""
    normal_category: Literal["A", "B"] = "B"
    """Category of the device in normal operation (IEEE 1547-2018), where its defaults go by it."""
    abnormal_category: Literal["I", "II", "III"] = "III"
    """Category of the device in abnormal operation."""
    confirmed: list[str] = []
    """Functions whose default is put into the device although it was not verified: the operator's confirmation."""

    @property
    def limits(self) -> Setpoints:
        """The owner's limits as the rules take them."""
        return Setpoints.of({name: Decimal(str(value)) for name, value in self.owner_limits.items()})


class FieldPart(_Part):
    """Simulated inverters on a simulated network, served over Modbus TCP."""

    scenario: str
    """A path, or `oberrhein` for the scenario that comes with tierline."""
    host: str = "127.0.0.1"
    ports: list[Annotated[int, Field(ge=0, le=65535)]] = []
    """One per service point, in the order of the grid file; none for a replay."""
    switchgear_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Where the switches are operated: a Modbus holding register for each, at the address of its number."""
    journal: Path | None = None
    """Where what happened is written, relative to the state folder."""
    begin: datetime | None = None
    """First instant of the plant; that of its start when absent."""
    duration_s: Annotated[int, Field(ge=1)] | None = None
    """Civil seconds after which it ends by itself."""
    replay: bool = False
    """Run at once through `duration_s` from `begin` on without listening, for comparisons."""

    _aware = field_validator("begin")(aware)


class NodeConfig(_Part):
    """The configuration of one node."""

    node: NodePart
    clock: ClockPart | None = None
    identity: IdentityPart | None = None
    tls: TlsPart | None = None
    store: StorePart = StorePart()
    serve: ServePart | None = None
    operator: OperatorPart | None = None
    grid: GridPart | None = None
    governor: list[GovernorPart] = []
    north: list[NorthPart] = []
    listener: ListenerPart | None = None
    south: list[SouthPart] = []
    fleet: FleetPart | None = None
    grant: list[GrantPart] = []
    follow: FollowPart = FollowPart()
    field: FieldPart | None = None
    capture: CapturePart | None = None
    folder: Path = Field(default=Path(), exclude=True)
    """Folder of the file, from which relative paths count."""

    @property
    def state(self) -> Path:
        """The folder of what the node keeps."""
        return self.folder / self.node.state

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.state / self.store.path


def load_config(path: Path) -> NodeConfig:
    """Read the configuration of one node.

    Raises: ConfigError naming file, line and key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    return parse_config(text, path)


def parse_config(text: str, path: Path) -> NodeConfig:
    """Read the configuration of one node from the text of its file.

    Raises: ConfigError naming file, line and key.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    if "folder" in data:
        raise ConfigError(f"{path}:{_line(text, ('folder',))}: folder: unknown key; remove it")
    try:
        config = NodeConfig.model_validate({**data, "folder": path.parent})
    except ValidationError as error:
        raise ConfigError("\n".join(_say(text, path, dict(item)) for item in error.errors())) from error
    _check(config, text, path)
    return config


def _check(config: NodeConfig, text: str, path: Path) -> None:
    """Refuse what each part allows but the whole does not."""

    def refuse(location: tuple[object, ...], what: str) -> ConfigError:
        return ConfigError(f"{path}:{_line(text, location)}: {_dotted(location)}: {what}")

    if config.field is not None and (config.serve is not None or config.north or config.south):
        raise refuse(("field",), "a field stands alone; move [serve], [[north]] and [[south]] to another file")
    if config.field is None and config.serve is None and not config.south:
        raise refuse(("node",), "this node does nothing; add [serve], [[south]] or [field]")
    if config.serve is not None and config.tls is None:
        raise refuse(("serve", "sep2"), "[tls] is missing; IEEE 2030.5 needs certificate, key and anchors")
    if config.serve is not None and config.identity is None:
        raise refuse(
            ("serve", "sep2"), "[identity] pen is missing; a server needs the party's private enterprise number"
        )
    if config.capture is not None and (config.tls is None or not config.tls.demo):
        raise refuse(("capture",), "messages are written down in demonstrations only; remove it")
    _check_links(config, refuse)
    _check_operator(config, refuse)


def _check_links(config: NodeConfig, refuse: Callable[[tuple[object, ...], str], ConfigError]) -> None:
    if len(config.south) > 1:
        raise refuse(("south", 1), f"{len(config.south)} devices are named; one device per node is supported")
    if config.listener is not None and config.tls is None:
        raise refuse(("listener",), "[tls] is missing; IEEE 2030.5 needs certificate, key and anchors")
    if config.north and config.tls is None:
        raise refuse(("north", 0), "[tls] is missing; IEEE 2030.5 needs certificate, key and anchors")
    for number, north in enumerate(config.north):
        if north.use == "obey" and not config.south and config.fleet is None:
            raise refuse(
                ("north", number), "it brings controls, but no device is to obey them; add [[south]] or [fleet]"
            )
        if north.use == "relay" and config.serve is None:
            raise refuse(("north", number, "use"), "there is nobody to relay to; add [serve.sep2]")
        if north.use == "obey" and north.enrol != "none":
            raise refuse(("north", number, "enrol"), 'only a relay stands for others; remove it, or set use = "relay"')
    if config.fleet is not None and config.south:
        raise refuse(("fleet",), "a node obeys with one device or with its fleet; remove [[south]] or [fleet]")
    if config.fleet is not None and config.fleet.policy == "price" and not config.fleet.offers:
        raise refuse(("fleet", "policy"), "no DER has made an offer; say what they ask per kWh in [fleet.offers]")
    _check_grants(config, refuse)
    _check_channels(config, refuse)
    _check_follow(config, refuse)


def _check_grants(config: NodeConfig, refuse: Callable[[tuple[object, ...], str], ConfigError]) -> None:
    if config.grant and config.fleet is None:
        raise refuse(("grant", 0), "there is no fleet that it could move; add [fleet]")
    parties = {north.party for north in config.north if north.use == "obey"}
    for number, grant in enumerate(config.grant):
        if unknown := sorted(set(grant.functions) - CARRIED):
            raise refuse(
                ("grant", number, "functions"),
                f"a fleet cannot carry out {', '.join(unknown)}; it can {', '.join(sorted(CARRIED))}",
            )
        if grant.party not in parties:
            raise refuse(
                ("grant", number, "party"),
                f"{grant.party!r} speaks over no [[north]] that is obeyed; name one that does",
            )


def _check_channels(config: NodeConfig, refuse: Callable[[tuple[object, ...], str], ConfigError]) -> None:
    """Let links share a channel only where one party speaks; all its servers are one channel."""
    first: dict[str, NorthPart] = {}
    ranks: dict[int, str] = {}
    for number, north in enumerate(config.north):
        if north.channel == OWNER and north.use == "obey":
            raise refuse(
                ("north", number, "channel"),
                f"{north.channel!r} is the channel of what the owner says at the node itself; give it another name",
            )
        known = first.setdefault(north.channel, north)
        if (known.party, known.authority, known.rank, known.use) != (
            north.party,
            north.authority,
            north.rank,
            north.use,
        ):
            raise refuse(
                ("north", number, "channel"),
                f"{north.channel!r} is that of another link with another party, authority, rank or use; "
                "give each its own, or make them alike if they are servers of one party",
            )
        if ranks.setdefault(north.rank, north.channel) != north.channel:
            raise refuse(("north", number, "rank"), f"{north.rank!r} is that of another link; give each its own")


def _check_profile(config: NodeConfig, refuse: Callable[[tuple[object, ...], str], ConfigError]) -> None:
    follow = config.follow
    if follow.profile is None:
        if follow.confirmed:
            raise refuse(
                ("follow", "confirmed"), "there is no profile whose defaults could be confirmed; name one, or remove it"
            )
        return
    if not config.south:
        raise refuse(("follow", "profile"), "there is no [[south]] device to keep defaults; remove it")
    for name in follow.confirmed:
        if name not in confirmable(follow.profile, follow.normal_category, follow.abnormal_category):
            raise refuse(
                ("follow", "confirmed"), f"{name!r} has no default in {follow.profile!r} that waits for a confirmation"
            )


def _check_follow(config: NodeConfig, refuse: Callable[[tuple[object, ...], str], ConfigError]) -> None:
    for name, value in config.follow.limits.items():
        if name not in LIMITS:
            raise refuse(("follow", "owner_limits", name), f"{name!r} is no limit; use {', '.join(sorted(LIMITS))}")
        if fault := fault_of(name, value):
            raise refuse(("follow", "owner_limits", name), fault)
    _check_profile(config, refuse)
    obeyed = sorted({north.channel for north in config.north if north.use == "obey"})
    times: set[datetime] = set()
    for number, change in enumerate(config.follow.record):
        where = ("follow", "record", number)
        if config.follow.mode is ChannelMode.DUAL:
            raise refuse(where, 'with mode "dual" all channels are obeyed at once; remove it, or set mode = "single"')
        if change.channel not in obeyed:
            raise refuse(
                (*where, "channel"), f"{change.channel!r} is no channel that is obeyed here; use one of {obeyed}"
            )
        if change.since in times:
            raise refuse(
                (*where, "from"), f"there is another change at {change.since.isoformat()}; give each its own time"
            )
        times.add(change.since)


def _check_operator(config: NodeConfig, refuse: Callable[[tuple[object, ...], str], ConfigError]) -> None:
    operator = config.operator
    if operator is None:
        return
    if config.serve is None:
        raise refuse(("operator",), "there is nothing to operate; add [serve], or remove it")
    if (operator.certificate is None) is not (operator.key is None):
        raise refuse(("operator",), "certificate and key belong together; give both or neither")
    if operator.certificate is None and operator.listen.host not in {"127.0.0.1", "::1"}:
        raise refuse(
            ("operator", "listen"),
            f"{operator.listen} is not this machine alone; use 127.0.0.1, or give certificate and key",
        )


def _say(text: str, path: Path, problem: dict[str, object]) -> str:
    found = problem["loc"]
    location = found if isinstance(found, tuple) else ()
    key = _dotted(location)
    match problem["type"]:
        case "extra_forbidden":
            what = "unknown key; remove it or correct its spelling"
        case "missing":
            what = "is missing; add it"
        case "value_error":
            what = str(problem["msg"]).removeprefix("Value error, ")  # says what was found itself
        case _:
            what = f"{problem['msg']}; found {problem['input']!r}"
    return f"{path}:{_line(text, location)}: {key}: {what}"


def _dotted(location: tuple[object, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def _line(text: str, location: tuple[object, ...]) -> int:
    """Find the line of a key, or of the nearest table around it."""
    best, best_length = 1, 0
    table: tuple[object, ...] = ()
    seen: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]", line):
            table = tuple(header[2].split("."))
            if header[1] == "[[":
                index = seen.get(header[2], -1) + 1
                seen[header[2]] = index
                table = (*table, index)
            here = table
        elif key := re.match(r"\s*([A-Za-z0-9_.-]+)\s*=", line):
            here = (*table, *key[1].split("."))
        else:
            continue
        if location[: len(here)] == here and len(here) > best_length:
            best, best_length = number, len(here)
    return best
