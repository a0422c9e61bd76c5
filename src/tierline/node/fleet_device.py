"""The fleet of a node, put together from its configuration: the DERs that it serves, as the device that it obeys with."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from tierline.engine.disaggregate import Policy
from tierline.model.control import ControlGrant
from tierline.model.identity import ChannelId, PartyId
from tierline.operations.serving.fleet import Fleet, FleetRules
from tierline.operations.serving.members import Members
from tierline.operations.serving.offers import offer_of
from tierline.protocols.sep2.mapping.described import read_told

if TYPE_CHECKING:
    from tierline.model.parties import Principal
    from tierline.node.config import FleetPart, NodeConfig, Sep2Serve
    from tierline.operations.serving.state import Serving


def fleet_of(config: NodeConfig, part: FleetPart, sep2: Sep2Serve, serving: Serving, me: Principal) -> Fleet:
    """Make the fleet of a node that serves."""
    rules = FleetRules(
        group=part.group,
        grants=tuple(
            ControlGrant(
                party=PartyId(grant.party),
                functions=frozenset(grant.functions),
                power_w=Decimal(str(grant.power_w)),
                until=grant.until,
            )
            for grant in config.grant
        ),
        parties={ChannelId(north.channel): PartyId(north.party) for north in config.north if north.use == "obey"},
        policy=Policy(part.policy),
        min_cell=part.min_cell,
        poll=timedelta(seconds=sep2.poll_rate_s),
        post=timedelta(seconds=sep2.post_rate_s),
    )
    offers = {name: Decimal(str(per_kwh)) for name, per_kwh in part.offers.items()}
    return Fleet(serving, rules, Members(serving, read_told, offer_of(serving, offers)), me)
