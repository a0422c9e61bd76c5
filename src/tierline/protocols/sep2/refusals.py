"""What is refused, and how that is said: the words go to our log, a status and a reasonCode to the peer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from tierline.model.errors import Conflict, Forbidden, PeerError, TierlineError, Unsupported
from tierline.operations.serving.enrolment import TooManyDevices
from tierline.operations.serving.subscriptions import TooMany as TooManySubscriptions
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.mirrors import TooMany
from tierline.protocols.sep2.resources import exchange
from tierline.protocols.sep2.resources.rows import Value
from tierline.protocols.sep2.transport import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

V = TypeVar("V", bound=Value)

INVALID_FORMAT: Final = 0
INVALID_VALUE: Final = 1
RESOURCE_LIMIT: Final = 2
CONDITION_UNSUPPORTED: Final = 3
"""Error.reasonCode. Source: IEEE 2030.5-2018, Error."""


class Malformed(PeerError):
    """A document that is not what is needed here, as opposed to one with values that cannot be taken."""


class ConditionUnsupported(Unsupported):
    """A subscription to values beyond a threshold."""


_STATUSES: Mapping[type[TierlineError], tuple[int, int]] = {
    TooMany: (403, RESOURCE_LIMIT),
    TooManyDevices: (403, RESOURCE_LIMIT),
    TooManySubscriptions: (403, RESOURCE_LIMIT),
    Malformed: (400, INVALID_FORMAT),
    PeerError: (400, INVALID_VALUE),
    # A mRID that is another creator's: 403 by IEEE 2030.5-2023 10.11.3, rule e.
    Conflict: (403, INVALID_VALUE),
    Forbidden: (403, INVALID_VALUE),
    ConditionUnsupported: (400, CONDITION_UNSUPPORTED),
    Unsupported: (400, INVALID_VALUE),
}
"""Status and reasonCode of what is refused; the first that fits counts."""

REFUSED: Final = (PeerError, Conflict, Forbidden, Unsupported)
"""What is answered with an Error; anything else is no fault of the peer's."""


def refusal(status: int, reason: int) -> Response:
    """Answer with a sep+xml Error."""
    return Response(status=status, body=render(exchange.Error(reason_code=reason)))


def refusal_of(error: TierlineError) -> Response:
    """Answer what was refused."""
    return refusal(*next(answer for kind, answer in _STATUSES.items() if isinstance(error, kind)))


def parsed(body: bytes, kind: type[V]) -> V:
    """Read a document that a peer sent.

    Raises: Malformed.
    """
    try:
        return parse(body, kind)
    except PeerError as error:
        raise Malformed(str(error)) from error
