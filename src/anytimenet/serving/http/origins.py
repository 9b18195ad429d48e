"""From where requests may come: hosts by name, web pages by origin.

That a server listens at loopback alone is no boundary, for any page in a browser on this machine can send
requests there. A page elsewhere is refused by its `Origin` and by `Sec-Fetch-Site`. A page whose own name is
made to lead here (DNS rebinding) is of the same origin for the browser, and is refused by its `Host`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from anytimenet.serving.http.problems import Problem
from anytimenet.serving.http.settings import Settings

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Origins:
    """Checks `Host`, `Origin` and `Sec-Fetch-Site`.

    Args:
        settings: where it listens, and which hosts and origins are allowed beside that.

    >>> Origins(Settings()).check({"host": "evil.example:8000"})
    Traceback (most recent call last):
    anytimenet.serving.http.problems.Problem: this server does not answer under that Host: ...
    """

    def __init__(self, settings: Settings) -> None:
        self._any = "*" in settings.allow_hosts
        host = settings.host.lower()
        self._hosts = _LOOPBACK | {name.lower() for name in settings.allow_hosts} | {_bracketed(host)}
        self._addresses = not _is_loopback(host)
        self._origins = frozenset(origin.lower() for origin in settings.allow_origins)

    def check(self, headers: Mapping[str, str], method: str = "GET") -> str | None:
        """The origin elsewhere that is allowed to read the answer; None for all others.

        Args:
            headers: of the request, by lower-case name.
            method: of the request.

        Raises:
            Problem: 421 for a host, 403 for an origin that is not allowed.
        """
        host = headers.get("host", "").lower()
        if not self._any and not self._known(_name_of(host)):
            raise Problem(
                421,
                "forbidden_host",
                "this server does not answer under that Host: Settings(allow_hosts=...) names more",
            )
        origin = headers.get("origin")
        if origin is not None:
            origin = origin.lower()
            if origin in self._origins:
                return origin
            scheme, _, name = origin.partition("://")
            if scheme in ("http", "https") and name and name == host:
                return None
        elif _is_own(headers) or _is_followed(method, headers):
            return None
        raise Problem(
            403,
            "forbidden_origin",
            "pages of other origins may not use this server: Settings(allow_origins=...) lets one",
        )

    def _known(self, name: str) -> bool:
        if name in self._hosts:
            return True
        if not self._addresses:
            return False
        try:
            ipaddress.ip_address(name.strip("[]"))  # an address cannot be made to lead elsewhere
        except ValueError:
            return False
        return True


def _is_own(headers: Mapping[str, str]) -> bool:
    """Whether no page asks, or one of this server."""
    return headers.get("sec-fetch-site", "none") in ("none", "same-origin")


def _is_followed(method: str, headers: Mapping[str, str]) -> bool:
    """Whether somebody follows a link: who linked cannot read what comes."""
    navigates = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return navigates and method in ("GET", "HEAD")


_HOST = re.compile(r"(\[[0-9a-f:.]*\]|[^\[\]:]*)(?::[0-9]*)?")


def _name_of(host: str) -> str:
    """A `Host` without its port; nothing where it is neither a name nor an address in brackets."""
    found = _HOST.fullmatch(host)
    return found[1] if found else ""


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
