"""`tierline token`: who may use the operator API."""

from pathlib import Path
from typing import Annotated

import typer

from tierline.cli import wording
from tierline.cli.commands import Session, operator_command

app = typer.Typer(name="token", help="Access tokens of the operator API.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="Whose token; the audit shows this name.")]


@operator_command(app, "list")
def list_tokens(session: Session) -> None:
    """List the tokens that were made; never their secrets."""
    found = session.client.tokens()
    rows = [
        (one["name"], one["role"], wording.time(one["created_at"]), wording.time(one["revoked_at"]))
        for one in found["tokens"]
    ]
    session.show(found, lambda: wording.table(("name", "role", "made", "revoked"), rows, none="there are no tokens"))


@operator_command(app, "create")
def create_token(
    session: Session,
    name: NameArgument,
    role: Annotated[str, typer.Option(help="operator, or viewer, who may read only.")] = "viewer",
    out: Annotated[Path | None, typer.Option("--out", help="Write it to this new file instead of the screen.")] = None,
) -> None:
    """Make a token for one more person or program; it is shown this once."""
    if out is not None and out.exists():
        raise typer.BadParameter(f"{out} exists already; choose another file")
    found = session.client.create_token(name, role)
    if out is None:
        session.show(found, lambda: typer.echo(found["token"]))
        return
    from tierline.security.keys import write_new

    write_new(out, f"{found['token']}\n".encode(), mode=0o600)
    kept = {"name": found["name"], "role": found["role"], "file": str(out)}
    session.show(kept, lambda: typer.echo(f"token of {found['name']} ({found['role']}) written to {out}"))


@operator_command(app, "revoke")
def revoke_token(session: Session, name: NameArgument) -> None:
    """Make a token useless from the next request on."""
    found = session.client.revoke_token(name)
    session.show(found, lambda: typer.echo(f"the token of {found['name']} is revoked"))
