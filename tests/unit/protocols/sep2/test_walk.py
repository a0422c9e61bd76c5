"""The walk over our own server in memory, and over servers that are odd in one way each."""

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tierline.model.control import Curve, CurvePoint, EventStatus, Reference, Setpoints
from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.model.identity import Mrid
from tierline.operations.serving import programs
from tierline.protocols.sep2.client import Answer
from tierline.protocols.sep2.follow.walk import DEFAULT_POLL_S, FASTEST_POLL_S, Entry, walk

VOLT_VAR = Curve(
    mrid=Mrid("0" * 32),
    points=tuple(CurvePoint(x=Decimal(x), y=Decimal(y)) for x, y in ((92, 44), (98, 0), (102, 0), (108, -44))),
    y_reference=Reference.SET_MAX_VAR,
)


class Peer:
    """A server as the client sees it: ours, with what `spoil` makes of every body."""

    def __init__(self, bench, who="pv-1"):
        self.bench, self.who = bench, who
        self.entry = Entry(
            dcap="/dcap",
            lfdi=bench.LFDIS[who],
            channel="utility",
            party="utility",
            server="192.0.2.1:8443",
            server_lfdi=None,
            pin=111115,
        )
        self.spoilers = []
        self.asked = []
        self.clock_s = 0.0
        """The server's clock minus ours."""
        self.page = 255

    def spoil(self, pattern, old, new, count=-1):
        """Replace something in every body whose path matches."""
        self.spoilers.append((re.compile(pattern), old, new, count))

    def serve(self, ask):
        self.asked.append(ask.path)
        now = self.bench.clock.now()
        self.bench.clock.move(seconds=self.clock_s)
        target = ask.path.replace("l=255", f"l={self.page}")
        answer = self.bench.start(ask.method, target, self.who, ask.body)
        self.bench.clock.time = now
        body = answer.body
        for pattern, old, new, count in self.spoilers:
            if pattern.fullmatch(ask.path.partition("?")[0]):
                changed = body.replace(old, new, count)
                assert changed != body, (ask.path, old, body)
                body = changed
        return Answer(
            status=answer.status,
            body=body,
            location=answer.location,
            asked_at=now,
            answered_at=now + timedelta(milliseconds=50),
        )

    def walk(self, **changes):
        steps = walk(replace(self.entry, **changes))
        try:
            ask = next(steps)
            while True:
                ask = steps.send(self.serve(ask))
        except StopIteration as stop:
            return stop.value


@pytest.fixture
async def peer(bench):
    await programs.set_default(
        bench.OPERATOR, bench.state, bench.feeder(), Setpoints.of({"max_lim_w_pct": Decimal(100), "volt_var": VOLT_VAR})
    )
    return Peer(bench)


def feeder_program(tree):
    return tree.seen.programs[0]


async def test_a_walk_brings_everything_in_canonical_form(bench, peer):
    record = await bench.control(start_s=60, setpoints={"max_lim_w_pct": Decimal(50), "volt_var": VOLT_VAR})
    tree = peer.walk()
    assert [program.description for program in tree.seen.programs] == ["feeder", "substation", "system"]
    program = feeder_program(tree)
    (control,) = program.controls
    assert (control.mrid, control.interval) == (record.mrid, record.control.interval)
    assert control.setpoints["max_lim_w_pct"] == 50
    assert control.setpoints["volt_var"].points == VOLT_VAR.points
    assert program.default.setpoints["volt_var"].points == VOLT_VAR.points
    assert control.provenance.channel == "utility"
    assert tree.reply_to == {record.mrid: "/rsps/r/rsp"}
    assert bench.status(tree.hrefs[record.mrid]) == 200
    assert tree.poll_s == 60
    assert tree.mirror_list.href == "/mup"
    assert tree.der_list.href == bench.own("/der")
    assert tree.device_information.href == bench.own("/di")
    assert tree.seen.clock_offset_s == 0.0


async def test_a_walk_that_brings_nothing_new_equals_the_one_before(bench, peer):
    await bench.control()
    first = peer.walk().seen
    bench.clock.move(seconds=30.7)
    assert peer.walk().seen == first


async def test_device_capability_is_read_first_and_everything_by_its_links(bench, peer):
    peer.walk()
    assert peer.asked[0] == "/dcap"
    assert len(peer.asked) == len(set(peer.asked))


