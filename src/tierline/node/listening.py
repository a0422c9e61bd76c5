"""The listener of a node for the notices of servers above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tierline.env import RealNetwork, SystemRandom
from tierline.model.identity import PartyId
from tierline.model.records import KnownRecord
from tierline.protocols.sep2.listener import NoticeListener
from tierline.protocols.sep2.transport import HttpServer
from tierline.security import tls

if TYPE_CHECKING:
    from tierline.node.compose import Identity
    from tierline.node.config import ListenerPart, NodeConfig
    from tierline.ports import Clock, Store
    from tierline.protocols.sep2.transport import Peer

_SECRET: Final = "listener/secret"  # noqa: S105 - the name it is remembered by


@dataclass(slots=True, kw_only=True)
class Listening:
    """What takes the notices of the servers above."""

    notices: NoticeListener
    """Each link registers here for its own notificationURI."""
    http: HttpServer
    listen: tuple[str, int]
    secret: KnownRecord
    """What its paths are made from."""
    is_new: bool

    async def keep(self, store: Store) -> None:
        """Keep the secret, so that subscriptions hold good after a restart.

        Raises: LinkError when the store refuses.
        """
        if self.is_new:
            await store.commit([self.secret])
            self.is_new = False


def listening_of(config: NodeConfig, part: ListenerPart, identity: Identity, clock: Clock, store: Store) -> Listening:
    """Put the listener of a node together; nothing listens yet.

    Raises: ConfigError.
    """
    known = next(store.each(KnownRecord, of=(_SECRET,)), None)
    # Never from a seed: the paths must not be guessed, even where everything else is to repeat itself.
    secret = known or KnownRecord(
        party=PartyId(config.node.party), name=_SECRET, value=f"{SystemRandom().bits(256):064x}"
    )
    notices = NoticeListener(part.uri, secret.value)

    def authorise(peer: Peer) -> bool:
        return notices.knows(peer.lfdi)

    http = HttpServer(
        handler=notices,
        context=tls.server_context(identity.certificate, identity.key, identity.anchors),
        trust=identity.trust,
        authorise=authorise,
        clock=clock,
        network=RealNetwork(),
    )
    return Listening(
        notices=notices,
        http=http,
        listen=(part.listen.host, part.listen.port),
        secret=secret,
        is_new=known is None,
    )
