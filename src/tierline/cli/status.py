"""`tierline status`: the node at a glance."""

import typer

from tierline.cli import wording
from tierline.cli.commands import Session, operator_command


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    operator_command(app, "status")(status)


def status(session: Session) -> None:
    """Show the node at a glance."""
    found = session.client.status()

    def words() -> None:
        speed = "" if found["speed"] == 1 else f", {wording.number(found['speed'])} times as fast as the wall"
        typer.echo(f"{found['node']} of {found['party']}, level {found['level']}")
        typer.echo(f"  clock     {wording.time(found['now'])}{speed}")
        typer.echo(f"  grid      {found['grid'] or '-'}")
        typer.echo(
            f"  DERs      {found['devices']}, of which {found['devices_seen']} called within two polls "
            f"({wording.duration(2 * found['poll_s'])})"
        )
        typer.echo(f"  active    {', '.join(found['active_controls']) or 'no control'}")
        typer.echo(f"  ready     {'yes' if found['ready'] else found['unready']}")
        for channel, ahead_s in found["clocks"].items():
            which = "ahead" if ahead_s > 0 else "behind"
            typer.echo(f"  clock of  {channel}: its server is {abs(ahead_s):.1f} s {which}")
        typer.echo(f"  healthy   {'yes' if found['healthy'] else found['unhealthy'] or 'no, as it is not ready'}")
        typer.echo(f"  you are   {found['you']}, {found['role']}")

    session.show(found, words)