async def test_pages_of_one_bring_the_same(bench, peer):
    for start in (10, 20, 30):
        await bench.control(start_s=start)
    whole = peer.walk().seen
    peer.page = 1
    assert peer.walk().seen == whole


async def test_a_server_that_does_not_list_us_is_told_apart(bench, peer):
    with pytest.raises(Forbidden, match=r"does not list LFDI EEEE.*tierline device add"):
        peer.walk(lfdi=bench.STRANGER)


async def test_a_server_that_does_not_know_our_certificate_is_told_apart(bench, peer):
    peer.who = bench.STRANGER
    with pytest.raises(Forbidden, match="404 to /dcap"):
        peer.walk()


async def test_a_device_without_lfdi_is_found_by_its_sfdi(bench, peer):
    peer.spoil("/edev", b"<lFDI>" + bench.LFDIS["pv-1"].encode() + b"</lFDI>", b"")
    assert peer.walk().seen.programs


async def test_a_device_that_the_server_has_disabled_does_not_follow_it(peer):
    peer.spoil("/edev", b"<enabled>true</enabled>", b"<enabled>false</enabled>")
    with pytest.raises(Forbidden, match="has disabled LFDI"):
        peer.walk()


async def test_another_pin_is_another_server(peer):
    with pytest.raises(Forbidden, match=r"shows the PIN 111115.*\[\[north\]\] pin"):
        peer.walk(pin=111114)


async def test_a_pin_that_is_not_configured_or_not_offered_is_not_compared(bench, peer):
    peer.walk(pin=None)
    assert not any(path.endswith("/rg") for path in peer.asked)
    peer.spoil("/edev", f'<RegistrationLink href="{bench.own("/rg")}"/>'.encode(), b"")
    assert peer.walk(pin=5).seen.programs


@pytest.mark.parametrize(("behind_s", "least", "most"), [(0, 0, 0), (-0.9, 0, 0), (3600, 3599, 3601), (-90, -91, -89)])
async def test_the_offset_of_the_servers_clock_is_found_within_a_second(peer, behind_s, least, most):
    peer.clock_s = behind_s
    assert least <= peer.walk().seen.clock_offset_s <= most


async def test_a_server_without_a_clock_is_believed_to_have_ours(bench, peer):
    peer.spoil("/dcap", b'<TimeLink href="/tm"/>', b"")
    peer.clock_s = 3600
    assert peer.walk().seen.clock_offset_s == 0.0


async def test_missing_links_are_empty_lists(bench, peer):
    peer.spoil("/edev", f'<FunctionSetAssignmentsListLink href="{bench.own("/fsa")}" all="1"/>'.encode(), b"")
    assert peer.walk().seen.programs == ()


async def test_a_capability_without_devices_is_refused(peer):
    peer.spoil("/dcap", b'<EndDeviceListLink href="/edev" all="1"/>', b"")
    with pytest.raises(PeerError, match="no EndDeviceListLink"):
        peer.walk()


async def test_a_program_without_controls_default_and_curves_is_one(bench, peer):
    at = bench.program().encode()
    peer.spoil(".*/derp", b'<DefaultDERControlLink href="' + at + b'/dderc"/>', b"")
    peer.spoil(".*/derp", b'<DERControlListLink href="' + at + b'/derc" all="0"/>', b"")
    program = feeder_program(peer.walk())
    assert (program.default, program.controls) == (None, ())


async def test_a_program_that_is_reached_twice_is_one(bench, peer):
    own = bench.own("/fsa/t")
    body = bench.start("GET", bench.own("/fsa?l=255")).body.decode()
    (item,) = re.findall("<FunctionSetAssignments .*?</FunctionSetAssignments>", body)
    twice = item + item.replace(f'href="{own}"', f'href="{own}t"')
    peer.spoil(".*/fsa", item.encode(), twice.encode())
    peer.spoil(".*/fsa", b'all="1" results="1"', b'all="2" results="2"')
    assert len(peer.walk().seen.programs) == 3


async def test_an_assignment_without_programs_is_passed_over(bench, peer):
    link = f'<DERProgramListLink href="{bench.own("/fsa/t/derp")}" all="3"/>'
    peer.spoil(".*/fsa", link.encode(), b"")
    assert peer.walk().seen.programs == ()


