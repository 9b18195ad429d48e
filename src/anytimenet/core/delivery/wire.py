"""A connection whose every read is short, so that a slow server or a person can end it."""

from __future__ import annotations

import io
import os
import socket
import ssl
from collections.abc import Sequence
from typing import Any

from anytimenet.core.delivery.addresses import Address
from anytimenet.core.delivery.patience import READ_S, Watch
from anytimenet.core.delivery.reach import Endpoint
from anytimenet.core.errors import DeliveryError, UnreachableError


class Wire:
    """A socket as `http.client` uses it."""

    def __init__(self, wire: socket.socket, watch: Watch) -> None:
        self._wire, self._watch = wire, watch

    def sendall(self, data: Any) -> None:
        """Sends a request, a few hundred bytes."""
        self._wire.sendall(data)

    def makefile(self, mode: str = "rb") -> io.BufferedReader:
        """What the server answers."""
        self._wire.settimeout(READ_S)
        return io.BufferedReader(_Answer(self._wire, self._watch), 65_536)

    def close(self) -> None:
        """Nothing: the answer hangs up, which outlives the connection's object."""


class _Answer(io.RawIOBase):
    def __init__(self, wire: socket.socket, watch: Watch) -> None:
        self._wire, self._watch = wire, watch

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while True:
            self._watch.check()
            self._watch.waits()
            try:
                count = self._wire.recv_into(buffer)
            except TimeoutError:
                self._watch.waited(heard=False)
                continue
            self._watch.waited(heard=True)
            return count

    def close(self) -> None:
        if not self.closed:
            self._wire.close()
        super().close()


def connect(
    address: Address, known: Sequence[Endpoint], connect_s: float, trust: ssl.SSLContext | None
) -> socket.socket:
    """A socket to the first endpoint that answers, encrypted for https; proxies are not used.

    Args:
        address: of a file.
        known: its endpoints.
        connect_s: seconds for each.
        trust: whose certificates are believed; the system's by default.

    Raises:
        UnreachableError: if none answers.
        DeliveryError: if the server cannot prove that it is the one that was asked for.
    """
    failure: OSError | None = None
    for endpoint in known:
        wire = socket.socket(endpoint.family, socket.SOCK_STREAM)
        try:
            wire.settimeout(connect_s)
            wire.connect(endpoint.place)
            if address.scheme == "http":
                return wire
            return (trust or ssl.create_default_context()).wrap_socket(wire, server_hostname=address.host)
        except ssl.SSLCertVerificationError as error:
            wire.close()
            raise DeliveryError(
                f"{address.host} does not prove that it is {address.host} ({error.verify_message}): check "
                "the URL and this machine's clock and certificates (SSL_CERT_FILE)"
            ) from error
        except OSError as error:
            wire.close()
            failure = error
    raise UnreachableError(
        f"{address.host} port {address.port} does not answer ({_reason(failure)}): check the URL and the "
        f"network{_about_proxies()}"
    ) from failure


def _reason(error: OSError | None) -> str:
    if isinstance(error, TimeoutError):
        return "no connection in time"
    return str(getattr(error, "strerror", None) or error)


def _about_proxies() -> str:
    """A proxy would look up the name itself, and a private address could not be told from a public one."""
    if not any(os.environ.get(name) for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")):
        return ""
    return (
        "; the proxy that the environment names is not used: fetch the folder with another tool, and load it"
    )
