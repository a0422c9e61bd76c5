"""The first step of every use case: may this principal do that here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierline.model.errors import Forbidden
from tierline.model.parties import Role

if TYPE_CHECKING:
    from tierline.model.parties import Principal

_OPERATOR_VERBS = frozenset({"read", "configure", "register", "control", "switch", "audit"})
_VERBS: dict[Role, frozenset[str]] = {
    Role.OPERATOR: _OPERATOR_VERBS,
    Role.VIEWER: frozenset({"read"}),
    Role.SELF: _OPERATOR_VERBS,
    Role.DEVICE: frozenset(),
    Role.AGGREGATOR: frozenset(),
    Role.UPSTREAM: frozenset(),
}


def require(principal: Principal, verb: str, resource: str) -> None:
    """Stop what the principal may not do.

    Raises: Forbidden.
    """
    if verb not in _VERBS[principal.role]:
        raise Forbidden(f"{principal.role.value} {principal.name} may not {verb} {resource}")
