"""`tierline price`: tariffs and prices, which are information and never a control."""

from typing import Annotated

import typer

from tierline.cli import reading_args, wording
from tierline.cli.commands import Session, operator_command

app = typer.Typer(name="price", help="Tariffs and prices: information, never a control.", no_args_is_help=True)

TariffArgument = Annotated[str, typer.Argument(help="The tariff, by its mRID or the beginning of it.")]


@operator_command(app, "tariffs")
def list_tariffs(session: Session) -> None:
    """List the tariffs of the node."""
    found = session.client.tariffs()
    rows = [
        (one["mrid"], one["description"], one["currency"], wording.time(one["created_at"]), one["prices"])
        for one in found["tariffs"]
    ]
    columns = ("mRID", "tariff", "currency #", "made", "prices #")
    session.show(found, lambda: wording.table(columns, rows, none="there are no tariffs"))


@operator_command(app, "tariff")
def create_tariff(
    session: Session,
    description: Annotated[str, typer.Argument(help="What it is called.")],
    currency: Annotated[int, typer.Option(help="Number of ISO 4217: 978 euro, 840 US dollar, 36 Australian dollar.")],
    step: Annotated[int, typer.Option("--step", help="Prices are counted in steps of 10 to this power.")] = -5,
) -> None:
    """Make a tariff."""
    found = session.client.create_tariff(description, currency, price_power_of_ten=step)
    session.show(found, lambda: typer.echo(f"tariff {found['mrid']} ({found['description']}) was made"))


@operator_command(app, "set")
def set_price(
    session: Session,
    tariff: TariffArgument,
    price: Annotated[str, typer.Argument(help="Per kWh, in the currency of the tariff.")],
    start: Annotated[str, typer.Option("--start", help="From when: 2026-06-18T12:00:00Z.")],
    duration: Annotated[str, typer.Option("--for", help="How long it holds: 1h.")] = "1h",
) -> None:
    """Publish a price from a time on."""
    new = {
        "start": reading_args.instant(start),
        "duration_s": reading_args.whole_seconds(duration),
        "price": reading_args.decimal(price),
    }
    found = session.client.set_prices(tariff, [new])

    def words() -> None:
        (one,) = found["prices"]
        typer.echo(f"{one['price']} per kWh from {wording.time(one['start'])} to {wording.time(one['end'])}")

    session.show(found, words)


@operator_command(app, "list")
def list_prices(
    session: Session,
    tariff: TariffArgument,
    since: Annotated[
        str | None, typer.Option("--since", help="From this time on.", show_default="those that hold now and later")
    ] = None,
) -> None:
    """List the prices of a tariff."""
    found = session.client.prices(tariff, None if since is None else reading_args.instant(since))
    rows = [
        (wording.time(one["start"]), wording.duration(one["duration_s"]), f"{one['price']}") for one in found["prices"]
    ]
    columns = ("from", "for", "per kWh #")
    session.show(found, lambda: wording.table(columns, rows, none="no price is known"))
