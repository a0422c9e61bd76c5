"""What the tests of the serving half share."""

from datetime import timedelta

import pytest

from tierline.env import SeededRandom
from tierline.model.errors import LinkError
from tierline.operations.serving.state import Serving


@pytest.fixture
def restarted(serving):
    """Give the node as it would be after a restart: from its store alone."""

    def restart():
        again = Serving(
            party=serving.party,
            store=serving.store,
            clock=serving.clock,
            random=SeededRandom(7),
            pen=serving.pen,
            grid=serving.grid,
        )
        again.load()
        return again

    return restart


class Refusing:
    """A store whose disk is full."""

    def __init__(self, store):
        self.store = store

    async def commit(self, put=(), delete=()):
        raise LinkError("no space left")

    async def forget_before(self, kind, time, *, limit=0):
        raise LinkError("no space left")

    def __getattr__(self, name):
        return getattr(self.store, name)


@pytest.fixture
def full_disk(serving):
    """Let the store refuse from now on."""

    def fill():
        serving.store = Refusing(serving.store)

    return fill


@pytest.fixture
def later(clock):
    return lambda **parts: clock.now() + timedelta(**parts)
