"""Who may do what to which resource: a pure decision, asked by every use case before anything else.

Two rules. A role gives verbs; a scope gives resources. An operator's scope is its node, a device's is itself and the
programs it is assigned to, an aggregator's is the DERs it stands for, an upstream server's is the groups it was granted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import assert_never

from tierline.engine.verdict import ALLOW, Deny, Verdict
from tierline.model.identity import DerId, GroupId, Mrid
from tierline.model.parties import Principal, Role


class Verb(StrEnum):
    """What can be done."""

    READ = "read"
    SUBSCRIBE = "subscribe"
    REPORT = "report"
    """Say what one is, measures or sees: capability, settings, status, readings, alarms."""
    RESPOND = "respond"
    """Answer an event."""
    CONTROL = "control"
    """Issue, change or cancel a control or a default."""
    REGISTER = "register"
    """Take a DER into the registry, change or remove it."""
    SWITCH = "switch"
    """Operate or confirm a switch of the grid."""
    CONFIGURE = "configure"
    AUDIT = "audit"
    """Read the audit trail."""


class ResourceKind(StrEnum):
    """What it can be done to."""

    COMMON = "common"
    """What every registered peer needs: time, device capability, its own entry points."""
    DER = "der"
    """What belongs to one DER."""
    PROGRAM = "program"
    """What belongs to one program: its controls, default, curves."""
    GROUP = "group"
    """A group and its members."""
    NODE = "node"
    """The rest of the node: registry, grid, configuration, audit trail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource, as far as access depends on it."""

    kind: ResourceKind
    der_id: DerId | None = None
    program: Mrid | None = None
    group: GroupId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """What a principal has a right to beyond its role, at this moment."""

    ders: frozenset[DerId] = frozenset()
    """A device: itself. An aggregator: those it stands for."""
    programs: frozenset[Mrid] = frozenset()
    """The programs those DERs are assigned to."""
    groups: frozenset[GroupId] = frozenset()
    """The groups an upstream server may control."""


_LOOK = frozenset({Verb.READ, Verb.SUBSCRIBE})
_PEER = _LOOK | {Verb.REPORT, Verb.RESPOND}

_VERBS: Mapping[Role, frozenset[Verb]] = MappingProxyType(
    {
        Role.OPERATOR: frozenset(Verb),
        Role.SELF: frozenset(Verb),
        Role.VIEWER: _LOOK,
        Role.DEVICE: _PEER,
        # In-band registration: it takes DERs in that it stands for (CSIP 2.1, 6.1).
        Role.AGGREGATOR: _PEER | {Verb.REGISTER},
        Role.UPSTREAM: frozenset({Verb.CONTROL}),
    }
)


def may(principal: Principal, verb: Verb, resource: Resource, grants: Grants) -> Verdict:
    """Decide."""
    if verb not in _VERBS[principal.role]:
        return Deny(f"{principal.role} {principal.name} may not {verb} anything")
    if not _is_in_scope(principal.role, verb, resource, grants):
        return Deny(f"{principal.role} {principal.name} may not {verb} this {resource.kind}: it is not in its scope")
    return ALLOW


def _is_in_scope(role: Role, verb: Verb, resource: Resource, grants: Grants) -> bool:
    match role:
        case Role.OPERATOR | Role.SELF | Role.VIEWER:
            return True
        case Role.DEVICE | Role.AGGREGATOR:
            return _is_of_peer(verb, resource, grants)
        case Role.UPSTREAM:
            return resource.kind is ResourceKind.GROUP and resource.group in grants.groups
        case _:
            assert_never(role)


def _is_of_peer(verb: Verb, resource: Resource, grants: Grants) -> bool:
    match resource.kind:
        case ResourceKind.COMMON:
            return verb in _LOOK
        case ResourceKind.DER:
            return resource.der_id in grants.ders
        case ResourceKind.PROGRAM:
            return verb in _LOOK and resource.program in grants.programs
        case ResourceKind.GROUP | ResourceKind.NODE:
            return False
        case _:
            assert_never(resource.kind)
