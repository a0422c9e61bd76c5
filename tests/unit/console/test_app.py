"""The operator API as a whole: nobody passes without a token, every error has words, health is open."""

import httpx
import pytest
from fastapi.routing import APIRoute

from tierline.console.api.access import operator, reader
from tierline.console.api.app import METRICS, OPEN, make_app
from tierline.model.parties import Role
from tierline.node.relay_clocks import RelayClocks
from tierline.operations.serving import tokens

ANY = {"name": "pv-1", "mrid": "0" * 32}


def _routes(app):
    """Give all routes, also those behind an included router."""
    found, pending = [], list(app.router.routes)
    while pending:
        route = pending.pop()
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        if isinstance(route, APIRoute):
            found.append(route)
        elif inner is not None:
            pending += inner.routes
    return found


def _stated(route):
    """Give the roles that a route states."""
    return {dependency.call for dependency in route.dependant.dependencies} & {reader, operator}


def test_the_walk_finds_all_routes(app):
    paths = {route.path for route in _routes(app)}
    assert paths == set(app.openapi()["paths"])
    assert len(paths) > 25


async def test_every_route_but_the_health_ones_refuses_without_a_token(app):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node") as client:
        for path, methods in app.openapi()["paths"].items():
            for method in methods:
                answer = await client.request(method, path.format(**ANY))
                if path in OPEN | {METRICS}:
                    assert answer.status_code == 200, path
                else:
                    assert answer.status_code == 401, path
                    assert answer.headers["www-authenticate"] == "Bearer"
                    assert answer.json()["error"]["kind"] == "unauthenticated"


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/redoc", "/", "/livez/", "/no/such/path"])
async def test_what_is_no_route_refuses_without_a_token_too(app, path):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node") as client:
        assert (await client.get(path)).status_code == 401


def test_every_route_but_the_health_ones_states_its_role(app):
    silent = {route.path for route in _routes(app) if not _stated(route)}
    assert silent == OPEN | {METRICS}


