"""Kill a utility under load, again and again, and hold what its store has against what it acknowledged.

The utility is `tierline run` in a process of its own. Devices post Responses and readings and put their status over TLS, an
operator creates and cancels controls over the operator API; each writes down what was acknowledged, after the answer came.
"""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from tierline.env import RealNetwork
from tierline.model.control import EventStatus
from tierline.model.errors import LinkError, PeerError
from tierline.model.identity import PartyId, lfdi_of_certificate
from tierline.model.parties import Principal, Role
from tierline.model.records import (
    AuditRecord,
    ControlRecord,
    DerInfoKind,
    DerInfoRecord,
    MirrorUsagePointRecord,
    ReadingRecord,
    ResponseRecord,
)
from tierline.model.telemetry import Reading
from tierline.node.compose import prepare
from tierline.operations.serving import audit, registry
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.hrefs import Href, Place
from tierline.protocols.sep2.mapping.telemetry import MIRRORED_DER, mirror_mrid, write_readings
from tierline.protocols.sep2.resources import der, exchange, metering
from tierline.protocols.sep2.transport import HttpClient
from tierline.protocols.sep2.views import RESPONSES
from tierline.security import tls
from tierline.security.keys import load_certificates
from tierline.security.trust import ChainTrust, MemoryVerdicts
from tierline.storage.sqlite import Database

