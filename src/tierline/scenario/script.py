"""The script of a scenario: what is done when, as a TOML file says it; docs/scenarios.md describes the file.

All times are civil (simulated) minutes after the moment at which every DER has walked once.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tierline.model.errors import ConfigError
from tierline.scenario.hierarchy import Hierarchy

Minutes = Annotated[float, Field(ge=0)]

_S = TypeVar("_S", bound=BaseModel)
_SETTLE_MIN: Final = 2.0
"""Minutes after the last event before a scenario may end: releases and ramps are to be seen."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Scenario(_Part):
    """The scenario as a whole."""

    about: str
    """What it shows, in a line."""
    field: str
    """The plant: the name of a file that comes with tierline, or a path."""
    ends_at_min: Minutes
    """When it ends at the latest; it ends earlier once the last event is over and answered."""
    poll_rate_s: Annotated[int, Field(ge=10)] = 300
    """How often gateways walk."""
    read_s: Annotated[int, Field(ge=1)] = 60
    """How often inverters are measured."""
    checks: list[str] = []
    """What an outside judge is to look at besides what the steps name."""


class GroupPart(_Part):
    """A group that a node makes of those it serves, for other reasons than the wires."""

    node: str
    """Whose group it is."""
    name: str
    of: str = ""
    """Only that node below it; everybody when empty."""
    element: str = ""
    """Only those whom this feeder or transformer feeds as the switches normally stand; everybody when empty."""


class ControlStep(_Part):
    """A control that the operator issues."""

    at_min: Minutes
    """When it is issued."""
    starts_in_min: Minutes
    """How long after that it starts."""
    lasts_min: Annotated[float, Field(gt=0)]
    group: str
    """A group of that node, by name or by element of the grid."""
    setpoints: dict[str, Any]  # Any: the operator API reads them
    """Values by function, as `tierline control create --set` takes them."""
    node: str = ""
    """Whose operator issues it; the utility's, or that of the highest node there is, when empty."""
    check: str = ""
    """What an outside judge is to look at."""

    @property
    def end_min(self) -> float:
        """When its event ends."""
        return self.at_min + self.starts_in_min + self.lasts_min


class LimitStep(_Part):
    """A limit that owners say to their gateways, where nobody stands above these."""

    at_min: Minutes
    """When it is said."""
    starts_in_min: Minutes
    """How long after that it starts."""
    lasts_min: Annotated[float, Field(gt=0)]
    element: str
    """Whose owners say it: all whom this feeder or transformer feeds as the switches normally stand; `system`: everybody's."""
    setpoints: dict[str, float]
    """Limits by function, as `tierline owner limit --set` takes them."""
    check: str = ""
    """What an outside judge is to look at."""

    @property
    def end_min(self) -> float:
        """When its event ends."""
        return self.at_min + self.starts_in_min + self.lasts_min


class CutStep(_Part):
    """Uplinks that are cut for a while."""

    at_min: Minutes
    until_min: Minutes
    group: str = ""
    """The group of the utility some of whose gateways are cut."""
    count: Annotated[int, Field(ge=0)] = 0
    """How many of them, in the order of the grid file."""
    node: str = ""
    """The node that is cut off from those above it, in place of gateways."""
    sparing: str = ""
    """A process whose gateways are not cut."""
    check: str = ""
    """What an outside judge is to look at."""


class KillStep(_Part):
    """A process that is killed and started again."""

    at_min: Minutes
    down_s: Annotated[float, Field(ge=0)]
    """Civil seconds until it is started again."""
    process: str
    """A station by its name, `plant`, or `gateways-1` to `gateways-4`."""
    check: str = ""
    """What an outside judge is to look at."""


class SwitchStep(_Part):
    """Switches that are operated in the field."""

    at_min: Minutes
    close: list[int] = []
    """Closed first, so that nobody is without supply in between."""
    open: list[int] = []
    """Opened then."""
    check: str = ""
    """What an outside judge is to look at."""


class PartStep(_Part):
    """Another scenario whose steps are carried out in this one."""

    scenario: str
    """A scenario that comes with tierline, or the path of a file."""
    at_min: Minutes = 0.0
    """What is added to its times."""


