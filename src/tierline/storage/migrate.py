"""Bring a database to the schema of this program: a newer one is refused, an older one is migrated after a backup."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tierline.model.errors import ConfigError
from tierline.storage.schema import REVISION


def bring_up_to_date(path: str) -> None:
    """Create or migrate the schema of a SQLite file.

    Raises: ConfigError when the file is no database of ours or was written by a newer edition.
    """
    found = _revision(path)
    if found == REVISION:
        return
    # Alembic is imported only where there is something to migrate: it takes longer than all the rest of a start.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy import create_engine

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise ConfigError(
            f"the database {path} has the schema {found}, this program knows up to {REVISION}; "
            "use a newer tierline, or restore a backup"
        )
    if found is not None:
        backup(path, f"{path}.before-{REVISION}")
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, REVISION)
    engine.dispose()


def backup(path: str, target: str) -> None:
    """Copy a database in use, consistently.

    Raises: ConfigError when the target exists already.
    """
    if Path(target).exists():
        raise ConfigError(f"{target} exists already; move it away or choose another name")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)


def _revision(path: str) -> str | None:
    if not Path(path).exists():
        return None
    try:
        with closing(sqlite3.connect(path)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables:
                return None
            if "alembic_version" not in tables:
                raise ConfigError(f"{path} is a database, but not one of tierline; name another file under [store]")
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{path} is not a database: {error}; name another file under [store]") from error
    return None if row is None else str(row[0])
