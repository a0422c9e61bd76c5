"""Whatever a device answers, the link ends in one of our errors: never a hang, never another exception."""

import asyncio
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierline.model.control import Curve, CurvePoint, Reference, Setpoints
from tierline.model.errors import PeerError, TierlineError
from tierline.model.identity import Mrid
from tierline.protocols.sunspec.codec import compile_layout, counts_of
from tierline.sim.loop import VirtualLoop

TARGET = Setpoints.of(
    {
        "max_lim_w_pct": Decimal(40),
        "volt_var": Curve(
            mrid=Mrid("1" * 32),
            points=(CurvePoint(x=Decimal(95), y=Decimal(10)), CurvePoint(x=Decimal(105), y=Decimal(-10))),
            y_reference=Reference.SET_MAX_VAR,
        ),
    }
)


async def use(bench) -> None:
    for call in (
        bench.device.discover,
        bench.device.measure,
        lambda: bench.device.apply(TARGET),
        bench.device.keep_alive,
    ):
        try:
            async with asyncio.timeout(600):
                await call()
        except TimeoutError:
            pytest.fail("a call hangs")
        except TierlineError:
            bench.clock.monotonic += 100
    await bench.device.close()


def run(coroutine) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(coroutine)


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 900), st.binary(min_size=2, max_size=8)), min_size=1, max_size=12))
def test_a_device_with_corrupt_registers_is_refused_or_used(make_bench_anew, changes):
    bench = make_bench_anew()
    for register, data in changes:
        registers = bench.inverter.image.registers
        if 2 * register + len(data) <= len(registers):
            registers[2 * register : 2 * register + len(data)] = data
    run(use(bench))


@settings(max_examples=60, deadline=None)
@given(data=st.binary(min_size=1, max_size=600), seed=st.integers(1, 9))
def test_a_device_that_answers_anything_is_refused_or_used(make_bench_anew, data, seed):
    bench = make_bench_anew()

    class Anything:
        def read(self, address, count):
            return ((data * (2 * count // len(data) + 2))[address % len(data) :])[: 2 * count]

        def write(self, address, registers):
            pass

    bench.unit = Anything() if seed > 3 else bench.unit
    bench.network.interfere = lambda number, _frame: bench.GARBAGE if number % seed == seed - 1 else bench.PASS
    run(use(bench))


def test_a_model_of_absurd_length_is_not_compiled():
    layout = compile_layout(705, {"NPt": 4, "NCrv": 3})
    data = bytearray(layout.blank)
    with pytest.raises(PeerError, match="4096"):
        counts_of(705, bytes(data), 60000)
