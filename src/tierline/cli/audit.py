"""`tierline audit`: who did what, and whether the record of it is whole."""

from typing import Annotated

import typer

from tierline.cli import wording
from tierline.cli.commands import Session, operator_command

app = typer.Typer(name="audit", help="Who did what.", no_args_is_help=True)


@operator_command(app, "list")
def list_audit(
    session: Session,
    after: Annotated[int | None, typer.Option(help="Those after this number; the last ones without it.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 50,
) -> None:
    """List acts in their order."""
    found = session.client.audit(after, limit=limit)
    rows = [
        (
            one["sequence"],
            wording.time(one["time"]),
            one["principal"],
            one["verb"],
            one["resource"],
            one["outcome"],
            one["detail"].get("reason") or None,
        )
        for one in found["lines"]
    ]
    columns = ("no. #", "time", "who", "did", "to", "outcome", "because")
    session.show(found, lambda: wording.table(columns, rows, none="nothing was done yet"))


@operator_command(app, "verify")
def verify_audit(session: Session) -> None:
    """Check that nothing in the audit was changed, removed or put in between; exit code 1 when something was."""
    found = session.client.verify_audit()

    def words() -> None:
        for fault in found["faults"]:
            typer.echo(fault)
        verdict = "whole" if found["whole"] else "NOT whole"
        typer.echo(f"the audit is {verdict}: {found['records']} records, the last {found['last_sha256'] or '-'}")

    session.show(found, words)
    if not found["whole"]:
        raise typer.Exit(1)
