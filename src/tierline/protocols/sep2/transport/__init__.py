"""HTTP/1.1 over mutual TLS: the server and the client that carry IEEE 2030.5.

The peer's certificate is its identity, so TLS ends here, in this process, on both sides. Everything that arrives is bounded
in time, bytes and number before anybody is asked to think about it. The handlers behind know nothing of sockets.
"""

from tierline.protocols.sep2.transport.client import HttpClient
from tierline.protocols.sep2.transport.limits import Limits
from tierline.protocols.sep2.transport.messages import SEP_XML, Handler, HttpResponse, Peer, Request, Response
from tierline.protocols.sep2.transport.server import HttpServer

__all__ = ["SEP_XML", "Handler", "HttpClient", "HttpResponse", "HttpServer", "Limits", "Peer", "Request", "Response"]
