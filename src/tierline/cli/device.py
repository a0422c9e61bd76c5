"""`tierline device`: the DERs of a node."""

from pathlib import Path
from typing import Annotated

import typer

from tierline.cli import wording
from tierline.cli.commands import Session, operator_command
from tierline.model.errors import ConfigError

app = typer.Typer(name="device", help="The DERs of a node.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="DerId, LFDI or the beginning of it, or service point.")]


@operator_command(app, "list")
def list_devices(
    session: Session,
    group: Annotated[str | None, typer.Option(help="Only those of this group.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 1000,
) -> None:
    """List DERs."""
    devices: list[object] = []
    total = limit
    rows = []
    while len(devices) < min(limit, total):
        page = session.client.devices(group, offset=len(devices), limit=min(1000, limit - len(devices)))
        total = page["total"]
        devices += page["devices"]
        rows += [
            (
                one["service_point"] or "-",
                one["der_id"],
                (one["lfdi"] or "-")[:10],
                one["sfdi"],
                wording.power(one["rating_w"]),
                one["groups"],
                one["enabled"],
                wording.time(one["last_seen"]),
            )
            for one in page["devices"]
        ]

    def words() -> None:
        columns = ("service point", "DerId", "LFDI", "SFDI", "rated W", "groups", "enabled", "last seen")
        wording.table(columns, rows, none="no DER is registered; `tierline device add` enrols one")
        if total > len(devices):
            typer.echo(f"{len(devices)} of {total}; --limit shows more")

    session.show({"total": total, "devices": devices}, words)


@operator_command(app, "show")
def show_device(session: Session, name: NameArgument) -> None:
    """Show one DER."""
    found = session.client.device(name)

    def words() -> None:
        for what, said in (
            ("DerId", found["der_id"]),
            ("LFDI", found["lfdi"]),
            ("SFDI", found["sfdi"]),
            ("PIN", "-" if found["pin"] is None else f"{found['pin']:06d}"),
            ("service point", found["service_point"]),
            ("rated", wording.power(found["rating_w"])),
            ("groups", found["groups"]),
            ("managed by", found["managed_by"]),
            ("stands for", found["aggregates"]),
            ("enabled", found["enabled"]),
            ("registered", wording.time(found["registered_at"])),
            ("last seen", wording.time(found["last_seen"])),
        ):
            typer.echo(f"{what:14}{wording.said(said)}")
        for what, at in sorted(found["described"].items()):
            typer.echo(f"{what:14}told {wording.time(at)}")
        for reading in found["readings"]:
            said = f"{wording.number(reading['value'])} {reading['unit']}"
            typer.echo(f"{reading['point']:14}{said} at {wording.time(reading['time'])}")
        typer.echo(f"\nwhy it does what it does: tierline explain {found['der_id']}")

    session.show(found, words)


@operator_command(app, "add")
def add_device(
    session: Session,
    lfdi: Annotated[str | None, typer.Option(help="Its LFDI, 40 hexadecimal digits.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="Its certificate, instead of the LFDI.")] = None,
    service_point: Annotated[str, typer.Option(help="Where it hangs in the grid.")] = "",
    pin: Annotated[
        int | None, typer.Option(help="Its registration PIN; drawn when absent.", min=0, max=999_999)
    ] = None,
    managed_by: Annotated[str | None, typer.Option(help="The aggregator that stands for it.")] = None,
    aggregates: Annotated[str | None, typer.Option(help="The party that this certificate stands for; no DER.")] = None,
) -> None:
    """Enrol a DER before it first calls."""
    if lfdi is not None and certificate is not None:
        raise typer.BadParameter("give --lfdi or --certificate, not both")
    if certificate is not None:
        lfdi = _lfdi_of(certificate)
    if lfdi is None and not service_point:
        raise ConfigError("a DER needs an LFDI, a certificate or a service point; give at least one of them")
    new = {"lfdi": lfdi, "service_point": service_point, "pin": pin, "managed_by": managed_by, "aggregates": aggregates}
    found = session.client.add_devices([new])["devices"][0]

    def words() -> None:
        typer.echo(f"registered {found['der_id']}, LFDI {found['lfdi'] or '-'}, SFDI {wording.said(found['sfdi'])}")
        typer.echo(f"  PIN {found['pin']:06d}: the DER compares it with its own" if found["pin"] is not None else "")
        typer.echo(f"  in the groups {wording.said(found['groups']) or 'none'}")

    session.show(found, words)


@operator_command(app, "enable")
def enable_device(session: Session, name: NameArgument) -> None:
    """Let a DER in."""
    found = session.client.enable_device(name)
    session.show(found, lambda: typer.echo(f"{found['der_id']} is let in"))


@operator_command(app, "disable")
def disable_device(session: Session, name: NameArgument) -> None:
    """Shut a DER out from its next request on."""
    found = session.client.disable_device(name)
    session.show(found, lambda: typer.echo(f"{found['der_id']} is shut out from its next request on"))


@operator_command(app, "remove")
def remove_device(session: Session, name: NameArgument) -> None:
    """Take a DER out: nobody is let in by its LFDI, and it leaves its groups; what it reported stays."""
    found = session.client.remove_device(name)
    session.show(found, lambda: typer.echo(f"{found['der_id']} is taken out; its LFDI may be registered anew"))


@operator_command(app, "place")
def place_device(
    session: Session,
    name: NameArgument,
    service_point: Annotated[str, typer.Argument(help="Where it hangs in the grid; '' for nowhere.")],
) -> None:
    """Say where a DER hangs in the grid; it leaves and joins groups at once."""
    found = session.client.place_device(name, service_point)
    where = f"hangs at {found['service_point']}" if found["service_point"] else "hangs nowhere in the grid"
    groups = wording.said(found["groups"]) or "none"
    session.show(found, lambda: typer.echo(f"{found['der_id']} {where}, in the groups {groups}"))


def _lfdi_of(path: Path) -> str:
    from tierline.model.identity import lfdi_of_certificate
    from tierline.security.keys import load_certificates

    return lfdi_of_certificate(load_certificates(path)[0])
