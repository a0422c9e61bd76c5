"""TLS between two byte streams, without I/O: plain text on one side, records on the other.

asyncio's own TLS is not used, for three reasons: connections must be counted before the handshake, the verdict on a peer must
fall before our Finished leaves, and a client must be able to resume a session.
"""

import ssl
from typing import Any, Final

BAD_CERTIFICATE: Final = bytes((21, 3, 3, 0, 2, 2, 42))
"""A fatal bad_certificate alert in clear (RFC 5246 7.2), for the time before our ChangeCipherSpec has left."""

_RECORD: Final = 16 * 1024
"""The most plain text in one TLS record (RFC 5246 6.2.1)."""

_DER: Final = 2
"""`_ssl.ENCODING_DER`."""


class TlsPipe:
    """One end of a TLS connection."""

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        host: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._in, self._out, server_side=server_side, server_hostname=host, session=session
        )

    def receive(self, data: bytes) -> None:
        """Take records from the network."""
        self._in.write(data)

    def to_send(self) -> bytes:
        """Give the records that must go to the network."""
        return self._out.read()

    @property
    def waiting(self) -> int:
        """How many bytes wait in `to_send`."""
        return self._out.pending

    def shake_hands(self) -> bool:
        """Go on with the handshake; tells whether it is done.

        Raises: ssl.SSLError when it failed; an alert may be waiting in `to_send`.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def read(self) -> bytes | None:
        """Give plain text, nothing (None) until more records come, or b"" after an orderly end.

        Raises: ssl.SSLError when the records are bad.
        """
        if not self._in.pending and not self._tls.pending():
            return None  # spares the exception, once per request
        try:
            return self._tls.read(_RECORD)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""

    def write(self, data: bytes) -> None:
        """Take plain text."""
        written = self._tls.write(data)
        if written < len(data):
            view = memoryview(data)
            while written < len(data):
                written += self._tls.write(view[written:])

    def end(self) -> None:
        """Say that no more will come (close_notify)."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            return  # the peer's own close_notify is not waited for, as RFC 5246 7.2.1 allows

    @property
    def peer_der(self) -> bytes:
        """The peer's certificate, known on a resumed session as well; empty when it gave none."""
        return self._tls.getpeercert(binary_form=True) or b""

    @property
    def chain_der(self) -> tuple[bytes, ...] | None:
        """The verified chain, leaf first and root last; None on a resumed session, which shows none."""
        # Public from Python 3.13 on; before, only the object inside has it.
        tls: Any = self._tls if hasattr(self._tls, "get_verified_chain") else self._tls._sslobj  # type: ignore[attr-defined]  # noqa: SLF001
        chain = tls.get_verified_chain()
        if not chain:
            return None
        return tuple(c if isinstance(c, bytes) else bytes(c.public_bytes(_DER)) for c in chain)

    @property
    def is_resumed(self) -> bool:
        """Whether this session goes on from an older one."""
        return bool(self._tls.session_reused)

    @property
    def session(self) -> ssl.SSLSession | None:
        """The session, for a client to resume."""
        return self._tls.session

    @property
    def suite(self) -> str:
        """The cipher suite agreed on."""
        agreed = self._tls.cipher()
        return agreed[0] if agreed else ""
