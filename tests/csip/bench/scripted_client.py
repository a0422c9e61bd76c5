"""A client over real TLS, request by request; asyncio, ssl and an XML parser, nothing else."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass

from lxml import etree

from bench.documents import NS
from bench.schema import faults_of
from bench.scripted_server import CCM_8

SEP = "application/sep+xml"


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict
    body: bytes

    @property
    def document(self):
        return etree.fromstring(self.body)


def context_of(certificate=None, key=None, ciphers=CCM_8):
    """Make the context of a CSIP client; it judges nobody, for here the server is what is judged."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


@asynccontextmanager
async def connected(port, context):
    """Open one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        yield ScriptedClient(reader, writer)
    finally:
        writer.transport.abort()


class ScriptedClient:
    """One connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @property
    def tls(self):
        return self.writer.get_extra_info("ssl_object")

    async def ask(self, method, target, body=b"", **headers):
        """Send one request and read its answer; a header of None is left out."""
        body = body.encode() if isinstance(body, str) else body
        usual = {"Host": "127.0.0.1", "Accept": SEP}
        if body or method in {"POST", "PUT"}:
            usual |= {"Content-Type": SEP, "Content-Length": len(body)}
        sent = usual | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}" for name, value in sent.items() if value is not None]
        self.writer.write("\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode() + body)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        found = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        length = 0 if method == "HEAD" else int(found.get("content-length", 0))
        return Answer(int(head[0].split()[1]), found, await self.reader.readexactly(length))

    async def get(self, target):
        """Read a resource, which must be there, be valid and name itself."""
        answer = await self.ask("GET", target)
        assert (answer.status, answer.headers.get("content-type")) == (200, SEP), (target, answer.status)
        assert faults_of(answer.body) == [], target
        root = answer.document
        assert root.get("href") == target.partition("?")[0]
        return root

    async def follow(self, parent, link):
        """Read what a link of a document leads to; a list whole."""
        found = find(parent, f"{link}Link")
        assert found is not None, f"{parent.tag} has no {link}Link"
        return await self.get(found.get("href") + ("?s=0&l=255" if link.endswith("List") else ""))

    async def own_device(self):
        """Go from the entry to the EndDevice of this certificate; there must be one."""
        listed = await self.follow(await self.get("/dcap"), "EndDeviceList")
        (device,) = listed.findall(f"{{{NS}}}EndDevice")
        return device

    async def programs(self, device=None):
        """Read the programs of all assignments, in the order of the server, each once."""
        device = await self.own_device() if device is None else device
        assignments = await self.follow(device, "FunctionSetAssignmentsList")
        found = {}
        for one in assignments:
            for program in await self.follow(one, "DERProgramList"):
                found.setdefault(program.get("href"), program)
        return list(found.values())

    async def controls(self):
        """Read every control of every program, by mRID."""
        found = {}
        for program in await self.programs():
            for control in await self.follow(program, "DERControlList"):
                found[text(control, "mRID")] = control
        return found


def find(parent, path):
    """Find an element below another, by names without their namespace."""
    return parent.find("/".join(f"{{{NS}}}{name}" for name in path.split("/")))


def text(parent, path):
    """Read an element; None when it is not there."""
    found = find(parent, path)
    return None if found is None else found.text
