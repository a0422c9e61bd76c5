"""CORE rows, our server under test."""

from decimal import Decimal

import pytest
from bench.documents import NS
from bench.schema import faults_of
from bench.scripted_client import find, text
from lxml import etree

from tierline.model.control import Curve, CurvePoint, Reference
from tierline.model.identity import Mrid

pytestmark = pytest.mark.csip


def document(name, inner):
    return f'<{name} xmlns="{NS}">{inner}</{name}>'


def a_response(served, subject, status, lfdi=None):
    return document(
        "DERControlResponse",
        f"<createdDateTime>{int(served.now())}</createdDateTime><endDeviceLFDI>{lfdi or served.lfdi}</endDeviceLFDI>"
        f"<status>{status}</status><subject>{subject}</subject>",
    )


async def test_core_001_server_reads_http_requests_as_the_standard_writes_them(served):
    """HTTP requests.

    Stimulus: GET and HEAD, with several forms of Accept; a request without Host, one with two lengths, one that is no HTTP.
    Required: the same head for HEAD without a body; every form of the media type is taken, a foreign one 406; 400 for the rest.
    Clause: IEEE 2030.5-2018 5.5 (HTTP), GEN.056; RFC 7230 3.3.3, 5.4.
    """
    async with served.client() as client:
        whole = await client.ask("GET", "/dcap")
        head = await client.ask("HEAD", "/dcap")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(whole.body)))
        for accept in ("application/sep+xml", "application/sep+xml; level=+S1", "application/sep+xml;level=-S1", "*/*"):
            assert (await client.ask("GET", "/dcap", Accept=accept)).status == 200
        assert (await client.ask("GET", "/dcap", Accept="application/sep-exi")).status == 406
        assert (await client.ask("GET", "/edev?s=many")).status == 400
    for lines in (
        "GET /dcap HTTP/1.1",
        "POST /mup HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked",
        "GET /dcap HTTX/1.1\r\nHost: a",
    ):
        async with served.client() as client:
            client.writer.write(f"{lines}\r\n\r\n".encode())
            assert b" 400 " in await client.reader.readline()


async def test_core_002_server_answers_with_the_codes_of_the_standard(served):
    """HTTP responses.

    Stimulus: what is not there, what is another's, a method that a resource or the standard does not have, broken and foreign
    documents, and documents that are right.
    Required: 404; 404; 405 with Allow; 501; 400 with an Error; 415; 201 with a Location that can be read, 204.
    Clause: IEEE 2030.5-2018 5.5.2 (status codes), 10.2.2 (Error), annex A; CSIP 2.1 P18.
    """
    control = await served.control({"max_lim_w_pct": 50}, after_s=60, duration_s=60)
    async with served.client() as client:
        assert (await client.ask("BREW", "/dcap")).status == 501
    async with served.client() as client:
        assert (await client.ask("GET", "/nothing")).status == 404
        assert (await client.ask("GET", "/edev/aaaaaaaaaaaaa")).status == 404
        refused = await client.ask("DELETE", "/dcap")
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
        assert (await client.ask("PATCH", "/dcap")).status == 501
        device = await client.own_device()
        status = find((await client.follow(device, "DERList"))[0], "DERStatusLink").get("href")
        now = int(served.now())
        for body, code in (("<DERStatus", "0"), (document("DERStatus", "<readingTime>soon</readingTime>"), "0")):
            answer = await client.ask("PUT", status, body)
            assert (answer.status, text(answer.document, "reasonCode")) == (400, code)
            assert faults_of(answer.body) == []
        good = document("DERStatus", f"<readingTime>{now}</readingTime>")
        assert (await client.ask("PUT", status, good, Content_Type="text/plain")).status == 415
        put = await client.ask("PUT", status, good)
        assert (put.status, put.body) == (204, b"")
        reply_to = (await client.controls())[control.mrid].get("replyTo")
        posted = await client.ask("POST", reply_to, a_response(served, control.mrid, 1))
        assert (posted.status, posted.body) == (201, b"")
        assert text(await client.get(posted.headers["location"]), "subject") == control.mrid


async def test_core_003_server_states_how_often_it_wants_to_be_asked(served):
    """Polling.

    Required: DeviceCapability, Time and the lists above the controls state the pollRate that was configured.
    Clause: CSIP 2.1 P37; IEEE 2030.5-2018 pollRate.
    """
    async with served.client() as client:
        dcap = await client.get("/dcap")
        listed = await client.follow(dcap, "EndDeviceList")
        fsa = await client.follow(listed[0], "FunctionSetAssignmentsList")
        shown = [dcap, listed, fsa, await client.follow(fsa[0], "DERProgramList"), await client.follow(dcap, "Time")]
        assert [root.get("pollRate") for root in shown] == ["60"] * 5


