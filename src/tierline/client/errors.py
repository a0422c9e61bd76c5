"""What a call can fail with."""

from tierline.model.errors import TierlineError


class ClientError(TierlineError):
    """The node refused; the message is the node's own."""

    def __init__(self, message: str, *, status: int, kind: str, what_to_do: str | None = None) -> None:
        super().__init__(message if what_to_do is None else f"{message}; {what_to_do}")
        self.status = status
        """The HTTP status."""
        self.kind = kind
        """unauthenticated, forbidden, not_found, conflict, invalid, unsupported, unavailable, internal, or unknown."""
        self.what_to_do = what_to_do
        """What the node advises, where it does."""
