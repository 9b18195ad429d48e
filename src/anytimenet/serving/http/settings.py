"""What an operator decides of a server, and what it holds everybody to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from anytimenet.core import checks
from anytimenet.serving.http.keys import ApiKeys
from anytimenet.serving.samples import LIST_NAME

MIB = 2**20
PAGE = Path(__file__).resolve().parent.parent / "page"
"""The page that is shown at `/`, where it is installed."""


@dataclass(frozen=True)
class Limits:
    """What one request, one client and all of them together may take.

    Attributes:
        body_bytes: of one request; counted while it is read.
        pixels: of one image, looked at before it is decoded.
        images: in one request.
        concurrent: requests that are read or answered at a time; further ones are refused with 503.
        buffered_bytes: bodies of all of them together.
        connections: open at a time; further ones are closed.
        header_bytes: of one request's line and headers together.
        header_seconds: that a client may take to send them.
        body_seconds: that a client may take to send a body.
        answer_seconds: for which a client may read nothing of its answer; a slow one may take longer.
        client_concurrent: requests of one client at a time, then 429; None for as many as there may be.
        client_rate_hz: requests of one client a second, over some seconds; None for any.

    Raises:
        TypeError, ValueError: for numbers that are no limits.

    >>> Limits(images=4).images
    4
    """

    body_bytes: int = 10 * MIB
    pixels: int = 25_000_000
    images: int = 16
    concurrent: int = 256
    buffered_bytes: int = 256 * MIB
    connections: int = 1024
    header_bytes: int = 16 * 1024
    header_seconds: float = 10.0
    body_seconds: float = 10.0
    answer_seconds: float = 10.0
    client_concurrent: int | None = None
    client_rate_hz: float | None = None

    def __post_init__(self) -> None:
        for name in ("body_bytes", "pixels", "images", "concurrent", "buffered_bytes", "connections"):
            checks.settle(self, name, checks.whole_number, 1)
        checks.settle(self, "header_bytes", checks.whole_number, 1024, MIB)
        for name in ("header_seconds", "body_seconds", "answer_seconds"):
            checks.settle(self, name, checks.number, above=0)
        checks.settle(self, "client_concurrent", checks.optional, checks.whole_number, 1)
        checks.settle(self, "client_rate_hz", checks.optional, checks.number, 0.001)


@dataclass(frozen=True)
class Settings:
    """How a server answers.

    Attributes:
        host: the address that it listens at; this machine alone, unless told otherwise.
        port: 0 takes a free one.
        deadline_ms: of requests that name none; None lets the best stage answer them.
        limits: what requests and clients may take.
        allow_hosts: further names under which clients may reach it: what stands in their `Host` header.
        allow_origins: web pages elsewhere that may use it, such as "https://example.org".
        keys: who may ask; None for everybody who reaches it.
        lame_duck_s: seconds for which `/readyz` says no while requests are still taken, before it closes.
        drain_s: seconds that requests under way have to end then.
        watch_s: seconds between two looks at whether a model's folder was replaced; None for never.
        demo: whether the endpoints that make load are there.
        log: a line for every request, or for those that failed alone.
        page: folder of the static page at `/`.
        samples: folder of images that the page offers to try, with their list `samples.json`; None for none.
            Like the page it is shown to everybody who reaches the server.

    Raises:
        TypeError, ValueError: for values that cannot be.

    >>> Settings(port=0).host
    '127.0.0.1'
    """

    host: str = "127.0.0.1"
    port: int = 8000
    deadline_ms: float | None = None
    limits: Limits = Limits()
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    keys: ApiKeys | None = None
    lame_duck_s: float = 0.0
    drain_s: float = 10.0
    watch_s: float | None = 2.0
    demo: bool = False
    log: Literal["requests", "errors"] = "requests"
    page: Path = PAGE
    samples: Path | None = None

    def __post_init__(self) -> None:
        checks.settle(self, "host", checks.words)
        checks.settle(self, "port", checks.whole_number, 0, 65535)
        checks.settle(self, "deadline_ms", checks.optional, checks.number, 0)
        checks.instance(self.limits, Limits, "limits", "Limits()")
        checks.settle(self, "allow_hosts", checks.all_words)
        checks.settle(self, "allow_origins", checks.all_words)
        for origin in self.allow_origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise ValueError(
                    f"allow_origins must be origins such as 'https://example.org', not {origin!r}"
                )
        checks.settle(self, "lame_duck_s", checks.number, 0)
        checks.settle(self, "drain_s", checks.number, 0)
        checks.settle(self, "watch_s", checks.optional, checks.number, above=0)
        checks.settle(self, "demo", checks.flag)
        checks.settle(self, "log", checks.choice, ("requests", "errors"))
        checks.settle(self, "page", checks.path)
        checks.settle(self, "samples", checks.optional, checks.path)
        if self.samples is not None and not (self.samples / LIST_NAME).is_file():
            raise ValueError(
                f"samples: {self.samples} holds no {LIST_NAME}: give the folder samples/ of a site that "
                "anytimenet page wrote"
            )
