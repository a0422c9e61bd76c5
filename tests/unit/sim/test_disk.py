import errno
from collections import Counter

import pytest

from tierline.env import SeededRandom
from tierline.model.errors import ConfigError, LinkError
from tierline.sim.disk import CrashedError, Disk, DurableStore, SimFiles
from tierline.sim.faults import Fault


@pytest.fixture
def faults():
    return Counter()


@pytest.fixture
def disk(faults):
    return Disk(faults)


@pytest.fixture
def files(disk):
    return SimFiles(disk, SeededRandom(1))


class Memory:
    """The store port, as far as these tests need it."""

    def __init__(self):
        self.records = []

    async def commit(self, put=(), delete=()):
        self.records = [record for record in self.records if record not in delete] + list(put)

    def load(self, kind):
        return [record for record in self.records if isinstance(record, kind)]

    def load_since(self, kind, time, *, limit=10_000):
        return [record for record in self.load(kind) if record >= time][:limit]

    def load_pending(self, kind):
        return self.load(kind)[:1]

    def each(self, kind, **cut):
        yield from ((record, cut) for record in self.load(kind))

    async def forget_before(self, kind, time, *, limit=10_000):
        old = [record for record in self.load(kind) if record < time][:limit]
        self.records = [record for record in self.records if record not in old]
        return len(old)

    def close(self):
        raise AssertionError("a simulated disk keeps its store open")


def test_what_is_kept_is_made_once(disk):
    assert disk.keep("a", list) is disk.keep("a", dict)
    assert disk.keep("b", dict) == {}


def test_the_nth_write_and_those_after_it_are_refused_until_there_is_room(disk, faults):
    log = []
    commit = disk.guard(log.append)
    commit(0)
    disk.fill(writes=2)
    commit(1)
    for n in (2, 3):
        with pytest.raises(OSError, match="No space left") as refused:
            commit(n)
        assert refused.value.errno == errno.ENOSPC
    disk.make_room()
    commit(4)
    assert log == [0, 1, 4]
    assert faults == {Fault.DISK_FULL: 2}


@pytest.mark.parametrize(("is_after", "kept"), [(False, [1]), (True, [1, 2])])
def test_a_crash_happens_at_the_nth_commit_once(disk, faults, is_after, kept):
    log, deaths = [], []
    disk.belongs_to(lambda: deaths.append(1), lambda: None)
    commit = disk.guard(log.append)
    disk.crash_at(2, is_after=is_after)
    commit(1)
    with pytest.raises(CrashedError, match="at write 2"):
        commit(2)
    assert (log, deaths) == (kept, [1])
    commit(3)
    assert faults.total() == 1


def test_a_crash_waits_for_a_write_that_is_not_refused(disk):
    log = []
    commit = disk.guard(log.append)
    disk.crash_at(1, is_after=False)
    disk.fill()
    with pytest.raises(OSError, match="No space left"):
        commit(1)
    disk.make_room()
    with pytest.raises(CrashedError):
        commit(2)
    assert log == []


def test_a_dead_owner_writes_nothing(disk):
    def refuse():
        raise CrashedError

    log = []
    disk.belongs_to(lambda: None, refuse)
    with pytest.raises(CrashedError):
        disk.guard(log.append)(1)
    assert (log, disk.writes) == ([], 0)


def test_faults_that_have_not_happened_can_be_taken_back(disk):
    disk.fill()
    disk.crash_at(1, is_after=False)
    disk.crash_at(1, is_after=True)
    disk.disarm()
    assert disk.guard(lambda: 7)() == 7


async def test_a_store_keeps_what_was_committed_and_takes_time_for_it(disk):
    pauses = []
    inner = Memory()
    store = _store(inner, disk, pauses)
    await store.commit([1, 2])
    await store.commit([3], delete=[1])
    assert store.load(int) == [2, 3]
    assert store.load_since(int, 3) == [3]
    assert store.load_pending(int) == [2]
    cut = {"of": (1,), "prefix": "", "after": (2,), "newest_first": True}
    assert [*store.each(int, of=(1,), after=(2,), newest_first=True)] == [(2, cut), (3, cut)]
    store.close()
    assert len(pauses) == 4
    assert all(0 < pause < 0.02 for pause in pauses)


async def test_a_store_on_a_full_disk_refuses_with_a_link_error_and_keeps_nothing(disk):
    inner = Memory()
    disk.fill()
    with pytest.raises(LinkError, match=r"the store refused a commit: No space left .* nothing of it was kept"):
        await _store(inner, disk, []).commit([1])
    assert inner.records == []


async def test_a_store_forgets_what_is_old_unless_the_disk_is_full(disk):
    store = _store(Memory(), disk, [])
    await store.commit([1, 2, 3])
    disk.fill()
    with pytest.raises(LinkError, match="refused to forget"):
        await store.forget_before(int, 3)
    disk.make_room()
    assert await store.forget_before(int, 3, limit=1) == 1
    assert store.load(int) == [2, 3]


def test_a_simulated_path_needs_no_folder(files):
    files.make_folder("a/b")
    files.write("a/b/c", b"x")
    assert files.read("a/b/c") == b"x"


@pytest.mark.parametrize(("is_after", "kept"), [(False, []), (True, [1])])
async def test_a_store_crashes_before_or_after_its_commit(disk, is_after, kept):
    inner = Memory()
    disk.crash_at(1, is_after=is_after)
    with pytest.raises(CrashedError):
        await _store(inner, disk, []).commit([1])
    assert inner.records == kept


def test_files_are_read_as_written_and_appended_to(files):
    files.write("a", b"one")
    files.append("a", b" two")
    files.append("b", b"new")
    assert files.read("a") == b"one two"
    assert files.read("b") == b"new"


def test_a_file_that_is_not_there_is_named(files):
    with pytest.raises(ConfigError, match="cannot read a: No such file"):
        files.read("a")


def test_a_full_disk_leaves_the_old_file(files, disk, faults):
    files.write("a", b"old", mode=0o600)
    disk.fill()
    with pytest.raises(ConfigError, match="cannot write a: No space left"):
        files.write("a", b"new")
    with pytest.raises(ConfigError, match="cannot write a: No space left"):
        files.append("a", b"new")
    assert files.read("a") == b"old"
    assert faults[Fault.DISK_FULL] == 2


def test_files_survive_a_crash_but_for_the_end_of_what_was_appended(disk):
    lengths = set()
    for seed in range(50):
        files = SimFiles(disk, SeededRandom(seed))
        files.write("log", b"synced")
        files.append("log", b"1234")
        files.lose_unsynced()
        files.lose_unsynced()
        again = SimFiles(disk, SeededRandom(0)).read("log")
        assert b"synced1234".startswith(again)
        lengths.add(len(again))
    assert lengths == {6, 7, 8, 9, 10}


def _store(inner, disk, pauses):
    async def pause(seconds):
        pauses.append(seconds)

    return DurableStore(inner, disk, SeededRandom(1), pause)
