"""What a path names: found, or answered 404."""

from tierline.console.api.faults import NotThere
from tierline.model.errors import ConfigError, PeerError
from tierline.model.identity import GroupId, Mrid, parse_mrid
from tierline.model.records import ControlRecord, EndDeviceRecord
from tierline.operations.serving import registry, topology
from tierline.operations.serving.state import Serving


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
    wanted = name.strip().upper()
    found = [mrid for mrid in serving.program_of_control if len(wanted) >= 6 and mrid.startswith(wanted)]
    record = serving.control(found[0] if len(found) == 1 else _mrid(name))
    if record is None:
        raise NotThere(f"there is no control {name}; `tierline control list` shows those there are")
    return record


def _mrid(name: str) -> Mrid:
    try:
        return parse_mrid(name)
    except PeerError:
        return Mrid(name)
