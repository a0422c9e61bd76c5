"""The link of a node that stands for many, against a scripted server."""

import asyncio
import random
from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest
from structlog.testing import capture_logs

from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.model.identity import sfdi_of
from tierline.model.programs import FleetMember, Response, ResponseStatus
from tierline.model.records import DerInfoKind
from tierline.model.telemetry import Reading
from tierline.protocols.sep2.codec import render
from tierline.protocols.sep2.fleet_north import Sep2FleetNorth
from tierline.protocols.sep2.mapping.telemetry import mirror_mrid
from tierline.protocols.sep2.resources import der, devices, exchange
from tierline.storage.memory import MemoryStore

URI = "https://192.0.2.9:8444/ntfy/secret"


class Link:
    """A node's link to a scripted server, over a store that outlives it."""

    def __init__(self, fleet, server, *, uri=URI):
        self.fleet, self.server, self.uri = fleet, server, uri
        self.store = MemoryStore()
        self.start()

    def start(self):
        self.north = Sep2FleetNorth(
            courier=self.server,
            entry=self.server.entry,
            clock=self.server.clock,
            store=self.store,
            pen=37244,
            notification_uri=self.uri,
        )

    async def settle(self):
        """Walk and subscribe until the server tells of everything that we know."""
        await self.north.walk()
        await self.north.subscribe()
        self.server.clock.move(seconds=self.north.poll_s)
        await self.north.walk()
        await self.north.subscribe()
        self.server.log.clear()

    def hear(self, path, status=0):
        self.north.hear(self.fleet.Heard(path, status))

    def member(self, number, **more):
        return FleetMember(lfdi=self.fleet.lfdi_of(number), pin=None, device_category=4, **more)

    def answer(self, mrid, number=0, **more):
        given = {
            "mrid": mrid,
            "der_id": "aaaaaaaaaaaaa",
            "lfdi": self.fleet.lfdi_of(number),
            "status": ResponseStatus.RECEIVED,
            "created_at": self.server.clock.now(),
            "channel": "utility",
        }
        return Response(**(given | more))

    def reading(self, value=5):
        return Reading(der_id="aaaaaaaaaaaaa", point="w", value=value, power_of_ten=0, time=self.server.clock.now())


@pytest.fixture
def server(fleet):
    return fleet.FleetServer()


@pytest.fixture
def link(fleet, server):
    return Link(fleet, server)


# --- everything ---------------------------------------------------------------------------------------------------------


async def test_a_walk_brings_members_and_programs(fleet, server, link):
    server.programs[1].controls[7] = 4000
    server.members[1].programs = [1]
    server.members[2].programs = []
    seen = await link.north.walk()
    first, second = fleet.program_mrid(0), fleet.program_mrid(1)
    assert seen.channel == "utility"
    assert list(seen.members) == [fleet.lfdi_of(number) for number in range(3)]
    assert [member.programs for member in seen.members.values()] == [(first, second), (second,), ()]
    assert seen.members[fleet.lfdi_of(1)] == FleetMember(
        lfdi=fleet.lfdi_of(1), pin=111115, device_category=1 << 20, programs=(second,)
    )
    assert list(seen.programs) == [first, second]
    (control,) = seen.programs[second].controls
    assert (control.mrid, control.setpoints["max_lim_w_pct"]) == (fleet.control_mrid(7), Decimal(40))
    assert seen.programs[first].default.setpoints["max_lim_w_pct"] == 100
    assert link.north.poll_s == 60


async def test_our_own_entry_is_no_member(fleet, link):
    assert fleet.OWN not in (await link.north.walk()).members


async def test_a_server_that_does_not_list_us_is_told_apart(fleet, link, server):
    other = msgspec.structs.replace(server.own(), lfdi=fleet.lfdi_of(88))
    server.own = lambda: other
    with pytest.raises(Forbidden, match="does not list LFDI AAAA"):
        await link.north.walk()


async def test_each_program_is_read_once_whoever_is_assigned(fleet, link, server):
    await link.north.walk()
    asked = server.asked()
    assert len(asked) == len(set(asked))
    assert asked.count("/derp/0/derc") == 1


async def test_requests_go_out_several_at_once_and_no_more_than_allowed(fleet):
    server = fleet.FleetServer(members=50)
    await Link(fleet, server).north.walk()
    assert server.most_at_once == 8


