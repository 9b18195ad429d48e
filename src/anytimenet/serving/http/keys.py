"""API keys: from a file, kept as digests, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path

from anytimenet.core.files.regular import read_regular

_FEWEST = 16
_LARGEST_FILE = 2**20


class ApiKeys:
    """Who may ask, by the digest of a key.

    Args:
        digests: the SHA-256 of each client's key, by the client's name.

    >>> keys = ApiKeys({"robot": hashlib.sha256(b"a-long-random-key").digest()})
    >>> keys.client_of("a-long-random-key"), keys.client_of("another-random-key")
    ('robot', None)
    """

    def __init__(self, digests: Mapping[str, bytes]) -> None:
        self._digests = dict(digests)

    @classmethod
    def read(cls, path: Path | str) -> ApiKeys:
        """The keys of a file: a line a client, its name and its key, or `sha256:` and the digest of its key.

        Empty lines and lines that begin with # say nothing.

        Raises:
            ValueError: for a file that cannot be read, or a line that names no key; keys are never quoted.
        """
        try:
            text = read_regular(path, _LARGEST_FILE).decode("utf-8")
        except OSError as error:
            raise ValueError(f"the keys in {path} cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no text: a line a client is needed, its name and its key") from error
        digests: dict[str, bytes] = {}
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) != 2:
                raise ValueError(f"{path}, line {number}: a name and a key are needed, with a space between")
            if words[0] in digests:
                raise ValueError(f"{path}, line {number}: {words[0]!r} has a key already")
            digests[words[0]] = _digest(words[1], f"{path}, line {number}")
        if not digests:
            raise ValueError(f"{path} holds no key: a line a client is needed, its name and its key")
        return cls(digests)

    def client_of(self, key: str) -> str | None:
        """The client whose key this is; the time tells nothing of the keys."""
        given = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found = None
        for name, digest in self._digests.items():  # all of them, whichever it is
            if hmac.compare_digest(given, digest):
                found = name
        return found

    def __repr__(self) -> str:
        return f"ApiKeys({len(self._digests)} clients)"


def _digest(word: str, where: str) -> bytes:
    if word.startswith("sha256:"):
        try:
            digest = bytes.fromhex(word.removeprefix("sha256:"))
        except ValueError:
            digest = b""
        if len(digest) != 32:
            raise ValueError(f"{where}: 64 hexadecimal digits are needed behind sha256:")
        return digest
    if len(word) < _FEWEST:
        raise ValueError(f"{where}: a key needs {_FEWEST} characters or more, such as openssl rand -hex 24")
    return hashlib.sha256(word.encode()).digest()