START = datetime(2026, 6, 18, 12, tzinfo=UTC)
PEN = 40732
OPERATOR = Principal(party=PartyId("utility"), role=Role.OPERATOR, name="olive")
READY_S = 5.0
STATUSES = (1, 2, 3)
CLIENTS = 4


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def work_of(pid):
    """The processor seconds of a process, user and system."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


class Acknowledged:
    """What the utility said it has taken; and what was asked for, acknowledged or not."""

    def __init__(self):
        self.responses = set()
        self.readings = {}
        self.statuses = {}
        self.mirrors = {}
        self.controls = {}
        self.cancelled = set()
        self.tried_statuses = {}
        self.tried_readings = {}
        self.tried_durations = set()


class Device:
    """A client of the utility: one connection after the other, over which it writes without a pause."""

    def __init__(self, utility, name, lfdi, der_id):
        self.utility, self.name, self.lfdi, self.der_id = utility, name, lfdi, der_id
        self.counter = 0
        self.said = set()
        anchors = load_certificates(utility.folder / "root.pem")
        self.client = HttpClient(
            host="127.0.0.1",
            port=utility.port,
            context=tls.client_context(utility.folder / f"{name}.pem", utility.folder / f"{name}.key", anchors),
            trust=ChainTrust(anchors, generation=1, verdicts=MemoryVerdicts(), demo=True),
            clock=utility.spine.clock,
            network=RealNetwork(),
        )

    async def work(self):
        while True:
            try:
                await self.put_status()
                await self.post_reading()
                await self.post_response()
            except (LinkError, PeerError):
                await asyncio.sleep(0.02)

    async def send(self, method, path, value, *, expected):
        answer = await self.client.request(method, path, render(value))
        assert answer.status in expected, (method, path, answer.status, answer.body)
        return answer

    async def put_status(self):
        acknowledged, self.counter = self.utility.acknowledged, self.counter + 1
        acknowledged.tried_statuses[self.der_id] = self.counter
        href = str(Href(place=Place.DER_STATUS, der=self.der_id, number=1))
        await self.send("PUT", href, der.DERStatus(reading_time=self.counter), expected={204})
        acknowledged.statuses[self.der_id] = self.counter

    async def post_reading(self):
        acknowledged, number = self.utility.acknowledged, self.counter
        reading = Reading(
            der_id=self.der_id, point="w", value=number, power_of_ten=0, time=START + timedelta(seconds=number)
        )
        meter = write_readings(self.lfdi, [reading], PEN)
        mirror = metering.MirrorUsagePoint(
            mrid=mirror_mrid(self.lfdi, "", PEN),
            role_flags=MIRRORED_DER,
            service_category_kind=0,
            status=1,
            device_lfdi=self.lfdi,
            mirror_meter_readings=(meter,) if number % 2 else (),
        )
        acknowledged.tried_readings[self.der_id, meter.mrid, number] = number
        answer = await self.send("POST", "/mup", mirror, expected={201, 204})
        first = acknowledged.mirrors.setdefault(self.der_id, answer.location)
        assert answer.location == first, "a mirror keeps its place"
        if number % 2 == 0:
            await self.send("POST", answer.location, meter, expected={201, 204})
        acknowledged.readings[self.der_id, meter.mrid, number] = number

    async def post_response(self):
        acknowledged = self.utility.acknowledged
        to_say = [(mrid, status) for mrid in acknowledged.controls for status in STATUSES]
        mrid, status = next((one for one in to_say if one not in self.said), (None, None))
        if mrid is None:
            return
        response = exchange.DERControlResponse(
            created_date_time=int(START.timestamp()), end_device_lfdi=self.lfdi, status=status, subject=mrid
        )
        href = str(Href(place=Place.RESPONSE_LIST, set=RESPONSES))
        await self.send("POST", href, response, expected={201})
        self.said.add((mrid, status))
        acknowledged.responses.add((mrid, self.der_id, status))


class Operator:
    """Creates a control, cancels every other one; each is told from the others by its duration."""

    def __init__(self, utility):
        self.utility = utility
        self.duration_s = 1000

    async def work(self):
        token = (self.utility.folder / "state" / "operator.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        base = f"http://127.0.0.1:{self.utility.operator_port}"
        async with httpx.AsyncClient(base_url=base, headers=headers) as api:
            while True:
                try:
                    await self.act(api)
                except httpx.HTTPError:
                    await asyncio.sleep(0.02)

    async def act(self, api):
        acknowledged, self.duration_s = self.utility.acknowledged, self.duration_s + 1
        acknowledged.tried_durations.add(self.duration_s)
        body = {
            "group": "system",
            "setpoints": {"max_lim_w_pct": 50},
            "duration_s": self.duration_s,
            "start_in_s": 86_400,
            "reason": "load",
        }
        answer = await api.post("/controls", json=body)
        assert answer.status_code == 201, answer.text
        mrid = answer.json()["control"]["mrid"]
        assert mrid not in acknowledged.controls, "an mRID is given once"
        acknowledged.controls[mrid] = self.duration_s
        if self.duration_s % 2:
            answer = await api.post(f"/controls/{mrid}/cancel", json={"reason": "load"})
            assert answer.status_code == 200, answer.text
            acknowledged.cancelled.add(mrid)
        await asyncio.sleep(0.05)


class Utility:
    """The utility in its own process, and those who talk to it."""

    def __init__(self, spine, folder):
        self.spine, self.folder = spine, folder
        self.port, self.operator_port = free_port(), free_port()
        self.acknowledged = Acknowledged()
        self.process = None
        self.starts_s = []
        """Seconds of the wall until it served, by start."""
        self.work_s = []
        """Processor seconds of the same: they do not depend on what else the machine does."""

    async def prepare(self):
        """Register the devices, and write the configuration of the process."""
        names = [f"device-{number}" for number in range(CLIENTS)]
        for name in names:
            self.spine.device(name)
        node = self.spine.utility()
        await prepare(node)
        lfdis = [lfdi_of_certificate(load_certificates(self.folder / f"{name}.pem")[0]) for name in names]
        found = await registry.register(
            OPERATOR,
            node.serving.state,
            [
                registry.NewDevice(lfdi=lfdi, service_point=f"pv_{number:03}", pin=111115)
                for number, lfdi in enumerate(lfdis)
            ],
        )
        self.spine.databases.close()
        self.devices = [
            Device(self, name, lfdi, device.der_id) for name, lfdi, device in zip(names, lfdis, found, strict=True)
        ]
        (self.folder / "utility.toml").write_text(f"""{self.spine.common("utility", 4, "utility")}
            [identity]
            pen = {PEN}
            [serve.sep2]
            listen = ["127.0.0.1:{self.port}"]
            [operator]
            listen = "127.0.0.1:{self.operator_port}"
            [grid]
            file = "oberrhein"
            """)

    async def start(self):
        """Start the process and wait until it serves both kinds of callers."""
        began = time.monotonic()
        argv = [sys.executable, "-m", "tierline", "run", str(self.folder / "utility.toml")]
        with (self.folder / "utility.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *argv, stdout=log, stderr=asyncio.subprocess.STDOUT, start_new_session=True
            )
        for port in (self.port, self.operator_port):
            while True:
                assert self.process.returncode is None, (self.folder / "utility.log").read_text()[-3000:]
                assert time.monotonic() - began < 60, "it does not become ready at all"
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.01)
        self.starts_s.append(time.monotonic() - began)
        self.work_s.append(work_of(self.process.pid))

    async def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    def check(self):
        """Hold the store against what was acknowledged."""
        database = Database(str(self.folder / "state" / "tierline.db"))
        store = database.store("utility")
        try:
            self.check_telemetry(store)
            self.check_controls(store)
        finally:
            store.close()
            database.close()

    def check_telemetry(self, store):
        said = self.acknowledged
        responses = {(record.mrid, record.der_id, int(record.status)) for record in store.load(ResponseRecord)}
        assert said.responses <= responses, f"Responses lost: {said.responses - responses}"
        readings = {
            (record.reading.der_id, record.meter_reading, int((record.reading.time - START).total_seconds())): record
            for record in store.load(ReadingRecord)
        }
        kept = {key: record.reading.value for key, record in readings.items()}
        assert said.readings.items() <= kept.items(), "readings lost"
        assert kept.items() <= said.tried_readings.items(), "readings that nobody sent"
        mirrors = store.load(MirrorUsagePointRecord)
        assert len({mirror.der_id for mirror in mirrors}) == len(mirrors), "a mirror is doubled"
        places = {mirror.der_id: str(Href(place=Place.MIRROR_USAGE_POINT, mup=mirror.mup_id)) for mirror in mirrors}
        assert said.mirrors.items() <= places.items(), "a mirror lost its place"
        for info in store.load(DerInfoRecord):
            if info.kind is DerInfoKind.STATUS:
                number = parse(info.document, der.DERStatus).reading_time
                assert said.statuses.get(info.der_id, 0) <= number <= said.tried_statuses[info.der_id], info

    def check_controls(self, store):
        said = self.acknowledged
        controls = {record.mrid: record.control for record in store.load(ControlRecord)}
        durations = [control.interval.duration_s for control in controls.values()]
        assert len(set(durations)) == len(durations), "a control is doubled"
        assert set(durations) <= said.tried_durations
        for mrid, duration_s in said.controls.items():
            assert controls[mrid].interval.duration_s == duration_s, f"control {mrid} was lost or changed"
        for mrid in said.cancelled:
            assert controls[mrid].status is EventStatus.CANCELLED, f"control {mrid} is active again"
        chain = store.load(AuditRecord)
        assert audit.faults(chain) == []
        told = [record.resource for record in chain if record.verb == "control"]
        assert sorted(told) == sorted(f"control {mrid}" for mrid in controls), "one act, one line of the audit"


async def kill_under_load(spine, folder, kills, *, seed):
    """Start, load, kill and check as often as asked; gives the utility with what it acknowledged."""
    moments = random.Random(seed)
    utility = Utility(spine, folder)
    await utility.prepare()
    operator = Operator(utility)
    await utility.start()
    async with asyncio.TaskGroup() as group:
        work = [group.create_task(device.work()) for device in utility.devices]
        work.append(group.create_task(operator.work()))
        for number in range(kills):
            await asyncio.sleep(moments.uniform(0.05, 1.2))
            await utility.kill()
            utility.check()
            print(f"kill {number + 1}: {len(utility.acknowledged.responses)} Responses,", end=" ")
            print(f"{len(utility.acknowledged.readings)} readings, {len(utility.acknowledged.controls)} controls")
            await utility.start()
        await asyncio.sleep(0.5)
        for task in work:
            task.cancel()
    for device in utility.devices:
        await device.client.close()
    await utility.kill()
    utility.check()
    return utility
