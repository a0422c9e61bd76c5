"""The limits of one mistake or one stolen token: what the governor lets through, remembered across restarts by the audit."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

from tierline.engine.governor import Request, check, horizon
from tierline.engine.verdict import Deny
from tierline.model.errors import Forbidden
from tierline.model.identity import DerId
from tierline.operations.serving.audit import lines_since
from tierline.operations.serving.relief import ratings_w, relief_w

if TYPE_CHECKING:
    from tierline.model.control import Setpoints
    from tierline.model.identity import GroupId
    from tierline.model.parties import Principal
    from tierline.operations.serving.state import Serving


def govern(principal: Principal, serving: Serving, group_id: GroupId, setpoints: Setpoints) -> Request:
    """Hold what somebody wants to move against the node's caps; the caller adds it to `serving.granted` once it is done.

    Raises: Forbidden naming the cap and how much is left to say.
    """
    members = serving.members_of.get(group_id, set())
    by_point = ratings_w(serving)
    ratings = [by_point.get(serving.devices[der_id].service_point, Decimal(0)) for der_id in members]
    return allow(principal, serving, relief_w(setpoints, ratings) or Decimal(0), frozenset(members))


def allow(principal: Principal, serving: Serving, power_w: Decimal, devices: frozenset[DerId]) -> Request:
    """Hold an amount of power and the DERs it is to be moved at against the node's caps; as `govern` otherwise.

    Raises: Forbidden naming the cap and how much is left to say.
    """
    now = serving.clock.now()
    request = Request(principal=principal.name, at=now, power_w=power_w, devices=devices)
    since = now - horizon(serving.budget)
    serving.granted[:] = [past for past in serving.granted if past.at > since]
    verdict = check(serving.budget, serving.granted, request)
    if isinstance(verdict, Deny):
        raise Forbidden(f"refused by the governor: {verdict.reason}; wait, ask for less, or change [[governor]]")
    return request


def recall(serving: Serving) -> None:
    """Rebuild from the audit what was granted within the longest window."""
    if not serving.budget:
        return
    since = serving.clock.now() - horizon(serving.budget)
    for record in lines_since(serving.store, since):
        detail = json.loads(record.detail)
        if record.verb in {"control", "default"} and "relief_w" in detail:
            serving.granted.append(
                Request(
                    principal=record.principal,
                    at=record.time,
                    power_w=Decimal(detail["relief_w"]),
                    devices=frozenset(map(DerId, detail["members"])),
                )
            )
