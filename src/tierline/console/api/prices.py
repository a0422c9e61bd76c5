"""Routes: tariffs and their prices, which are information and never a control."""

from typing import Annotated

from fastapi import APIRouter, Query

from tierline.console.api import models
from tierline.console.api.access import Operator, Reader
from tierline.console.api.faults import NotThere
from tierline.console.api.finding import group_named, mrid_named
from tierline.engine.price_status import ends, holds
from tierline.model.identity import Mrid
from tierline.model.records import Flow, PriceRecord, TariffRecord
from tierline.operations.serving import prices
from tierline.operations.serving.state import Serving


def price_routes(serving: Serving) -> APIRouter:
    """Make the routes of tariffs."""
    routes = APIRouter(tags=["prices"])

    @routes.get("/tariffs")
    async def list_tariffs(principal: Reader) -> models.Tariffs:
        """List the tariffs of this node."""
        return models.Tariffs(tariffs=[_tariff(serving, one) for one in prices.tariffs(principal, serving)])

    @routes.post("/tariffs", status_code=201)
    async def create_tariff(principal: Operator, body: models.NewTariff) -> models.Tariff:
        """Make a tariff."""
        new = prices.NewTariff(
            description=body.description,
            currency=body.currency,
            price_power_of_ten=body.price_power_of_ten,
            group=None if body.group is None else group_named(serving, body.group),
            flow=Flow[body.flow.upper()],
            primacy=body.primacy,
        )
        record = await prices.create_tariff(principal, serving, new)
        return _tariff(serving, record)

    @routes.delete("/tariffs/{mrid}")
    async def remove_tariff(principal: Operator, mrid: str) -> models.Tariff:
        """Let a tariff go that has no prices now or later; shows what it was."""
        before = _tariff(serving, _named(serving, mrid))
        await prices.remove_tariff(principal, serving, Mrid(before.mrid))
        return before

    @routes.get("/tariffs/{mrid}/prices")
    async def list_prices(principal: Reader, mrid: str, span: Annotated[models.PricesSince, Query()]) -> models.Prices:
        """List the prices of a tariff that hold at or after a time, from now on without one; with `ended` those withdrawn too."""
        tariff = _named(serving, mrid)
        since = serving.clock.now() if span.since is None else span.since
        found = prices.prices_since(principal, serving, tariff.mrid, since, span.limit, ended=span.ended)
        return _prices(serving, tariff, found)

    @routes.put("/tariffs/{mrid}/prices")
    async def set_prices(principal: Operator, mrid: str, body: models.NewPrices) -> models.Prices:
        """Publish prices, all or none; one that begins when a known one does takes its place."""
        tariff = _named(serving, mrid)
        new = [prices.NewPrice(start=one.start, duration_s=one.duration_s, price=one.price) for one in body.prices]
        return _prices(serving, tariff, await prices.set_prices(principal, serving, tariff.mrid, new))

    @routes.post("/tariffs/{mrid}/prices/withdraw")
    async def withdraw_prices(principal: Operator, mrid: str, body: models.Withdrawal) -> models.Prices:
        """Withdraw the prices that begin at some times, all or none; whoever has read them reads that they are cancelled."""
        tariff = _named(serving, mrid)
        return _prices(serving, tariff, await prices.withdraw_prices(principal, serving, tariff.mrid, body.starts))

    return routes


def _named(serving: Serving, name: str) -> TariffRecord:
    """Find a tariff by its mRID, or by the beginning of it.

    Raises: NotThere.
    """
    record = serving.tariffs.get(mrid_named(name, serving.tariffs, "tariff"))
    if record is None:
        raise NotThere(f"there is no tariff {name}; `tierline price tariffs` shows those there are")
    return record


def _tariff(serving: Serving, record: TariffRecord) -> models.Tariff:
    return models.Tariff(
        mrid=record.mrid,
        description=record.description,
        currency=record.currency,
        price_power_of_ten=record.price_power_of_ten,
        created_at=record.created_at,
        audience=_audience(serving, record),
        group=record.group,
        flow=record.flow.name.lower(),
        primacy=record.primacy,
        followed_from=record.followed_from,
        prices=sum(holds(price) for price in serving.prices.get(record.mrid, {}).values()),
    )


def _audience(serving: Serving, record: TariffRecord) -> str:
    if record.group is None:
        return "everybody"
    known = serving.groups.get(record.group)
    # A relay lets groups go with the programs above.
    return "nobody any more" if known is None else known.group.name


def _prices(serving: Serving, tariff: TariffRecord, records: list[PriceRecord]) -> models.Prices:
    shown = [
        models.Price(
            mrid=record.mrid,
            start=record.start,
            end=ends(record),
            duration_s=record.duration_s,
            price=prices.in_currency(tariff, record),
            status=prices.status_of(serving, record).name.lower(),
            created_at=record.created_at,
        )
        for record in records
    ]
    return models.Prices(tariff=tariff.mrid, currency=tariff.currency, prices=shown)
