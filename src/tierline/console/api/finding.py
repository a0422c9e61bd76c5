"""What a path names: found, or answered 404."""

from collections.abc import Collection

from tierline.console.api.faults import NotThere
from tierline.model.errors import ConfigError, PeerError
from tierline.model.identity import GroupId, Mrid, parse_mrid
from tierline.model.records import ControlRecord, EndDeviceRecord
from tierline.operations.serving import registry, topology
from tierline.operations.serving.state import Serving

BEGINNING = 6
"""Digits of an mRID that name it, when no other one begins with them."""


def device_named(serving: Serving, name: str) -> EndDeviceRecord:
    """Find a DER.

    Raises: NotThere.
    """
    try:
        return registry.find_device(serving, name)
    except ConfigError as error:
        raise NotThere(str(error)) from error


def group_named(serving: Serving, name: str) -> GroupId:
    """Find a group.

    Raises: NotThere.
    """
    try:
        return topology.find_group(serving, name).group.id
    except ConfigError as error:
        raise NotThere(str(error)) from error


def control_named(serving: Serving, name: str) -> ControlRecord:
    """Find a control by its mRID, or by the beginning of it.

    Raises: NotThere.
    """
    record = serving.control(mrid_named(name, serving.program_of_control, "control"))
    if record is None:
        raise NotThere(f"there is no control {name}; `tierline control list` shows those there are")
    return record


def mrid_named(name: str, known: Collection[Mrid], kind: str) -> Mrid:
    """Find the one mRID that is meant: written out, leading zeros left out or not, or by its beginning. Whole ones need not be known.

    Raises: NotThere for a beginning that is too short, or of several.
    """
    wanted = name.strip().upper()
    found = [mrid for mrid in known if mrid.startswith(wanted)]
    if len(found) == 1 and len(wanted) >= BEGINNING:
        return found[0]
    whole = _mrid(name)
    if not found or whole in known:
        return whole
    why = "it is too short" if len(wanted) < BEGINNING else f"{len(found)} of them begin with it"
    raise NotThere(f"{name} does not say which {kind}: {why}; write more digits of its mRID, at least {BEGINNING}")


def _mrid(name: str) -> Mrid:
    try:
        return parse_mrid(name)
    except PeerError:
        return Mrid(name)
