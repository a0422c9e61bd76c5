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
        (
            one["mrid"],
            one["description"],
            one["audience"],
            one["flow"],
            one["currency"],
            one["primacy"],
            one["followed_from"] or "here",
            one["prices"],
        )
        for one in found["tariffs"]
    ]
    columns = ("mRID", "tariff", "for", "energy", "currency #", "primacy #", "from", "prices #")
    session.show(found, lambda: wording.table(columns, rows, none="there are no tariffs"))


@operator_command(app, "tariff")
def create_tariff(
    session: Session,
    description: Annotated[str, typer.Argument(help="What it is called.")],
    currency: Annotated[int, typer.Option(help="Number of ISO 4217: 978 euro, 840 US dollar, 36 Australian dollar.")],
    step: Annotated[int, typer.Option("--step", help="Prices are counted in steps of 10 to this power.")] = -5,
    group: Annotated[
        str | None,
        typer.Option("--group", help="Whom it concerns: the DERs of a group.", show_default="everybody served here"),
    ] = None,
    *,
    received: Annotated[
        bool, typer.Option("--received", help="Of energy received from the customer, not delivered to him.")
    ] = False,
    primacy: Annotated[
        int | None, typer.Option("--primacy", help="Lower is stronger.", show_default="1 for a group, else 2")
    ] = None,
) -> None:
    """Make a tariff."""
    flow = "received" if received else "delivered"
    found = session.client.create_tariff(
        description, currency, price_power_of_ten=step, group=group, flow=flow, primacy=primacy
    )
    words = f"tariff {found['mrid']} ({found['description']}) made, for {found['audience']}"
    session.show(found, lambda: typer.echo(words))


@operator_command(app, "remove")
def remove_tariff(
    session: Session,
    tariff: TariffArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this it is only shown.")] = False,
) -> None:
    """Let a tariff go that has no prices now or later."""
    if yes:
        gone = session.client.remove_tariff(tariff)
        session.show(gone, lambda: typer.echo(f"tariff {gone['description']} was removed"))
        return
    found = session.client.prices(tariff)

    def words() -> None:
        typer.echo(f"tariff {found['tariff']} would be removed; {len(found['prices'])} of its prices hold now or later")
        typer.echo("nothing was done; add --yes to do it")

    session.show(found, words)


@operator_command(app, "set", takes_negative=True)
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


@operator_command(app, "withdraw")
def withdraw_price(
    session: Session,
    tariff: TariffArgument,
    starts: Annotated[list[str], typer.Argument(help="When the prices begin: 2026-06-18T12:00:00Z.")],
) -> None:
    """Withdraw prices; whoever has read them reads that they are cancelled."""
    found = session.client.withdraw_prices(tariff, [reading_args.instant(start) for start in starts])

    def words() -> None:
        for one in found["prices"]:
            typer.echo(f"{one['price']} per kWh from {wording.time(one['start'])} was withdrawn")

    session.show(found, words)


@operator_command(app, "list")
def list_prices(
    session: Session,
    tariff: TariffArgument,
    since: Annotated[
        str | None, typer.Option("--since", help="From this time on.", show_default="those that hold now and later")
    ] = None,
    *,
    ended: Annotated[bool, typer.Option("--withdrawn", help="Those withdrawn or replaced as well.")] = False,
) -> None:
    """List the prices of a tariff."""
    found = session.client.prices(tariff, None if since is None else reading_args.instant(since), ended=ended)
    rows = [
        (
            wording.time(one["start"]),
            wording.duration(one["duration_s"]),
            f"{one['price']}",
            one["status"],
            one["mrid"],
        )
        for one in found["prices"]
    ]
    columns = ("from", "for", "per kWh #", "status", "mRID")
    session.show(found, lambda: wording.table(columns, rows, none="no price is known"))
