"""The first step of every use case: may this principal do that here. The decision itself is `engine.access.may`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierline.engine.access import Grants, Resource, ResourceKind, Verb, may
from tierline.engine.verdict import Deny
from tierline.model.errors import Forbidden
from tierline.model.parties import Role

if TYPE_CHECKING:
    from tierline.model.identity import DerId
    from tierline.model.parties import Principal
    from tierline.model.records import EndDeviceRecord
    from tierline.operations.serving.state import Serving

_NODE = Resource(kind=ResourceKind.NODE)
_NOTHING = Grants()


def require(principal: Principal, verb: Verb, what: str) -> None:
    """Stop what the principal may not do to this node.

    Raises: Forbidden.
    """
    verdict = may(principal, verb, _NODE, _NOTHING)
    if isinstance(verdict, Deny):
        raise Forbidden(f"{verdict.reason} ({what})")


def require_der(principal: Principal, serving: Serving, verb: Verb, der_id: DerId) -> EndDeviceRecord:
    """Stop who does not stand for a DER: only its own certificate, the party that manages it, and the control points that can feed it do.

    Raises: Forbidden, also when there is no such DER, so that nobody learns which there are.
    """
    device = serving.devices.get(der_id)
    if device is None or not device.enabled or not stands_for(principal, serving, device):
        raise Forbidden(f"{principal.name} does not stand for this device")
    verdict = may(principal, verb, Resource(kind=ResourceKind.DER, der_id=der_id), Grants(ders=frozenset({der_id})))
    if isinstance(verdict, Deny):
        raise Forbidden(verdict.reason)
    return device


def stands_for(principal: Principal, serving: Serving, device: EndDeviceRecord) -> bool:
    """Tell whether a peer stands for an EndDevice: for its own by its certificate, for others by its party."""
    if principal.role is Role.AGGREGATOR and principal.party in serving.standing.parties(device.der_id):
        return True
    is_peer = principal.role in {Role.AGGREGATOR, Role.DEVICE}
    return is_peer and principal.lfdi is not None and serving.lfdi_of.get(device.der_id) == principal.lfdi
