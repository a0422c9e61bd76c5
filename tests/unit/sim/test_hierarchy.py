"""Small hierarchies; the large ones, and what they must hold, are in tests/simulation."""

import pytest
import structlog

from tierline.model.records import AuditRecord, ControlRecord, ResponseRecord
from tierline.operations.serving import audit
from tierline.sim.evidence import Cancelled, Created, Defaulted, Switched
from tierline.sim.faults import Fault, Intensity
from tierline.sim.hierarchy import WITHOUT_STREAMS, Hierarchy, Setting
from tierline.sim.workload import Mix

BUSY = Mix(controls=8.0, cancellations=4.0, defaults=3.0, switchings=3.0)
STORM = Intensity(kinds=WITHOUT_STREAMS, per_node_day=40.0, largest_jump_s=100.0, quiet=0.4)
"""Its quiet end is longer than any node stays down."""


@pytest.fixture(autouse=True)
def _quiet():
    def drop(_logger, _name, _event):
        raise structlog.DropEvent

    old = structlog.get_config()
    structlog.configure(processors=[drop])
    yield
    structlog.configure(**old)


def run(seed=1, **setting):
    hierarchy = Hierarchy(Setting(**{"seed": seed, "ders": 4, "hours": 2.0, "mix": BUSY} | setting))
    return hierarchy, hierarchy.run()


@pytest.mark.parametrize("real_bytes", [False, True])
def test_controls_come_down_and_responses_go_up(real_bytes):
    _, evidence = run(faults=None, real_bytes=real_bytes)
    kinds = {type(deed) for deed in evidence.deeds}
    assert kinds == {Created, Cancelled, Defaulted, Switched}
    statuses = {int(record.status) for record in evidence.utility.load(ResponseRecord)}
    assert {1, 2, 3, 6} <= statuses
    assert all(der.inverter.writes for der in evidence.ders.values())
    assert all(der.acknowledged for der in evidence.ders.values())
    assert not any(evidence.waiting.values())


@pytest.mark.parametrize("real_bytes", [False, True])
def test_the_same_seed_gives_the_same_run(real_bytes):
    one, other = run(seed=2, real_bytes=real_bytes)[0], run(seed=2, real_bytes=real_bytes)[0]
    assert one.world.trace.digest == other.world.trace.digest


def test_nothing_the_utility_made_durable_goes_unnoticed_however_often_it_dies():
    mix = Mix(controls=30.0, cancellations=20.0, defaults=20.0, switchings=20.0)
    died = set()
    for seed in range(2):
        hierarchy, evidence = run(seed=seed, ders=2, hours=3.0, faults=STORM, mix=mix)
        died |= set(hierarchy.world.faults)
        created = {deed.record.mrid for deed in evidence.deeds if isinstance(deed, Created)}
        assert created == {record.mrid for record in evidence.utility.load(ControlRecord)}
        cancelled = {deed.mrid for deed in evidence.deeds if isinstance(deed, Cancelled)}
        assert cancelled == {
            record.mrid for record in evidence.utility.load(ControlRecord) if record.control.status in {2, 3}
        }
        assert audit.faults(evidence.utility.load(AuditRecord)) == []
    assert died >= {Fault.CRASH, Fault.CRASH_BEFORE_COMMIT, Fault.CRASH_AFTER_COMMIT, Fault.DISK_FULL}


def test_a_first_program_is_reached_twice_at_message_level_only():
    assert run(faults=None, hours=0.1)[1].doubles == {"der00", "der03"}
    assert run(faults=None, hours=0.1, real_bytes=True)[1].doubles == frozenset()


def test_a_network_of_messages_has_no_streams_to_split():
    assert frozenset(Fault) - WITHOUT_STREAMS == {Fault.SPLIT, Fault.RESET}
