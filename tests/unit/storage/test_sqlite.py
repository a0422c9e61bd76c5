"""What SQLite adds: durability, group commit, errors of the disk, and the writer's life."""

import asyncio
import sqlite3
import threading
from dataclasses import replace

import pytest

from tierline.model.errors import ConfigError, LinkError
from tierline.model.records import AuditRecord, KnownRecord
from tierline.storage.sqlite import CommitCore, Database, connect, statements


def known(samples, name, value="v"):
    return replace(next(record for record in samples if type(record) is KnownRecord), name=name, value=value)


class Gate:
    """Stands in front of a database's commit core: holds it back, counts transactions, lets it fail."""

    def __init__(self, database):
        self.core, self.open, self.transactions, self.error = database._core, threading.Event(), [], None
        self.reached = threading.Event()
        self.open.set()
        database._core = self

    def apply(self, calls):
        self.reached.set()
        assert self.open.wait(10)
        self.transactions.append(len(calls))
        if self.error is not None:
            raise self.error
        return self.core.apply(calls)

    def close(self):
        self.core.close()


@pytest.fixture
def gate(database):
    return Gate(database)


@pytest.fixture
def store(database):
    store = database.store("utility")
    yield store
    store.close()


def test_what_is_acknowledged_survives_a_power_cut(tmp_path):
    connection = connect(str(tmp_path / "a.db"))
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    connection.close()


async def test_another_connection_sees_what_was_acknowledged(store, database, samples):
    await store.commit([known(samples, "a")])
    other = sqlite3.connect(database.path)
    assert other.execute("SELECT node, name FROM known").fetchall() == [("utility", "a")]
    other.close()


async def test_nodes_do_not_see_each_other(database, samples):
    mine, theirs = database.store("a"), database.store("b")
    await mine.commit([known(samples, "x", "mine")])
    await theirs.commit([known(samples, "x", "theirs")])
    await theirs.commit(delete=[known(samples, "x")])
    assert [record.value for record in mine.load(KnownRecord)] == ["mine"]
    assert theirs.load(KnownRecord) == []
    mine.close()
    theirs.close()


async def test_forgetting_spares_the_other_nodes(database, audit):
    mine, theirs = database.store("a"), database.store("b")
    for store in (mine, theirs):
        await store.commit([audit(1), audit(2)])
    assert await mine.forget_before(AuditRecord, audit(9).time) == 2
    assert len(theirs.load(AuditRecord)) == 2
    mine.close()
    theirs.close()


async def test_a_database_opened_again_has_everything(tmp_path, samples):
    path = str(tmp_path / "node.db")
    for _ in range(2):
        database = Database(path)
        store = database.store("n")
        await store.commit(samples)
        assert all(store.load(type(record)) == [record] for record in samples)
        store.close()
        database.close()


async def test_calls_that_wait_at_the_same_time_share_one_transaction(store, gate, samples):
    gate.open.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(store.commit([known(samples, "first")]))
        await asyncio.to_thread(gate.reached.wait, 10)
        for number in range(5):
            group.create_task(store.commit([known(samples, str(number))]))
        await asyncio.sleep(0)
        gate.open.set()
    assert gate.transactions == [1, 5]
    assert len(store.load(KnownRecord)) == 6


async def test_one_call_that_cannot_be_written_does_not_harm_those_beside_it(store, gate, samples, audit):
    gate.open.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(store.commit([known(samples, "first")]))
        await asyncio.to_thread(gate.reached.wait, 10)
        good = [group.create_task(store.commit([known(samples, str(number))])) for number in range(2)]
        bad = group.create_task(expect(ValueError, store.commit([known(samples, "bad"), audit(1 << 70, minutes=0)])))
        await asyncio.sleep(0)
        gate.open.set()
    assert "cannot be written" in str(bad.result())
    assert all(task.exception() is None for task in good)
    assert [record.name for record in store.load(KnownRecord)] == ["0", "1", "first"]


async def expect(kind, work):
    with pytest.raises(kind) as caught:
        await work
    return caught.value


async def test_a_refusing_disk_acknowledges_nobody_and_works_again_afterwards(store, gate, samples):
    gate.error = LinkError("disk I/O error")
    gate.open.clear()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(expect(LinkError, store.commit([known(samples, str(n))]))) for n in range(3)]
        await asyncio.to_thread(gate.reached.wait, 10)
        gate.open.set()
    errors = [task.result() for task in tasks]
    assert len({id(error) for error in errors}) == 3, "each waiter raises an error of its own"
    assert store.load(KnownRecord) == []
    gate.error = None
    await store.commit([known(samples, "after")])
    assert [record.name for record in store.load(KnownRecord)] == ["after"]


