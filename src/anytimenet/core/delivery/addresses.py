"""URLs of folders that may be fetched: https, http of this machine alone, nothing hidden in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from anytimenet.core.errors import DeliveryError
from anytimenet.core.manifest.folder import check_file_name

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PIN = re.compile(r"sha256=([0-9a-fA-F]{64})")
_PORTS = {"https": 443, "http": 80}
_MOST = 4096
"""Characters of a URL."""


def is_url(place: object) -> bool:
    """Whether `place` is meant as a URL and not as a folder, fetchable or not.

    >>> is_url("https://example.org/digits"), is_url("file:///etc"), is_url("C:/digits"), is_url("digits")
    (True, True, False, False)
    """
    return isinstance(place, str) and _SCHEME.match(place.lstrip()) is not None


@dataclass(frozen=True)
class Address:
    """Where a file or a folder is on the network.

    Attributes:
        scheme: "https" or "http".
        host: name or number, lower case, as it is asked for.
        port: of the server.
        path: percent-encoded, with its leading slash.
        query: of a redirect, as the server gave it; a folder has none.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    @property
    def target(self) -> str:
        """What is asked of the server."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def file(self, name: str) -> Address:
        """A file in this folder, by a name with forward slashes.

        Raises:
            BundleError: for a name that could leave the folder.
        """
        return replace(self, path=f"{self.path}/{quote(check_file_name(name), safe='/')}")

    def redirected(self, location: str) -> Address:
        """Where a server sends who asks for this; the query of the new place, often a signature, is kept.

        Raises:
            DeliveryError: for another scheme, or an address that would be refused from a person, too.
        """
        what = f"{self} redirects to"
        plain = self if self.path else replace(self, path="/")
        try:
            found = urlsplit(urljoin(str(plain), _clean(location, what)))
        except ValueError as error:
            raise DeliveryError(f"{what} no URL ({error}): ask whoever runs the server") from None
        if found.scheme.lower() != self.scheme:
            raise DeliveryError(
                f"{what} {found.scheme}: a redirect must keep to {self.scheme}; give the final URL"
            )
        there = _address(found, what)
        return replace(there, path=there.path or "/", query=found.query)


def parse_url(url: str, manifest_names: tuple[str, ...] = ()) -> tuple[Address, str | None]:
    """The folder at `url`, and the SHA-256 that its manifest is pinned to, None if it is not.

    Args:
        url: of the folder, or of its manifest; with `#sha256=` and 64 hexadecimal digits at its end where the
            manifest must be that very one.
        manifest_names: of files that stand for their folder.

    Raises:
        DeliveryError: for a scheme other than https (http for this machine alone), a user name or password, a
            query, or another fragment.

    >>> address, pin = parse_url("https://Example.org/nets/digits/#sha256=" + "ab" * 32)
    >>> str(address), pin[:4]
    ('https://example.org/nets/digits', 'abab')
    """
    text = _clean(url.strip(), "the URL")
    try:
        found = urlsplit(text)
    except ValueError as error:
        raise DeliveryError(f"{text!r} is no URL ({error})") from None
    if found.scheme.lower() not in _PORTS:
        raise DeliveryError(
            f"{found.scheme}:// is not fetched: give an https:// URL, or the path of a folder on this machine"
        )
    if found.query:
        raise DeliveryError(
            f"{text!r} has a ?query, and files of a folder are asked for by name: leave it out"
        )
    pin = _PIN.fullmatch(found.fragment)
    if found.fragment and pin is None:
        raise DeliveryError(
            f"#{found.fragment[:80]} is no pin: it is #sha256= and the 64 hexadecimal digits of the manifest"
        )
    address = _address(found, "the URL")
    folder, _, last = address.path.rpartition("/")
    path = folder if unquote(last) in manifest_names else address.path
    return replace(address, path=path.rstrip("/")), None if pin is None else pin[1].lower()


def _clean(url: str, what: str) -> str:
    """`url`, if every program reads it alike."""
    if len(url) > _MOST:
        raise DeliveryError(f"{what} a place of {len(url):,} characters: {_MOST:,} are the most")
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise DeliveryError(f"{what} {url!r}, with spaces, control characters or backslashes: encode them")
    return url


def _address(found: SplitResult, what: str) -> Address:
    scheme = found.scheme.lower()
    if "@" in found.netloc:
        raise DeliveryError(f"{what} holds a user name or password (@): no names are sent; leave it out")
    try:
        port = found.port
        host = (found.hostname or "").rstrip(".").encode("idna").decode("ascii").lower()
    except ValueError as error:  # of a port, or a host that is no name
        raise DeliveryError(f"{what} names no server ({error}): check {found.netloc!r}") from None
    if not host or not re.fullmatch(r"[a-z0-9._:%-]+", host) or "%" in host:
        raise DeliveryError(f"{what} names no server: check {found.netloc!r}")
    parts = [unquote(part) for part in found.path.split("/")]
    if any(part in (".", "..") for part in parts):
        raise DeliveryError(f"{what} holds . or .. in its path: give it without them")
    path = quote(found.path, safe="/%:@!$&'()*+,;=~-._")
    return Address(scheme, host, _PORTS[scheme] if port is None else port, path)
