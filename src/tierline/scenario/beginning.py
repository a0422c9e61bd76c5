"""A scenario to begin with, for those who write their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tierline.model.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

BEGINNING: Final = """\
# A scenario: what is done when. Times are simulated minutes after every DER has walked once.
# All keys: docs/reference/scenarios.md. Run it: tierline scenario run {name}

# The levels above the gateways. "five" comes with tierline; without this line there is one utility. With "alone" there is nobody:
# owners speak to their gateways, [[limit]] in place of [[control]].
# hierarchy = "five"

[scenario]
about = "a limit on one feeder"
field = "oberrhein"
ends_at_min = 20

[[control]]
at_min = 0
starts_in_min = 6
lasts_min = 10
group = "feeder-1"
setpoints = {{ max_lim_w_pct = 50 }}

# [[switch]]
# at_min = 8
# close = [107]
# open = [236]

# [[cut]]
# at_min = 8
# until_min = 12
# group = "feeder-1"
# count = 5

# [[kill]]
# at_min = 9
# process = "utility"
# down_s = 30
"""


def begin(path: Path) -> None:
    """Write a scenario to begin with.

    Raises: ConfigError when there is a file already, or none can be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(BEGINNING.format(name=path))
    except FileExistsError as error:
        raise ConfigError(f"{path} exists already; choose another name") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
