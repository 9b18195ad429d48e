"""Downloads are kept only when their checksum is right; every failure says what to do instead."""

import gzip
import hashlib
import http.server
import threading
from dataclasses import replace

import numpy as np
import pytest

from anytimenet.core.errors import DataError
from anytimenet.data import DataOptions, load_data
from anytimenet.data.sources.named import catalogue, idx
from anytimenet.data.sources.named.catalogue import RemoteFile
from anytimenet.data.sources.named.download import fetch

CONTENT = bytes(range(256)) * 5000
MD5 = hashlib.md5(CONTENT).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.files`; a path that starts with /short ends in the middle of its body."""

    def do_GET(self):
        content = self.server.files.get(self.path.rpartition("/")[2])
        if content is None:
            self.send_error(404)
            return
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if self.path.startswith("/short") else content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    made.files, made.asked = {"file.bin": CONTENT}, []
    made.url = f"http://127.0.0.1:{made.server_address[1]}"
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_the_published_file_arrives_whole_and_alone(server, tmp_path):
    path = fetch(RemoteFile("file.bin", MD5, f"{server.url}/file.bin"), tmp_path / "new" / "folder")
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_another_file_is_not_kept(server, tmp_path):
    wrong = hashlib.md5(b"the published file").hexdigest()
    with pytest.raises(DataError, match=f"md5 checksum {MD5} instead of {wrong}"):
        fetch(RemoteFile("file.bin", wrong, f"{server.url}/file.bin"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_earlier_file_survives_a_failed_download(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"earlier")
    with pytest.raises(DataError, match="instead of"):
        fetch(RemoteFile("file.bin", "0" * 32, f"{server.url}/file.bin"), tmp_path)
    assert (tmp_path / "file.bin").read_bytes() == b"earlier"


def test_a_body_that_is_cut_short_is_not_kept(server, tmp_path):
    with pytest.raises(DataError, match=rf"cannot be fetched \(.*{len(CONTENT) // 2}.*md5 {MD5}"):
        fetch(RemoteFile("file.bin", MD5, f"{server.url}/short/file.bin"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_page_and_a_missing_network_are_one_line(server, tmp_path):
    with pytest.raises(DataError, match=r"404.*put it under data_root=FOLDER"):
        fetch(RemoteFile("other.bin", MD5, f"{server.url}/other.bin"), tmp_path)
    # Nothing listens on port 1, and the name does not exist: what a machine without a network sees.
    for url in ("http://127.0.0.1:1/file.bin", "http://nowhere.invalid/file.bin"):
        with pytest.raises(DataError, match=r"cannot be fetched \(.*data_root=FOLDER"):
            fetch(RemoteFile("file.bin", MD5, url), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_one_line(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        fetch(RemoteFile("file.bin", MD5, f"{server.url}/file.bin"), tmp_path / "file")


@pytest.fixture
def mnist(server, monkeypatch):
    """A small MNIST that the server gives away."""
    rng = np.random.default_rng(0)
    arrays = []
    for count in (40, 20):
        arrays += [rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)]
        arrays += [(np.arange(count) % 10).astype(np.uint8)]
    form, remote = catalogue.MNIST.forms[0], []
    for name, array in zip(form.files, arrays, strict=True):
        header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        content = gzip.compress(header + array.tobytes())
        server.files[f"{name}.gz"] = content
        md5 = hashlib.md5(content).hexdigest()
        remote.append(RemoteFile(f"{name}.gz", md5, f"{server.url}/{name}.gz"))
    made = replace(catalogue.MNIST, forms=(replace(form, remote=tuple(remote)),))
    monkeypatch.setattr(idx, "MNIST", made)
    monkeypatch.setitem(catalogue.CATALOGUE, "mnist", made)
    return arrays


def test_download_fetches_what_is_missing_once(server, mnist, tmp_path):
    options = DataOptions(data_root=tmp_path / "data")
    with pytest.raises(DataError, match="add download=True"):
        load_data("mnist", options)
    assert not server.asked
    splits = load_data("mnist", replace(options, download=True))
    assert np.array_equal(splits.test.images[..., 0], mnist[2])
    assert len(server.asked) == 4
    load_data("mnist", replace(options, download=True))
    assert len(server.asked) == 4
    lost = tmp_path / "data" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    lost.unlink()
    assert load_data("mnist", replace(options, download=True)).fingerprint == splits.fingerprint
    assert server.asked[4:] == ["/t10k-labels-idx1-ubyte.gz"]


@pytest.mark.parametrize("name", ["imagenet", "cub"])
def test_what_has_no_checksum_is_not_fetched(name, tmp_path):
    with pytest.raises(DataError, match="download=True"):
        load_data(f"{name}:{tmp_path / 'empty'}", DataOptions(download=True))
    assert not list(tmp_path.iterdir())


def test_every_published_file_is_fetched_over_https_with_a_checksum():
    remotes = [r for data in catalogue.CATALOGUE.values() for form in data.forms for r in form.remote]
    assert len(remotes) == 12
    assert all(remote.url.startswith("https://") and remote.url.endswith(remote.name) for remote in remotes)
    assert len({remote.md5 for remote in remotes}) == 12
    assert all(len(bytes.fromhex(remote.md5)) == 16 for remote in remotes)
