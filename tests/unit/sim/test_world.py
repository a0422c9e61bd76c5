import asyncio
import errno
import os
import subprocess
import sys
from datetime import timedelta

import pytest

from tierline.model.errors import LinkError
from tierline.sim.faults import (
    Blockage,
    ClockStep,
    CommitCrash,
    Crash,
    DiskFull,
    Fault,
    FaultPlan,
    Intensity,
    draw_plan,
)
from tierline.sim.loop import START
from tierline.sim.world import World


def utility(node):
    """Count what each DER has reported, and tell it to all of them."""
    counts = node.disk.keep("counts", dict)

    async def handle(source, request):
        counts[source] = counts.get(source, 0) + request
        return counts[source]

    async def announce(der):
        try:
            await node.call(der, "news", timeout_s=5)
        except LinkError:
            node.record(f"no news to {der}")

    async def main():
        node.serve(handle)
        while True:
            await node.clock.sleep(1800 + node.random.below(100))
            async with asyncio.TaskGroup() as group:
                for der in sorted(counts):
                    group.create_task(announce(der))

    return main()


def der(node):
    """Report every five minutes, remember durably what was acknowledged."""
    kept = node.disk.keep("acknowledged", list)
    commit = node.disk.guard(kept.append)

    async def handle(_source, request):
        node.record(f"heard {request}")

    async def main():
        node.serve(handle)
        while True:
            await node.clock.sleep(290 + node.random.below(20))
            try:
                commit(await node.call("utility", 1))
            except LinkError as failure:
                node.record(f"failed: {failure}")

    return main()


def fleet(seed, ders=20, **options):
    world = World(seed, **options)
    world.node("utility", utility)
    for n in range(ders):
        world.node(f"der-{n:02}", der)
    return world


def links(ders=20):
    return [("utility", f"der-{n:02}") for n in range(ders)]


def busy_day(seed):
    with fleet(seed) as world:
        world.draw_faults(links=links(), hours=24)
        world.run(hours=24)
        assert all(world.is_up(name) for pair in links() for name in pair)
        return world


def test_every_kind_of_fault_happens_on_a_busy_day_and_is_counted():
    world = busy_day(1)
    at_message_level = set(Fault) - {Fault.SPLIT, Fault.RESET}  # those are of streams
    assert {kind for kind in Fault if world.faults[kind]} >= at_message_level
    assert world.faults[Fault.RESTART] <= world.faults[Fault.CRASH]


def test_the_same_seed_gives_the_same_trace_and_another_seed_another():
    one, again, other = busy_day(3), busy_day(3), busy_day(4)
    assert one.trace.digest == again.trace.digest
    assert one.faults == again.faults
    assert one.trace.digest != other.trace.digest


