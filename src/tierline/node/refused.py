"""What the device of a node that serves refuses, in the audit of that node; one that serves nobody has no audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from tierline.model.errors import LinkError
from tierline.operations.serving.audit import entry

if TYPE_CHECKING:
    from tierline.model.parties import Principal
    from tierline.model.programs import Response
    from tierline.operations.serving.state import Serving

log = structlog.get_logger(__name__)


class RefusedEvents:
    """Writes down the events that were refused."""

    def __init__(self, serving: Serving, me: Principal) -> None:
        self._serving = serving
        self._me = me

    async def write(self, response: Response, why: str) -> None:
        """Write down a refusal whose Response is durable; where the store refuses, the log alone tells it."""
        detail = {"channel": response.channel, "status": int(response.status), "why": why}
        try:
            async with self._serving.writing:
                record = entry(self._me, self._serving, "control", f"event {response.mrid}", "refused", detail)
                await self._serving.commit([record])
        except LinkError as error:
            log.warning("refusal_not_in_audit", mrid=response.mrid, why=str(error))
