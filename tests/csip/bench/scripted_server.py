"""A head-end over real TLS that says what a test lets it say and keeps every request; asyncio and ssl, nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from lxml import etree

from bench.documents import POLL_S, REPLY_TO, Device, control, curve, default_control, element, link, program, root

CCM_8 = "ECDHE-ECDSA-AES128-CCM8"
"""0xC0AE of COMM-003, under OpenSSL's name."""
QUALITY = 7
"""Time that is coordinated with nobody, as a test laboratory has it."""
REASONS = {200: "OK", 201: "Created", 204: "No Content", 301: "Moved Permanently", 302: "Found", 404: "Not Found"}


@dataclass
class Request:
    """One request, whole."""

    at: float
    """Civil seconds at which it was complete."""
    method: str
    path: str
    query: dict
    headers: dict
    body: bytes
    peer: str
    """LFDI of the certificate of its connection."""
    cipher: tuple

    @property
    def document(self):
        return etree.fromstring(self.body)

    def text(self, name):
        found = self.document.find(f".//{{*}}{name}")
        return None if found is None else found.text


@dataclass
class Answer:
    """What goes back."""

    status: int = 200
    body: str = ""
    location: str = ""
    type: str = "application/sep+xml"


def context_of(certificate, key, anchors, ciphers=CCM_8):
    """Make the context of a CSIP server: TLS 1.2, one suite, a certificate asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(anchors)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class ScriptedServer:
    """One server: `devices` is what it shows, `script` replaces answers, `requests` is what it was asked."""

    def __init__(self, context, now, port=0):
        self.context = context
        self.now = now
        self._port = port
        self.devices = []
        self.poll_s = POLL_S
        self.post_s = 30
        self.clock_error_s = 0
        self.script = {}
        """(method, path) or path to a function of the request that gives an Answer, or None for the usual one."""
        self.requests = []
        self.attempts = 0
        """Connections that were begun, whatever came of their handshakes."""
        self.hrefs = set()
        """Every path that was handed out."""
        self.mirrors = {}
        """Path of a MirrorUsagePoint to its mRID and the LFDI it is for."""
        self.subscriptions = {}
        """Path of a Subscription to the resource and the URI that it names."""
        self.notices = []
        """What was told: resource, and what the listener answered to it."""
        self.kept = {}
        """Path to what was put or posted there, newest last."""
        self._server = None
        self._writers = set()
        self.caller = None
        """The context in which listeners are called."""

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accepted, "127.0.0.1", self._port, ssl=self.context)
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    @property
    def port(self):
        return self._server.sockets[0].getsockname()[1]

    # --- what was asked -----------------------------------------------------------------------------------------------

    def asked(self, method, pattern=""):
        """List the requests of a method (any, when empty) whose path fits a pattern."""
        return [one for one in self.requests if method in {"", one.method} and re.search(pattern, one.path)]

    def responses(self):
        """List what was answered to events: (created, mRID, status, LFDI)."""
        return [
            (
                int(one.text("createdDateTime")),
                one.text("subject").upper().zfill(32),
                int(one.text("status")),
                one.text("endDeviceLFDI").upper().zfill(40),
            )
            for one in self.asked("POST", "^/r/")
        ]

    def _accepted(self):
        self.attempts += 1
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._serve)

    # --- HTTP ---------------------------------------------------------------------------------------------------------

    async def _serve(self, reader, writer):
        self._writers.add(writer)
        tls = writer.get_extra_info("ssl_object")
        peer = hashlib.sha256(tls.getpeercert(binary_form=True)).hexdigest()[:40].upper()
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
                method, target, _ = head[0].split(" ")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                path, _, query = target.partition("?")
                query = {key: int(values[0]) for key, values in parse_qs(query).items()}
                request = Request(self.now(), method, path, query, headers, body, peer, tls.cipher())
                self.requests.append(request)
                answer = self._answer(request)
                data = answer.body.encode()
                self.hrefs |= {answer.location, *re.findall(r' (?:href|replyTo)="([^"]+)"', answer.body)}
                lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Else')}"]
                if answer.status != 204:
                    lines.append(f"Content-Length: {len(data)}")
                if data:
                    lines.append(f"Content-Type: {answer.type}")
                if answer.location:
                    lines.append(f"Location: {answer.location}")
                writer.write("\r\n".join([*lines, "", ""]).encode() + data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    def _answer(self, request):
        scripted = self.script.get((request.method, request.path)) or self.script.get(request.path)
        scripted = scripted or self.script.get("*")
        if scripted is not None and (answer := scripted(request)) is not None:
            return answer
        match request.method:
            case "GET":
                found = self.document(request.path, request.query)
                return Answer(404) if found is None else Answer(body=found)
            case "PUT":
                self.kept.setdefault(request.path, []).append(request)
                return Answer(204)
            case "POST":
                return self._post(request)
            case "DELETE":
                return self._delete(request)
        return Answer(501)

    def _post(self, request):
        self.kept.setdefault(request.path, []).append(request)
        if request.path == "/e":
            self.devices.append(Device(request.text("lFDI").upper().zfill(40)))
            return Answer(201, location=f"/e/{len(self.devices) - 1}")
        if re.fullmatch(r"/e/\d+/sub", request.path):
            wish = (request.text("subscribedResource"), request.text("notificationURI"))
            at = next((path for path, known in self.subscriptions.items() if known == wish), None)
            at = at or f"{request.path}/{len(self.kept[request.path])}"
            self.subscriptions[at] = wish
            return Answer(201, location=at)
        if request.path == "/m":
            mirror = (request.text("mRID"), request.text("deviceLFDI"))
            at = next((path for path, known in self.mirrors.items() if known == mirror), None)
            at = at or f"/m/{len(self.mirrors)}"
            self.mirrors[at] = mirror
            return Answer(201, location=at)
        if request.path in self.mirrors:
            return Answer(204)
        return Answer(201, location=f"{request.path}/{len(self.kept[request.path])}")

    def _delete(self, request):
        if (match := re.fullmatch(r"/e/(\d+)", request.path)) is not None:
            self.devices[int(match[1])] = None
        elif self.subscriptions.pop(request.path, None) is None:
            return Answer(404)
        return Answer(204)

    # --- what is told -------------------------------------------------------------------------------------------------

    def watched(self):
        """Give the resources that are subscribed to, each as often as it is."""
        return sorted(resource for resource, _ in self.subscriptions.values())

    async def tell(self, path, *, status=0, body=None):
        """Notify whoever subscribed to a resource that it changed; gives the listeners' answers."""
        answers = []
        for at, (resource, uri) in list(self.subscriptions.items()):
            if resource.partition("?")[0] == path:
                if status == 1:
                    del self.subscriptions[at]  # told of its end when it has ended
                inner = element("subscribedResource", resource) + element("status", status)
                notice = root("Notification", inner + element("subscriptionURI", at), "/ntfy").replace(
                    ' href="/ntfy"', ""
                )
                answers.append(await self._notify(uri, body or notice))
                self.notices.append((resource, answers[-1]))
        return answers

    async def _notify(self, uri, body):
        where = urlsplit(uri)
        reader, writer = await asyncio.open_connection(where.hostname, where.port, ssl=self.caller)
        try:
            data = body.encode()
            head = f"POST {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/sep+xml\r\n"
            writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            return int((await reader.readline()).split()[1])
        finally:
            writer.transport.abort()

    # --- what is shown ------------------------------------------------------------------------------------------------

    def programs(self):
        """Give every program once, by its id."""
        return {p.id: p for d in self.devices if d is not None for a in d.assignments for p in a.programs}

    def document(self, path, query):
        """Write what is at a path, or None."""
        for pattern, write in ROUTES:
            if (match := re.fullmatch(pattern, path)) is not None:
                gone = path.startswith("/e/") and not self._is_there(int(match[1]))
                gone = gone or (path.startswith("/p/") and match[1] not in self.programs())
                if gone:
                    return None
                return write(self, path, query, *match.groups())
        return None

    def _is_there(self, number):
        return number < len(self.devices) and self.devices[number] is not None

    def _list(self, name, path, query, items, **attributes):
        start, limit = query.get("s", 0), query.get("l", 1)
        page = items[start : start + limit]
        return root(name, "".join(page), path, all=len(items), results=len(page), **attributes)

    def _dcap(self, path, query):
        inner = link("ResponseSetListLink", "/r", 1) + link("TimeLink", "/t")
        inner += link("EndDeviceListLink", "/e", len([one for one in self.devices if one])) + link(
            "MirrorUsagePointListLink", "/m", 0
        )
        return root("DeviceCapability", inner, path, pollRate=self.poll_s)

    def _time(self, path, query):
        now = int(self.now() + self.clock_error_s)
        inner = element("currentTime", now) + element("dstEndTime", 0) + element("dstOffset", 0)
        inner += element("dstStartTime", 0) + element("localTime", now) + element("quality", QUALITY)
        return root("Time", inner + element("tzOffset", 0), path, pollRate=self.poll_s)

    def _devices(self, path, query):
        there = [number for number in range(len(self.devices)) if self._is_there(number)]
        items = [element("EndDevice", self._device(number), href=f"/e/{number}") for number in there]
        return self._list("EndDeviceList", path, query, items, pollRate=self.poll_s, subscribable=1)

    def _device(self, number):
        one, at = self.devices[number], f"/e/{number}"
        inner = "" if one.stands_for_others else link("DERListLink", f"{at}/der", 1)
        inner += link("DeviceInformationLink", f"{at}/di")
        inner += element("lFDI", one.lfdi) + link("LogEventListLink", f"{at}/lel", 0) + element("sFDI", one.sfdi)
        inner += element("changedTime", 0)
        if not one.stands_for_others:
            inner += link("FunctionSetAssignmentsListLink", f"{at}/fsa", len(one.assignments))
        inner += link("RegistrationLink", f"{at}/rg")
        return inner + (link("SubscriptionListLink", f"{at}/sub", 0) if one.stands_for_others else "")

    def _one_device(self, path, query, number):
        return root("EndDevice", self._device(int(number)), path)

    def _registration(self, path, query, number):
        pin = self.devices[int(number)].pin
        return root("Registration", element("dateTimeRegistered", 0) + element("pIN", pin), path)

    def _assignments(self, path, query, number):
        items = [
            element(
                "FunctionSetAssignments",
                link("DERProgramListLink", f"{path}/{place}/derp", len(one.programs))
                + link("TimeLink", "/t")
                + element("mRID", one.mrid),
                href=f"{path}/{place}",
            )
            for place, one in enumerate(self.devices[int(number)].assignments)
        ]
        return self._list("FunctionSetAssignmentsList", path, query, items, pollRate=self.poll_s, subscribable=1)

    def _programs(self, path, query, number, place):
        listed = self.devices[int(number)].assignments[int(place)].programs
        items = [
            element("DERProgram", program(one), href=f"/p/{one.id}", subscribable=1)
            for one in sorted(listed, key=lambda one: (one.primacy, one.mrid))
        ]
        return self._list("DERProgramList", path, query, items, pollRate=self.poll_s, subscribable=1)

    def _program(self, path, query, name):
        return root("DERProgram", program(self.programs()[name]), path, subscribable=1)

    def _controls(self, path, query, name):
        now = self.now() + self.clock_error_s
        events = sorted(self.programs()[name].events, key=lambda one: (one.start, -one.created))
        items = [
            element(
                "DERControl",
                control(one, now),
                href=f"/c/{one.mrid.lower()}",
                replyTo=REPLY_TO,
                responseRequired=one.response_required,
            )
            for one in events
        ]
        return self._list("DERControlList", path, query, items, subscribable=1)

    def _default(self, path, query, name):
        one = self.programs()[name]
        return None if one.default is None else root("DefaultDERControl", default_control(one), path, subscribable=1)

    def _curves(self, path, query, name):
        items = [
            element("DERCurve", curve(one), href=f"/dc/{one.mrid.lower()}") for one in self.programs()[name].curves
        ]
        return self._list("DERCurveList", path, query, items)

    def _curve(self, path, query, name):
        every = {one.mrid.lower(): one for found in self.programs().values() for one in found.curves}
        return root("DERCurve", curve(every[name]), path)

    def _ders(self, path, query, number):
        at = f"{path}/1"
        inner = link("DERAvailabilityLink", f"{at}/dera") + link("DERCapabilityLink", f"{at}/dercap")
        inner += link("DERSettingsLink", f"{at}/derg") + link("DERStatusLink", f"{at}/ders")
        return self._list("DERList", path, query, [element("DER", inner, href=at)], pollRate=self.poll_s)

    def _mirror(self, path, query, number):
        if path not in self.mirrors:
            return None
        mrid, lfdi = self.mirrors[path]
        inner = element("mRID", mrid) + element("roleFlags", "49")
        inner += element("serviceCategoryKind", 0) + element("status", 1)
        inner += element("deviceLFDI", lfdi) + element("postRate", self.post_s)
        return root("MirrorUsagePoint", inner, path)


ROUTES = [
    ("/dcap", ScriptedServer._dcap),
    ("/t", ScriptedServer._time),
    ("/e", ScriptedServer._devices),
    (r"/e/(\d+)", ScriptedServer._one_device),
    (r"/e/(\d+)/rg", ScriptedServer._registration),
    (r"/e/(\d+)/fsa", ScriptedServer._assignments),
    (r"/e/(\d+)/fsa/(\d+)/derp", ScriptedServer._programs),
    (r"/e/(\d+)/der", ScriptedServer._ders),
    (r"/p/(\w+)", ScriptedServer._program),
    (r"/p/(\w+)/derc", ScriptedServer._controls),
    (r"/p/(\w+)/dderc", ScriptedServer._default),
    (r"/p/(\w+)/dc", ScriptedServer._curves),
    (r"/dc/(\w+)", ScriptedServer._curve),
    (r"/m/(\d+)", ScriptedServer._mirror),
]
"""Paths that are unlike ours on purpose: a client that knows any but /dcap finds nothing here."""
