"""`tierline cert`: certificates for tests and demonstrations, and what a certificate says.

A utility's real certificates come from its own authority.
"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tierline.cli import reading_args, wording
from tierline.cli.commands import Output, local_command

if TYPE_CHECKING:
    from tierline.security.hardware_name import HardwareName
    from tierline.security.pki import Credential

app = typer.Typer(name="cert", help="Test certificates, and what a certificate says.", no_args_is_help=True)

TYPE_OID = "1.3.6.1.4.1.40732.1.7"
"""A hardware type for tests, below the arc of IEEE 2030.5."""

FolderArgument = Annotated[Path, typer.Argument(help="Folder of the certificates.")]
NameArgument = Annotated[str, typer.Argument(help="Name of the new files, and the serial number.")]
TypeOption = Annotated[str, typer.Option("--hardware-type", help="Object identifier of the hardware type.")]
FromOption = Annotated[str | None, typer.Option("--valid-from", help="2026-01-01T00:00:00Z; now when absent.")]


@local_command(app, "ca")
def make_ca(
    output: Output,
    folder: FolderArgument,
    *,
    name: Annotated[str, typer.Option(help="What the authority is called.")] = "tierline test",
    demo: Annotated[bool, typer.Option("--demo", help="Mark it as made for demonstrations.")] = False,
    valid_from: FromOption = None,
) -> None:
    """Make a root (serca) and an issuing authority (mica) below it."""
    from tierline.security.keys import write_credential
    from tierline.security.pki import make_mica, make_serca

    begins = _begin(valid_from)
    root = make_serca(f"{name} SERCA", begins, demo=demo)
    issuer = make_mica(root, f"{name} MICA", begins)
    files = [*write_credential(folder, "serca", root), *write_credential(folder, "mica", issuer)]
    data = {"anchor": str(files[0]), "files": [str(path) for path in files]}

    def words() -> None:
        for path in files:
            typer.echo(f"wrote {path}")
        typer.echo(f"trust it:  [tls] anchors = ['{files[0]}']")

    output.show(data, words)


@local_command(app, "server")
def make_server(
    output: Output,
    folder: FolderArgument,
    name: NameArgument = "server",
    dns: Annotated[list[str] | None, typer.Option("--dns", help="A name it is called by.")] = None,
    ip: Annotated[list[str] | None, typer.Option("--ip", help="An address it is called by.")] = None,
    hardware_type: TypeOption = TYPE_OID,
    valid_from: FromOption = None,
) -> None:
    """Make the certificate of a server."""
    from tierline.model.errors import ConfigError
    from tierline.security import pki

    try:
        made = pki.make_server(
            _issuer(folder),
            _hardware(hardware_type, name),
            _begin(valid_from),
            dns_names=dns or [],
            ip_addresses=ip or ([] if dns else ["127.0.0.1", "::1"]),
        )
    except ValueError as error:
        raise ConfigError(f"the certificate cannot be made: {error}") from error
    _write(output, folder, name, made)


@local_command(app, "device")
def make_device(
    output: Output,
    folder: FolderArgument,
    name: NameArgument,
    hardware_type: TypeOption = TYPE_OID,
    valid_from: FromOption = None,
) -> None:
    """Make the certificate of a DER or gateway."""
    from tierline.security import pki

    made = pki.make_device(_issuer(folder), _hardware(hardware_type, name), _begin(valid_from))
    _write(output, folder, name, made)


@local_command(app, "aggregator")
def make_aggregator(
    output: Output,
    folder: FolderArgument,
    name: NameArgument,
    hardware_type: TypeOption = TYPE_OID,
    valid_from: FromOption = None,
) -> None:
    """Make the certificate of an aggregator."""
    from tierline.security import pki

    made = pki.make_aggregator(_issuer(folder), _hardware(hardware_type, name), _begin(valid_from))
    _write(output, folder, name, made)


@local_command(app, "show")
def show_certificate(output: Output, path: Annotated[Path, typer.Argument(help="PEM file.")]) -> None:
    """Show the identities a certificate gives: LFDI and SFDI."""
    from cryptography import x509

    from tierline.model.identity import lfdi_of_certificate, sfdi_of
    from tierline.security.keys import load_certificates
    from tierline.security.pki import is_demo_chain

    chain = load_certificates(path)
    leaf = x509.load_der_x509_certificate(chain[0])
    lfdi = lfdi_of_certificate(chain[0])
    data = {
        "file": str(path),
        "lfdi": lfdi,
        "sfdi": sfdi_of(lfdi),
        "subject": leaf.subject.rfc4514_string(),
        "issuer": leaf.issuer.rfc4514_string(),
        "valid_from": leaf.not_valid_before_utc.isoformat(),
        "valid_to": leaf.not_valid_after_utc.isoformat(),
        "certificates_in_file": len(chain),
        "demo": is_demo_chain(chain),
    }

    def words() -> None:
        for what, said in data.items():
            typer.echo(f"{what.replace('_', ' '):22}{wording.said(said)}")

    output.show(data, words)


def _begin(text: str | None) -> datetime:
    if text is not None:
        return datetime.fromisoformat(reading_args.instant(text))
    from tierline.env import RealClock

    return RealClock.of_this_machine().now().replace(microsecond=0)


def _hardware(type_oid: str, serial: str) -> "HardwareName":
    from tierline.security.hardware_name import HardwareName

    return HardwareName(type_oid=type_oid, serial=serial.encode())


def _issuer(folder: Path) -> "Credential":
    from tierline.security.keys import load_certificates, load_credential

    return load_credential(folder / "mica.pem", folder / "mica.key", load_certificates(folder / "serca.pem"))


def _write(output: Output, folder: Path, name: str, made: "Credential") -> None:
    from tierline.model.identity import sfdi_of
    from tierline.security.keys import write_credential

    certificate, key = write_credential(folder, name, made)
    data = {"lfdi": made.lfdi, "sfdi": sfdi_of(made.lfdi), "certificate": str(certificate), "key": str(key)}

    def words() -> None:
        typer.echo(f"LFDI {data['lfdi']}")
        typer.echo(f"SFDI {data['sfdi']}")
        typer.echo(f"wrote {certificate} and {key}")

    output.show(data, words)
