"""HTTP as far as files need it: a GET, from a byte on, redirected within its scheme, read as stored."""

from __future__ import annotations

import http.client
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from anytimenet.core.delivery.addresses import Address
from anytimenet.core.delivery.patience import Patience, Watch, closed
from anytimenet.core.delivery.reach import Reach, endpoints
from anytimenet.core.delivery.wire import Wire, connect
from anytimenet.core.errors import DeliveryError, UnreachableError
from anytimenet.core.version import __version__

_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True, eq=False)
class Reply:
    """The body of an answer.

    Attributes:
        address: of the file that was asked for.
        first_byte: where in the file the body begins.
        length: bytes of the body, as the server tells; None if it does not.
    """

    address: Address
    first_byte: int
    length: int | None
    _response: http.client.HTTPResponse
    _watch: Watch

    def read(self, most: int) -> bytes:
        """The next bytes, no more than `most`; none at the end, which may be an early one.

        Raises:
            UnreachableError: if the connection breaks, or the server is silent or slow.
        """
        with _as_unreachable(self.address):
            data = self._response.read1(most)
        self._watch.received(len(data))
        return data


class NoSuchFileError(DeliveryError):
    """The server has no file of that name."""


class Client:
    """Asks servers for files.

    Args:
        patience: how long is waited.
        trust: whose certificates are believed; the system's by default.
        clock: seconds.
        stopped: set when nothing is wanted any more: a read ends within a moment.
    """

    def __init__(
        self,
        patience: Patience | None = None,
        trust: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.perf_counter,
        stopped: threading.Event | None = None,
    ) -> None:
        self.patience = patience or Patience()
        self.stopped = stopped or threading.Event()
        self._trust, self._clock = trust, clock
        self._least: dict[str, Reach] = {}

    @contextmanager
    def get(self, address: Address, first_byte: int = 0) -> Iterator[Reply]:
        """What a file holds, from a byte on if the server can, else from its beginning.

        Raises:
            DeliveryError: for an address, a redirect or an answer that is refused; `NoSuchFileError`
                where the server has none.
            UnreachableError: if the server does not answer now.
        """
        reply = self._reply(address, first_byte)
        if reply is None:  # it does not give the rest of the file, or not that rest
            reply = self._reply(address, 0)
        assert reply is not None
        try:
            yield reply
        finally:
            reply._response.close()

    def _reply(self, address: Address, first_byte: int) -> Reply | None:
        least, there = self._least.get(address.host, Reach.THIS_MACHINE), address
        for _ in range(_MOST_REDIRECTS + 1):
            if self.stopped.is_set():
                raise closed(address)
            known = endpoints(there, least)
            least = max(least, min(one.reach for one in known))
            if there is address:
                self._least[address.host] = least  # nor may its own name lead to less another time
            wire = connect(there, known, self.patience.connect_s, self._trust)
            watch = Watch(str(there), self.patience, self._clock, self.stopped)
            try:
                response = _ask(there, Wire(wire, watch), first_byte)
                location = response.getheader("Location")
                if response.status not in _REDIRECTS or location is None:
                    return _checked(address, response, first_byte, watch)
                there = there.redirected(location)
            except BaseException:
                wire.close()
                raise
            wire.close()
        raise DeliveryError(
            f"{address} redirects more than {_MOST_REDIRECTS} times: ask whoever runs the server"
        )


def _ask(address: Address, wire: Wire, first_byte: int) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(address.host, address.port)
    connection.default_port = 443 if address.scheme == "https" else 80
    connection.sock = cast(Any, wire)
    headers = {
        "User-Agent": f"anytimenet/{__version__}",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    if first_byte:
        headers["Range"] = f"bytes={first_byte}-"
    with _as_unreachable(address):
        connection.request("GET", address.target, headers=headers)
        return connection.getresponse()


def _checked(
    address: Address, response: http.client.HTTPResponse, first_byte: int, watch: Watch
) -> Reply | None:
    """The body of a good answer; None where a part was asked for and the whole has to be."""
    status, length = response.status, response.length
    if first_byte and (status == 416 or (status == 206 and not _is_rest(response, first_byte))):
        response.close()
        return None
    if status == 404 or status == 410:
        raise NoSuchFileError(f"{address} is not there ({status}): check the URL")
    if status in _BUSY:
        raise UnreachableError(
            f"{address}: the server answers {status} {_plain(response.reason)}; try again later"
        )
    if status != 200 and not (first_byte and status == 206):
        raise DeliveryError(
            f"{address}: the server answers {status} {_plain(response.reason)}; check the URL"
        )
    coding = response.getheader("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise DeliveryError(
            f"{address} comes encoded as {_plain(coding)}, which was not asked for: its size cannot be "
            "checked: have the server send it as stored"
        )
    return Reply(address, first_byte if status == 206 else 0, length, response, watch)


def _is_rest(response: http.client.HTTPResponse, first_byte: int) -> bool:
    """Whether a 206 holds the file from that byte to its end."""
    found = _RANGE.fullmatch(response.getheader("Content-Range", "").strip())
    if found is None:
        return False
    start, last, total = (int(number) for number in found.groups())
    whole = start == first_byte and last == total - 1
    return whole and response.length in (None, total - start)


@contextmanager
def _as_unreachable(address: Address) -> Iterator[None]:
    try:
        yield
    except DeliveryError:
        raise
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or _plain(str(error)) or type(error).__name__
        raise UnreachableError(
            f"{address}: the connection broke ({reason}); try again later, what came is kept"
        ) from error


def _plain(words: str) -> str:
    """What a server said, fit for one line on a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in words[:80]).strip()