def test_the_hash_seed_of_python_makes_no_difference():
    digests = {
        subprocess.run(
            [sys.executable, __file__, "5"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("0", "7")
    }
    assert len(digests) == 1
    assert len(digests.pop()) == 33


def test_a_restarted_node_has_its_disk_other_random_numbers_and_nothing_else():
    seen = []

    async def main(node):
        seen.append((node.life, list(node.disk.keep("log", list)), node.random.bits(64)))
        node.disk.keep("log", list).append(node.life)
        await asyncio.Event().wait()

    with World(1) as world:
        world.node("a", main)
        world.run(hours=1)
        world.crash("a", down_s=60)
        assert not world.is_up("a")
        world.crash("a", down_s=60)  # it is down already
        world.run(hours=1)
    assert [entry[:2] for entry in seen] == [(1, []), (2, [1])]
    assert seen[0][2] != seen[1][2]
    assert (world.faults[Fault.CRASH], world.faults[Fault.RESTART]) == (1, 1)


def test_clean_up_code_of_a_dead_node_reaches_nobody():
    done = []

    async def child(node):
        try:
            await node.clock.sleep(1e6)
        finally:
            node.record("clean-up ran")
            done.append("clean-up")
            await node.call("b", "goodbye")
            done.append("goodbye")

    async def dies(node):
        commit = node.disk.guard(done.append)
        async with asyncio.TaskGroup() as group:
            group.create_task(child(node))
            group.create_task(child(node))
            try:
                await node.clock.sleep(1e6)
            finally:
                try:
                    commit("written")
                finally:
                    await node.clock.sleep(1)
                    done.append("slept")

    async def hears(node):
        async def handle(_source, request):
            done.append(request)

        node.serve(handle)

    with World(1, keep_events=True) as world:
        world.node("a", dies)
        world.node("b", hears)
        world.run(hours=1)
        world.crash("a", down_s=1)
        world.run(hours=1)
        assert done == ["clean-up", "clean-up"]
        assert ("a", "clean-up ran") not in {event[1:] for event in world.trace.events}


@pytest.mark.parametrize("awaits", range(1, 7))
def test_a_node_can_die_at_each_of_its_awaits(awaits):
    steps = []

    async def main(node):
        if node.life > 1:
            return
        for n in (1, 3, 5):
            await node.clock.sleep(1)  # two points: before it and after it
            steps.append(n + 1)

    with World(1) as world:
        world.node("a", main)
        world.apply(FaultPlan(quiet_from_s=60, crashes=(Crash(node="a", at_s=0.5, awaits=awaits, down_s=1),)))
        world.run(hours=1)
    assert steps == list(range(2, awaits + 1, 2)), "at 0.5 s the first await has been passed"
    assert world.faults[Fault.CRASH] == (awaits <= 5)


@pytest.mark.parametrize(("is_after", "kept"), [(False, []), (True, ["x"])])
def test_a_crash_before_a_commit_loses_it_and_one_after_keeps_it(is_after, kept):
    told = []

    async def main(node):
        commit = node.disk.guard(node.disk.keep("log", list).append)
        if node.life == 1:
            await node.clock.sleep(10)
            commit("x")
            told.append("x")
        else:
            told.append(list(node.disk.keep("log", list)))

    with World(1) as world:
        world.node("a", main)
        crash = CommitCrash(node="a", at_s=1, commits=1, is_after=is_after, down_s=1)
        world.apply(FaultPlan(quiet_from_s=60, commit_crashes=(crash,)))
        world.run(hours=1)
    assert told == [kept]
    kind = Fault.CRASH_AFTER_COMMIT if is_after else Fault.CRASH_BEFORE_COMMIT
    assert world.faults[kind] == 1


def test_a_program_that_ends_on_a_full_disk_is_started_again_until_there_is_room():
    lives = []

    async def main(node):
        lives.append(node.life)
        async with asyncio.TaskGroup() as group:
            group.create_task(writes(node))

    async def writes(node):
        commit = node.disk.guard(len)
        while True:
            commit("")
            await node.clock.sleep(10)

    with World(1) as world:
        world.node("a", main)
        world.apply(FaultPlan(quiet_from_s=900, full_disks=(DiskFull(node="a", at_s=5, writes=2, until_s=60),)))
        world.run(hours=1)
        assert world.is_up("a")
    assert world.faults[Fault.DISK_FULL] == len(lives) - 1 > 1


def test_the_clock_of_a_node_is_skewed_and_steps_as_planned():
    shown = {}

    async def main(node):
        shown["at start"] = node.clock.now()
        await node.clock.sleep(100)
        shown["later"] = node.clock.now()
        await node.clock.sleep_until(node.clock.now() + timedelta(seconds=50))
        shown["deadline"] = node.clock.deadline()

    with World(1) as world:
        world.node("a", main)
        steps = (ClockStep(node="a", at_s=0, by_s=-7), ClockStep(node="a", at_s=50, by_s=3600))
        world.apply(FaultPlan(quiet_from_s=60, clock_steps=steps))
        world.run(hours=1)
    assert shown == {
        "at start": START - timedelta(seconds=7),
        "later": START + timedelta(seconds=3693),
        "deadline": 150,
    }
    assert (world.faults[Fault.CLOCK_SKEW], world.faults[Fault.CLOCK_JUMP]) == (1, 1)


def test_a_bug_in_a_program_ends_the_run_and_says_how_to_repeat_it():
    async def main(node):
        await node.clock.sleep(5)
        raise KeyError("a bug")

    with World(17) as world:
        world.node("a", main)
        with pytest.raises(KeyError, match="a bug") as caught:
            world.run(hours=1)
    assert "World(17) at virtual second 5.0" in caught.value.__notes__[0]
    assert "a: start of life 1" in caught.value.__notes__[0]


def test_a_bug_in_a_callback_ends_the_run():
    async def main(node):
        asyncio.get_running_loop().call_later(5, {}.pop, "nothing")
        await node.clock.sleep(10)

    with World(1) as world:
        world.node("a", main)
        with pytest.raises(KeyError, match="nothing"):
            world.run(hours=1)


def test_a_violated_invariant_ends_the_run_even_if_the_program_swallows_it():
    async def main(node):
        for n in range(10):
            await node.clock.sleep(1)
            try:
                node.record(f"{n}")
            except AssertionError:
                continue

    def watcher(_second, who, what):
        assert (who, what) != ("a", "3")

    with World(1) as world:
        world.watch(watcher)
        world.node("a", main)
        with pytest.raises(AssertionError):
            world.run(hours=1)
        assert world.loop.time() == 4


def test_a_program_that_swallows_its_death_is_found():
    async def main(node):
        while True:
            try:
                await node.clock.sleep(1)
            except asyncio.CancelledError:
                continue

    with World(1) as world:
        world.node("a", main)
        world.run(hours=1)
        world.crash("a", down_s=5)
        with pytest.raises(AssertionError, match="a goes on after its death"):
            world.run(hours=1)


def test_a_task_that_waits_on_after_its_death_is_found():
    async def main(_node):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(1e6)

    world = World(1)
    world.node("a", main)
    world.run(hours=1)
    world.crash("a", down_s=5)
    with pytest.raises(AssertionError, match="a went on after its death"):
        world.run(hours=1)
    for task in asyncio.all_tasks(world.loop):
        task.cancel()
    world.close()
    world.close()


def test_a_dead_nodes_errors_in_clean_up_are_nobodys_business():
    async def main(node):
        try:
            await node.clock.sleep(1e6)
        finally:
            raise KeyError("in clean-up")

    with World(1) as world:
        world.node("a", main)
        world.run(hours=1)
        world.crash("a", down_s=1)
        world.run(hours=1)


def test_a_task_made_while_dying_dies_too():
    born = []

    async def late():
        born.append(1)

    async def main(node):
        try:
            await node.clock.sleep(1e6)
        finally:
            asyncio.get_running_loop().create_task(late())

    with World(1) as world:
        world.node("a", main)
        world.run(hours=1)
        world.crash("a", down_s=1)
        world.run(hours=1)
    assert born == []


def test_a_node_that_makes_many_tasks_does_not_keep_them():
    async def nothing():
        pass

    async def main(node):
        for _ in range(500):
            async with asyncio.TaskGroup() as group:
                group.create_task(nothing())
            await node.clock.sleep(1)

    with World(1) as world:
        machine = world.node("a", main)
        world.run(hours=1)
        assert len(machine.life._tasks) < 130


def test_a_store_lasts_and_takes_its_time():
    shown = []

    class Memory:
        def __init__(self):
            self.records = []

        async def commit(self, put=(), delete=()):
            self.records += put

        def load(self, kind):
            return self.records

    async def main(node):
        store = node.store(Memory)
        await store.commit([node.life])
        shown.append((list(store.load(int)), node.clock.deadline() % 3600 > 0))
        await asyncio.Event().wait()

    with World(1) as world:
        world.node("a", main)
        world.run(hours=1)
        world.crash("a", down_s=60)
        world.run(hours=1)
    assert shown == [([1], True), ([1, 2], True)]


def test_a_crash_may_cost_the_end_of_a_file_that_was_appended_to():
    found = []

    async def main(node):
        if node.life > 1:
            found.append(node.files.read("log"))
        node.files.write("log", b"")
        node.files.append("log", b"x" * 1000)
        await asyncio.Event().wait()

    with World(1) as world:
        world.node("a", main)
        for _ in range(10):
            world.run(hours=1)
            world.crash("a", down_s=60)
    assert len({len(content) for content in found}) > 5


def test_a_callback_of_a_dead_node_is_refused_without_fuss():
    written = []

    async def main(node):
        if node.life == 1:
            asyncio.get_running_loop().call_later(10, node.disk.guard(written.append), "late")
            await node.clock.sleep(20)

    with World(1) as world:
        world.node("a", main)
        world.apply(FaultPlan(quiet_from_s=60, crashes=(Crash(node="a", at_s=5, awaits=0, down_s=1),)))
        world.run(hours=1)
    assert written == []


def test_an_invariant_violated_before_the_run_ends_it_at_once():
    def watcher(*_event):
        raise AssertionError("never right")

    with World(1) as world:
        world.node("a", der)
        world.watch(watcher)
        with pytest.raises(AssertionError, match="never right"):
            world.step_clock("a", 1)
        with pytest.raises(AssertionError, match="never right"):
            world.run(hours=1)
        assert world.loop.time() == 0


def test_names_are_unique():
    with World(1) as world:
        world.node("a", der)
        with pytest.raises(ValueError, match="there is a node a already"):
            world.node("a", der)


def test_faults_for_a_node_that_is_down_are_passed_over():
    async def main(node):
        await node.clock.sleep(1)

    with World(1) as world:
        world.node("a", main)
        crashes = tuple(Crash(node="a", at_s=at_s, awaits=0, down_s=1000) for at_s in (10, 20))
        world.apply(FaultPlan(quiet_from_s=100, crashes=crashes))
        world.run(hours=1)
    assert world.faults[Fault.CRASH] == 1


def test_nothing_new_goes_wrong_once_it_is_quiet():
    counted = []
    with fleet(11) as world:
        plan = world.draw_faults(links=links(), hours=12)
        world.loop.call_at(plan.quiet_from_s + 60, lambda: counted.append(dict(world.faults)))
        world.run(hours=12)
    later = {kind: count for kind, count in world.faults.items() if count != counted[0].get(kind, 0)}
    assert set(later) <= {Fault.RESTART, Fault.REORDER}


def test_a_plan_holds_only_the_kinds_asked_for_and_can_be_printed():
    only = Intensity(kinds=frozenset({Fault.CRASH, Fault.PARTITION}))
    with World(9) as world:
        plan = draw_plan(world.random("plan"), nodes=["a", "b"], links=[("a", "b")], hours=48, intensity=only)
    assert plan.crashes
    assert {block.kind for block in plan.blockages} == {Fault.PARTITION}
    assert plan.weather + plan.commit_crashes + plan.full_disks + plan.clock_steps == ()
    assert plan.links.loss == plan.links.duplication == plan.links.delay == 0
    assert len(str(plan).splitlines()) == 1 + len(plan.crashes) + len(plan.blockages)
    assert "Crash(node='a'" in str(plan)


def test_a_plan_can_close_one_direction_of_a_link():
    answered = []

    async def caller(node):
        try:
            await node.call("b", "hello", timeout_s=5)
        except LinkError as failure:
            answered.append(str(failure))

    async def handle(_source, request):
        answered.append(request)

    async def callee(node):
        node.serve(handle)

    with World(1) as world:
        world.node("b", callee)
        world.node("a", caller)
        block = Blockage(source="b", target="a", from_s=0, until_s=50, kind=Fault.PARTITION)
        world.apply(FaultPlan(quiet_from_s=60, blockages=(block,)))
        world.run(hours=1)
    assert answered == ["hello", "b did not answer within 5 s"]


def test_a_full_disk_of_another_kind_of_error_is_a_bug():
    async def main(_node):
        raise OSError(errno.EIO, "Input/output error")

    with World(1) as world:
        world.node("a", main)
        with pytest.raises(OSError, match="Input/output"):
            world.run(hours=1)


if __name__ == "__main__":
    print(busy_day(int(sys.argv[1])).trace.digest)


def test_every_blockage_ends_after_it_began():
    kinds = frozenset({Fault.PARTITION, Fault.CUT})
    for seed in range(30):
        with World(seed) as world:
            plan = draw_plan(
                world.random("plan"),
                nodes=["a", "b"],
                links=[("a", "b")],
                hours=1,
                intensity=Intensity(kinds=kinds, per_node_day=100.0),
            )
        assert all(block.from_s < block.until_s for block in plan.blockages)
