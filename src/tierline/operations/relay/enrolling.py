"""Who is registered at both ends of a relay: taken from the server above, or offered to it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tierline.model.errors import Conflict
from tierline.model.identity import sfdi_of
from tierline.model.programs import FleetMember
from tierline.model.records import EndDeviceRecord, IdentityRecord
from tierline.operations.serving.registry import check_free, new_der_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tierline.model.identity import DerId, Lfdi
    from tierline.model.records import Record
    from tierline.operations.serving.state import Serving


def registered(serving: Serving, lfdi: Lfdi) -> EndDeviceRecord | None:
    """Find the DER that is registered here under an LFDI now; an entry of a party that stands for others is none."""
    identity = serving.identities.get(lfdi)
    if identity is None or serving.lfdi_of.get(identity.der_id) != lfdi:
        return None
    device = serving.devices[identity.der_id]
    return None if device.aggregates is not None else device


def offered(serving: Serving) -> list[FleetMember]:
    """Give those that are registered here, as they are offered to a server above."""
    return [
        FleetMember(lfdi=lfdi, pin=device.pin, device_category=device.device_category)
        for der, lfdi in sorted(serving.lfdi_of.items())
        if (device := serving.devices[der]).enabled and device.aggregates is None
    ]


def taken(serving: Serving, members: Iterable[FleetMember]) -> tuple[list[Record], dict[Lfdi, DerId], dict[Lfdi, str]]:
    """Give the records that register here whom the server above lists, who is new, and who cannot be taken and why.

    The LFDI and the PIN are those above: a DER and its server know each other by them, whichever server it is sent to.
    """
    put: list[Record] = []
    new: dict[Lfdi, DerId] = {}
    refused: dict[Lfdi, str] = {}
    claimed: dict[int, Lfdi] = {}
    now = serving.clock.now()
    for member in members:
        device = registered(serving, member.lfdi)
        if device is not None:
            pin = device.pin if member.pin is None else member.pin
            if (pin, member.device_category) != (device.pin, device.device_category):
                put.append(replace(device, pin=pin, device_category=member.device_category, changed_at=now))
            continue
        if member.lfdi in serving.identities:
            refused[member.lfdi] = "it was taken out or replaced here"
            continue
        try:
            check_free(serving, member.lfdi, claimed)
        except Conflict as error:
            refused[member.lfdi] = str(error)
            continue
        claimed[sfdi_of(member.lfdi)] = member.lfdi
        record = EndDeviceRecord(
            party=serving.party,
            der_id=new_der_id(serving),
            service_point="",
            pin=member.pin,
            device_category=member.device_category,
            managed_by=None,
            enabled=True,
            registered_at=now,
            changed_at=now,
        )
        new[member.lfdi] = record.der_id
        put += [
            record,
            IdentityRecord(party=serving.party, der_id=record.der_id, lfdi=member.lfdi, valid_from=now),
        ]
    return put, new, refused
