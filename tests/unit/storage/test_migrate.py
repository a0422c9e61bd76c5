import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tierline.model.control import EventStatus
from tierline.model.errors import ConfigError
from tierline.model.identity import parse_mrid
from tierline.model.records import KEYS, Flow, OutboxRecord, PriceRecord, ReadingRecord, TariffRecord
from tierline.storage import migrate
from tierline.storage.migrate import backup, bring_up_to_date
from tierline.storage.schema import MAPPINGS, METADATA, REVISION, Cut, page_of
from tierline.storage.sqlite import Database

LOCATION = Path(migrate.__file__).parent / "migrations"


def revision_of(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]


def set_revision(path, revision):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "a ?#%20 name.db")


@pytest.fixture
def older(path, tmp_path, monkeypatch):
    """A database of an older edition, and migrations that lead on from it."""
    bring_up_to_date(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO known VALUES ('n', 'utility', 'fact', 'kept')")
    location = tmp_path / "migrations"
    (location / "versions").mkdir(parents=True)
    (location / "env.py").write_text((LOCATION / "env.py").read_text())
    (location / "versions" / "old.py").write_text(
        f'revision = "{REVISION}"\ndown_revision = None\ndef upgrade(): ...\n'
    )
    step = f'from alembic import op\nrevision = "9999"\ndown_revision = "{REVISION}"\n'
    change = location / "versions" / "9999.py"
    change.write_text(step + 'def upgrade():\n    op.execute("ALTER TABLE known ADD COLUMN more TEXT")\n')
    monkeypatch.setattr(migrate, "_LOCATION", location)
    monkeypatch.setattr(migrate, "REVISION", "9999")
    return change


def test_a_fresh_database_is_what_the_schema_says(path):
    bring_up_to_date(path)
    with sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(path)).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), METADATA) == []
        inspector = sa.inspect(connection)
        for table in METADATA.sorted_tables:
            key = inspector.get_pk_constraint(table.name)["constrained_columns"]
            assert key == [column.name for column in table.primary_key], table.name
        connection.connection.dbapi_connection.close()
        connection.invalidate()


def test_the_revision_of_the_schema_is_the_last_migration():
    assert ScriptDirectory(str(LOCATION)).get_heads() == [REVISION]


def test_bringing_up_to_date_twice_changes_nothing(path):
    bring_up_to_date(path)
    before = Path(path).read_bytes()
    bring_up_to_date(path)
    assert Path(path).read_bytes() == before


def test_an_empty_file_becomes_a_database(path):
    Path(path).touch()
    bring_up_to_date(path)
    assert revision_of(path) == REVISION


def test_only_its_owner_reads_the_database(path):
    old = os.umask(0)
    try:
        bring_up_to_date(path)
        backup(path, f"{path}.copy")
    finally:
        os.umask(old)
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert Path(f"{path}.copy").stat().st_mode & 0o777 == 0o600


def test_a_newer_schema_is_refused_and_left_alone(path):
    bring_up_to_date(path)
    set_revision(path, "9999")
    before = Path(path).read_bytes()
    with pytest.raises(ConfigError, match=f"has the schema 9999, this program knows up to {REVISION}"):
        bring_up_to_date(path)
    assert Path(path).read_bytes() == before


