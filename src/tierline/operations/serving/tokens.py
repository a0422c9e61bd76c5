"""Access tokens of operators: 256 random bits, shown once and kept as a hash."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from tierline.engine.access import Verb
from tierline.model.errors import ConfigError, Conflict
from tierline.model.parties import Principal, Role
from tierline.model.records import TokenRecord
from tierline.operations.serving.access import require
from tierline.operations.serving.audit import entry

if TYPE_CHECKING:
    from tierline.operations.serving.state import Serving
    from tierline.ports import Files

FIRST = "operator"
"""The name of the token drawn at the first start."""

ROLES = frozenset({Role.OPERATOR, Role.VIEWER})
"""What a token may let its holder be."""

_BITS = 256
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


async def ensure_token(serving: Serving, files: Files, path: str) -> bool:
    """Draw the first token of a node that has none and write it to a file only its owner reads; tells whether it did.

    The file comes first: after a crash in between the next start draws anew, and nobody is locked out.
    """
    if serving.tokens:
        return False
    async with serving.writing:
        token, record = _drawn(serving, FIRST, Role.OPERATOR)
        files.write(path, f"{token}\n".encode(), mode=0o600)
        node = Principal(party=serving.party, role=Role.SELF, name="node")
        await serving.commit(
            [record, entry(node, serving, "token", f"token {FIRST}", "created", {"role": record.role})]
        )
    return True


def principal_of(serving: Serving, token: str) -> Principal | None:
    """Find who holds a token; None when it is unknown or revoked."""
    digest = _digest(token)
    for record in serving.tokens.values():
        if hmac.compare_digest(record.token_sha256, digest) and record.revoked_at is None:
            return Principal(party=record.party, role=Role(record.role), name=record.name)
    return None


def list_tokens(principal: Principal, serving: Serving) -> list[TokenRecord]:
    """Give all tokens that were ever made, by name; a token itself is never shown again."""
    require(principal, Verb.CONFIGURE, "tokens")
    return sorted(serving.tokens.values(), key=lambda record: record.name)


async def create_token(principal: Principal, serving: Serving, name: str, role: Role) -> str:
    """Make a token for one more person or program; gives the only copy.

    Raises: ConfigError for a name or role that cannot be; Conflict when the name was given before.
    """
    require(principal, Verb.CONFIGURE, "tokens")
    if role not in ROLES:
        raise ConfigError(f"a token is for {' or '.join(sorted(ROLES))}, not for {role.value}")
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be the name of a token: up to 64 letters, digits, '.', '_', '@', '-', a letter first"
        )
    async with serving.writing:
        if name in serving.tokens:
            raise Conflict(f"the name {name} was given to a token already; the audit needs another one")
        token, record = _drawn(serving, name, role)
        await serving.commit(
            [record, entry(principal, serving, "token", f"token {name}", "created", {"role": role.value})]
        )
    return token


async def revoke_token(principal: Principal, serving: Serving, name: str) -> TokenRecord:
    """Make a token useless from the next request on.

    Raises: ConfigError when there is none of this name; Conflict when it is the last one of an operator.
    """
    require(principal, Verb.CONFIGURE, "tokens")
    async with serving.writing:
        record = serving.tokens.get(name)
        if record is None or record.revoked_at is not None:
            raise ConfigError(f"there is no valid token {name!r}; `tierline token list` shows them")
        others = [
            other
            for other in serving.tokens.values()
            if other.name != name and other.role == Role.OPERATOR.value and other.revoked_at is None
        ]
        if record.role == Role.OPERATOR.value and not others:
            raise Conflict(f"{name} is the last token of an operator; make another one first: tierline token create")
        revoked = replace(record, revoked_at=serving.clock.now())
        await serving.commit([revoked, entry(principal, serving, "token", f"token {name}", "revoked", {})])
    return revoked


def _drawn(serving: Serving, name: str, role: Role) -> tuple[str, TokenRecord]:
    token = f"{(serving.secrets or serving.random).bits(_BITS):0{_BITS // 4}x}"
    record = TokenRecord(
        party=serving.party,
        name=name,
        role=role.value,
        token_sha256=_digest(token),
        created_at=serving.clock.now(),
    )
    return token, record


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
