"""What is taken from a control point of a DER that it does not feed now: what may be true, and nothing that is older than what is known.

Two rules (docs/rules.md R8, R6). A Response may have been under way for hours, through a node that was cut off, of a DER that
moved meanwhile; so only what cannot be is refused, and who handed on one in doubt is written down. What a DER says of itself
counts as of its last server.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tierline.model.errors import Forbidden, PeerError
from tierline.model.parties import Role

if TYPE_CHECKING:
    from datetime import datetime

    from tierline.model.identity import DerId, PartyId
    from tierline.model.parties import Principal
    from tierline.model.records import ControlRecord, DerInfoKind, EndDeviceRecord
    from tierline.operations.serving.state import Serving

CUT_OFF: Final = timedelta(hours=24)
"""For how long a control point may go on serving a DER that has left it, as it cannot hear of that, while its clock is off."""


def require_answer(
    principal: Principal, serving: Serving, device: EndDeviceRecord, control: ControlRecord
) -> datetime | None:
    """Stop a Response that cannot be; gives since when its control point does not feed the DER, None where it does.

    Raises: PeerError when the DER was never assigned to the program of a relayed event here; Forbidden when a control point has
    not fed it since the event was made.
    """
    der, record = device.der_id, serving.programs[control.program].record
    member = (der, record.group_id)
    if record.channel is not None and member not in serving.memberships and member not in serving.left:
        # A DER that does not know any more who showed it an event asks all its servers: one that did not sends it on.
        raise PeerError(f"no event {control.mrid} was shown to device {der} here", path="Response/subject")
    if not _hands_on(principal, serving, device) or principal.party in serving.standing.shown_to(der):
        return None
    left = _left(serving, principal.party, der)
    # By whichever clock is behind: that of who made the event, or that of this node, which it was changed by last.
    made = min(control.control.creation_time, control.changed_at)
    if left is None or left < made - CUT_OFF:
        when = "never" if left is None else f"not since {left.isoformat()}"
        raise Forbidden(f"{principal.party} has fed device {der} {when}, so it did not show it event {control.mrid}")
    return left


def require_newest(principal: Principal, serving: Serving, device: EndDeviceRecord, kind: DerInfoKind) -> None:
    """Stop a control point that the DER has left from replacing what the DER has said since.

    Raises: Forbidden.
    """
    if not _hands_on(principal, serving, device) or principal.party in serving.standing.shown_to(device.der_id):
        return
    left, known = _left(serving, principal.party, device.der_id), serving.infos.get((device.der_id, kind))
    if left is not None and known is not None and known.changed_at > left:
        raise Forbidden(f"device {device.der_id} left {principal.party} and has said its {kind} since then")


def _hands_on(principal: Principal, serving: Serving, device: EndDeviceRecord) -> bool:
    """Tell whether a control point speaks, not the DER itself nor who manages it."""
    is_own = principal.lfdi is not None and serving.lfdi_of.get(device.der_id) == principal.lfdi
    return principal.role is Role.AGGREGATOR and device.managed_by != principal.party and not is_own


def _left(serving: Serving, party: PartyId, der: DerId) -> datetime | None:
    """Give when the element of a control point ceased to feed a DER last."""
    groups = serving.standing.groups_at(party)
    return max((at for group in groups if (at := serving.left.get((der, group))) is not None), default=None)