async def test_core_004_server_pages_its_lists(served):
    """Lists.

    Stimulus: a list of seven controls with and without s, l and a.
    Required: one item when no limit is asked for; all and results always true; whole and in the standard's order by pages;
    an empty page beyond the end; only what begins later with a.
    Clause: IEEE 2030.5-2018 5.4.3 (list resources, queries), 10.10.4 (order of DERControls).
    """
    made = [
        await served.control({"max_lim_w_pct": 50}, after_s=600 + 100 * n, duration_s=60) for n in (3, 0, 6, 2, 5, 1, 4)
    ]
    in_order = [control.mrid for control in sorted(made, key=lambda one: one.interval.start)]
    async with served.client() as client:
        href = next(
            link.get("href")
            for program in await client.programs()
            if (link := find(program, "DERControlListLink")).get("all") == "7"
        )

        async def page(query):
            root = await client.get(f"{href}{query}")
            assert root.get("results") == str(len(root))
            return root.get("all"), [text(item, "mRID") for item in root]

        assert await page("") == ("7", in_order[:1])
        assert await page("?l=255") == ("7", in_order)
        pages = [await page(f"?s={start}&l=3") for start in (0, 3, 6)]
        assert [mrid for _, part in pages for mrid in part] == in_order
        assert await page("?s=7&l=3") == ("7", [])
        later = int(sorted(made, key=lambda one: one.interval.start)[4].interval.start.timestamp())
        assert (await page(f"?a={later}&l=255"))[1] == in_order[5:]


async def test_core_005_server_tells_a_time_that_nobody_coordinates(served):
    """Basic time.

    Required: quality 7; the time is that of the server to 5 s and goes on; local time is it plus the offsets.
    Clause: CSIP 2.1 P3; IEEE 2030.5-2018 11.2 (Time).
    """
    async with served.client() as client:
        dcap = await client.get("/dcap")
        times = []
        for _ in range(2):
            time = await client.follow(dcap, "Time")
            numbers = {name: int(text(time, name)) for name in ("currentTime", "localTime", "tzOffset", "dstOffset")}
            assert text(time, "quality") == "7"
            assert abs(numbers["currentTime"] - served.now()) < 5
            assert numbers["localTime"] == numbers["currentTime"] + numbers["tzOffset"] + numbers["dstOffset"]
            times.append(numbers["currentTime"])
            await served.clock.sleep(10)
        assert 9 <= times[1] - times[0] < 20


CAPABILITY = document(
    "DERCapability",
    "<modesSupported>00100000</modesSupported><rtgMaxW><multiplier>0</multiplier><value>10000</value></rtgMaxW>"
    "<type>4</type>",
)


def settings(served, watts, **left_out):
    updated = "" if left_out else f"<updatedTime>{int(served.now())}</updatedTime>"
    return document(
        "DERSettings",
        f"<setGradW>0</setGradW><setMaxW><multiplier>0</multiplier><value>{watts}</value></setMaxW>{updated}",
    )


async def test_core_009_server_keeps_what_an_end_device_says_of_itself(served):
    """Advanced EndDevice.

    Stimulus: DeviceInformation and the four resources of a DER are PUT, then others in their place.
    Required: 204; each is read back as it was put, the later one in the end; the device of another may not be named.
    Clause: CSIP 2.1 P4; IEEE 2030.5-2018 10.10.4.2, annex A.
    """
    now = int(served.now())

    def information(lfdi):
        return document(
            "DeviceInformation",
            f"<lFDI>{lfdi}</lFDI><mfDate>0</mfDate><mfHwVer>1</mfHwVer><mfID>40732</mfID><mfModel>scripted</mfModel>"
            "<mfSerNum>1</mfSerNum><primaryPower>1</primaryPower><secondaryPower>0</secondaryPower>"
            "<swActTime>0</swActTime><swVer>1</swVer>",
        )

    async with served.client() as client:
        device = await client.own_device()
        der = (await client.follow(device, "DERList"))[0]
        documents = {
            find(der, "DERCapabilityLink").get("href"): CAPABILITY,
            find(der, "DERSettingsLink").get("href"): settings(served, 9000),
            find(der, "DERStatusLink").get("href"): document("DERStatus", f"<readingTime>{now}</readingTime>"),
            find(der, "DERAvailabilityLink").get("href"): document(
                "DERAvailability", f"<readingTime>{now}</readingTime>"
            ),
            find(device, "DeviceInformationLink").get("href"): information(served.lfdi),
        }
        for _ in range(2):
            for href, body in documents.items():
                assert faults_of(body.encode()) == []
                assert (await client.ask("PUT", href, body)).status == 204
                shown = await client.get(href)
                assert [node.text for node in shown.iter()][1:] == values(body)
        assert (
            await client.ask("PUT", find(device, "DeviceInformationLink").get("href"), information("0" * 39 + "1"))
        ).status == 403
        assert text(await client.get(find(device, "DeviceInformationLink").get("href")), "lFDI") == served.lfdi


def values(body):
    return [node.text for node in etree.fromstring(body).iter()][1:]


