"""What one client may take: requests at a time, and requests a second."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from anytimenet.serving.http.problems import Problem
from anytimenet.serving.http.settings import Limits

_REMEMBERED = 4096
_BURST_S = 2.0


class _Client:
    def __init__(self, tokens: float, now: float) -> None:
        self.under_way, self.tokens, self.at = 0, tokens, now


class ClientLimits:
    """Counts the requests of clients, each by the name of its key or its address, as far as limits go.

    The rate is that of a bucket that fills with `client_rate_hz` tokens a second, for two seconds.
    Memory is bounded: of many clients those that came last are remembered.
    """

    def __init__(self, limits: Limits) -> None:
        self._most, self._rate = limits.client_concurrent, limits.client_rate_hz
        self._full = max(1.0, _BURST_S * (self._rate or 0.0))
        self._clients: OrderedDict[str, _Client] = OrderedDict()

    @property
    def are_set(self) -> bool:
        """Whether there is anything to count."""
        return self._most is not None or self._rate is not None

    @contextmanager
    def taken(self, name: str, now: float) -> Iterator[None]:
        """While a request of that client is under way.

        Raises:
            Problem: 429 if it is one too many.
        """
        client = self._client(name, now)
        if self._most is not None and client.under_way >= self._most:
            raise Problem(429, "client_limit", f"a client may have {self._most} requests at a time", 0.1)
        if self._rate is not None:
            client.tokens = min(self._full, client.tokens + max(0.0, now - client.at) * self._rate)
            client.at = now
            if client.tokens < 1:
                raise Problem(
                    429,
                    "client_limit",
                    f"a client may send {self._rate:g} requests a second",
                    (1 - client.tokens) / self._rate,
                )
            client.tokens -= 1
        client.under_way += 1
        try:
            yield
        finally:
            client.under_way -= 1

    def _client(self, name: str, now: float) -> _Client:
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = _Client(self._full, now)
            while len(self._clients) > _REMEMBERED and next(iter(self._clients.values())).under_way == 0:
                self._clients.popitem(last=False)
        self._clients.move_to_end(name)
        return client
