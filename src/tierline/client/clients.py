"""The two clients: the same calls, one waits and one is awaited."""

from __future__ import annotations

import ssl
from functools import update_wrapper
from typing import TYPE_CHECKING, Generic, ParamSpec, Self, TypeVar, cast

import httpx

from tierline.client import calls
from tierline.client.errors import ClientError
from tierline.model.errors import ConfigError, LinkError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from tierline.client.calls import Call

P = ParamSpec("P")
T = TypeVar("T")

TIMEOUT_S = 30.0
"""Seconds of the wall for one call."""


class _Method(Generic[P, T]):
    """A call as a method of the client that waits."""

    def __init__(self, build: Callable[P, Call[T]]) -> None:
        self._build = build

    def __get__(self, client: Client, _: type[Client]) -> Callable[P, T]:
        def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return client.send(self._build(*args, **kwargs))

        return update_wrapper(method, self._build)


class _AsyncMethod(Generic[P, T]):
    """A call as a method of the client that is awaited."""

    def __init__(self, build: Callable[P, Call[T]]) -> None:
        self._build = build

    def __get__(self, client: AsyncClient, _: type[AsyncClient]) -> Callable[P, Awaitable[T]]:
        async def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return await client.send(self._build(*args, **kwargs))

        return update_wrapper(method, self._build)


class Client:
    """Speaks to the operator API of one node and waits for each answer.

    Every method raises ClientError when the node refuses, LinkError when it cannot be reached. `ca_file` holds the
    authorities to trust for an https URL; those of the machine without it.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout_s: float = TIMEOUT_S,
        ca_file: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers=_headers(token),
            timeout=timeout_s,
            verify=_trust(ca_file),
            transport=transport,
            trust_env=False,
        )

    def send(self, call: Call[T]) -> T:
        """Make one call."""
        try:
            answer = self._http.request(call.method, call.path, params=dict(call.query), json=call.body)
        except httpx.TransportError as error:
            raise _unreachable(self._http.base_url, error) from error
        return cast("T", _opened(answer))  # what the API declares for this call; a test compares the two

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    status = _Method(calls.status)
    devices = _Method(calls.devices)
    device = _Method(calls.device)
    add_devices = _Method(calls.add_devices)
    enable_device = _Method(calls.enable_device)
    disable_device = _Method(calls.disable_device)
    remove_device = _Method(calls.remove_device)
    place_device = _Method(calls.place_device)
    explain = _Method(calls.explain)
    readings = _Method(calls.readings)
    latest_readings = _Method(calls.latest_readings)
    groups = _Method(calls.groups)
    group = _Method(calls.group)
    create_group = _Method(calls.create_group)
    rename_group = _Method(calls.rename_group)
    delete_group = _Method(calls.delete_group)
    members = _Method(calls.members)
    add_members = _Method(calls.add_members)
    remove_members = _Method(calls.remove_members)
    programs = _Method(calls.programs)
    curves = _Method(calls.curves)
    default = _Method(calls.default)
    set_default = _Method(calls.set_default)
    create_control = _Method(calls.create_control)
    preview_control = _Method(calls.preview_control)
    controls = _Method(calls.controls)
    control = _Method(calls.control)
    cancel_control = _Method(calls.cancel_control)
    responses = _Method(calls.responses)
    grid = _Method(calls.grid)
    switches = _Method(calls.switches)
    preview_switching = _Method(calls.preview_switching)
    confirm_switching = _Method(calls.confirm_switching)
    tariffs = _Method(calls.tariffs)
    create_tariff = _Method(calls.create_tariff)
    remove_tariff = _Method(calls.remove_tariff)
    prices = _Method(calls.prices)
    set_prices = _Method(calls.set_prices)
    withdraw_prices = _Method(calls.withdraw_prices)
    audit = _Method(calls.audit)
    verify_audit = _Method(calls.verify_audit)
    tokens = _Method(calls.tokens)
    create_token = _Method(calls.create_token)
    revoke_token = _Method(calls.revoke_token)


class AsyncClient:
    """Speaks to the operator API of one node; every method is awaited.

    Every method raises ClientError when the node refuses, LinkError when it cannot be reached. `ca_file` holds the
    authorities to trust for an https URL; those of the machine without it.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout_s: float = TIMEOUT_S,
        ca_file: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=_headers(token),
            timeout=timeout_s,
            verify=_trust(ca_file),
            transport=transport,
            trust_env=False,
        )

    async def send(self, call: Call[T]) -> T:
        """Make one call."""
        try:
            answer = await self._http.request(call.method, call.path, params=dict(call.query), json=call.body)
        except httpx.TransportError as error:
            raise _unreachable(self._http.base_url, error) from error
        return cast("T", _opened(answer))  # what the API declares for this call; a test compares the two

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    status = _AsyncMethod(calls.status)
    devices = _AsyncMethod(calls.devices)
    device = _AsyncMethod(calls.device)
    add_devices = _AsyncMethod(calls.add_devices)
    enable_device = _AsyncMethod(calls.enable_device)
    disable_device = _AsyncMethod(calls.disable_device)
    remove_device = _AsyncMethod(calls.remove_device)
    place_device = _AsyncMethod(calls.place_device)
    explain = _AsyncMethod(calls.explain)
    readings = _AsyncMethod(calls.readings)
    latest_readings = _AsyncMethod(calls.latest_readings)
    groups = _AsyncMethod(calls.groups)
    group = _AsyncMethod(calls.group)
    create_group = _AsyncMethod(calls.create_group)
    rename_group = _AsyncMethod(calls.rename_group)
    delete_group = _AsyncMethod(calls.delete_group)
    members = _AsyncMethod(calls.members)
    add_members = _AsyncMethod(calls.add_members)
    remove_members = _AsyncMethod(calls.remove_members)
    programs = _AsyncMethod(calls.programs)
    curves = _AsyncMethod(calls.curves)
    default = _AsyncMethod(calls.default)
    set_default = _AsyncMethod(calls.set_default)
    create_control = _AsyncMethod(calls.create_control)
    preview_control = _AsyncMethod(calls.preview_control)
    controls = _AsyncMethod(calls.controls)
    control = _AsyncMethod(calls.control)
    cancel_control = _AsyncMethod(calls.cancel_control)
    responses = _AsyncMethod(calls.responses)
    grid = _AsyncMethod(calls.grid)
    switches = _AsyncMethod(calls.switches)
    preview_switching = _AsyncMethod(calls.preview_switching)
    confirm_switching = _AsyncMethod(calls.confirm_switching)
    tariffs = _AsyncMethod(calls.tariffs)
    create_tariff = _AsyncMethod(calls.create_tariff)
    remove_tariff = _AsyncMethod(calls.remove_tariff)
    prices = _AsyncMethod(calls.prices)
    set_prices = _AsyncMethod(calls.set_prices)
    withdraw_prices = _AsyncMethod(calls.withdraw_prices)
    audit = _AsyncMethod(calls.audit)
    verify_audit = _AsyncMethod(calls.verify_audit)
    tokens = _AsyncMethod(calls.tokens)
    create_token = _AsyncMethod(calls.create_token)
    revoke_token = _AsyncMethod(calls.revoke_token)


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Accept": "application/json"}


