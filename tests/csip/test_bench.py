"""The bench itself: what the scripted head-end says is what the standard allows."""

import asyncio

import pytest
from bench.documents import Assignment, Curve, Device, Event, Program, mrid
from bench.schema import faults_of
from bench.scripted_server import ScriptedServer

pytestmark = pytest.mark.csip

CURVE = Curve(mrid("C0"), 11, [(92, 44), (98, 0), (102, 0), (108, -44)], open_loop_tms=500, y_ref_type=2)
PATHS = (
    "/dcap /t /e /e/0 /e/0/rg /e/0/fsa /e/0/fsa/0/derp /e/0/der /p/5e /p/5e/derc /p/5e/dderc /p/5e/dc /dc/"
    + mrid("C0").lower()
).split()


def test_everything_the_scripted_head_end_says_is_valid_by_the_schema():
    server = ScriptedServer(None, lambda: 1781784000.0)
    events = [
        Event(mrid("A1"), 1781784100, 60, {"opModMaxLimW": 6000, "opModVoltVar": CURVE}, randomize_start=-30),
        Event(mrid("A2"), 1781784200, 60, {"opModEnergize": "false", "opModConnect": "true"}, status=2),
    ]
    program = Program(mrid("5E"), 10, events, {"opModMaxLimW": 10_000, "setGradW": 50}, [CURVE])
    server.devices = [Device("3E4F45AB31EDFE5B67E343E5E4562E31984E23E5", [Assignment(mrid("F0"), [program])])]
    server.devices += [Device("0" * 39 + "1", stands_for_others=True)]
    server.mirrors["/m/0"] = (mrid("20"), "0" * 40)
    said = {path: server.document(path, {"s": 0, "l": 255}) for path in (*PATHS, "/e/1", "/m/0")}
    assert {path: faults_of(text.encode()) for path, text in said.items() if faults_of(text.encode())} == {}


def test_the_sfdi_of_the_bench_is_that_of_the_standards_example():
    assert Device("3E4F45AB31EDFE5B67E343E5E4562E31984E23E5").sfdi == 167261211391


async def test_no_time_passes_while_something_is_written_down(clock):
    """A slow disk would else make whoever waits for it late."""
    done = asyncio.get_running_loop().create_future()
    clock.hold(done)
    before = clock.now()
    await asyncio.sleep(0.05)
    assert clock.now() == before
    done.set_result(0)
    await asyncio.sleep(0.05)
    assert clock.now() > before
