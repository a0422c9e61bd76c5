"""The two clients: the node's words come back as errors, the answers as they are."""

import httpx
import pytest

from tierline.client import AsyncClient, Client, ClientError, ControlRequest
from tierline.model.errors import ConfigError, LinkError, TierlineError


def answering(status=200, **content):
    """Answer every request alike, and keep the requests."""
    seen = []

    def handle(request):
        seen.append(request)
        return httpx.Response(status, **content)

    return httpx.MockTransport(handle), seen


def failing(error):
    def handle(request):
        raise error

    return httpx.MockTransport(handle)


async def test_the_async_client_speaks_to_a_node(app, token):
    async with AsyncClient("http://node", token, transport=httpx.ASGITransport(app)) as client:
        assert (await client.status())["node"] == "utility"
        request = ControlRequest(group="feeder-1", setpoints={"max_lim_w_pct": 50}, duration_s=900, start_in_s=60)
        assert (await client.preview_control(request))["relief_w"] == 15_000
        created = await client.create_control(request)
        assert (await client.controls(state="scheduled"))["controls"] == [created["control"]]
        cancelled = await client.cancel_control(created["control"]["mrid"], reason="mistake")
        assert cancelled["state"] == "cancelled"
        with pytest.raises(ClientError, match="cancelled already") as caught:
            await client.cancel_control(created["control"]["mrid"])
    assert (caught.value.status, caught.value.kind, caught.value.what_to_do) == (409, "conflict", None)


async def test_a_wrong_token_is_told_with_what_to_do(app):
    async with AsyncClient("http://node", "wrong", transport=httpx.ASGITransport(app)) as client:
        with pytest.raises(ClientError, match="valid access token; send Authorization") as caught:
            await client.status()
    assert (caught.value.status, caught.value.kind) == (401, "unauthenticated")
    assert isinstance(caught.value, TierlineError)


def test_the_client_sends_token_query_and_body():
    transport, seen = answering(json={"devices": []})
    with Client("http://node:8080/", "secret", transport=transport) as client:
        assert client.devices("feeder-1", limit=5) == {"devices": []}
        client.add_devices([{"lfdi": "01"}])
    listing, adding = seen
    assert str(listing.url) == "http://node:8080/devices?group=feeder-1&offset=0&limit=5"
    assert listing.headers["authorization"] == "Bearer secret"
    assert (adding.method, adding.content) == ("POST", b'{"devices":[{"lfdi":"01"}]}')


def test_methods_keep_the_words_of_their_calls():
    assert Client("http://node", "x").status.__doc__ == "Show the node at a glance."
    assert AsyncClient("http://node", "x").status.__name__ == "status"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx.ConnectError("refused"), "cannot be reached: refused"),
        (httpx.ReadTimeout("slow"), "does not answer in time"),
    ],
)
async def test_a_node_that_cannot_be_reached_is_a_link_error(error, words):
    with Client("http://node", "x", transport=failing(error)) as client, pytest.raises(LinkError, match=words):
        client.status()
    async with AsyncClient("http://node", "x", transport=failing(error)) as other:
        with pytest.raises(LinkError, match="is it running"):
            await other.status()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"text": "<html>"}, "answered 502 without JSON"),
        ({"json": {"detail": "x"}}, "answered 502"),
        ({"json": ["x"]}, "answered 502"),
    ],
)
def test_an_answer_of_something_else_is_told(content, words):
    transport, _ = answering(502, **content)
    with Client("http://node", "x", transport=transport) as client, pytest.raises(ClientError, match=words) as caught:
        client.status()
    assert caught.value.kind == "unknown"


def test_authorities_that_cannot_be_used_are_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be used"):
        Client("https://node", "x", ca_file=str(tmp_path / "none.pem"))


def test_own_authorities_are_trusted(tmp_path):
    from datetime import UTC, datetime

    from tierline.security.pki import make_serca

    anchor = tmp_path / "anchor.pem"
    anchor.write_bytes(make_serca("root", datetime(2026, 1, 1, tzinfo=UTC), demo=False).certificate_pem)
    Client("https://node", "x", ca_file=str(anchor)).close()
