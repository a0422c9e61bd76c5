"""What an aggregator needs of a server, our server under test: groups, registration in band, subscriptions and notices."""

import pytest
from bench.der import OPERATOR
from bench.documents import NS
from bench.schema import faults_of
from bench.scripted_client import find, text
from bench.scripted_server import Answer
from bench.switching import a_switching

from tierline.operations.serving import groups, topology

pytestmark = pytest.mark.csip


def a_subscription(served, resource, limit=10):
    return (
        f'<Subscription xmlns="{NS}"><subscribedResource>{resource}</subscribedResource><encoding>0</encoding>'
        f"<level>+S1</level><limit>{limit}</limit>"
        f"<notificationURI>https://127.0.0.1:{served.listener_port}/told</notificationURI></Subscription>"
    )


async def devices_of(client):
    listed = await client.follow(await client.get("/dcap"), "EndDeviceList")
    return {text(one, "lFDI"): one for one in listed}


async def subscribe(served, client, lfdi, *resources):
    """Subscribe as the aggregator of an LFDI; gives the Locations."""
    own = (await devices_of(client))[lfdi]
    link = find(own, "SubscriptionListLink").get("href")
    found = []
    for resource in resources:
        answer = await client.ask("POST", link, a_subscription(served, resource))
        assert answer.status == 201
        shown = await client.get(answer.headers["location"])
        assert text(shown, "subscribedResource") == resource
        found.append(answer.headers["location"])
    return found


def told(listener, resource):
    """Give the notices of a resource; all of them must be valid."""
    posted = [one for one in listener.asked("POST", "^/told$") if one.text("subscribedResource") == resource]
    assert [fault for one in posted for fault in faults_of(one.body)] == []
    return posted


async def test_util_001_server_assigns_nine_groups(served):
    """Groups assigned by the server.

    Stimulus: besides the tiers of the network, the operator makes groups of other kinds until a DER is in nine, and takes it out
    of one again.
    Required: nine programs, the topological ones before the others, each once; then eight.
    Clause: CSIP 2.1 G5, P23-P27, 5.2.3.
    """
    made = [await groups.create_group(OPERATOR, served.state, f"contract {n}") for n in range(6)]
    for one in made:
        await groups.add_members(OPERATOR, served.state, one.group.id, [served.device.der_id])
    async with served.client() as client:
        programs = await client.programs()
        assert len({one.get("href") for one in programs}) == len(programs) == 9
        assert [text(one, "description") for one in programs[:3]] == ["feeder", "substation", "system"]
        primacies = [int(text(one, "primacy")) for one in programs]
        assert primacies == sorted(primacies)
        await groups.remove_members(OPERATOR, served.state, made[0].group.id, [served.device.der_id])
        assert len(await client.programs()) == 8


async def test_util_002_server_lets_an_aggregator_register_and_take_out_its_ders(served):
    """Registration in band.

    Stimulus: an aggregator POSTs an EndDevice, POSTs it again, POSTs one that is another's, DELETEs its own; a DER POSTs one.
    Required: 201 with a Location that shows it among its list; no second one; 4xx for the others; gone after DELETE; the
    aggregator's own entry has subscriptions and no assignments, those it stands for have assignments.
    Clause: CSIP 2.1 6.1, P20, P22; IEEE 2030.5-2018 10.3.3, annex A.
    """
    lfdi, *_ = await served.aggregator()
    new = "0123456789ABCDEF0123456789ABCDEF01234567"
    body = f'<EndDevice xmlns="{NS}"><lFDI>{{}}</lFDI><sFDI>{{}}</sFDI><changedTime>{int(served.now())}</changedTime></EndDevice>'

    def entry(of):
        number = int(of[:9], 16)
        return body.format(of, number * 10 + -sum(map(int, str(number))) % 10)

    async with served.client(served.context("agg")) as client:
        listed = await devices_of(client)
        assert len(listed) == 3
        assert find(listed[lfdi], "SubscriptionListLink") is not None
        assert find(listed[lfdi], "FunctionSetAssignmentsListLink") is None
        assert all(
            find(one, "FunctionSetAssignmentsListLink") is not None for who, one in listed.items() if who != lfdi
        )
        link = find(await client.get("/dcap"), "EndDeviceListLink").get("href")
        created = await client.ask("POST", link, entry(new))
        assert created.status == 201
        assert text(await client.get(created.headers["location"]), "lFDI") == new
        await client.ask("POST", link, entry(new))
        assert len(await devices_of(client)) == 4
        assert 400 <= (await client.ask("POST", link, entry(served.lfdi))).status < 500
        assert served.lfdi not in await devices_of(client)
        assert (await client.ask("DELETE", created.headers["location"])).status in {200, 204}
        assert len(await devices_of(client)) == 3
    async with served.client() as client:
        assert (await client.ask("POST", link, entry("F" * 40))).status == 403