async def test_a_full_disk_keeps_nothing_of_the_call_and_takes_changes_again_when_there_is_room(
    tmp_path, samples, monkeypatch
):
    def limited(path):
        connection = connect(path)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    database = Database(str(tmp_path / "small.db"))
    store = database.store("n")
    monkeypatch.setattr("tierline.storage.sqlite.connect", limited)
    pages = 1  # SQLite keeps at least what is used already
    with pytest.raises(LinkError, match="did not take a change: database or disk is full"):
        await store.commit([known(samples, "small"), known(samples, "large", "x" * 100_000)])
    assert store.load(KnownRecord) == []
    pages = 100_000
    await store.commit([known(samples, "large", "x" * 100_000)])
    assert len(store.load(KnownRecord)) == 1
    store.close()
    database.close()


async def test_a_database_locked_by_another_program_refuses_and_recovers(tmp_path, samples, monkeypatch):
    def impatient(path):
        connection = connect(path)
        connection.execute("PRAGMA busy_timeout = 10")
        return connection

    monkeypatch.setattr("tierline.storage.sqlite.connect", impatient)
    database = Database(str(tmp_path / "node.db"))
    store = database.store("n")
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LinkError, match="locked"):
        await store.commit([known(samples, "a")])
    other.execute("ROLLBACK")
    other.close()
    await store.commit([known(samples, "a")])
    assert len(store.load(KnownRecord)) == 1
    store.close()
    database.close()


async def test_a_caller_that_is_cancelled_goes_on_until_the_outcome_is_known(store, gate, samples):
    """So memory follows the disk: what is written down is never forgotten by who wrote it."""
    took = []

    async def change():
        await store.commit([known(samples, "a")])
        took.append("memory")
        await asyncio.sleep(0)
        took.append("never")

    gate.open.clear()
    task = asyncio.get_running_loop().create_task(change())
    await asyncio.to_thread(gate.reached.wait, 10)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    gate.open.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert took == ["memory"]
    assert len(store.load(KnownRecord)) == 1


async def test_a_deadline_around_a_commit_is_told_from_a_cancellation(store, gate, samples):
    gate.open.clear()

    async def release():
        await asyncio.sleep(0.05)
        gate.open.set()

    async def hurried():
        async with asyncio.timeout(0.01):
            await store.commit([known(samples, "a")])
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(release())
        await expect(TimeoutError, hurried())
    assert len(store.load(KnownRecord)) == 1


async def test_closing_writes_what_was_accepted(tmp_path, samples):
    database = Database(str(tmp_path / "node.db"))
    store = database.store("n")
    done = [database.submit(statements("n", [known(samples, str(number))], ())) for number in range(20)]
    database.close()
    assert await asyncio.gather(*done) == [1] * 20
    assert len(store.load(KnownRecord)) == 20
    store.close()


async def test_a_closed_database_refuses_at_once_and_can_be_closed_again(tmp_path, samples):
    database = Database(str(tmp_path / "node.db"))
    database.close()
    database.close()
    with pytest.raises(LinkError, match="is closed"):
        await database.store("n").commit([known(samples, "a")])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_writer_that_dies_leaves_nobody_waiting(database, store, samples):
    gate = Gate(database)
    gate.error = MemoryError()
    waiting = database.submit(statements("n", [known(samples, "a")], ()))
    await asyncio.to_thread(database._thread.join, 10)
    with pytest.raises(LinkError, match="is closed"):
        await store.commit([known(samples, "b")])
    with pytest.raises(LinkError, match="nothing is known"):
        await waiting


def test_a_loop_that_is_gone_is_not_told(database, samples):
    gate = Gate(database)
    gate.open.clear()

    async def leave():
        database.submit(statements("n", [known(samples, "a")], ()))

    asyncio.run(leave())
    gate.open.set()
    store = database.store("n")
    asyncio.run(store.commit([known(samples, "b")]))
    assert len(store.load(KnownRecord)) == 2
    store.close()


async def test_a_database_that_cannot_be_read_says_so_and_is_read_again_later(tmp_path, samples, monkeypatch):
    def broken(_path):
        raise ConfigError("unable to open")

    database = Database(str(tmp_path / "node.db"))
    store = database.store("n")
    await store.commit([known(samples, "a")])
    with monkeypatch.context() as patched:
        patched.setattr("tierline.storage.sqlite.connect", broken)
        with pytest.raises(LinkError, match=r"cannot be read: unable to open"):
            store.load(KnownRecord)
    assert len(store.load(KnownRecord)) == 1
    store.close()
    database.close()


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"the folder of the database .*nowhere/a\.db does not exist; create it"):
        Database(str(tmp_path / "nowhere" / "a.db"))


def test_what_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be opened: unable to open"):
        connect(str(tmp_path))
    (tmp_path / "text.db").write_bytes(b"not a database, but longer than a header" * 9)
    with pytest.raises(ConfigError, match="cannot be opened: file is not a database"):
        connect(str(tmp_path / "text.db"))


def test_a_core_that_never_wrote_closes_quietly(tmp_path):
    CommitCore(str(tmp_path / "a.db")).close()


def test_runs_of_one_kind_share_a_statement(samples, audit):
    a, b, c = (known(samples, name) for name in "abc")
    found = statements("n", [a, b, audit(1), c], [a, b, audit(1)])
    assert [len(rows) for _, rows in found] == [2, 1, 1, 2, 1]