class Script(_Part):
    """What a scenario file says."""

    scenario: Scenario
    hierarchy: Hierarchy = Hierarchy()
    part: list[PartStep] = []
    group: list[GroupPart] = []
    control: list[ControlStep] = []
    limit: list[LimitStep] = []
    cut: list[CutStep] = []
    kill: list[KillStep] = []
    switch: list[SwitchStep] = []

    @property
    def checks(self) -> list[str]:
        """What an outside judge is to look at, in the order of the controls and limits."""
        named = [step.check for step in self._events if step.check]
        return list(dict.fromkeys([*named, *self.scenario.checks]))

    @property
    def settled_min(self) -> float:
        """When the last event is over, releases and ramps are seen, and whoever was cut off has had two polls to make good."""
        made_good = [step.until_min + 2 * self.scenario.poll_rate_s / 60 for step in self.cut]
        return max([self.events_end_min + _SETTLE_MIN, *made_good])

    @property
    def events_end_min(self) -> float:
        """When the last event ends."""
        return max((step.end_min for step in self._events), default=0.0)

    @property
    def _events(self) -> list[ControlStep | LimitStep]:
        return [*self.control, *self.limit]


def shipped() -> list[str]:
    """List the scenarios that come with tierline."""
    data = resources.files("tierline.scenario") / "data"
    names = sorted(item.name.removesuffix(".toml") for item in data.iterdir() if item.name.endswith(".toml"))
    return [name for name in names if "scenario" in tomllib.loads((data / f"{name}.toml").read_text(encoding="utf-8"))]


def load_script(name: str) -> tuple[Script, Path]:
    """Read a scenario: one that comes with tierline by its bare name, else the file at a path; gives its folder too.

    Raises: ConfigError naming file and key.
    """
    try:
        text = _shipped_text(name) or Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"there is no scenario {name!r} ({error.strerror}); give a path or one of {', '.join(shipped())}"
        ) from error
    folder = Path(name).parent
    return parse_script(text, name, folder), folder


def parse_script(text: str, name: str, folder: Path = Path()) -> Script:
    """Read a scenario from the text of its file, with the steps of its parts; these are looked for in its folder.

    Raises: ConfigError naming file and key.
    """
    try:
        data = tomllib.loads(text)
        if isinstance(data.get("hierarchy"), str):
            data["hierarchy"] = _levels(data["hierarchy"], name)
        script = Script.model_validate(data)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"scenario {name}: not TOML: {error}") from error
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}, found {item['input']!r}" for item in error.errors()
        ]
        raise ConfigError(f"scenario {name}: {'; '.join(faults)}") from error
    for part in script.part:
        inner, _ = load_script(part.scenario if _shipped_text(part.scenario) else str(folder / part.scenario))
        if inner.part:
            raise ConfigError(f"scenario {name}: part {part.scenario!r} has parts itself; name those in its place")
        script = _joined(script, inner, part.at_min)
    _check_levels(script, name)
    return script


def _check_levels(script: Script, name: str) -> None:
    """Refuse steps for which the levels have nobody."""
    if script.hierarchy.names:
        if script.limit:
            raise ConfigError(
                f"scenario {name}: limit: it is said to gateways with nobody above them; "
                'use [[control]], or hierarchy = "alone"'
            )
        return
    for kind in ("group", "control", "cut", "switch"):
        if getattr(script, kind):
            raise ConfigError(
                f"scenario {name}: {kind}: nobody stands above the gateways whose operator could have a hand in it; "
                "use [[limit]], or name a utility in [hierarchy]"
            )


def _levels(levels: str, name: str) -> object:
    """Read a hierarchy that comes with tierline by its name."""
    text = _shipped_text(levels)
    found = tomllib.loads(text).get("hierarchy") if text else None
    if found is None:
        raise ConfigError(f"scenario {name}: hierarchy: none that comes with tierline is named {levels!r}")
    return found


def _shipped_text(name: str) -> str:
    """Read a file that comes with tierline; empty when there is none."""
    own = resources.files("tierline.scenario") / "data" / f"{name}.toml"
    is_shipped = "/" not in name and "." not in name and own.is_file()
    return own.read_text(encoding="utf-8") if is_shipped else ""


def _joined(script: Script, inner: Script, at_min: float) -> Script:
    """Add the steps of a part, each later by a span."""

    def later(step: _S) -> _S:
        times = {key: getattr(step, key) + at_min for key in ("at_min", "until_min") if hasattr(step, key)}
        return step.model_copy(update=times)

    kinds = ("control", "limit", "cut", "kill", "switch")
    steps = {kind: [*getattr(script, kind), *map(later, getattr(inner, kind))] for kind in kinds}
    groups = [*script.group, *(group for group in inner.group if group not in script.group)]
    return script.model_copy(update={**steps, "group": groups})