@pytest.mark.parametrize("n", [100, 1000])
async def test_the_cost_of_a_walk_grows_with_the_members_and_not_faster(fleet, n):
    server = fleet.FleetServer(members=n, programs=3)
    link = Link(fleet, server, uri=None)
    seen = await link.north.walk()
    assert len(seen.members) == n
    pages = -(-(n + 1) // 255)
    # Registration, FunctionSetAssignmentsList, DERProgramList for each member; controls and default for each program.
    assert len(server.log) == 3 + pages + 3 * n + 2 * 3
    server.log.clear()
    server.clock.move(seconds=60)
    await link.north.walk()
    assert len(server.log) == 3 + pages + 2 * n + 2 * 3


async def test_a_pin_is_read_again_only_of_a_device_that_changed(fleet, link, server):
    await link.north.walk()
    server.clock.move(hours=1)
    server.members[1].changed, server.members[1].pin = 5, 222222
    server.log.clear()
    seen = await link.north.walk()
    assert [path for path in server.asked() if path.endswith("rg")] == ["/edev/own/rg", "/edev/1/rg"]
    assert seen.members[fleet.lfdi_of(1)].pin == 222222


async def test_a_pin_that_is_not_shown_spoils_nothing(fleet, link, server):
    server.members[0].pin = None
    server.instead["/edev/1/rg"] = 404
    seen = await link.north.walk()
    assert [member.pin for member in seen.members.values()] == [None, None, 111115]


async def test_a_disabled_member_is_shown_without_programs_and_not_read(fleet, link, server):
    server.members[0].enabled = False
    seen = await link.north.walk()
    member = seen.members[fleet.lfdi_of(0)]
    assert (member.enabled, member.programs) == (False, ())
    assert "/edev/0/fsa" not in server.asked()


async def test_a_list_of_programs_that_members_share_is_read_once(fleet, link, server):
    def shared(answer):
        return replace(answer, body=answer.body.replace(b"/edev/2/fsa/1/derp", b"/edev/0/fsa/1/derp"))

    server.instead["/edev/2/fsa"] = shared
    await link.north.walk()
    server.log.clear()
    server.clock.move(seconds=60)
    link.north._at_once = link.north._tree._at_once = 1
    seen = await link.north.walk()
    asked = server.asked()
    assert (asked.count("/edev/0/fsa/1/derp"), asked.count("/edev/2/fsa/1/derp")) == (1, 0)
    assert len(seen.members[fleet.lfdi_of(2)].programs) == 2


# --- what cannot be read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/edev/1/fsa", "/edev/1/fsa/1/derp"])
@pytest.mark.parametrize("made", [404, 400, lambda answer: replace(answer, body=b"<nonsense/>")])
async def test_a_member_that_cannot_be_read_is_left_out_alone(fleet, link, server, path, made):
    server.instead[path] = made
    seen = await link.north.walk()
    assert list(seen.members) == [fleet.lfdi_of(0), fleet.lfdi_of(2)]
    del server.instead[path]
    link.hear("/x")
    assert len((await link.north.walk()).members) == 2, "what drew an error is asked for again at the next poll"
    assert len((await link.north.walk()).members) == 3


async def test_a_link_that_leads_away_spoils_only_its_member(fleet, link, server):
    def misled(answer):
        return replace(answer, body=answer.body.replace(b'href="/edev/1/fsa/1/derp"', b'href="https://evil.example/x"'))

    server.instead["/edev/1/fsa"] = misled
    assert list((await link.north.walk()).members) == [fleet.lfdi_of(0), fleet.lfdi_of(2)]
    assert not any("evil" in path for _, path in server.log)


async def test_a_member_without_lfdi_is_left_out(fleet, link, server):
    server.members[1].lfdi = None
    assert list((await link.north.walk()).members) == [fleet.lfdi_of(0), fleet.lfdi_of(2)]


@pytest.mark.parametrize("made", [404, 503, lambda answer: replace(answer, body=b"<nonsense/>")])
async def test_a_program_that_cannot_be_read_stays_as_it_was(fleet, link, server, made):
    await link.north.walk()
    server.programs[0].controls[7] = server.programs[1].controls[8] = 4000
    server.instead["/derp/0/derc"] = made
    server.clock.move(seconds=60)
    seen = await link.north.walk()
    assert [len(program.controls) for program in seen.programs.values()] == [0, 1]
    assert all(len(member.programs) == 2 for member in seen.members.values())
    server.instead.clear()
    server.clock.move(seconds=60)
    seen = await link.north.walk()
    assert [len(program.controls) for program in seen.programs.values()] == [1, 1]


async def test_a_program_that_was_never_read_is_in_no_members_list(fleet, link, server):
    server.instead["/derp/0/dderc"] = 404
    seen = await link.north.walk()
    assert list(seen.programs) == [fleet.program_mrid(1)]
    assert {member.programs for member in seen.members.values()} == {(fleet.program_mrid(1),)}


async def test_a_server_that_fails_over_a_known_member_keeps_it(fleet, link, server):
    await link.north.walk()
    server.instead["/edev/1/fsa"] = 503
    server.clock.move(seconds=60)
    assert len((await link.north.walk()).members) == 3


async def test_a_server_that_fails_over_an_unknown_member_fails_the_walk(link, server):
    server.instead["/edev/1/fsa"] = 503
    with pytest.raises(LinkError, match="503"):
        await link.north.walk()


async def test_a_server_that_fails_over_many_fails_the_walk(fleet):
    server = fleet.FleetServer(members=40)
    link = Link(fleet, server)
    await link.north.walk()
    server.instead = {f"/edev/{number}/fsa": 503 for number in range(40)}
    server.clock.move(seconds=60)
    server.log.clear()
    with pytest.raises(LinkError, match="503"):
        await link.north.walk()
    assert len(server.log) < 40


async def test_a_broken_link_is_passed_on_and_everything_is_read_after_it(link, server):
    await link.settle()
    server.instead["/tm"] = LinkError("no route")
    server.clock.move(seconds=60)
    with pytest.raises(LinkError, match="no route"):
        await link.north.walk()
    assert link.north.has_news()
    del server.instead["/tm"]
    server.log.clear()
    await link.north.walk()
    assert len(server.log) > 10
    assert not link.north.has_news()


async def test_nothing_of_a_failed_walk_is_taken_for_what_the_next_one_would_read(fleet, link, server):
    server.instead["/derp/0/derc"] = LinkError("no route")
    with pytest.raises(LinkError, match="no route"):
        await link.north.walk()
    server.instead = {"/edev/1/fsa": LinkError("no route")}
    with pytest.raises(LinkError, match="no route"):
        await link.north.walk()
    server.instead.clear()
    for member in server.members.values():
        member.programs = [1]
    seen = await link.north.walk()
    assert {member.programs for member in seen.members.values()} == {(fleet.program_mrid(1),)}


async def test_a_cancelled_walk_is_made_up_for(link, server):
    server.instead["/edev/1/fsa"] = lambda _: pytest.fail("not awaited")
    task = asyncio.ensure_future(link.north.walk())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.instead.clear()
    assert len((await link.north.walk()).members) == 3


# --- what did not change ------------------------------------------------------------------------------------------------


async def test_a_walk_without_news_is_a_poll_whenever_it_comes(fleet, server):
    link = Link(fleet, server, uri=None)
    first = await link.north.walk()
    server.programs[0].controls[7] = 4000
    server.clock.move(seconds=1)
    assert await link.north.walk() != first


async def test_news_that_never_end_do_not_keep_from_polling(fleet, server):
    link = Link(fleet, server, uri=None)
    await link.north.walk()
    server.programs[0].controls[7] = 4000
    link.hear("/x")
    server.clock.move(seconds=59)
    assert (await link.north.walk()).programs[fleet.program_mrid(0)].controls == ()
    link.hear("/x")
    server.clock.move(seconds=1)
    assert len((await link.north.walk()).programs[fleet.program_mrid(0)].controls) == 1


async def test_without_subscriptions_everything_is_read_at_every_poll(fleet, server):
    link = Link(fleet, server, uri=None)
    await link.north.walk()
    await link.north.subscribe()
    server.programs[0].controls[7] = 4000
    server.clock.move(seconds=60)
    seen = await link.north.walk()
    assert len(seen.programs[fleet.program_mrid(0)].controls) == 1
    assert server.written == []


async def test_with_subscriptions_a_poll_only_asks_whether_the_server_is_there(link, server):
    await link.settle()
    server.clock.move(seconds=60)
    await link.north.walk()
    assert server.asked() == ["/tm"]


async def test_with_subscriptions_everything_is_read_once_an_hour(link, server):
    await link.settle()
    server.clock.move(hours=1)
    await link.north.walk()
    assert "/edev/0/fsa" in server.asked()


async def test_after_a_failure_everything_is_read_once_and_then_no_more(link, server):
    await link.settle()
    server.instead["/tm"] = LinkError("no route")
    server.clock.move(hours=1)
    with pytest.raises(LinkError):
        await link.north.walk()
    del server.instead["/tm"]
    read = []
    for _ in range(3):
        server.asked()
        await link.north.walk()
        read.append("/edev/0/fsa" in server.asked())
        server.clock.move(seconds=link.north.poll_s)
    assert read == [True, False, False]


async def test_that_a_walk_is_kept_is_said_once_it_is(link, server):
    await link.north.walk()
    assert server.asked("HEAD") == []
    await link.north.subscribe()
    assert server.asked("HEAD") == ["/edev"]


@pytest.mark.parametrize("answer", [405, 503, 404, LinkError("no route")])
async def test_that_a_walk_is_kept_need_not_be_understood(link, server, answer):
    server.instead["HEAD", "/edev"] = answer
    await link.settle()
    assert link.north.trusted()


async def test_after_the_clock_was_set_back_everything_is_read(link, server):
    await link.settle()
    server.clock.move(hours=-5)
    await link.north.walk()
    assert "/edev/0/fsa" in server.asked()


async def test_a_notice_of_controls_reads_that_program_alone(fleet, link, server):
    await link.settle()
    server.programs[1].controls[7] = 4000
    link.hear("/derp/1/derc")
    assert link.north.has_news()
    seen = await link.north.walk()
    assert len(seen.programs[fleet.program_mrid(1)].controls) == 1
    assert sorted(server.asked()) == ["/derp/1", "/derp/1/dderc", "/derp/1/derc"]
    assert not link.north.has_news()


async def test_a_notice_may_name_the_resource_by_its_whole_address(fleet, link, server):
    await link.settle()
    link.hear(f"https://{fleet.SERVER}/derp/1/dderc")
    await link.north.walk()
    assert "/derp/1/dderc" in server.asked()


async def test_a_notice_of_another_server_is_passed_over(link, server):
    await link.settle()
    link.hear("https://evil.example/derp/1/dderc")
    assert not link.north.has_news()


async def test_a_notice_of_what_nobody_knows_reads_nothing(link, server):
    await link.settle()
    link.hear("/derp/77/derc")
    await link.north.walk()
    assert server.log == []


async def test_a_default_that_appears_is_found_with_its_program(fleet, link, server):
    server.programs[1].default = None
    await link.settle()
    server.programs[1].default = 5000
    link.hear("/derp/1/derc")
    seen = await link.north.walk()
    assert seen.programs[fleet.program_mrid(1)].default.setpoints["max_lim_w_pct"] == 50


async def test_a_notice_of_assignments_reads_that_member_alone(fleet, link, server):
    await link.settle()
    server.programs[2] = fleet.Program(primacy=3)
    server.members[1].programs = [2]
    link.hear("/edev/1/fsa/1/derp")
    seen = await link.north.walk()
    assert seen.members[fleet.lfdi_of(1)].programs == (fleet.program_mrid(2),)
    assert sorted(server.asked()) == ["/derp/2/dderc", "/derp/2/derc", "/edev/1/fsa", "/edev/1/fsa/1/derp"]


async def test_a_program_that_nobody_is_assigned_to_any_more_is_forgotten(fleet, link, server):
    await link.settle()
    for number, member in server.members.items():
        member.programs = [0]
        link.hear(f"/edev/{number}/fsa/1/derp")
    seen = await link.north.walk()
    assert list(seen.programs) == [fleet.program_mrid(0)]
    server.members[0].programs = [0, 1]
    link.hear("/edev/0/fsa")
    assert len((await link.north.walk()).programs) == 2


async def test_a_changed_rank_is_found_where_the_program_is_listed(fleet, link, server):
    await link.settle()
    server.programs[0].primacy = 3
    link.hear("/edev/1/fsa/1/derp")
    seen = await link.north.walk()
    assert seen.programs[fleet.program_mrid(0)].primacy == 3


async def test_a_notice_of_the_roll_reads_who_is_new_and_forgets_who_left(fleet, link, server):
    await link.settle()
    del server.members[0]
    server.members[9] = fleet.Member(fleet.lfdi_of(9), programs=[0])
    link.hear("/edev")
    seen = await link.north.walk()
    assert list(seen.members) == [fleet.lfdi_of(number) for number in (1, 2, 9)]
    asked = server.asked()
    assert "/edev/9/fsa" in asked
    assert "/edev/1/fsa" not in asked
    assert "/derp/0/derc" not in asked


@pytest.mark.parametrize("status", [1, 2, 3])
async def test_a_notice_of_more_than_a_change_reads_everything_and_subscribes_again(link, server, status):
    await link.settle()
    link.hear("/derp/1/derc", status)
    await link.north.walk()
    assert "/edev/0/fsa" in server.asked()
    written = len(server.written)
    await link.north.subscribe()
    assert [one.subscribed_resource for _, _, one in server.written[written:]] == ["/derp/1/derc"]


async def test_a_server_that_ends_a_subscription_again_and_again_is_polled_for_it(link, server):
    await link.settle()
    for _ in range(2):
        link.hear("/derp/1/derc", 1)
        await link.north.walk()
        written = len(server.written)
        await link.north.subscribe()
    assert len(server.written) == written
    server.asked()
    server.clock.move(seconds=link.north.poll_s)
    await link.north.walk()
    assert "/derp/1/derc" in server.asked()
    server.clock.move(minutes=5)
    await link.north.walk()
    await link.north.subscribe()
    assert server.written[-1][2].subscribed_resource == "/derp/1/derc"


@pytest.mark.parametrize(
    ("uri", "is_followed"),
    [
        ("/derp/7/derc", True),
        ("https://192.0.2.1:8443/derp/7/derc", True),
        ("https://192.0.2.66/derp", False),
        ("", False),
    ],
)
async def test_where_something_has_moved_to_is_followed_at_the_same_server_only(link, server, uri, is_followed):
    await link.settle()
    link.north.hear(link.fleet.Heard("/derp/1/derc", 2, uri))
    with capture_logs() as logs:
        link.north.hear(link.fleet.Heard("/derp/1/derc", 2, uri))
    told = [(line["event"], line.get("to")) for line in logs]
    assert told == [
        ("move_not_followed", None) if "66" in uri else ("resource_moved", "/derp/7/derc" if is_followed else None)
    ]
    await link.north.walk()
    assert "/edev/0/fsa" in server.asked()


async def test_a_program_that_is_said_to_be_gone_is_looked_for_where_it_was_listed(fleet, link, server):
    for number in (1, 2):
        server.members[number].programs = [0]
    await link.settle()
    server.members[0].programs = [0]
    link.hear("/derp/1/derc", 4)
    seen = await link.north.walk()
    assert list(seen.programs) == [fleet.program_mrid(0)]
    assert sorted(server.asked()) == ["/edev/0/fsa", "/edev/0/fsa/1/derp"]
    await link.north.subscribe()
    assert sorted(server.subscriptions.values()) == [
        "/derp/0",
        "/derp/0/dderc",
        "/derp/0/derc",
        "/edev",
        *(f"/edev/{number}/{path}" for number in range(3) for path in ("fsa", "fsa/1/derp")),
    ]


async def test_a_member_that_is_said_to_be_gone_is_looked_for_in_the_roll(fleet, link, server):
    await link.settle()
    del server.members[0]
    link.hear("/edev/0/fsa", 4)
    seen = await link.north.walk()
    assert list(seen.members) == [fleet.lfdi_of(1), fleet.lfdi_of(2)]
    assert "/edev/1/fsa" not in server.asked()


async def test_what_is_said_to_be_gone_and_is_not_is_subscribed_to_again(link, server):
    await link.settle()
    link.hear("/derp/1/derc", 4)
    await link.north.walk()
    server.log.clear()
    await link.north.subscribe()
    assert server.written[-1][2].subscribed_resource == "/derp/1/derc"
    assert len(server.asked("POST")) == 1


async def test_what_is_heard_during_a_walk_is_read_by_the_next(fleet, link, server):
    await link.settle()
    link.hear("/derp/1/derc")

    def meanwhile(answer):
        del server.instead["/derp/1/derc"]
        server.programs[1].controls[7] = 4000
        link.hear("/derp/1/derc")
        return answer

    server.instead["/derp/1/derc"] = meanwhile
    assert (await link.north.walk()).programs[fleet.program_mrid(1)].controls == ()
    assert link.north.has_news()
    assert len((await link.north.walk()).programs[fleet.program_mrid(1)].controls) == 1


async def test_more_notices_than_anybody_could_mean_read_everything(link, server, monkeypatch):
    monkeypatch.setattr("tierline.protocols.sep2.fleet_north.FLEET_LONGEST", 3)
    await link.settle()
    for number in range(5):
        link.hear(f"/x/{number}")
    await link.north.walk()
    assert "/edev/0/fsa" in server.asked()


# --- writing ------------------------------------------------------------------------------------------------------------


async def test_who_is_not_listed_is_registered_and_who_is_not_named_is_taken_out(fleet, link, server):
    await link.settle()
    await link.north.enrol([link.member(1), link.member(2), link.member(5, enabled=False)])
    (post, (verb, gone, _)) = server.written[-2:]
    assert post == (
        "POST",
        "/edev",
        devices.EndDevice(
            lfdi=fleet.lfdi_of(5),
            sfdi=sfdi_of(fleet.lfdi_of(5)),
            device_category=4,
            changed_time=int(server.clock.now().timestamp()),
            enabled=False,
        ),
    )
    assert (verb, gone) == ("DELETE", "/edev/0")
    assert link.north.has_news()
    seen = await link.north.walk()
    assert set(seen.members) == {fleet.lfdi_of(number) for number in (1, 2, 5)}


async def test_nothing_is_sent_where_all_are_listed(link, server):
    await link.settle()
    await link.north.enrol([link.member(number) for number in range(3)])
    assert server.log == []
    assert not link.north.has_news()


async def test_members_are_enrolled_before_the_first_walk(fleet, link, server):
    server.members.clear()
    await link.north.enrol([link.member(number) for number in range(20)])
    assert len(server.members) == 20
    assert server.most_at_once == 8
    assert len((await link.north.walk()).members) == 20


@pytest.mark.parametrize("status", [200, 204])
async def test_who_is_there_already_is_enrolled(link, server, status):
    await link.north.walk()
    server.instead["POST", "/edev"] = status
    await link.north.enrol([link.member(number) for number in range(4)])


async def test_who_is_gone_already_is_taken_out(link, server):
    await link.north.walk()
    server.instead["DELETE", "/edev/0"] = 404
    await link.north.enrol([link.member(1), link.member(2)])


async def test_a_server_that_registers_out_of_band_is_asked_no_further(link, server):
    await link.north.walk()
    server.instead["POST", "/edev"] = 403
    server.log.clear()
    with pytest.raises(Forbidden, match="403"):
        await link.north.enrol([link.member(number) for number in range(100)])
    assert len(server.log) <= 16 + 8


async def test_a_member_that_is_refused_is_not_asked_for_again_and_spoils_no_other(fleet, link, server):
    await link.north.walk()

    def refuse_one(answer):
        lfdi = server.written[-1][2].lfdi
        if lfdi == fleet.lfdi_of(4):
            server.members = {key: one for key, one in server.members.items() if one.lfdi != lfdi}
            return fleet.Brought(400)
        return answer

    server.instead["POST", "/edev"] = refuse_one
    members = [link.member(number) for number in range(6)]
    for _ in range(2):
        with pytest.raises(PeerError, match=r"refuses 1 EndDevices, first POST of 0*5: .*400"):
            await link.north.enrol(members)
    assert len((await link.north.walk()).members) == 5
    assert [one.lfdi for verb, path, one in server.written if path == "/edev"].count(fleet.lfdi_of(4)) == 1
    server.members[30] = fleet.Member(fleet.lfdi_of(4))
    link.hear("/edev")
    await link.north.walk()
    await link.north.enrol(members)


async def test_a_member_that_the_server_does_not_let_go_is_not_asked_for_again(link, server):
    await link.north.walk()
    server.instead["DELETE", "/edev/0"] = 403
    for _ in range(2):
        with pytest.raises(PeerError, match=r"refuses 1 EndDevices, first DELETE of 0*1: .*403"):
            await link.north.enrol([link.member(2)])
        await link.north.walk()
    assert server.asked("DELETE") == ["/edev/0", "/edev/1"]


async def test_a_server_that_fails_while_enrolling_is_come_back_to(link, server):
    await link.north.walk()
    server.instead["POST", "/edev"] = 503
    with pytest.raises(LinkError, match="503"):
        await link.north.enrol([link.member(5)])
    server.instead.clear()
    await link.north.enrol([link.member(5)])
    assert len((await link.north.walk()).members) == 1


async def test_an_answer_carries_the_members_own_lfdi(fleet, link, server):
    server.programs[0].controls[7] = 4000
    await link.north.walk()
    await link.north.respond(link.answer(fleet.control_mrid(7), 2))
    assert server.written == [
        (
            "POST",
            "/rsps/r/rsp",
            exchange.DERControlResponse(
                created_date_time=int(server.clock.now().timestamp()),
                end_device_lfdi=fleet.lfdi_of(2),
                status=1,
                subject=fleet.control_mrid(7),
            ),
        )
    ]


async def test_where_an_answer_goes_is_known_after_a_restart(fleet, link, server):
    server.programs[0].controls[7] = 4000
    await link.north.walk()
    link.start()
    await link.north.respond(link.answer(fleet.control_mrid(7)))
    await link.north.forget([fleet.control_mrid(7)])
    with pytest.raises(PeerError, match="has no replyTo"):
        await link.north.respond(link.answer(fleet.control_mrid(7)))


async def test_an_answer_that_does_not_say_whose_it_is_is_not_sent(fleet, link, server):
    with pytest.raises(PeerError, match="does not say whose it is"):
        await link.north.respond(link.answer(fleet.control_mrid(7), lfdi=None))
    assert server.log == []


async def test_nothing_is_reported_before_the_first_walk(fleet, link, server):
    for work in (
        link.north.report(fleet.lfdi_of(0), [link.reading()]),
        link.north.put_info(fleet.lfdi_of(0), DerInfoKind.STATUS, b""),
    ):
        with pytest.raises(PeerError, match="not walked yet"):
            await work
    await link.north.subscribe()
    assert server.log == []


@pytest.mark.parametrize(
    ("kind", "path", "document"),
    [
        (DerInfoKind.STATUS, "/edev/1/der/1/status", der.DERStatus(reading_time=5)),
        (DerInfoKind.AVAILABILITY, "/edev/1/der/1/availability", der.DERAvailability(reading_time=5)),
    ],
)
async def test_what_a_member_says_is_put_in_its_place_without_the_path_it_had(
    fleet, link, server, kind, path, document
):
    await link.north.walk()
    server.log.clear()
    for _ in range(2):
        await link.north.put_info(fleet.lfdi_of(1), kind, render(document, href="/edev/abc/der/1/x"))
    assert server.log == [("GET", "/edev/1/der?s=0&l=255"), ("PUT", path), ("PUT", path)]
    assert server.written[-1] == ("PUT", path, document)


async def test_a_makers_data_go_to_the_device_itself(fleet, link, server):
    await link.north.walk()
    info = devices.DeviceInformation(
        lfdi=fleet.lfdi_of(1),
        mf_date=0,
        mf_hw_ver="",
        mf_id=1,
        mf_model="",
        mf_ser_num="",
        primary_power=1,
        secondary_power=0,
        sw_act_time=0,
        sw_ver="",
    )
    await link.north.put_info(fleet.lfdi_of(1), DerInfoKind.DEVICE_INFORMATION, render(info))
    assert server.written == [("PUT", "/edev/1/di", info)]


async def test_what_a_member_says_is_not_put_where_there_is_no_place_for_it(fleet, link, server):
    await link.north.walk()
    document = render(der.DERStatus(reading_time=5))
    with pytest.raises(Forbidden, match="does not list LFDI"):
        await link.north.put_info(fleet.lfdi_of(9), DerInfoKind.STATUS, document)
    with pytest.raises(PeerError, match="a DERSettings was expected"):
        await link.north.put_info(fleet.lfdi_of(0), DerInfoKind.SETTINGS, document)
    server.instead["/edev/1/der"] = lambda answer: replace(answer, body=answer.body.replace(b"DERStatusLink", b"Other"))
    server.log.clear()
    for _ in range(2):
        with pytest.raises(Forbidden, match=r"no place for STATUS of LFDI 0*2"):
            await link.north.put_info(fleet.lfdi_of(1), DerInfoKind.STATUS, document)
    assert server.asked() == ["/edev/1/der"]
    assert server.written == []


async def test_a_place_that_is_gone_is_looked_for_again(fleet, link, server):
    await link.north.walk()
    document = render(der.DERStatus(reading_time=5))
    await link.north.put_info(fleet.lfdi_of(1), DerInfoKind.STATUS, document)
    server.instead["PUT", "/edev/1/der/1/status"] = 404
    with pytest.raises(Forbidden, match="404"):
        await link.north.put_info(fleet.lfdi_of(1), DerInfoKind.STATUS, document)
    server.instead.clear()
    server.log.clear()
    await link.north.put_info(fleet.lfdi_of(1), DerInfoKind.STATUS, document)
    assert server.asked() == ["/edev/1/der"]


async def test_where_answers_go_is_forgotten_a_week_after_the_event_was_listed(fleet, link, server):
    server.programs[0].controls = {7: 4000, 8: 5000}
    await link.north.walk()
    del server.programs[0].controls[7]
    link.start()
    await link.north.walk()
    server.clock.move(days=7)
    await link.north.respond(link.answer(fleet.control_mrid(7)))
    await link.north.walk()
    with pytest.raises(PeerError, match="has no replyTo"):
        await link.north.respond(link.answer(fleet.control_mrid(7)))
    await link.north.respond(link.answer(fleet.control_mrid(8)))


async def test_a_device_that_changed_is_asked_for_its_places_again(fleet, link, server):
    await link.north.walk()
    document = render(der.DERStatus(reading_time=5))
    await link.north.put_info(fleet.lfdi_of(1), DerInfoKind.STATUS, document)
    server.members[1].changed = 7
    link.hear("/edev")
    await link.north.walk()
    server.log.clear()
    await link.north.put_info(fleet.lfdi_of(1), DerInfoKind.STATUS, document)
    assert server.asked() == ["/edev/1/der"]


async def test_readings_go_to_the_members_own_mirror(fleet, link, server):
    await link.north.walk()
    await link.north.report(fleet.lfdi_of(1), [link.reading()])
    (_, at, mirror), (_, posted_to, meter) = server.written
    assert (at, mirror.device_lfdi, mirror.mrid) == ("/mup", fleet.lfdi_of(1), mirror_mrid(fleet.lfdi_of(1), "", 37244))
    assert posted_to == "/mup/1"
    assert meter.mirror_reading_sets[0].readings[0].value == 5
    assert link.north.post_s == 300


async def test_the_link_is_let_go(link, server):
    await link.north.close()
    assert server.is_closed


# --- whatever happens ---------------------------------------------------------------------------------------------------


class Happenings:
    """Changes at a server, with the notices that it sends of each to whoever has subscribed."""

    def __init__(self, fleet, server, link, seed):
        self.fleet, self.server, self.link = fleet, server, link
        self.random = random.Random(seed)
        self.count = 100

    def one(self):
        """Change something; gives what it tells of."""
        self.count += 1
        kinds = (
            self.control,
            self.default,
            self.rank,
            self.assignment,
            self.assignment,
            self.join,
            self.leave,
            self.shut,
        )
        return self.random.choice(kinds)()

    def tell(self, paths):
        told = [path for path in paths if path in self.server.subscriptions.values()]
        for path in told:
            self.link.hear(path, 4 if self.server.read(path, 0, 1) is None else 0)

    def lists_of(self, number):
        return [f"/edev/{number}/fsa", f"/edev/{number}/fsa/1/derp"]

    def lists_with(self, program):
        return [self.lists_of(n)[1] for n, member in self.server.members.items() if program in member.programs]

    def a_program(self):
        return self.random.choice(list(self.server.programs))

    def a_member(self):
        return self.random.choice(list(self.server.members))

    def control(self):
        number = self.a_program()
        controls = self.server.programs[number].controls
        if controls and self.random.random() < 0.4:
            del controls[next(iter(controls))]
        else:
            controls[self.count] = self.random.randrange(10_000)
        return [f"/derp/{number}/derc"]

    def default(self):
        number = self.a_program()
        program = self.server.programs[number]
        before, program.default = program.default, self.random.choice((None, 1000, 2000))
        paths = [f"/derp/{number}/dderc"]
        if (before is None) != (program.default is None):
            paths += [f"/derp/{number}", *self.lists_with(number)]
        return paths

    def rank(self):
        number = self.a_program()
        self.server.programs[number].primacy = self.random.randrange(100)
        return [f"/derp/{number}", *self.lists_with(number)]

    def assignment(self):
        number = self.a_member()
        self.server.members[number].programs = [one for one in self.server.programs if self.random.random() < 0.4]
        return self.lists_of(number)

    def join(self):
        self.server.members[self.count] = self.fleet.Member(
            self.fleet.lfdi_of(self.count), programs=[one for one in self.server.programs if self.random.random() < 0.4]
        )
        return ["/edev"]

    def leave(self):
        number = self.a_member()
        if len(self.server.members) > 1:
            del self.server.members[number]
        return ["/edev", *self.lists_of(number)]

    def shut(self):
        number = self.a_member()
        member = self.server.members[number]
        member.enabled = not member.enabled
        member.changed += 1
        return ["/edev"]


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_read_by_parts_is_what_is_read_at_once(fleet, seed):
    server = fleet.FleetServer(members=6, programs=4)
    link = Link(fleet, server)
    happenings = Happenings(fleet, server, link, seed)
    await link.settle()
    for _ in range(20):
        for _ in range(happenings.random.randrange(1, 4)):
            happenings.tell(happenings.one())
        seen = await link.north.walk()
        assert seen == await Link(fleet, server).north.walk()
        # What changes before its notice was asked for is found at the next poll.
        happenings.tell(happenings.one())
        await link.north.subscribe()
        while link.north.has_news():
            await link.north.walk()
            await link.north.subscribe()
        assert await link.north.walk() == await Link(fleet, server).north.walk()
        await link.north.subscribe()