def test_a_database_of_another_program_is_refused_and_left_alone(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE theirs (a)")
    with pytest.raises(ConfigError, match="not one of tierline"):
        bring_up_to_date(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


def test_tables_without_a_revision_are_not_ours(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("CREATE TABLE theirs (a)")
    with pytest.raises(ConfigError, match="not one of tierline"):
        bring_up_to_date(path)


def test_a_file_that_is_no_database_is_refused(path):
    Path(path).write_text("hello" * 100)
    with pytest.raises(ConfigError, match="is not a database"):
        bring_up_to_date(path)


def test_a_folder_in_its_place_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be opened"):
        bring_up_to_date(str(tmp_path))


def test_a_folder_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be written: No such file or directory; check \[store\] path"):
        bring_up_to_date(str(tmp_path / "nowhere" / "a.db"))


def test_an_older_database_is_copied_aside_and_migrated(path, older):
    bring_up_to_date(path)
    assert revision_of(path) == "9999"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT value, more FROM known").fetchall() == [("kept", None)]
    assert revision_of(f"{path}.before-9999") == REVISION
    with closing(sqlite3.connect(f"{path}.before-9999")) as connection:
        assert connection.execute("SELECT value FROM known").fetchall() == [("kept",)]


def test_a_migration_that_fails_changes_nothing_and_can_be_tried_again(path, older):
    whole = older.read_text()
    older.write_text(whole + '    op.execute("ALTER TABLE absent ADD COLUMN x TEXT")\n')
    with pytest.raises(ConfigError, match=r"cannot be brought to the schema 9999: no such table.*it is unchanged"):
        bring_up_to_date(path)
    assert revision_of(path) == REVISION
    with closing(sqlite3.connect(path)) as connection:
        assert "more" not in connection.execute("SELECT sql FROM sqlite_master WHERE name = 'known'").fetchone()[0]
    older.write_text(whole)
    bring_up_to_date(path)
    assert revision_of(path) == "9999"
    assert revision_of(f"{path}.before-9999") == revision_of(f"{path}.before-9999.2") == REVISION


def test_a_program_killed_while_it_makes_the_schema_leaves_a_database_that_can_be_made(path):
    script = f"""
import os, sqlalchemy as sa
from tierline.storage.migrate import bring_up_to_date
count = 0
def look(*_):
    global count
    count += 1
    if count == 10:
        os.kill(os.getpid(), 9)
sa.event.listen(sa.engine.Engine, "before_cursor_execute", look)
bring_up_to_date({path!r})
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    bring_up_to_date(path)
    assert revision_of(path) == REVISION


def test_a_backup_never_replaces_a_file(path, tmp_path):
    bring_up_to_date(path)
    target = tmp_path / "copy.db"
    target.touch()
    with pytest.raises(ConfigError, match="exists already"):
        backup(path, str(target))


def test_a_backup_that_fails_is_told(path, tmp_path):
    Path(path).write_text("hello" * 100)
    with pytest.raises(ConfigError, match="cannot be copied"):
        backup(path, str(tmp_path / "copy.db"))


def test_the_state_of_the_first_edition_is_taken_over(path, monkeypatch):
    monkeypatch.setattr(migrate, "REVISION", "0001")
    bring_up_to_date(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO program VALUES ('n', 'utility', 'A', 'g', 100, 'feeder', 0)")
    monkeypatch.setattr(migrate, "REVISION", REVISION)
    bring_up_to_date(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT mrid, primacy, channel FROM program").fetchall() == [("A", 100, None)]


def test_prices_of_an_older_edition_get_a_name_and_stay_what_they_were(path, monkeypatch):
    tariff = "A" * 24 + "0000F00D"
    monkeypatch.setattr(migrate, "REVISION", "0003")
    bring_up_to_date(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO tariff VALUES ('n', 'utility', ?, 'day', 978, -5, 7)", (tariff,))
        connection.executemany(
            "INSERT INTO price VALUES ('n', 'utility', ?, ?, 3600, ?)", [(tariff, 3_600_000_000, 12), (tariff, 0, -5)]
        )
    monkeypatch.setattr(migrate, "REVISION", REVISION)
    bring_up_to_date(path)
    database = Database(path)
    store = database.store("n")
    (taken,) = store.load(TariffRecord)
    assert (taken.mrid, taken.description, taken.currency, taken.price_power_of_ten) == (tariff, "day", 978, -5)
    assert (taken.group, taken.flow, taken.primacy, taken.followed_from) == (None, Flow.DELIVERED, 2, "")
    prices = sorted(store.load(PriceRecord), key=lambda record: record.start)
    assert [(one.start.timestamp(), one.duration_s, one.price) for one in prices] == [(0, 3600, -5), (3600, 3600, 12)]
    assert {(one.tariff, one.status, one.created_at, one.status_at) for one in prices} == {
        (tariff, EventStatus.SCHEDULED, taken.created_at, taken.created_at)
    }
    names = {taken.mrid, taken.rate_component, *(one.mrid for one in prices)}
    assert len(names) == 4
    assert all(parse_mrid(name) == name and name.endswith("0000F00D") for name in names)
    store.close()
    database.close()


def test_readings_of_an_older_edition_are_all_there_and_are_found_by_their_der(path, monkeypatch):
    monkeypatch.setattr(migrate, "REVISION", "0004")
    bring_up_to_date(path)
    rows = [
        ("n", "utility", meter, der, "w", at, 0, at, 60, 0, 0, 0, at)
        for meter in "BA"
        for der in ("y", "x")
        for at in (2, 1)
    ]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(f"INSERT INTO reading VALUES ({', '.join('?' * 13)})", rows)
    monkeypatch.setattr(migrate, "REVISION", REVISION)
    bring_up_to_date(path)
    with closing(sqlite3.connect(path)) as connection:
        assert sorted(connection.execute("SELECT * FROM reading")) == sorted(rows)
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert "old_reading" not in tables
    database = Database(path)
    store = database.store("n")
    assert [(one.meter_reading, one.reading.value) for one in store.each(ReadingRecord, of=("x",))] == [
        ("A", 1), ("A", 2), ("B", 1), ("B", 2),
    ]  # fmt: skip
    store.close()
    database.close()


def test_responses_that_wait_are_found_by_an_index(path):
    bring_up_to_date(path)
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {MAPPINGS[OutboxRecord].pending}", ("n",)).fetchall()
    assert plan[0][3] == "SEARCH outbox USING INDEX ix_outbox_posted_at (node=? AND posted_at=?)"


@pytest.mark.parametrize("record", KEYS, ids=lambda record: record.__name__)
def test_every_part_of_a_table_that_is_read_by_its_key_is_found_by_an_index(path, record):
    """Nothing is sorted, and nothing is gone through that is not wanted."""
    bring_up_to_date(path)
    mapping = MAPPINGS[record]
    length = len(mapping.key)
    with closing(sqlite3.connect(path)) as connection:
        for equal in range(length + 1):
            for low, high in ((0, 0), (length - equal, 0), (0, length - equal), (min(1, length - equal), 0)):
                for newest_first in (False, True):
                    cut = Cut(equal, low, False, high, newest_first)
                    values = ["n", *[1] * (equal + low + high), 10]
                    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {page_of(mapping, cut)}", values)]
                    assert len(plan) == 1, (cut, plan)
                    assert plan[0].startswith(f"SEARCH {mapping.table.name} USING INDEX sqlite_autoindex"), (cut, plan)
                    assert plan[0].count("=") >= 1 + equal, (cut, plan)
