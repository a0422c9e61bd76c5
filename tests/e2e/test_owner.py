"""One gateway with nobody above it: its owner speaks to it over its socket, as a program of its own, and it may be killed."""

import asyncio
import json
import runpy
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections import Counter
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tierline.model.identity import ChannelId
from tierline.model.records import FollowedEventRecord, OutboxRecord
from tierline.node.compose import Databases

pytestmark = pytest.mark.e2e

Spine = runpy.run_path(str(Path(__file__).parent.parent / "spine.py"))["Spine"]
POINT = "pv_000"
TIERLINE = (sys.executable, "-m", "tierline")


class Site:
    """An inverter in this process, a gateway in another, and its owner in a third."""

    def __init__(self, folder):
        self.spine = Spine(folder, speed=60.0)
        self.file = folder / "gateway.toml"
        self.process = None
        self.trace = []
        """The limit at the inverter, whenever it changes."""

    @asynccontextmanager
    async def running(self, follow=""):
        port = await self.spine.inverter(POINT)
        self.spine.inverters[POINT].image.set_values(703, {"ESDlyTms": 7})
        clock = self.spine.clock
        self.file.write_text(
            f'[node]\nname = "gateway"\nlevel = 2\nparty = "owner-1"\n'
            f"[clock]\nstart = {clock.t0.isoformat()}\nmonotonic_s = {clock.m0}\nspeed = {clock.speed}\n"
            f'[[south]]\nprotocol = "sunspec"\naddress = "127.0.0.1:{port}"\nread_s = 60\n{follow}\n'
        )
        watching = asyncio.create_task(self.watch())
        try:
            await self.start()
            yield self
        finally:
            await self.end(signal.SIGTERM)
            watching.cancel()
            await self.spine.close()

    async def start(self):
        """Start the gateway, and wait until it has found its device."""
        self.process = await asyncio.create_subprocess_exec(*TIERLINE, "run", self.file, stdout=DEVNULL, stderr=DEVNULL)
        async with asyncio.timeout(30):
            while (await self.owner("list"))[0]:  # noqa: ASYNC110 - another process answers when it can
                await asyncio.sleep(0.05)

    async def end(self, number):
        if self.process.returncode is None:
            self.process.send_signal(number)
        await self.process.wait()

    async def owner(self, *words):
        """Type a command of the owner; gives exit code, output and errors."""
        typed = [*TIERLINE, "owner", *words, "--state", str(self.spine.folder / "state")]
        process = await asyncio.create_subprocess_exec(*typed, stdout=PIPE, stderr=PIPE, cwd=self.spine.folder)
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    async def limit(self, *words):
        """Ask for a limit that must be given; gives it as the gateway tells of it."""
        code, out, err = await self.owner("limit", *words, "--json")
        assert code == 0, err
        return json.loads(out)["gateways"][0]

    async def listed(self):
        """Tell of the owner's limits, by mRID."""
        _, out, _ = await self.owner("list", "--json")
        return {one["mrid"]: one for one in json.loads(out)["gateways"][0]["limits"]}

    async def watch(self):
        while True:
            if not self.trace or self.trace[-1] != self.held():
                self.trace.append(self.held())
            await asyncio.sleep(0.01)

    def held(self):
        block = self.spine.inverters[POINT].image.block(704)
        return block.value("WMaxLimPct") if block.code("WMaxLimPctEna") else None

    def delay_s(self):
        return self.spine.inverters[POINT].image.block(703).value("ESDlyTms")

    def records(self, kind):
        """Read what the gateway keeps, once it has ended."""
        databases = Databases()
        try:
            return databases.store(self.spine.folder / "state" / "tierline.db", "gateway").load(kind)
        finally:
            databases.close()


async def test_a_limit_of_the_owner_outlives_a_killed_gateway_starts_once_and_is_released_at_its_end(tmp_path):
    site = Site(tmp_path)
    async with site.running():
        said = await site.limit("--set", "max_lim_w_pct=50", "--in", "2m", "--duration", "8m")
        assert (said["state"], said["answers"]) == ("received", [1])
        await site.spine.until(lambda: site.held() == 50, 300)
        code, out, _ = await site.owner("explain")
        assert code == 0
        assert f"owner: max_lim_w_pct 50 (event {said['mrid'][:8]}): binding" in out

        await site.end(signal.SIGKILL)
        assert site.held() == 50, "the inverter keeps what it was told"
        await site.start()
        assert (await site.listed())[said["mrid"]]["answers"] == [1, 2]
        ends_at = datetime.fromisoformat(said["ends_at"])
        await site.spine.until(lambda: site.held() is None, (ends_at - site.spine.clock.now()).total_seconds() + 30)
        assert site.spine.clock.now() >= ends_at
        assert (await site.listed())[said["mrid"]]["state"] == "completed"
    assert site.trace == [None, 50, None], "set once and released once"
    answers = [record for record in site.records(OutboxRecord) if record.mrid == said["mrid"]]
    assert Counter(int(record.status) for record in answers) == {1: 1, 2: 1, 3: 1}
    assert {record.channel for record in answers} == {ChannelId("owner")}
    assert all(record.posted_at is not None for record in answers), "they have arrived: nobody else is to be told"
    assert [record.mrid for record in site.records(FollowedEventRecord)] == [said["mrid"]]