async def test_core_014_server_keeps_the_settings_of_a_der(served):
    """DER settings.

    Stimulus: DERCapability and DERSettings are PUT, then a changed setting, then settings without their time.
    Required: 204 and the changed one is read; the last is refused with 400 and changes nothing.
    Clause: CSIP 2.1 P43, G29; IEEE 2030.5-2018 10.10.4.2 (DERSettings).
    """
    async with served.client() as client:
        der = (await client.follow(await client.own_device(), "DERList"))[0]
        href = find(der, "DERSettingsLink").get("href")
        assert (await client.ask("PUT", find(der, "DERCapabilityLink").get("href"), CAPABILITY)).status == 204
        for watts in (9000, 8000):
            assert (await client.ask("PUT", href, settings(served, watts))).status == 204
            assert text(await client.get(href), "setMaxW/value") == str(watts)
        assert (await client.ask("PUT", href, settings(served, 7000, without="updatedTime"))).status == 400
        assert text(await client.get(href), "setMaxW/value") == "8000"


async def test_core_012_server_shows_a_curve_of_ten_points(served):
    """DERProgram with a curve.

    Stimulus: the operator commands a volt-var curve of ten points.
    Required: the control links to a DERCurve of type 11, listed in its program, with those ten points.
    Clause: CSIP 2.1 P29, table 9; IEEE 2030.5-2018 10.10.4.4, DERCurveType.
    """
    points = tuple(CurvePoint(x=Decimal(90 + 2 * n), y=Decimal(44 - 9 * n)) for n in range(10))
    curve = Curve(mrid=Mrid(""), points=points, y_reference=Reference.STAT_VAR_AVAIL, open_loop_s=Decimal(5))
    control = await served.control({"volt_var": curve}, after_s=600, duration_s=60)
    async with served.client() as client:
        shown = (await client.controls())[control.mrid]
        href = find(shown, "DERControlBase/opModVoltVar").get("href")
        found = await client.get(href)
        scale = [Decimal(10) ** int(text(found, f"{axis}Multiplier")) for axis in "xy"]
        assert [
            (int(text(one, "xvalue")) * scale[0], int(text(one, "yvalue")) * scale[1])
            for one in found.iter(f"{{{NS}}}CurveData")
        ] == [(point.x, point.y) for point in points]
        assert [text(found, name) for name in ("curveType", "openLoopTms", "yRefType")] == ["11", "500", "3"]
        lists = [await client.follow(program, "DERCurveList") for program in await client.programs()]
        assert [one.get("href") for listed in lists for one in listed] == [href]


async def test_core_021_server_passes_the_bounds_of_randomization_on(served):
    """Randomized events.

    Stimulus: controls with randomizeStart 0, +30 and -30.
    Required: each is shown with its bounds; the one of -30 is shown active from its earliest start on, not before.
    Clause: CSIP 2.1 P30; IEEE 2030.5-2018 10.2.3.2.
    """
    now = served.clock.now()
    made = {
        bound: await served.control(
            {"max_lim_w_pct": 50}, at=now, after_s=60, duration_s=60, randomize_start_s=bound, group=group
        )
        for bound, group in zip((0, 30, -30), groups_of(served), strict=True)
    }
    async with served.client() as client:
        shown = await client.controls()
        assert [int(text(shown[one.mrid], "randomizeStart") or 0) for one in made.values()] == [0, 30, -30]
        start = made[0].interval.start.timestamp()
        for moment, wanted in ((start - 34, "000"), (start - 24, "001"), (start + 1, "111")):
            await served.sleep_until(moment)
            shown = await client.controls()
            assert "".join(text(shown[one.mrid], "EventStatus/currentStatus") for one in made.values()) == wanted


def groups_of(served):
    return sorted(served.state.groups_of[served.device.der_id])


async def test_core_022_server_takes_responses_and_keeps_each_once(served):
    """Responses.

    Stimulus: 1, 2 and 3 for one control, 1 and 6 for a cancelled one; one twice, one for another's LFDI, one for no event.
    Required: a control asks for them with replyTo and responseRequired 03; 201 with a Location, each kept once; the others 4xx.
    Clause: CSIP 2.1 P30; IEEE 2030.5-2018 10.2.3.5, table 27.
    """
    whole = await served.control({"max_lim_w_pct": 50}, after_s=60, duration_s=60)
    gone = await served.control({"max_lim_w_pct": 40}, after_s=200, duration_s=60)
    async with served.client() as client:
        shown = await client.controls()
        assert {int(shown[one.mrid].get("responseRequired"), 16) for one in (whole, gone)} == {3}
        await served.cancel(gone)
        reply_to = shown[whole.mrid].get("replyTo")
        for subject, status in ((whole, 1), (whole, 2), (whole, 3), (gone, 1), (gone, 6), (whole, 3)):
            answer = await client.ask("POST", reply_to, a_response(served, subject.mrid, status))
            assert answer.status == 201
            assert text(await client.get(answer.headers["location"]), "status") == str(status)
        for body in (
            a_response(served, whole.mrid, 3, lfdi="0" * 39 + "1"),
            a_response(served, "F" * 32, 1),
            a_response(served, whole.mrid, 99),
        ):
            assert 400 <= (await client.ask("POST", reply_to, body)).status < 500
        listed = await client.get(f"{reply_to}?s=0&l=255")
        assert sorted((text(one, "subject") == whole.mrid, text(one, "status")) for one in listed) == [
            (False, "1"),
            (False, "6"),
            (True, "1"),
            (True, "2"),
            (True, "3"),
        ]
