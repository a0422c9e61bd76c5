"""`tierline backup`: copy a database in use, and bring a copy back."""

from pathlib import Path
from typing import Annotated

import typer

from tierline.cli.commands import Output, local_command
from tierline.model.errors import ConfigError

app = typer.Typer(name="backup", help="Copies of a node's database.", no_args_is_help=True)


@local_command(app, "create")
def create_backup(
    output: Output,
    target: Annotated[Path, typer.Argument(help="The new file.")],
    database: Annotated[Path, typer.Option(help="The database; the node may be running.")] = Path("state/tierline.db"),
) -> None:
    """Copy a database consistently, while the node runs."""
    from tierline.storage.migrate import backup

    if not database.is_file():
        raise ConfigError(f"there is no database {database}; name it with --database")
    backup(str(database), str(target))
    size = target.stat().st_size
    output.show(
        {"database": str(database), "backup": str(target), "bytes": size},
        lambda: typer.echo(f"{database} copied to {target}, {size} bytes"),
    )


@local_command(app, "restore")
def restore_backup(
    output: Output,
    source: Annotated[Path, typer.Argument(help="The copy.")],
    database: Annotated[Path, typer.Option(help="Where it shall be; must not exist.")] = Path("state/tierline.db"),
) -> None:
    """Bring a copy back; the node must not run, and its old database must be moved away."""
    from tierline.storage.migrate import backup, bring_up_to_date

    if not source.is_file():
        raise ConfigError(f"there is no backup {source}")
    left = [path for suffix in ("-wal", "-shm") if (path := Path(f"{database}{suffix}")).exists()]
    if left:
        raise ConfigError(f"{left[0]} belongs to the old database; stop the node and move both away")
    database.parent.mkdir(parents=True, exist_ok=True)
    backup(str(source), str(database))
    try:
        bring_up_to_date(str(database))
    except ConfigError:
        database.unlink()
        raise
    output.show(
        {"backup": str(source), "database": str(database)}, lambda: typer.echo(f"{source} restored to {database}")
    )