async def test_a_gateway_that_is_away_at_the_end_releases_when_it_is_back(tmp_path):
    site = Site(tmp_path)
    async with site.running():
        said = await site.limit("--set", "max_lim_w_pct=50", "--duration", "5m")
        await site.spine.until(lambda: site.held() == 50, 60)
        await site.end(signal.SIGKILL)
        ends_at = datetime.fromisoformat(said["ends_at"])
        await site.spine.clock.sleep_until(ends_at + timedelta(seconds=30))
        await site.start()
        await site.spine.until(lambda: site.held() is None, 60)
        assert (await site.listed())[said["mrid"]]["answers"] == [1, 2, 3]
    assert site.trace == [None, 50, None]


async def test_the_owner_cancels_and_his_standing_limit_holds_again_beside_the_defaults_of_the_profile(tmp_path):
    site = Site(tmp_path)
    async with site.running('[follow]\nprofile = "ieee1547"\nowner_limits = { max_lim_w_pct = 80 }'):
        await site.spine.until(lambda: site.held() == 80, 60)
        await site.spine.until(lambda: site.delay_s() == 300, 60)  # IEEE 1547-2018 table 4
        said = await site.limit("--set", "max_lim_w_pct=30", "--duration", "1h", str(site.file))
        await site.spine.until(lambda: site.held() == 30, 60)
        code, out, err = await site.owner("cancel", said["mrid"][:8].lower())
        assert (code, err) == (0, "")
        assert out.startswith(f"gateway: released from {said['mrid']}")
        await site.spine.until(lambda: site.held() == 80, 60)
        again = await site.owner("cancel", said["mrid"])
        assert (again[0], again[2]) == (1, f"tierline: limit {said['mrid']} is cancelled already\n")
        assert (await site.listed())[said["mrid"]]["answers"] == [1, 2, 6]
    assert site.trace == [None, 80, 30, 80]


async def test_what_cannot_be_is_refused_in_words_and_leaves_nothing_behind(tmp_path):
    site = Site(tmp_path)
    half = ("--set", "max_lim_w_pct=50")
    async with site.running():
        for words, code, says in (
            (
                (*half, "--start", "2026-06-18T08:00:00Z", "--duration", "1h"),
                1,
                "2026-06-18 09:00:00 UTC, which is over",
            ),
            ((*half, "--duration", "0s"), 1, "a limit lasts at least one second, not 0"),
            (("--set", "sparkle=1", "--duration", "1h"), 1, "'sparkle' is no limit; use "),
            (("--set", "connect=false", "--duration", "1h"), 1, "connect: False is no number"),
            (("--set", "connect=1", "--duration", "1h"), 1, "'connect' is no limit; use "),
            (("--set", "max_lim_w_pct=150", "--duration", "1h"), 1, "max_lim_w_pct is 150 %"),
            (("--set", "max_lim_w_pct=-1", "--duration", "1h"), 1, "the least is 0"),
            (
                ("--set", "imp_lim_w=5", "--duration", "1h"),
                1,
                "this device does not carry out imp_lim_w; it carries out ",
            ),
            ((*half, "--duration", "soon"), 2, "'soon' is no duration"),
            ((*half, "--duration", "1h", "--start", "noon"), 2, "'noon' is no time"),
            ((*half, "--duration", "1h", "elsewhere"), 1, "there are gateway; name one of them"),
        ):
            found, out, err = await site.owner("limit", *words)
            assert (found, out) == (code, ""), words
            assert says in " ".join(err.replace("│", " ").split()), err
            assert "Traceback" not in err
        assert (await site.owner("cancel", "AB"))[2] == "tierline: no event begins with 'AB'; give more of its mRID\n"
        assert await site.listed() == {}
    assert site.trace == [None]
    code, _, err = await site.owner("limit", *half, "--duration", "1h")
    assert (code, "no gateway runs with the state folder" in err) == (1, True)
