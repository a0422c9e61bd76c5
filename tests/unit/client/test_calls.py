"""Calls are values; what comes back is what the API declares."""

import inspect
import types
import typing
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic import BaseModel

from tierline.client import AsyncClient, Client, ControlRequest, answers, calls
from tierline.console.api import models

ANSWERS = {name: kind for name, kind in vars(answers).items() if typing.is_typeddict(kind)}
BUILDERS = {
    name: build
    for name, build in vars(calls).items()
    if inspect.isfunction(build) and build.__module__ == calls.__name__ and not name.startswith("_")
}
SAMPLES = {
    "control": ControlRequest(group="feeder-1", setpoints={"max_lim_w_pct": 50}, duration_s=900),
    "new": [{"lfdi": "01" * 20}],
    "closed": {3: True},
    "setpoints": {"max_lim_w_pct": 50},
}


def _plain(hint):
    """Give the type that a value of the API has in JSON."""
    if hint == answers.Setpoint:
        return "setpoint"
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _plain(args[0])
    if origin in {typing.Union, types.UnionType}:
        return frozenset(_plain(arg) for arg in args)
    if origin in {list, dict}:
        return origin, *(_plain(arg) for arg in args)
    if hint is datetime:
        return str
    if hint is Decimal:
        return float
    if inspect.isclass(hint) and (issubclass(hint, BaseModel) or typing.is_typeddict(hint)):
        return hint.__name__
    return hint if inspect.isclass(hint) or hint is typing.Any else "setpoint"


def _built(build):
    """Build a call with something for each argument it needs."""
    given = {}
    for name, parameter in inspect.signature(build).parameters.items():
        if name == "control" and build is calls.control:
            given[name] = "0" * 32
        elif parameter.default is parameter.empty:
            given[name] = SAMPLES.get(name, "x/y z")
    return build(**given)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_what_the_api_declares(name):
    model = getattr(models, name)
    hints = typing.get_type_hints(model, include_extras=True)
    declared = {key: _plain(hints[key]) for key in model.model_fields}
    assert {key: _plain(hint) for key, hint in typing.get_type_hints(ANSWERS[name]).items()} == declared


def test_every_answer_of_the_api_is_typed():
    shown = {
        name
        for name, kind in vars(models).items()
        if inspect.isclass(kind) and issubclass(kind, models.Shown) and kind is not models.Shown
    }
    assert shown - {"Refusal", "Fault"} == set(ANSWERS)


@pytest.fixture(scope="module")
def declared():
    """Keep what takes long to make and is the same for every application."""
    return {}


@pytest.fixture
def paths(app, declared):
    """Give what the API declares of its paths."""
    if not declared:
        declared.update(app.openapi()["paths"])
    return declared


@pytest.mark.parametrize("name", BUILDERS)
def test_a_call_stands_for_a_route_and_its_answer(paths, name):
    call = _built(BUILDERS[name])
    found = [
        operations[call.method.lower()]
        for path, operations in paths.items()
        if _matches(path, call.path) and call.method.lower() in operations
    ]
    assert len(found) == 1
    success = next(answer for status, answer in found[0]["responses"].items() if status.startswith("2"))
    declared = success["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert str(BUILDERS[name].__annotations__["return"]) == f"Call[answers.{declared}]"
    known = {parameter["name"] for parameter in found[0].get("parameters", []) if parameter["in"] == "query"}
    assert set(call.query) <= known
    assert (call.body is not None) == ("requestBody" in found[0])


def test_every_route_has_a_call(paths):
    built = [_built(build) for build in BUILDERS.values()]
    for path, operations in paths.items():
        if path in {"/livez", "/readyz", "/metrics"}:
            continue
        for method in operations:
            assert any(call.method == method.upper() and _matches(path, call.path) for call in built), (method, path)


def _matches(template, path):
    parts, given = template.split("/"), path.split("/")
    return len(parts) == len(given) and all(
        part == one or part.startswith("{") for part, one in zip(parts, given, strict=True)
    )


def test_both_clients_have_every_call():
    for name in BUILDERS:
        for client in (Client, AsyncClient):
            assert name in vars(client), (client, name)


def test_names_are_quoted_in_paths():
    assert calls.device("a/b c").path == "/devices/a%2Fb%20c"


def test_what_is_not_given_is_not_sent():
    assert calls.devices().query == {"offset": 0, "limit": 100}
    assert calls.audit().query == {"limit": 100}
    assert calls.controls("feeder-1", "active").query == {"group": "feeder-1", "state": "active", "limit": 1000}


def test_times_are_sent_with_their_zone():
    noon = datetime(2026, 6, 18, 12, tzinfo=UTC)
    assert calls.readings("pv-1", noon).query["since"] == "2026-06-18T12:00:00+00:00"
    assert calls.responses("2026-06-18T12:00:00Z").query["since"] == "2026-06-18T12:00:00Z"
    request = ControlRequest(group="g", setpoints={}, duration_s=1, start=noon)
    assert calls.create_control(request).body["start"] == "2026-06-18T12:00:00+00:00"


def test_switch_numbers_become_json_keys():
    assert calls.confirm_switching({107: False}).body == {"closed": {"107": False}}
