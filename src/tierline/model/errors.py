"""One tree of errors, ordered by who must act.

Anything outside this tree is a bug of ours and propagates.
"""


class TierlineError(Exception):
    """The root of every error that tierline raises on purpose."""


class ConfigError(TierlineError):
    """The operator must change a configuration; the message names file, key and what to write instead."""


class PeerError(TierlineError):
    """The peer sent something wrong: it gets a 4xx, or its message is dropped.

    `path` names the offending element or header, as far as it is known.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        """Where in the message the fault lies, for example `DERControl/interval/start`."""


class LinkError(TierlineError):
    """The network failed; the link is tried again."""


class Unsupported(TierlineError):
    """What was asked for is valid but not carried out here; it is refused, never silently accepted."""


class Forbidden(TierlineError):
    """The principal may not do this to that resource."""


class Conflict(TierlineError):
    """The state forbids it: it exists already, or it has changed meanwhile."""