def _trust(ca_file: str | None) -> ssl.SSLContext | bool:
    """Trust the authorities of the machine, or those of one PEM file.

    Raises: ConfigError when the file cannot be used.
    """
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigError(f"the certificates in {ca_file} cannot be used: {error}") from error


def _unreachable(url: httpx.URL, error: httpx.TransportError) -> LinkError:
    what = "does not answer in time" if isinstance(error, httpx.TimeoutException) else f"cannot be reached: {error}"
    return LinkError(f"the node at {url} {what}; is it running, and is this the address under [operator] listen?")


def _opened(answer: httpx.Response) -> object:
    """Give the body of a success.

    Raises: ClientError with the node's own words.
    """
    try:
        body = answer.json()
    except ValueError as error:
        raise ClientError(
            f"{answer.url} answered {answer.status_code} without JSON; is this the operator API of a tierline node?",
            status=answer.status_code,
            kind="unknown",
        ) from error
    if answer.is_success:
        return body
    fault = body.get("error") if isinstance(body, dict) else None
    if not isinstance(fault, dict):
        raise ClientError(f"{answer.url} answered {answer.status_code}", status=answer.status_code, kind="unknown")
    raise ClientError(
        str(fault.get("message")),
        status=answer.status_code,
        kind=str(fault.get("kind")),
        what_to_do=fault.get("what_to_do"),
    )
