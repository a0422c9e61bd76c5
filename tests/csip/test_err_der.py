"""ERR rows, the DER client under test."""

import pytest
from bench.documents import Assignment, Event, Program, mrid
from bench.scripted_server import Answer

pytestmark = pytest.mark.csip


@pytest.mark.parametrize("status", [301, 302])
async def test_err_001_der_follows_a_redirection_over_the_same_security(der, status):
    """HTTP redirection.

    Stimulus: the entry, and the list of controls, answer 301 or 302 with a Location.
    Required: the client goes there, over TLS, and obeys what it finds; it comes back by the old path.
    Clause: IEEE 2030.5-2018 5.5.1 (HTTP, 301 and 302), CSIP 2.1 P6.
    """
    async with der.head_end() as server:
        event = Event(mrid("A1"), int(der.now()) + 40, 20, {"opModMaxLimW": 6000})
        server.devices[0].assignments = [Assignment(mrid("F1"), [Program(mrid("5E"), 10, [event])])]

        def moved(to):
            return lambda _: Answer(status, location=to)

        def found(path):
            return lambda request: Answer(body=server.document(path, request.query).replace(path, request.path))

        server.script = {
            "/dcap": moved("/elsewhere/dcap"),
            "/elsewhere/dcap": found("/dcap"),
            "/p/5e/derc": moved(f"https://127.0.0.1:{server.port}/elsewhere/derc?s=0&l=255"),
            "/elsewhere/derc": found("/p/5e/derc"),
        }
        async with der.following():
            await der.until(lambda: 3 in der.statuses(event.mrid))
    assert der.statuses(event.mrid) == [1, 2, 3]
    assert len(server.asked("GET", "^/elsewhere/dcap$")) == len(server.asked("GET", "^/dcap$")) > 1


async def test_err_001_der_follows_no_redirection_away_from_its_server(der):
    """HTTP redirection to where there is no TLS, or another server.

    Required: it is not followed, and nothing is obeyed.
    Clause: CSIP 2.1 P6; IEEE 2030.5-2018 6.2.
    """
    async with der.head_end() as server, der.head_end() as stranger:
        targets = iter(["http://127.0.0.1/dcap", f"https://127.0.0.1:{stranger.port}/dcap"] * 10)
        server.script = {"/dcap": lambda _: Answer(301, location=next(targets))}
        der.server = server
        async with der.following():
            await der.until(lambda: len(server.asked("GET", "^/dcap$")) >= 3)
    assert stranger.requests == []
    assert {one.path for one in server.requests} == {"/dcap"}
