"""Bring a database to the schema of this program: a newer one is refused, an older one is migrated after a backup.

A migration is one transaction: a program that dies in it leaves the old schema, never half of the new one.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tierline.model.errors import ConfigError
from tierline.storage.schema import REVISION

if TYPE_CHECKING:
    from sqlalchemy import Connection

_LOCATION = Path(__file__).parent / "migrations"


def bring_up_to_date(path: str) -> None:
    """Create or migrate the schema of a SQLite file.

    Raises: ConfigError when the file is no database of ours, was written by a newer edition or cannot be written.
    """
    found = _revision(path)
    if found == REVISION:
        return
    if found is not None and found not in _known():
        raise ConfigError(
            f"the database {path} has the schema {found}, this program knows up to {REVISION}; "
            "use a newer tierline, or restore a backup"
        )
    if found is None:
        _make_private(path)
    else:
        backup(path, _free_name(f"{path}.before-{REVISION}"))
    _upgrade(path)


def backup(path: str, target: str) -> None:
    """Copy a database in use, consistently.

    Raises: ConfigError when the target exists already or cannot be written.
    """
    if Path(target).exists():
        raise ConfigError(f"{target} exists already; move it away or choose another name")
    _make_private(target)
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
    except sqlite3.Error as error:
        raise ConfigError(f"{path} cannot be copied to {target}: {error}; check the free space") from error


def _known() -> set[str]:
    # Alembic is imported only where there is something to migrate: it takes longer than all the rest of a start.
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory(str(_LOCATION)).walk_revisions()}


def _upgrade(path: str) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine, event, exc
    from sqlalchemy.pool import NullPool

    config = Config()
    config.set_main_option("script_location", str(_LOCATION).replace("%", "%%"))
    # By a creator, so that a path may hold any character; without a transaction mode of its own, since Python's
    # would leave CREATE TABLE outside of every transaction.
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(path, isolation_level=None), poolclass=NullPool)
    event.listen(engine, "begin", _begin)
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, REVISION)
    except exc.DBAPIError as error:
        raise ConfigError(
            f"the database {path} cannot be brought to the schema {REVISION}: {error.orig}; it is unchanged"
        ) from error
    finally:
        engine.dispose()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _make_private(path: str) -> None:
    """Make an empty file that only its owner reads: the registry holds PINs. SQLite gives its side files the same mode."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}; check [store] path and its folder") from error


def _free_name(name: str) -> str:
    """Give a name that no file has: a backup never replaces another."""
    names = itertools.chain([name], (f"{name}.{number}" for number in itertools.count(2)))
    return next(candidate for candidate in names if not Path(candidate).exists())


def _revision(path: str) -> str | None:
    """Read which schema a file has; None when it is missing or empty."""
    if not Path(path).exists():
        return None
    try:
        with closing(sqlite3.connect(path)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables:
                return None
            row = None
            if "alembic_version" in tables:
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError as error:
        raise ConfigError(f"the database {path} cannot be opened: {error}; check who may read it") from error
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{path} is not a database: {error}; name another file under [store]") from error
    if row is None:
        raise ConfigError(f"{path} is a database, but not one of tierline; name another file under [store]")
    return str(row[0])