@pytest.mark.parametrize(
    ("stated", "poll_s"), [(b' pollRate="30"', 30), (b' pollRate="1"', FASTEST_POLL_S), (b' pollRate="0"', 10)]
)
async def test_the_list_that_changes_fastest_sets_the_pace(peer, stated, poll_s):
    peer.spoil(".*/derp", b' pollRate="60"', stated)
    assert peer.walk().poll_s == poll_s


async def test_a_server_that_states_no_pace_is_asked_every_quarter_of_an_hour(bench, peer):
    for path in ("/dcap", "/edev", ".*/fsa", ".*/derp"):
        peer.spoil(path, b' pollRate="60"', b"")
    assert peer.walk().poll_s == DEFAULT_POLL_S


async def test_a_curve_that_is_not_in_the_list_is_read_by_itself(bench, peer):
    curve = bench.get(f"{bench.program()}/dc").items[0]
    peer.spoil(".*/derp", f'<DERCurveListLink href="{bench.program()}/dc" all="1"/>'.encode(), b"")
    assert feeder_program(peer.walk()).default.setpoints["volt_var"].points == VOLT_VAR.points
    assert curve.href in peer.asked


async def test_curves_are_not_read_when_nothing_links_to_one(bench):
    await bench.control()
    peer = Peer(bench)
    peer.walk()
    assert not any("/dc" in path.replace("/dcap", "") for path in peer.asked)


async def test_a_curve_that_cannot_be_had_makes_the_walk_incomplete(bench, peer):
    curve = bench.get(f"{bench.program()}/dc").items[0]
    peer.spoil(".*/dderc", curve.href.encode(), b"/dc/aaaaaaaaaaaaa")
    with pytest.raises(Forbidden, match="404 to /dc/aaaaaaaaaaaaa"):
        peer.walk()


async def test_an_event_with_a_curve_of_another_function_is_invalid_and_the_others_count(bench, peer):
    await bench.control(start_s=10, setpoints={"volt_var": VOLT_VAR})
    await bench.control(start_s=20)
    peer.spoil(".*/derc", b"opModVoltVar", b"opModVoltWatt")
    first, second = feeder_program(peer.walk()).controls
    assert re.match("the curve at /dc/.* has type 11, not that of volt_watt", first.invalid)
    assert second.invalid == ""


async def test_a_default_with_a_curve_of_another_function_is_refused(peer):
    peer.spoil(".*/dderc", b"opModVoltVar", b"opModWattVar")
    with pytest.raises(PeerError, match=r"the default of program .* has type 11, not that of watt_var"):
        peer.walk()


async def test_unknown_elements_and_attributes_are_passed_over(bench, peer):
    await bench.control()
    peer.spoil(".*/derc", b"<DERControlBase>", b'<Later x="1"><a/></Later><DERControlBase><opModNew>1</opModNew>')
    assert len(feeder_program(peer.walk()).controls) == 1


async def test_short_hex_in_lower_case_is_the_same_event(bench, peer):
    record = await bench.control()
    text = record.mrid.encode()
    peer.spoil(".*/derc", text, text.lstrip(b"0").lower())
    assert feeder_program(peer.walk()).controls[0].mrid == record.mrid


async def test_a_cancelled_event_is_brought_as_cancelled(bench, peer):
    await bench.control()
    peer.spoil(".*/derc", b"<currentStatus>0<", b"<currentStatus>3<")
    assert feeder_program(peer.walk()).controls[0].status is EventStatus.CANCELLED_RANDOMIZED


async def test_an_event_without_replyto_and_href_is_one(bench, peer):
    await bench.control()
    body = bench.start("GET", f"{bench.program()}/derc").body.decode()
    for name in ("replyTo", "href"):
        (text,) = set(re.findall(rf'<DERControl\b[^>]*?( {name}="[^"]*")', body))
        peer.spoil(".*/derc", text.encode(), b"")
    tree = peer.walk()
    assert (tree.reply_to, tree.hrefs) == ({}, {})
    assert feeder_program(tree).controls[0].response_required == 0


async def test_a_list_that_lies_about_its_total_is_given_up(bench, peer):
    await bench.control()
    peer.spoil("/derp/.*/derc", b'all="1"', b'all="2"')
    with pytest.raises(LinkError, match="changed while it was read"):
        peer.walk()


async def test_a_document_in_the_old_namespace_is_refused(peer):
    peer.spoil("/dcap", b"urn:ieee:std:2030.5:ns", b"http://ieee.org/2030.5")
    with pytest.raises(PeerError, match="namespace"):
        peer.walk()
