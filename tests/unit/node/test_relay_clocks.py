import json
import runpy
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tierline.model.errors import LinkError
from tierline.model.identity import ChannelId, PartyId
from tierline.model.parties import Principal, Role
from tierline.model.records import AuditRecord
from tierline.node.relay_clocks import Agreement, RelayClocks, judged
from tierline.operations.serving.audit import faults
from tierline.sim.loop import VirtualClock, VirtualLoop

serving_of = runpy.run_path(str(Path(__file__).parents[2] / "levels.py"))["serving_of"]
UP, OTHER = ChannelId("up"), ChannelId("other")
ABOVE = Principal(party=PartyId("utility"), role=Role.UPSTREAM, name="up")


class Scene:
    def __init__(self, loop):
        self.loop = loop
        self.serving = serving_of("substation", VirtualClock(loop), None, seed=1)
        self.clocks = RelayClocks(self.serving)

    def walk(self, *offsets, channel=UP):
        """Give what was logged over some walks."""

        async def main():
            for ahead_s in offsets:
                await self.clocks.compare(channel, ABOVE, ahead_s)

        with capture_logs() as logs:
            self.loop.run_until_complete(main())
        return [line["event"] for line in logs]

    @property
    def audited(self):
        records = [record for record in self.serving.store.load(AuditRecord) if record.verb == "clock"]
        return [(record.resource, record.outcome, json.loads(record.detail)["server_is_ahead_s"]) for record in records]


@pytest.fixture
def scene():
    loop = VirtualLoop()
    yield Scene(loop)
    loop.close()


def test_a_difference_is_told_when_it_begins_and_when_it_ends(scene):
    assert scene.walk(0.0, 1.9, -3.0, -3.1, -2.9) == ["clock_differs"]
    assert scene.clocks.differing() == {UP: -2.9}
    assert scene.walk(-0.5, 0.0) == ["clock_agrees"]
    assert scene.clocks.differing() == {}
    assert scene.audited == [("channel up", "differs", -3.0), ("channel up", "agrees", -0.5)]
    assert faults(scene.serving.store.load(AuditRecord)) == []


def test_a_difference_about_the_threshold_does_not_flutter(scene):
    assert scene.walk(2.1, 1.9, 2.1, 1.1, 2.1) == ["clock_differs"]


def test_far_off_is_told_apart(scene):
    scene.walk(10.0)
    assert scene.clocks.far_off() == []
    assert scene.walk(31.0, 32.0) == ["clock_differs"]
    assert scene.clocks.far_off() == [UP]
    assert scene.walk(14.0) == ["clock_differs"]
    assert scene.clocks.far_off() == []
    assert [outcome for _, outcome, _ in scene.audited] == ["differs", "far_off", "differs"]


def test_each_channel_has_a_clock_of_its_own(scene):
    scene.walk(3.0)
    scene.walk(0.0, channel=OTHER)
    assert scene.clocks.differing() == {UP: 3.0}


def test_what_could_not_be_written_down_is_told_by_the_next_walk(scene, monkeypatch):
    async def refuse(put=(), delete=()):
        raise LinkError("full")

    with monkeypatch.context() as patched:
        patched.setattr(scene.serving.store, "commit", refuse)
        with pytest.raises(LinkError):
            scene.walk(5.0)
    assert scene.walk(5.0) == ["clock_differs"]
    assert len(scene.audited) == 1


@pytest.mark.parametrize(
    ("ahead_s", "before", "after"),
    [
        (2.0, Agreement.AGREES, Agreement.AGREES),
        (-2.01, Agreement.AGREES, Agreement.DIFFERS),
        (1.0, Agreement.DIFFERS, Agreement.AGREES),
        (1.01, Agreement.FAR_OFF, Agreement.DIFFERS),
        (30.01, Agreement.AGREES, Agreement.FAR_OFF),
        (-15.01, Agreement.FAR_OFF, Agreement.FAR_OFF),
        (0.0, Agreement.FAR_OFF, Agreement.AGREES),
    ],
)
def test_what_was_worse_must_come_down_to_half(ahead_s, before, after):
    assert judged(ahead_s, before) is after