async def test_core_018_server_tells_of_every_change_of_what_is_subscribed_to(served):
    """Subscription and notification.

    Stimulus: an aggregator subscribes to the lists of assignments, programs and controls and to a default of a DER it stands for;
    the operator makes a control, cancels it, and changes the default.
    Required: 201 with a Location; each change is told within seconds at the URI given, over mutual TLS, by the path that was
    subscribed to, with what a GET would show.
    Clause: CSIP 2.1 P31-P33, P46-P51; IEEE 2030.5-2018 9.5, Notification.
    """
    lfdi, first, _ = await served.aggregator()
    await served.default({"max_lim_w_pct": 90})
    async with served.client(served.context("agg")) as client, served.telling() as listener:
        device = (await devices_of(client))[first]
        programs = [one for one in await client.programs(device) if text(one, "description") == "feeder"]
        controls = find(programs[0], "DERControlListLink").get("href")
        default = find(programs[0], "DefaultDERControlLink").get("href")
        fsa = find(device, "FunctionSetAssignmentsListLink").get("href")
        derp = find((await client.get(f"{fsa}?l=255"))[0], "DERProgramListLink").get("href")
        for href in (fsa, derp, controls):
            assert (await client.get(f"{href}?l=255")).get("subscribable") == "1"
        await subscribe(served, client, lfdi, fsa, derp, controls, default)
        control = await served.control({"max_lim_w_pct": 50}, after_s=300, duration_s=60)
        await served.until(lambda: told(listener, controls), 60)
        shown = told(listener, controls)[-1].document.find(f"{{{NS}}}Resource")
        assert [text(one, "mRID") for one in shown] == [control.mrid]
        count = len(told(listener, controls))
        await served.cancel(control)
        await served.until(lambda: len(told(listener, controls)) > count, 60)
        shown = told(listener, controls)[-1].document.find(f"{{{NS}}}Resource")
        assert [text(one, "EventStatus/currentStatus") for one in shown] == ["2"]
        await served.default({"max_lim_w_pct": 80})
        await served.until(lambda: told(listener, default), 60)
        assert told(listener, default)[-1].text("opModMaxLimW") == "8000"
    assert {one.peer for one in listener.requests} == {served.spine_lfdi()}


async def test_core_019_server_tells_nothing_after_a_subscription_has_ended(served):
    """Subscription and its end.

    Stimulus: a subscription is DELETEd; then the list changes.
    Required: 2xx; it cannot be read any more; nothing is told.
    Clause: CSIP 2.1 P39; IEEE 2030.5-2018 9.5.4, annex A.
    """
    lfdi, first, _ = await served.aggregator()
    async with served.client(served.context("agg")) as client, served.telling() as listener:
        device = (await devices_of(client))[first]
        lists = [find(one, "DERControlListLink").get("href") for one in await client.programs(device)]
        kept, ended = await subscribe(served, client, lfdi, lists[1], lists[0])
        assert (await client.ask("DELETE", ended)).status in {200, 204}
        assert (await client.ask("GET", ended)).status == 404
        await client.get(kept)
        by_list = {
            text(one, "description"): find(one, "DERControlListLink").get("href")
            for one in await client.programs(device)
        }
        await served.control({"max_lim_w_pct": 50}, after_s=300, duration_s=60)
        await served.control(
            {"max_lim_w_pct": 50}, after_s=300, duration_s=60, group=served.group(served.transformer())
        )
        await served.until(lambda: told(listener, by_list["substation"]), 60)
        await served.clock.sleep(30)
        assert told(listener, by_list["feeder"]) == []


