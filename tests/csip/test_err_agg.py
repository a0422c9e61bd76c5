"""ERR rows, the aggregator under test."""

import pytest
from bench.documents import NS, Assignment, Event, Program, mrid
from bench.scripted_server import Answer

pytestmark = pytest.mark.csip


@pytest.mark.parametrize("status", [301, 302])
async def test_err_001_agg_follows_a_redirection_over_the_same_security(agg, status):
    """HTTP redirection.

    Stimulus: the entry and a list of controls answer 301 or 302 with a Location.
    Required: the aggregator goes there over TLS, and its DERs obey what is found.
    Clause: IEEE 2030.5-2018 5.5.1 (HTTP, 301 and 302), CSIP 2.1 P6.
    """
    async with agg.head_end() as server:
        event = Event(mrid("A1"), int(agg.now()) + 90, 20, {"opModMaxLimW": 6000})
        for device in server.devices[1:]:
            device.assignments = [Assignment(mrid("F1"), [Program(mrid("5E"), 10, [event])])]

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
        async with agg.aggregating():
            await agg.until(lambda: len([one for one in server.responses() if one[2] == 3]) == 2)
    assert sorted(status for _, _, status, _ in server.responses()) == [1, 1, 2, 2, 3, 3]


async def test_err_002_agg_answers_400_to_what_is_no_notice(agg):
    """Errors of subscriptions, at the listener.

    Stimulus: a broken document, another resource, a body that is no XML, and a notice at a path nobody was given.
    Required: 400 each, 404 for the path; a right notice is taken afterwards as before.
    Clause: CSIP 2.1 P39; IEEE 2030.5-2018 9.5.3 (Notification), 5.5.2.
    """
    async with agg.head_end() as server, agg.aggregating(leaves=False):
        await agg.until(lambda: "/e" in server.watched())
        for body in (
            f'<Notification xmlns="{NS}"><status>0</status>',
            f'<Time xmlns="{NS}"/>',
            "not XML at all",
            f'<Notification xmlns="{NS}"><subscribedResource>/e</subscribedResource><status>soon</status></Notification>',
        ):
            assert await server.tell("/e", body=body) == [400], body
        (at,) = [at for at, (resource, _) in server.subscriptions.items() if resource == "/e"]
        resource, uri = server.subscriptions[at]
        server.subscriptions["/x"] = ("/x", uri.rpartition("/")[0] + "/nowhere")
        assert await server.tell("/x") == [404]
        del server.subscriptions["/x"]
        before = len(server.asked("GET", "^/e$"))
        assert await server.tell("/e") == [204]
        await agg.until(lambda: len(server.asked("GET", "^/e$")) > before)
    assert resource == "/e"


async def test_err_002_agg_polls_what_it_cannot_subscribe_to(agg):
    """Errors of subscriptions, at the server.

    Stimulus: every subscription is refused, by 400 for some and by 503 for the others; a control is added.
    Required: the aggregator goes on by polling; its DERs carry the control out.
    Clause: CSIP 2.1 P52, G16.
    """
    async with agg.head_end() as server:
        server.poll_s = 15
        program = Program(mrid("5E"), 10, [], {"opModMaxLimW": 8000})
        for device in server.devices[1:]:
            device.assignments = [Assignment(mrid("F1"), [program])]
        refusals = iter([400, 503] * 500)
        server.script = {("POST", "/e/0/sub"): lambda _: Answer(next(refusals))}
        async with agg.aggregating():
            await agg.until(lambda: all(leaf.device.holds for leaf in agg.leaves.values()))
            program.events = [Event(mrid("A1"), int(agg.now()) + 120, 30, {"opModMaxLimW": 6000})]
            await agg.until(lambda: len([one for one in server.responses() if one[2] == 3]) == 2)
    assert server.subscriptions == {}
    assert server.asked("POST", "/sub$")


async def test_err_002_agg_keeps_its_subscriptions_over_a_restart(agg):
    """Restart of the aggregator.

    Stimulus: the aggregator ends and is started again from what it kept; then a control is added and told of.
    Required: it begins with DeviceCapability; a notice for a subscription of its former life is taken at the same URI and obeyed;
    what it asked for before is renewed, not doubled.
    Clause: CSIP 2.1 P52; IEEE 2030.5-2018 9.5.
    """
    async with agg.head_end() as server:
        server.poll_s = 900
        program = Program(mrid("5E"), 10, [], {"opModMaxLimW": 8000})
        for device in server.devices[1:]:
            device.assignments = [Assignment(mrid("F1"), [program])]
        async with agg.aggregating(leaves=False):
            await agg.until(lambda: {"/e", "/p/5e/derc", "/p/5e/dderc"} <= set(server.watched()))
            await agg.clock.sleep(20)
        before, asked = dict(server.subscriptions), len(server.requests)
        async with agg.aggregating():
            assert server.requests[asked].path == "/dcap"
            await agg.until(lambda: all(leaf.device.holds for leaf in agg.leaves.values()))
            program.events = [Event(mrid("A1"), int(agg.now()) + 60, 30, {"opModMaxLimW": 6000})]
            assert await server.tell("/p/5e/derc") == [204]
            await agg.until(lambda: len([one for one in server.responses() if one[2] == 3]) == 2)
    assert server.subscriptions == before
