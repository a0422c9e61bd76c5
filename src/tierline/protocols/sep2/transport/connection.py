"""One connection of the server: TLS, then requests in order, each answered before the next is begun.

No task exists while a handler answers at once; a handler that must wait gets one task for its connection. Deadlines are kept
as one number per connection and looked at by the server's sweep.
"""

import asyncio
import hashlib
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

import structlog

from tierline.model.errors import Conflict, Forbidden, LinkError, PeerError, TierlineError, Unsupported
from tierline.ports import Clock, PeerTrust
from tierline.protocols.sep2.transport.admission import Pace, Places
from tierline.protocols.sep2.transport.limits import Limits, address_key
from tierline.protocols.sep2.transport.messages import Handler, Peer, Rejected, Request, Response
from tierline.protocols.sep2.transport.reading import Phase, RequestReader
from tierline.protocols.sep2.transport.tls_pipe import BAD_CERTIFICATE, TlsPipe
from tierline.protocols.sep2.transport.writing import CONTINUE, response_bytes

log = structlog.get_logger(__name__)

_FLUSH_AT: Final = 64 * 1024
"""Answers to pipelined requests leave together, up to this size: then it shows whether the peer takes them."""

_STATUS_OF: Final = ((PeerError, 400), (Forbidden, 403), (Conflict, 409), (Unsupported, 501), (LinkError, 503))


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What all connections of a server share."""

    handler: Handler
    trust: PeerTrust
    authorise: Callable[[Peer], bool]
    """Whether this peer may still ask, looked up for every request: revocation reaches open connections."""

    clock: Clock
    limits: Limits
    places: Places
    pace: Pace
    open: "set[Connection]"
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    gone: Callable[[], None]
    """Called when a connection has left `open`."""


class Connection(asyncio.Protocol):
    """A connection from its first byte to its last."""

    def __init__(self, service: Service, context: ssl.SSLContext) -> None:
        self._service = service
        self._tls = TlsPipe(context, server_side=True)
        self._transport: asyncio.Transport | None = None
        self._peer: Peer | None = None
        self._reader: RequestReader | None = None
        self._address = ""
        self._phase = Phase.BETWEEN
        self._is_busy = False  # a handler is at work in a task
        self._is_full = False  # the peer does not take its answers
        self._is_halted = False  # reading is paused
        self._is_draining = False
        self._is_ended = False  # no more is read or answered
        self.deadline = 0.0
        """When this connection is cut off unless something happens first, on the unscaled clock."""

    # From asyncio ------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, before any work is done for it."""
        self._transport = cast("asyncio.Transport", transport)
        peername = transport.get_extra_info("peername")
        self._address = peername[0] if isinstance(peername, tuple) else "local"
        places, limits = self._service.places, self._service.limits
        if places.strangers >= limits.handshakes:
            self._refuse_place("too many handshakes")
        elif not self._service.pace.may(self._address_key, self._service.clock.deadline()):
            self._refuse_place("too many handshakes of this address")
        elif not places.take(self._address_key, limits.connections_per_address):
            self._refuse_place("too many connections of this address")
        else:
            places.strangers += 1
            self._service.open.add(self)
            self._set_deadline(limits.handshake_s)

    def data_received(self, data: bytes) -> None:
        """Take records from the network."""
        if self._is_ended:
            return
        self._tls.receive(data)
        if self._reader is None and not self._shake_hands():
            return
        if self._is_busy or self._is_full:
            self._halt()
        else:
            self._pump()

    def eof_received(self) -> bool:
        """Close when the peer has: half-closed connections are not kept."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (why it was lost changes nothing)
        """Give the places back."""
        self._is_ended = True
        if self not in self._service.open:
            return
        self._service.open.discard(self)
        places = self._service.places
        places.give_back(self._address_key)
        if self._peer is None:
            places.strangers -= 1
        else:
            places.known -= 1
            places.give_back(self._peer.lfdi)
        self._service.gone()

    def pause_writing(self) -> None:
        """Stop answering a peer that does not take its answers, for a while."""
        self._is_full = True
        self._set_deadline(self._service.limits.write_s)

    def resume_writing(self) -> None:
        """Go on, but not from within this call: asyncio does not bear a close() in it."""
        self._is_full = False
        if not self._is_ended:
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        if not (self._is_ended or self._is_busy or self._is_full):
            self._pump(answered=True)

    # From the server ---------------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """Cut the connection off because its deadline has passed."""
        if self._reader is not None and self._phase is Phase.BETWEEN and not (self._is_full or self._is_ended):
            self._close()
        else:
            log.info("connection_cut_off", address=self._address, lfdi=self._lfdi, phase=self._where)
            self._abort()

    def drain(self) -> None:
        """Finish what is in hand, then close."""
        self._is_draining = True
        if self._reader is None or not (self._is_busy or self._reader.ready):
            self._close()

    def abort(self) -> None:
        """End it now."""
        self._abort()

    # Handshake ---------------------------------------------------------------------------------------------------------

    def _shake_hands(self) -> bool:
        try:
            done = self._tls.shake_hands()
        except ssl.SSLError as error:
            log.info("handshake_failed", address=self._address, reason=error.reason or str(error))
            self._flush()
            self._end()
            return False
        if done and not self._admit():
            return False
        self._flush()
        return done

    def _admit(self) -> bool:
        """Judge the peer, before it learns that the handshake is done."""
        service, leaf = self._service, self._tls.peer_der
        verdict = service.trust.judge(leaf, self._tls.chain_der, service.clock.now())
        if not verdict.ok or verdict.lfdi is None:
            log.warning("peer_refused", address=self._address, reason=verdict.reason, resumed=self._tls.is_resumed)
            if not self._tls.is_resumed:
                # In a full handshake of TLS 1.2 our ChangeCipherSpec comes last and is still here: an alert may go in clear.
                self._tls.to_send()
                self._send(BAD_CERTIFICATE)
            self._end()
            return False
        if service.places.known >= service.limits.connections or not service.places.take(
            verdict.lfdi, service.limits.connections_per_lfdi
        ):
            log.warning("connection_refused", address=self._address, lfdi=verdict.lfdi, reason="too many connections")
            self._end()
            return False
        service.places.strangers -= 1
        service.places.known += 1
        fingerprint = hashlib.sha256(leaf).hexdigest()
        self._peer = Peer(lfdi=verdict.lfdi, fingerprint=fingerprint, address=self._address)
        self._reader = RequestReader(service.limits, self._peer)
        self._set_deadline(service.limits.idle_s)
        log.debug(
            "peer_admitted",
            address=self._address,
            lfdi=verdict.lfdi,
            suite=self._tls.suite,
            resumed=self._tls.is_resumed,
        )
        return True

    # Requests ----------------------------------------------------------------------------------------------------------

    def _pump(self, *, answered: bool = False) -> None:
        """Read and answer until the peer has to send more, or somebody has to be waited for."""
        reader = cast("RequestReader", self._reader)
        while not (self._is_ended or self._is_busy or self._is_full):
            if reader.ready:
                self._answer(reader.ready.popleft())
                answered = True
            elif reader.fault is not None:
                self._reject(reader.fault)
            elif reader.last:
                self._close()
            elif not self._read_more(reader):
                break
        self._flush()
        self._watch(reader, answered=answered)

    def _read_more(self, reader: RequestReader) -> bool:
        try:
            data = self._tls.read()
        except ssl.SSLError as error:
            log.info("records_bad", address=self._address, lfdi=self._lfdi, reason=error.reason or str(error))
            self._abort()
            return False
        if data is None:
            self._unhalt()
            return False
        if not data:
            self._close()
            return False
        reader.feed(data)
        if reader.wants_continue and not reader.ready:
            reader.wants_continue = False
            self._tls.write(CONTINUE)
        return True

    def _watch(self, reader: RequestReader, *, answered: bool) -> None:
        """Set the deadline that belongs to what is waited for; a peer that trickles does not push it on."""
        if self._is_ended or self._is_full or self._is_busy or (reader.phase is self._phase and not answered):
            return
        self._phase = reader.phase
        limits = self._service.limits
        match reader.phase:
            case Phase.BETWEEN:
                self._set_deadline(limits.idle_s)
            case Phase.HEADERS:
                self._set_deadline(limits.headers_s)
            case Phase.BODY:
                self._set_deadline(limits.body_s)

    def _answer(self, request: Request) -> None:
        service = self._service
        if not service.authorise(request.peer):
            log.warning("peer_not_authorised", address=self._address, lfdi=request.peer.lfdi)
            self._write(request, Response(status=403, close=True))
            return
        now = service.clock.now()
        try:
            answer = service.handler.handle(request, now)
        except TierlineError as error:
            answer = error_response(error)
        except Exception:  # supervised here: a bug costs its own peer a 500, not the others their connections
            log.exception("handler_failed", method=request.method, path=request.path, lfdi=request.peer.lfdi)
            answer = Response(status=500, close=True)
        if isinstance(answer, Response):
            self._write(request, answer, now)
        else:
            self._is_busy = True
            service.spawn(self._answer_later(request, answer))

    async def _answer_later(self, request: Request, answer: Awaitable[Response]) -> None:
        self._set_deadline(self._service.limits.answer_s * 2)  # the sweep is the second net only
        try:
            async with asyncio.timeout(self._service.limits.answer_s):
                response = await answer
        except TierlineError as error:
            response = error_response(error)
        except TimeoutError:
            log.exception("answer_too_late", method=request.method, path=request.path)
            response = Response(status=503)
        except Exception:  # as in _answer
            log.exception("handler_failed", method=request.method, path=request.path, lfdi=request.peer.lfdi)
            response = Response(status=500, close=True)
        self._is_busy = False
        if not self._is_ended:
            self._write(request, response)
            self._pump(answered=True)

    def _write(self, request: Request, response: Response, now: datetime | None = None) -> None:
        reader = cast("RequestReader", self._reader)
        is_last = reader.last and not reader.ready
        close = response.close or is_last or (self._is_draining and not reader.ready)
        when = now or self._service.clock.now()
        head = request.method == "HEAD"
        self._tls.write(response_bytes(response, epoch_s=int(when.timestamp()), head=head, close=close))
        if close:
            self._close()
        elif self._tls.waiting > _FLUSH_AT:
            self._flush()

    def _reject(self, fault: Rejected) -> None:
        log.info("request_rejected", address=self._address, lfdi=self._lfdi, status=fault.status, reason=str(fault))
        epoch_s = int(self._service.clock.now().timestamp())
        self._tls.write(response_bytes(Response(status=fault.status), epoch_s=epoch_s, close=True))
        self._close()

    # The stream --------------------------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _flush(self) -> None:
        if data := self._tls.to_send():
            self._send(data)

    def _close(self) -> None:
        """Say good-bye and close when everything has left."""
        if not self._is_ended:
            if self._reader is not None:
                self._tls.end()
            self._flush()
            self._end()

    def _end(self) -> None:
        self._is_ended = True
        self._set_deadline(self._service.limits.write_s)  # until the peer has taken what is still to go
        if self._transport is not None:
            self._transport.close()

    def _abort(self) -> None:
        self._is_ended = True
        if self._transport is not None:
            self._transport.abort()

    def _refuse_place(self, reason: str) -> None:
        log.warning("connection_refused", address=self._address, reason=reason)
        self._abort()

    def _halt(self) -> None:
        if not self._is_halted and self._transport is not None and not self._transport.is_closing():
            self._is_halted = True
            self._transport.pause_reading()

    def _unhalt(self) -> None:
        if self._is_halted and self._transport is not None and not self._transport.is_closing():
            self._is_halted = False
            self._transport.resume_reading()

    def _set_deadline(self, seconds: float) -> None:
        self.deadline = self._service.clock.deadline() + seconds

    @property
    def _address_key(self) -> str:
        return address_key(self._address)

    @property
    def _lfdi(self) -> str:
        return self._peer.lfdi if self._peer else ""

    @property
    def _where(self) -> str:
        return self._phase.name.lower() if self._reader else "handshake"


def error_response(error: TierlineError) -> Response:
    """Answer an error of the tree with the status that fits; the body stays empty, so nothing leaks."""
    status = next((status for kind, status in _STATUS_OF if isinstance(error, kind)), 500)
    return Response(status=status)
