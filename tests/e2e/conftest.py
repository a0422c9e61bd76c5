"""The loops that end-to-end tests run on."""

import asyncio

import uvloop


def pytest_asyncio_loop_factories(config, item):
    """Run the transport on both loops: the node uses uvloop, and nothing may rely on it."""
    if item.path.name == "test_tls.py":
        return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.SelectorEventLoop}
