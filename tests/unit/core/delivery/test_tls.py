"""HTTPS with a real handshake: who cannot prove its name is not believed, and nothing leads away from it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.core.delivery.servers import Server, serving

from anytimenet.core.delivery.client import Client
from anytimenet.core.delivery.patience import Patience
from anytimenet.core.delivery.remote_folder import RemoteFolder
from anytimenet.core.errors import DeliveryError, UnreachableError

KEY = Path(__file__).parents[3] / "data" / "tls" / "localhost.pem"
FILES = {"first.bin": b"first" * 1000, "second.bin": b"second" * 1000}
PATIENCE = Patience(tries=1, pause_s=0)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that has proof that it is localhost, for those who trust its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(KEY)
    with serving(FILES, tls=context) as server:
        server.url = f"https://localhost:{server.server_address[1]}/net"
        yield server


@pytest.fixture
def trusting() -> Client:
    return Client(PATIENCE, ssl.create_default_context(cafile=str(KEY)))


def test_a_folder_comes_over_https(server, trusting, tmp_path):
    remote = RemoteFolder.open(server.url, cache_dir=tmp_path, client=trusting)
    remote.bring(FILES)
    assert (remote.folder / "second.bin").read_bytes() == FILES["second.bin"]


def test_a_certificate_that_nobody_vouches_for_is_refused(server, tmp_path):
    with pytest.raises(DeliveryError, match="localhost does not prove that it is localhost") as caught:
        RemoteFolder.open(server.url, cache_dir=tmp_path, client=Client(PATIENCE))
    assert not isinstance(caught.value, UnreachableError)
    assert server.asked == []


def test_a_certificate_of_another_name_is_refused(server, trusting, tmp_path):
    url = server.url.replace("localhost", "127.0.0.1")
    with pytest.raises(DeliveryError, match=r"127\.0\.0\.1 does not prove that it is 127\.0\.0\.1"):
        RemoteFolder.open(url, cache_dir=tmp_path, client=trusting)


def test_https_leads_to_https_alone(server, trusting, tmp_path):
    with serving(FILES) as open_to_all:
        remote = RemoteFolder.open(server.url, cache_dir=tmp_path, client=trusting)
        location = f"{open_to_all.url}/first.bin"
        server.faults["first.bin"] = lambda handler, data: handler.head(302, 0, {"Location": location})
        with pytest.raises(DeliveryError, match="redirects to http: a redirect must keep to https"):
            remote.bring(FILES)
        assert open_to_all.asked == []


def test_a_server_without_tls_is_not_spoken_to(trusting, tmp_path):
    with serving(FILES) as plain:
        with pytest.raises(UnreachableError, match="does not answer"):
            RemoteFolder.open(plain.url.replace("http:", "https:"), cache_dir=tmp_path, client=trusting)
        assert plain.asked == []


def test_a_cut_is_found_and_gone_on_with_over_https(server, trusting, tmp_path):
    remote = RemoteFolder.open(server.url, cache_dir=tmp_path, client=trusting)

    def cut(handler, data):
        handler.head(200, len(data))
        handler.wfile.write(data[:1234])

    server.faults["first.bin"] = cut
    with pytest.raises(UnreachableError, match=r"was cut off after 1,234 of 5,000 bytes|connection broke"):
        remote.bring(FILES)
    server.faults.clear()
    remote.bring(FILES)
    assert ("first.bin", "bytes=1234-") in server.asked
    assert (remote.folder / "first.bin").read_bytes() == FILES["first.bin"]