def test_every_route_that_changes_something_is_for_operators(app):
    harmless = {"/controls/preview", "/switches/preview"}
    for route in _routes(app):
        if route.methods - {"GET", "HEAD"} and route.path not in harmless:
            assert _stated(route) == {operator}, route.path


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer nonsense", "Basic b3BlcmF0b3I6", "bearer\xe9 x"])
async def test_a_wrong_token_is_no_token(app, token, header):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node") as client:
        answer = await client.get("/status", headers={b"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert "operator.token" in answer.json()["error"]["what_to_do"]


async def test_a_viewer_reads_and_changes_nothing(app, serving, operator, token):
    secret = await tokens.create_token(operator, serving, "eve", Role.VIEWER)
    headers = {"Authorization": f"bearer {secret}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node", headers=headers) as client:
        assert (await client.get("/status")).json()["role"] == "viewer"
        refused = await client.post("/devices/pv-1/disable")
        assert (await client.get("/audit")).status_code == 403
    assert refused.status_code == 403
    assert refused.json()["error"]["message"] == "viewer eve may read only; this needs the token of an operator"
    assert all(device.enabled for device in serving.devices.values())


async def test_health_tells_what_is_not_ready(api, health):
    assert (await api.get("/livez")).text == "ok\n"
    assert (await api.get("/readyz")).text == "ok\n"
    health.serving.trouble = "the disk is full"
    answer = await api.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "store is not ready\n")
    health.serving.trouble = ""
    health.unwalked = lambda: ["utility"]
    assert (await api.get("/readyz")).text == "relay utility is not ready\n"
    health.unwalked = list
    assert (await api.get("/readyz")).text == "ok\n"


async def test_a_device_that_refuses_what_it_is_told_is_not_healthy(api, health):
    health.refused = dict
    assert (await api.get("/status")).json()["healthy"] is True
    health.refused = lambda: {"volt_var": "exception 3"}
    shown = (await api.get("/status")).json()
    assert (shown["ready"], shown["healthy"]) == (True, False)
    assert shown["unhealthy"] == {"device: volt_var": "it refuses what it is told: exception 3"}


async def test_a_clock_that_differs_is_shown_and_one_that_is_far_off_is_not_healthy(api, health, serving, operator):
    shown = (await api.get("/status")).json()
    assert (shown["healthy"], shown["unhealthy"], shown["clocks"]) == (True, {}, {})
    assert "tierline_clock_ahead_seconds" not in (await api.get(METRICS)).text
    health.clocks = RelayClocks(serving)
    await health.clocks.compare("up", operator, 2.5)
    shown = (await api.get("/status")).json()
    assert (shown["healthy"], shown["clocks"]) == (True, {"up": 2.5})
    assert 'tierline_clock_ahead_seconds{channel="up"} 2.5' in (await api.get(METRICS)).text
    await health.clocks.compare("up", operator, -31.0)
    shown = (await api.get("/status")).json()
    assert (shown["ready"], shown["healthy"]) == (True, False)
    assert shown["unhealthy"] == {"clock of up": "its server is 31.0 s behind; set this node's clock"}
    assert "tierline_healthy 0.0" in (await api.get(METRICS)).text
    assert (await api.get("/readyz")).status_code == 200


async def test_metrics_can_be_closed(health):
    app = make_app(health, open_metrics=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node") as client:
        assert (await client.get(METRICS)).status_code == 401
        assert (await client.get("/livez")).status_code == 200


async def test_metrics_count_what_there_is(api, respond, send, clock, health):
    control = await send("feeder-1", start=clock.now(), connect=False)
    await respond("pv-1", control.mrid, 1)
    health.requests["GET", 200] += 3
    lines = (await api.get(METRICS)).text.splitlines()
    assert "tierline_devices 4.0" in lines
    assert "tierline_controls_active 1.0" in lines
    assert 'tierline_responses_total{status="received"} 1.0' in lines
    assert 'tierline_requests_total{method="GET",status="200"} 3.0' in lines
    before = next(line for line in lines if line.startswith("tierline_commits_total "))
    await respond("pv-2", control.mrid, 1)
    after = next(
        line for line in (await api.get(METRICS)).text.splitlines() if line.startswith("tierline_commits_total ")
    )
    assert float(after.split()[1]) == float(before.split()[1]) + 1


async def test_a_body_too_long_or_of_unknown_length_is_refused(api):
    answer = await api.post("/devices", content=b"{}", headers={"Content-Length": "99999999"})
    assert answer.status_code == 413

    async def body():
        yield b"{}"

    assert (await api.post("/devices", content=body())).status_code == 413
    assert (await api.get("/status", headers={"Content-Length": "x"})).status_code == 413


async def test_an_unknown_path_and_method_are_told_in_json(api):
    missing = await api.get("/no/such/path")
    assert (missing.status_code, missing.json()["error"]["kind"]) == (404, "not_found")
    wrong = await api.delete("/status")
    assert (wrong.status_code, wrong.json()["error"]["kind"]) == (405, "invalid")


async def test_a_bug_answers_without_a_stack_trace(api, serving):
    del serving.devices[next(iter(serving.devices))]
    answer = await api.get("/groups/two feeders/members")
    assert answer.status_code == 500
    assert answer.json()["error"]["message"] == "an error inside tierline"
    assert "Traceback" not in answer.text


async def test_a_store_that_refuses_answers_unavailable(api, serving, monkeypatch):
    from tierline.model.errors import LinkError

    async def refuse(put=(), delete=()):
        raise LinkError("the disk is full")

    monkeypatch.setattr(serving.store, "commit", refuse)
    answer = await api.post("/devices/pv-1/disable")
    assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "unavailable")
    assert serving.devices  # and nothing changed
    assert (await api.get("/devices/pv-1")).json()["enabled"]


async def test_a_body_that_does_not_fit_is_told_field_by_field(api):
    answer = await api.post("/controls", json={"group": "feeder-1", "setpoints": {}, "durations": 5})
    error = answer.json()["error"]
    assert answer.status_code == 422
    assert "duration_s: Field required" in error["message"]
    assert "durations: Extra inputs are not permitted" in error["message"]
    assert error["what_to_do"] == "GET /openapi.json describes every field"


async def test_the_description_loads_nothing_from_elsewhere(api):
    assert (await api.get("/docs")).status_code == 404
    assert (await api.get("/redoc")).status_code == 404
    assert "http" not in (await api.get("/openapi.json")).text.replace("HTTP", "")
