"""Typed client of the operator API; imports the model only.

`Client(url, token)` waits, `AsyncClient(url, token)` is awaited; both have the methods of `calls` and give the typed
dictionaries of `answers`.
"""

from tierline.client.calls import ControlRequest
from tierline.client.clients import AsyncClient, Client
from tierline.client.errors import ClientError

__all__ = ["AsyncClient", "Client", "ClientError", "ControlRequest"]
