"""The owners of the gateways: they speak at each gateway's own socket, as `tierline owner` does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tierline.env import ask_local
from tierline.model.errors import ConfigError
from tierline.node.owner import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from tierline.scenario.stations import Gateway


class Owners:
    """Those who may open the sockets of the gateways."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        """The state folder of the scenario."""

    async def limit(self, gateway: Gateway, setpoints: Mapping[str, object], start: datetime, duration_s: int) -> str:
        """Have a device limited for a time; gives the mRID that its gateway gave to that.

        Raises: LinkError while the gateway is away; ConfigError when it refuses.
        """
        question = {
            "do": "limit",
            "setpoints": dict(setpoints),
            "start": start.isoformat(),
            "duration_s": duration_s,
        }
        answer = json.loads(await ask_local(str(self._socket(gateway)), json.dumps(question).encode()))
        if "error" in answer:
            raise ConfigError(f"{gateway.name} refuses the limit: {answer['says']}")
        return str(answer["mrid"])

    def _socket(self, gateway: Gateway) -> Path:
        return self._folder / gateway.process / f"{gateway.name}{SUFFIX}"
