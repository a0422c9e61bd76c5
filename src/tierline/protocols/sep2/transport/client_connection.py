"""One connection of the client: TLS over a pair of streams, one request at a time."""

import asyncio
import ssl

from tierline.model.errors import LinkError, PeerError
from tierline.protocols.sep2.transport.limits import Limits
from tierline.protocols.sep2.transport.messages import HttpResponse
from tierline.protocols.sep2.transport.reading import ResponseReader
from tierline.protocols.sep2.transport.tls_pipe import TlsPipe

_CHUNK = 64 * 1024


class StaleError(LinkError):
    """A kept connection was closed before a byte of the answer came: the request was most likely never read."""


class ClientConnection:
    """A connection that was opened to a server."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext,
        host: str,
        limits: Limits,
        session: ssl.SSLSession | None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self._tls = TlsPipe(context, server_side=False, host=host, session=session)

    async def shake_hands(self) -> None:
        """Do the TLS handshake.

        Raises: LinkError when it fails or takes too long; PeerError when the server's certificate is refused.
        """
        try:
            async with asyncio.timeout(self._limits.handshake_s):
                while not self._tls.shake_hands():
                    await self._send()
                    data = await self._reader.read(_CHUNK)
                    if not data:
                        raise LinkError("the server closed the connection in the TLS handshake")
                    self._tls.receive(data)
                await self._send()
        except TimeoutError as error:
            raise LinkError(f"TLS handshake not done within {self._limits.handshake_s} s") from error
        except ssl.SSLCertVerificationError as error:
            self._send_alert()
            raise PeerError(
                f"the server's certificate is refused: {error.verify_message}", path="certificate"
            ) from error
        except OSError as error:
            self._send_alert()
            raise LinkError(f"TLS handshake failed: {error}") from error

    async def exchange(self, request: bytes, *, head: bool) -> tuple[HttpResponse, bool]:
        """Send a request and receive its answer; tells also whether the connection can be kept.

        Raises: StaleError when the connection closed before the answer began; LinkError when it failed later;
        PeerError when the answer is not HTTP or too large.
        """
        answer = ResponseReader(self._limits, head=head)
        try:
            async with asyncio.timeout(self._limits.write_s):
                self._tls.write(request)
                await self._send()
            async with asyncio.timeout(self._limits.answer_s):
                await self._receive(answer)
            if answer.response is None:
                async with asyncio.timeout(self._limits.headers_s + self._limits.body_s):
                    while answer.response is None:
                        await self._receive(answer)
        except TimeoutError as error:
            raise LinkError("the server did not answer in time") from error
        except OSError as error:
            kind = LinkError if answer.started else StaleError
            raise kind(f"the connection failed: {error}") from error
        return answer.response, answer.keep_alive

    async def is_dead(self) -> bool:
        """Tell whether the server has said anything since the last answer: that can only be good-bye."""
        # A cancellation that is due would look like the timeout, which ends at once, and be lost.
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(0):
                await self._reader.read(_CHUNK)
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    async def _receive(self, answer: ResponseReader) -> None:
        """Read until the answer has grown."""
        while (plain := self._tls.read()) is None:
            data = await self._reader.read(_CHUNK)
            if not data:  # without close_notify: an answer ended by closing could be cut off by anybody
                kind = LinkError if answer.started else StaleError
                raise kind("the server closed the connection")
            self._tls.receive(data)
        if plain:
            answer.feed(plain)
        elif answer.started:
            answer.end()
        else:
            raise StaleError("the server closed the connection")

    def _send_alert(self) -> None:
        if not self._writer.is_closing():
            self._writer.write(self._tls.to_send())

    async def _send(self) -> None:
        if self._writer.is_closing():  # uvloop would raise RuntimeError
            raise ConnectionResetError("closed by the server")
        self._writer.write(self._tls.to_send())
        await self._writer.drain()

    def close(self) -> None:
        """Say good-bye and close."""
        self._tls.end()
        if not self._writer.is_closing():
            self._writer.write(self._tls.to_send())
            self._writer.close()

    @property
    def peer_der(self) -> bytes:
        """The server's certificate."""
        return self._tls.peer_der

    @property
    def chain_der(self) -> tuple[bytes, ...] | None:
        """The server's verified chain; None when the session was resumed."""
        return self._tls.chain_der

    @property
    def is_resumed(self) -> bool:
        """Whether the session goes on from an older one."""
        return self._tls.is_resumed

    @property
    def session(self) -> ssl.SSLSession | None:
        """The session, to be resumed by the next connection."""
        return self._tls.session