async def test_err_002_server_tells_again_after_errors_and_over_a_restart(served):
    """Errors of subscriptions.

    Stimulus: the listener answers 503, then is heard again; the server is restarted; what cannot be subscribed to is asked for.
    Required: the notice comes again until it is taken; the subscription is there after the restart and told of; 400 for a
    resource that is none, for an encoding the server does not have, and for a URI that is none.
    Clause: CSIP 2.1 P39, P52; IEEE 2030.5-2018 9.5.
    """
    lfdi, first, _ = await served.aggregator()
    async with served.client(served.context("agg")) as client, served.telling() as listener:
        own = (await devices_of(client))[lfdi]
        link = find(own, "SubscriptionListLink").get("href")
        device = (await devices_of(client))[first]
        controls = next(
            find(one, "DERControlListLink").get("href")
            for one in await client.programs(device)
            if text(one, "description") == "feeder"
        )
        good = a_subscription(served, controls)
        for wrong in (
            a_subscription(served, "/nothing"),
            good.replace("<encoding>0", "<encoding>1"),
            good.replace("https://", "gopher://"),
            "<Subscription",
        ):
            assert 400 <= (await client.ask("POST", link, wrong)).status < 500, wrong
        (at,) = await subscribe(served, client, lfdi, controls)
        answers = iter([503, 503])
        listener.script = {"*": lambda _: Answer(next(answers, 204))}
        await served.control({"max_lim_w_pct": 50}, after_s=900, duration_s=60)
        await served.until(lambda: len(told(listener, controls)) >= 3)
    await served.restart()
    async with served.client(served.context("agg")) as client, served.telling() as listener:
        assert text(await client.get(at), "subscribedResource") == controls
        await served.control({"max_lim_w_pct": 40}, after_s=1200, duration_s=60)
        await served.until(lambda: told(listener, controls), 120)


async def test_agg_001_server_tells_of_a_new_end_device(served):
    """Subscription to the EndDeviceList.

    Stimulus: an aggregator subscribes to its list; another DER is put under its care.
    Required: it is told, and finds that DER in its list.
    Clause: CSIP 2.1 P20, P39, P46; IEEE 2030.5-2018 9.5, 10.3.
    """
    lfdi, *_ = await served.aggregator()
    async with served.client(served.context("agg")) as client, served.telling() as listener:
        link = find(await client.get("/dcap"), "EndDeviceListLink").get("href")
        await subscribe(served, client, lfdi, link)
        late = await served.another()
        await served.until(lambda: told(listener, link), 60)
        assert late in await devices_of(client)


async def test_maint_003_server_tells_of_a_der_that_moves_to_another_group(served):
    """A DER moves.

    Stimulus: switches feed the DERs of an aggregator from another feeder.
    Required: the list of assignments that was subscribed to is told of; the programs behind it are those of the new feeder.
    Clause: CSIP 2.1 G5, P23, P46, 5.2.3; IEEE 2030.5-2018 9.5.
    """
    lfdi, first, _ = await served.aggregator()
    positions, _ = a_switching(served)
    async with served.client(served.context("agg")) as client, served.telling() as listener:
        device = (await devices_of(client))[first]
        fsa = find(device, "FunctionSetAssignmentsListLink").get("href")
        before = {one.get("href") for one in await client.programs(device)}
        await subscribe(served, client, lfdi, fsa)
        await topology.confirm_switching(OPERATOR, served.state, positions)
        await served.until(lambda: told(listener, fsa), 60)
        after = {one.get("href") for one in await client.programs(device)}
        assert before - after
        assert after - before
