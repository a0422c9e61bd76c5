"""Access tokens: drawn once, kept as a hash, useless once revoked."""

import pytest

from tierline.env import SeededRandom
from tierline.model.errors import ConfigError, Conflict, Forbidden
from tierline.model.parties import Role
from tierline.model.records import AuditRecord, TokenRecord
from tierline.operations.serving import tokens
from tierline.operations.serving.state import Serving


async def test_the_first_token_is_drawn_once_and_only_its_owner_reads_the_file(serving, files):
    assert await tokens.ensure_token(serving, files, "s/operator.token")
    first = dict(files.content)
    assert not await tokens.ensure_token(serving, files, "s/operator.token")
    assert files.content == first
    assert files.modes == {"s/operator.token": 0o600}
    assert len(first["s/operator.token"]) == 65


async def test_only_the_hash_is_kept(serving, token):
    (record,) = serving.store.load(TokenRecord)
    assert token not in repr(record)
    assert record.role == "operator"
    assert token not in repr(serving.store.load(AuditRecord))


async def test_the_file_comes_before_the_record(serving):
    class NoDisk:
        def write(self, path, data, *, mode=0o644):
            raise ConfigError("the disk is full")

    with pytest.raises(ConfigError):
        await tokens.ensure_token(serving, NoDisk(), "s/operator.token")
    assert serving.store.load(TokenRecord) == []


async def test_a_token_is_known_after_a_restart(serving, token, clock):
    again = Serving(party=serving.party, store=serving.store, clock=clock, random=SeededRandom(8), pen=37244)
    again.load()
    assert tokens.principal_of(again, token).name == "operator"


async def test_a_token_gives_its_role_and_name(serving, operator, token):
    secret = await tokens.create_token(operator, serving, "eve@example", Role.VIEWER)
    found = tokens.principal_of(serving, secret)
    assert (found.name, found.role, found.party) == ("eve@example", Role.VIEWER, "utility")
    assert tokens.principal_of(serving, token).role is Role.OPERATOR
    assert tokens.principal_of(serving, secret[:-1]) is None
    assert tokens.principal_of(serving, "") is None


async def test_a_revoked_token_is_useless(serving, operator, token):
    secret = await tokens.create_token(operator, serving, "eve", Role.VIEWER)
    await tokens.revoke_token(operator, serving, "eve")
    assert tokens.principal_of(serving, secret) is None
    with pytest.raises(ConfigError, match="there is no valid token 'eve'"):
        await tokens.revoke_token(operator, serving, "eve")
    with pytest.raises(Conflict, match="given to a token already"):
        await tokens.create_token(operator, serving, "eve", Role.VIEWER)
    assert [record.name for record in tokens.list_tokens(operator, serving)] == ["eve", "operator"]


async def test_nobody_locks_everybody_out(serving, operator, token):
    await tokens.create_token(operator, serving, "eve", Role.VIEWER)
    with pytest.raises(Conflict, match="last token of an operator"):
        await tokens.revoke_token(operator, serving, "operator")
    await tokens.create_token(operator, serving, "bob", Role.OPERATOR)
    await tokens.revoke_token(operator, serving, "operator")
    assert tokens.principal_of(serving, token) is None


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "x" * 65])
async def test_a_name_must_be_one_the_audit_can_show(serving, operator, name):
    with pytest.raises(ConfigError, match="cannot be the name of a token"):
        await tokens.create_token(operator, serving, name, Role.VIEWER)


async def test_a_device_gets_no_token(serving, operator):
    with pytest.raises(ConfigError, match="operator or viewer, not for device"):
        await tokens.create_token(operator, serving, "eve", Role.DEVICE)


async def test_a_viewer_makes_no_tokens(serving, operator, token):
    viewer = tokens.principal_of(serving, await tokens.create_token(operator, serving, "eve", Role.VIEWER))
    with pytest.raises(Forbidden):
        await tokens.create_token(viewer, serving, "mallory", Role.OPERATOR)
    with pytest.raises(Forbidden):
        await tokens.revoke_token(viewer, serving, "operator")
    with pytest.raises(Forbidden):
        tokens.list_tokens(viewer, serving)


async def test_making_and_revoking_stand_in_the_audit(serving, operator, token):
    await tokens.create_token(operator, serving, "eve", Role.VIEWER)
    await tokens.revoke_token(operator, serving, "eve")
    found = [
        (line.principal, line.resource, line.outcome)
        for line in serving.store.load(AuditRecord)
        if line.verb == "token"
    ]
    assert found == [
        ("node", "token operator", "created"),
        ("ada", "token eve", "created"),
        ("ada", "token eve", "revoked"),
    ]
