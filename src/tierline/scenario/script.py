"""The script of a scenario: what is done when, as a TOML file says it.

All times are civil (simulated) minutes after the moment at which every DER has walked once. A scenario file has

- `[scenario]`: `about`, `field` (the plant: a name or a path), `ends_at_min`, and `poll_rate_s` and `read_s` of the fleet;
- `[hierarchy]`: the levels above the gateways (`tierline.scenario.hierarchy`); one utility when it is absent;
- `[[control]]`: `at_min` (issued), `starts_in_min`, `lasts_min`, `group` (a group by name or element), `setpoints` in the form of
  the operator API, and optionally `node`, whose operator issues it (the utility otherwise), and `check`;
- `[[cut]]`: from `at_min` until `until_min` the uplinks of the first `count` gateways of `group` are black holes, those hosted by the
  process `sparing` left out; or, with `node` in place of `group` and `count`, the uplinks of that node;
- `[[kill]]`: at `at_min` the process `process` gets SIGKILL; it is started again `down_s` civil seconds later;
- `[[switch]]`: at `at_min` switches are closed, then opened, in the field (`close`, `open`: numbers of the grid file); where they stand
  is read back and confirmed to the utility.

`check` names what an outside judge is to look at.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tierline.model.errors import ConfigError
from tierline.scenario.hierarchy import Hierarchy

Minutes = Annotated[float, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Scenario(_Part):
    """The scenario as a whole."""

    about: str
    field: str
    """The plant: the name of a file that comes with tierline, or a path."""
    ends_at_min: Minutes
    """When it ends at the latest; it ends earlier once the last event is over and answered."""
    poll_rate_s: Annotated[int, Field(ge=10)] = 300
    """How often gateways walk."""
    read_s: Annotated[int, Field(ge=1)] = 60
    """How often inverters are measured."""


class ControlStep(_Part):
    """A control that the operator issues."""

    at_min: Minutes
    starts_in_min: Minutes
    lasts_min: Annotated[float, Field(gt=0)]
    group: str
    setpoints: dict[str, Any]
    """Any: the operator API reads them."""
    node: str = ""
    """Whose operator issues it; the utility's, or that of the highest node there is, when empty."""
    check: str = ""

    @property
    def end_min(self) -> float:
        """When its event ends."""
        return self.at_min + self.starts_in_min + self.lasts_min


class CutStep(_Part):
    """Uplinks that are cut for a while."""

    at_min: Minutes
    until_min: Minutes
    group: str = ""
    count: Annotated[int, Field(ge=0)] = 0
    node: str = ""
    """The node that is cut off from those above it, in place of gateways."""
    sparing: str = ""
    """A process whose gateways are not cut."""
    check: str = ""


class KillStep(_Part):
    """A process that is killed and started again."""

    at_min: Minutes
    down_s: Annotated[float, Field(ge=0)]
    process: str
    check: str = ""


class SwitchStep(_Part):
    """Switches that are operated in the field."""

    at_min: Minutes
    close: list[int] = []
    """Closed first, so that nobody is without supply in between."""
    open: list[int] = []
    check: str = ""


class Script(_Part):
    """What a scenario file says."""

    scenario: Scenario
    hierarchy: Hierarchy = Hierarchy()
    control: list[ControlStep] = []
    cut: list[CutStep] = []
    kill: list[KillStep] = []
    switch: list[SwitchStep] = []

    @property
    def checks(self) -> list[str]:
        """What an outside judge is to look at, in the order of the controls."""
        return list(dict.fromkeys(step.check for step in self.control if step.check))

    @property
    def events_end_min(self) -> float:
        """When the last event ends."""
        return max((step.end_min for step in self.control), default=0.0)


def shipped() -> list[str]:
    """List the scenarios that come with tierline."""
    data = resources.files("tierline.scenario") / "data"
    names = sorted(item.name.removesuffix(".toml") for item in data.iterdir() if item.name.endswith(".toml"))
    return [name for name in names if "scenario" in tomllib.loads((data / f"{name}.toml").read_text(encoding="utf-8"))]


def load_script(name: str) -> tuple[Script, Path]:
    """Read a scenario: one that comes with tierline by its bare name, else the file at a path; gives its folder too.

    Raises: ConfigError naming file and key.
    """
    own = resources.files("tierline.scenario") / "data" / f"{name}.toml"
    is_shipped = "/" not in name and "." not in name and own.is_file()
    try:
        text = own.read_text(encoding="utf-8") if is_shipped else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"there is no scenario {name!r} ({error.strerror}); give a path or one of {', '.join(shipped())}"
        ) from error
    return parse_script(text, name), Path(name).parent


def parse_script(text: str, name: str) -> Script:
    """Read a scenario from the text of its file.

    Raises: ConfigError naming file and key.
    """
    try:
        return Script.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"scenario {name}: not TOML: {error}") from error
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}, found {item['input']!r}" for item in error.errors()
        ]
        raise ConfigError(f"scenario {name}: {'; '.join(faults)}") from error
