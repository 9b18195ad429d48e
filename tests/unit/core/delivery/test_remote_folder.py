"""What comes over the network is what the manifest lists, or an error says why; what came is never lost."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.core.delivery.servers import Handler, Server, manifest, serving

from anytimenet.core.delivery import client as client_module
from anytimenet.core.delivery import remote_folder
from anytimenet.core.delivery.client import Client
from anytimenet.core.delivery.part import hold_part, part_of
from anytimenet.core.delivery.patience import Patience
from anytimenet.core.delivery.reach import Endpoint, Reach
from anytimenet.core.delivery.remote_folder import RemoteFolder
from anytimenet.core.errors import DeliveryError, UnreachableError
from anytimenet.core.files.writing import sha256

FIRST, SECOND = os.urandom(30_000), os.urandom(50_000)
FILES = {"first.bin": FIRST, "costs/cpu.json": b"{}", "second.bin": SECOND, "empty": b""}
PATIENT = Patience(connect_s=60, silence_s=60, tries=3, pause_s=0)
HASTY = Patience(connect_s=60, silence_s=0.4, slowest=20_000, tries=3, pause_s=0)
"""For servers that never answer: one that does may be slower than this on a busy machine."""


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(FILES) as server:
        yield server


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., RemoteFolder]:
    def open_(server: Server, pin: str = "", **more: object) -> RemoteFolder:
        return RemoteFolder.open(server.url + pin, cache_dir=tmp_path, client=Client(PATIENT), **more)  # type: ignore[arg-type]

    return open_


def kept(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def part(remote: RemoteFolder, name: str) -> Path:
    return part_of(remote.folder / name)


def test_everything_comes_once_and_is_found_again(server, opened):
    remote = opened(server)
    assert remote.listing.bytes_of(FILES) == 80_002
    remote.bring(FILES)
    assert kept(remote.folder) == {"bundle.json": server.files["bundle.json"], **FILES}
    asked = len(server.asked)
    again = opened(server)
    again.bring(FILES)
    assert again.folder == remote.folder
    assert [path for path, _ in server.asked[asked:]] == ["bundle.json"]


def test_a_pinned_folder_that_is_here_needs_no_server(server, opened):
    pin = f"#sha256={sha256(server.files['bundle.json'])}"
    opened(server, pin).bring(FILES)
    server.files.clear()
    asked = len(server.asked)
    opened(server, pin).bring(FILES)
    assert len(server.asked) == asked


def test_a_manifest_that_is_not_the_pinned_one_is_refused(server, opened, tmp_path):
    with pytest.raises(DeliveryError, match="is pinned to 00"):
        opened(server, f"#sha256={64 * '0'}")
    assert kept(tmp_path) == {}


def test_a_new_version_at_a_url_does_not_mix_with_the_old_one(server, opened):
    old = opened(server)
    old.bring(["first.bin"])
    server.files.update({"first.bin": b"new", "bundle.json": manifest({"first.bin": b"new"})})
    new = opened(server)
    new.bring(["first.bin"])
    assert (old.folder / "first.bin").read_bytes() == FIRST
    assert (new.folder / "first.bin").read_bytes() == b"new"


def test_a_cut_download_goes_on_where_it_was_cut(server, opened):
    def cut(handler: Handler, data: bytes) -> None:
        first = handler.first_byte
        total = len(data)
        handler.head(
            206 if first else 200, total - first, {"Content-Range": f"bytes {first}-{total - 1}/{total}"}
        )
        handler.wfile.write(data[first : first + 20_000])

    server.faults["second.bin"] = cut
    remote = opened(server)
    remote.bring(["second.bin"])
    assert (remote.folder / "second.bin").read_bytes() == SECOND
    assert [byte for path, byte in server.asked if path == "second.bin"] == [
        None,
        "bytes=20000-",
        "bytes=40000-",
    ]


def test_what_came_before_a_server_died_is_there_for_the_next_process(server, opened):
    def cut_once(handler: Handler, data: bytes) -> None:
        if handler.first_byte:
            handler.head(503, 0)
            return
        handler.head(200, len(data))
        handler.wfile.write(data[:20_000])

    server.faults["second.bin"] = cut_once
    remote = opened(server)
    with pytest.raises(UnreachableError, match="answers 503 Service Unavailable"):
        remote.bring(FILES)
    assert part(remote, "second.bin").read_bytes() == SECOND[:20_000]
    assert (remote.folder / "first.bin").read_bytes() == FIRST
    server.faults.clear()
    server.asked.clear()
    opened(server).bring(FILES)
    assert ("second.bin", "bytes=20000-") in server.asked
    assert "first.bin" not in [path for path, _ in server.asked]
    assert not part(remote, "second.bin").exists()


def test_a_server_without_ranges_sends_it_again_and_nothing_is_lost(server, opened):
    remote = opened(server)
    part(remote, "second.bin").write_bytes(SECOND[:30_000])
    cuts = iter([10_000, 40_000, 50_000])

    def whole(handler: Handler, data: bytes) -> None:
        handler.head(200, len(data))
        handler.wfile.write(data[: next(cuts)])

    server.faults["second.bin"] = whole
    remote.bring(["second.bin"])
    assert (remote.folder / "second.bin").read_bytes() == SECOND


@pytest.mark.parametrize(
    "left", [b"x" * 20_000, b"x" * 50_000, b"x" * 60_000], ids=["begun", "as long", "longer"]
)
def test_what_another_file_left_is_replaced(server, opened, left):
    remote = opened(server)
    part(remote, "second.bin").write_bytes(left)
    remote.bring(["second.bin"])
    assert (remote.folder / "second.bin").read_bytes() == SECOND


@pytest.mark.parametrize(
    "wrong",
    [
        "bytes 0-49999/50000",
        "bytes 100-49999/50000",
        "bytes 20000-29999/50000",
        "bytes 20000-49999/*",
        "",
        "x",
    ],
)
def test_a_wrong_range_is_not_believed(server, opened, wrong):
    remote = opened(server)
    part(remote, "second.bin").write_bytes(SECOND[:20_000])

    def odd(handler: Handler, data: bytes) -> None:
        if handler.first_byte:
            handler.head(206, 30_000, {"Content-Range": wrong} if wrong else {})
            handler.wfile.write(b"y" * 30_000)
        else:
            handler.whole_or_rest(data)

    server.faults["second.bin"] = odd
    remote.bring(["second.bin"])
    assert (remote.folder / "second.bin").read_bytes() == SECOND
    assert [byte for path, byte in server.asked if path == "second.bin"] == ["bytes=20000-", None]


def test_a_file_that_was_damaged_in_the_cache_is_fetched_again(server, opened):
    opened(server).bring(FILES)
    for damage in (b"", FIRST[:-1] + b"?", FIRST + b"?"):
        (remote := opened(server)).folder.joinpath("first.bin").write_bytes(damage)
        remote.bring(FILES)
        assert (remote.folder / "first.bin").read_bytes() == FIRST


def lies(status: int = 200, length: int | None = None, **headers: str) -> Callable[[Handler, bytes], None]:
    """Sends the right bytes under a wrong head."""

    def fault(handler: Handler, data: bytes) -> None:
        handler.head(status, len(data) if length is None else length, headers)
        handler.wfile.write(data)

    return fault


def another(handler: Handler, data: bytes) -> None:
    handler.head(200, len(data))
    handler.wfile.write(bytes(len(data)))


def chunks(endless: bool) -> Callable[[Handler, bytes], None]:
    def fault(handler: Handler, data: bytes) -> None:
        handler.head(200, None, {"Transfer-Encoding": "chunked"})
        while True:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            if not endless or handler.server.ended.is_set():
                break
        handler.wfile.write(b"0\r\n\r\n")

    return fault


def endless(handler: Handler, data: bytes) -> None:
    handler.head(200, None)
    while not handler.server.ended.is_set():
        handler.wfile.write(bytes(65_536))


def zipped(handler: Handler, data: bytes) -> None:
    handler.head(200, len(gzip.compress(data)), {"Content-Encoding": "gzip"})
    handler.wfile.write(gzip.compress(data))


def redirect(location: str) -> Callable[[Handler, bytes], None]:
    return lambda handler, data: handler.head(302, 0, {"Location": location})


REFUSED = {
    "another": (another, "is not the file that bundle.json lists"),
    "longer": (lies(length=10**15), "has 1,000,000,000,000,000 bytes, and bundle.json lists 30,000"),
    "shorter": (lies(length=10), "has 10 bytes, and bundle.json lists 30,000"),
    "endless": (endless, "goes on after the 30,000 bytes"),
    "endless chunks": (chunks(endless=True), "goes on after the 30,000 bytes"),
    "zipped": (zipped, "comes encoded as gzip"),
    "range unasked": (lies(206), "answers 206"),
    "forbidden": (lies(403), "answers 403"),
    "not there": (lies(404), "is not there"),
    "encrypted": (redirect("https://example.org/first.bin"), "a redirect must keep to http"),
    "away": (redirect("http://192.0.2.1/first.bin"), "is not encrypted"),
    "a file": (redirect("file:///etc/passwd"), "redirects to file"),
    "with a name": (redirect("http://me:secret@127.0.0.1/"), "holds a user name"),
    "round": (redirect("/net/first.bin"), "redirects more than 5 times"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_server_does_wrong_is_refused_in_one_line(server, opened, name):
    fault, reason = REFUSED[name]
    server.faults["first.bin"] = fault
    remote = opened(server)
    with pytest.raises(DeliveryError, match=reason) as caught:
        remote.bring(["costs/cpu.json", "first.bin"])
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not isinstance(caught.value, UnreachableError), "trying again would not help"
    assert not (remote.folder / "first.bin").exists()
    assert not part(remote, "first.bin").exists() or part(remote, "first.bin").stat().st_size <= len(FIRST)
    assert (remote.folder / "costs/cpu.json").read_bytes() == b"{}"


def drip(handler: Handler, data: bytes) -> None:
    handler.head(200, len(data))
    while not handler.server.ended.wait(0.02):
        handler.wfile.write(b"x")


def drip_head(handler: Handler, data: bytes) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    drip_on(handler)


def drip_on(handler: Handler) -> None:
    while not handler.server.ended.wait(0.02):
        handler.wfile.write(b"x")


def silence(handler: Handler, data: bytes) -> None:
    handler.server.ended.wait()


def garbage(handler: Handler, data: bytes) -> None:
    handler.wfile.write(b"\x00\x01\x02 what is HTTP?\r\n\r\n")


def hang_up(handler: Handler, data: bytes) -> None:
    handler.connection.close()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (drip, "too slow to go on"),
        (drip_head, "too slow to go on"),
        (silence, r"nothing came for 0\.4 s"),
        (garbage, "the connection broke .*what is HTTP"),
        (lies(503, X="y"), "answers 503"),
        (hang_up, "the connection broke"),
        (lies(429), "answers 429"),
    ],
)
def test_a_server_that_does_not_answer_is_given_up(server, opened, monkeypatch, fault, reason):
    server.faults["first.bin"] = fault
    remote = opened(server)
    monkeypatch.setattr(remote._client, "patience", HASTY)
    with pytest.raises(UnreachableError, match=reason) as caught:
        remote.bring(["first.bin"])
    assert "\n" not in str(caught.value)
    assert len([path for path, _ in server.asked if path == "first.bin"]) == HASTY.tries


def test_chunks_and_redirects_within_the_scheme_are_fine(server, opened):
    server.faults["first.bin"] = chunks(endless=False)
    server.faults["second.bin"] = redirect(
        server.url.replace("127.0.0.1", "localhost") + "/elsewhere?signed=1"
    )
    server.files["elsewhere?signed=1"] = SECOND
    remote = opened(server)
    remote.bring(FILES)
    assert (remote.folder / "second.bin").read_bytes() == SECOND


def test_a_public_server_leads_to_no_private_one(server, opened, monkeypatch):
    """The server plays a public one; where it sends the client is what the client must not touch."""
    seen: list[str] = []

    def known(address: object, least: Reach) -> list[Endpoint]:
        seen.append(f"{address} {least.name}")
        if "localhost" in str(address):
            assert least is Reach.PUBLIC
            raise DeliveryError("refused")
        return [Endpoint(server.socket.family, server.server_address, Reach.PUBLIC)]

    monkeypatch.setattr(client_module, "endpoints", known)
    server.faults["first.bin"] = redirect("http://localhost/admin")
    with pytest.raises(DeliveryError, match="refused"):
        opened(server).bring(["first.bin"])
    assert seen == [
        f"{server.url}/bundle.json THIS_MACHINE",
        f"{server.url}/first.bin PUBLIC",  # a second look may not find less than the first
        "http://localhost/admin PUBLIC",
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>", "is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "lists no files"),
        (b'{"files": 3}', "lists no files"),
        (b'{"files": {"a": 3}}', "a must be a JSON object"),
        (b'{"files": {"a": {"sha256": "00", "bytes": 3}}}', "sha256 must be"),
        (b'{"files": {"a": {"sha256": "%s", "bytes": -1}}}' % (b"0" * 64), "bytes must be"),
        (b'{"files": {"a": {"sha256": "%s", "bytes": 1e400}}}' % (b"0" * 64), "bundle.json"),
        (manifest({"a": b""}).replace(b'"bytes": 0', b'"bytes": %d' % 10**17), "are allowed"),
    ],
)
def test_a_manifest_that_is_none(server, opened, content, reason, tmp_path):
    server.files["bundle.json"] = content
    with pytest.raises(DeliveryError, match=reason) as caught:
        opened(server)
    assert "\n" not in str(caught.value)
    assert kept(tmp_path) == {}


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../x",
            "a/../../x",
            "/etc/passwd",
            "a//b",
            "C:\\x",
            "a:b",
            "nul\x00",
            "",
            ".",
            "a/.",
            ".hidden",
            "a/.b/c",
        ),
        *("bundle.json", "Bundle.JSON", "readme.md", "x.", "x ", "é" * 200, "\ud800"),
    ],
)
def test_a_name_that_leaves_the_folder_or_hides_is_refused(server, opened, name, tmp_path):
    server.files["bundle.json"] = manifest({name: b"x"})
    with pytest.raises(DeliveryError, match=r"is no (plain )?name of a file|take the place"):
        opened(server)
    assert kept(tmp_path) == {}


def test_two_names_that_some_disks_take_for_one_are_refused(server, opened):
    server.files["bundle.json"] = manifest({"costs/CPU.json": b"x", "costs/cpu.json": b"y"})
    with pytest.raises(DeliveryError, match="take the place"):
        opened(server)


def test_an_endless_manifest_is_cut(server, opened, monkeypatch):
    monkeypatch.setattr(remote_folder, "LARGEST_JSON", 200_000)
    server.faults["bundle.json"] = endless
    with pytest.raises(DeliveryError, match="is larger than the 200,000 bytes of any manifest"):
        opened(server)
    server.faults["bundle.json"] = lies(length=10**15)
    with pytest.raises(DeliveryError, match="is larger than"):
        opened(server)


def test_a_url_without_a_manifest_and_a_server_that_is_gone(server, opened):
    del server.files["bundle.json"]
    with pytest.raises(DeliveryError, match=r"holds no bundle\.json and no manifest\.json"):
        opened(server)
    server.files["manifest.json"] = manifest(FILES)
    assert opened(server).listing.name == "manifest.json"


def test_where_the_server_is_gone_what_it_listed_the_last_time_is_taken(server, opened):
    before = opened(server)
    before.bring(["first.bin"])
    server.leave()
    with pytest.warns(
        UserWarning, match=r"does not answer .*\. What it listed the last time is taken"
    ) as caught:
        after = opened(server)
    assert caught[0].filename == __file__
    assert after.folder == before.folder
    after.bring(["first.bin"])
    with pytest.raises(UnreachableError, match="does not answer"):
        after.bring(["second.bin"])
    server.url += "/another"
    with pytest.raises(UnreachableError, match="does not answer"):
        opened(server)


def test_a_full_or_closed_disk_is_told_before_anything_is_asked(server, opened, monkeypatch, tmp_path):
    remote = opened(server)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    asked = len(server.asked)
    with pytest.raises(DeliveryError, match="has 1,000 bytes free and 30,000 are to come"):
        remote.bring(["first.bin"])
    assert len(server.asked) == asked
    (tmp_path / "file").write_text("")
    with pytest.raises(DeliveryError, match="cannot be written"):
        RemoteFolder.open(server.url, cache_dir=tmp_path / "file", client=Client(PATIENT))


def test_a_link_in_place_of_a_part_is_not_followed(server, opened, tmp_path):
    remote = opened(server)
    (tmp_path / "mine").write_text("precious")
    part(remote, "first.bin").symlink_to(tmp_path / "mine")
    with pytest.raises(DeliveryError, match="cannot be written"):
        remote.bring(["first.bin"])
    assert (tmp_path / "mine").read_text() == "precious"


def test_two_at_once_fetch_it_once(server, opened):
    remotes = [opened(server), opened(server)]
    threads = [threading.Thread(target=remote.bring, args=(FILES,)) for remote in remotes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept(remotes[0].folder) == {"bundle.json": server.files["bundle.json"], **FILES}
    paths = [path for path, _ in server.asked if path != "bundle.json"]
    assert sorted(paths) == sorted(set(paths))


def test_who_waits_for_another_can_be_stopped(tmp_path):
    stopped = threading.Event()
    stopped.set()

    def wanted() -> None:
        if stopped.is_set():
            raise DeliveryError("closed")

    with hold_part(tmp_path / "x", lambda: None) as first:
        assert first is not None
        with pytest.raises(DeliveryError, match="closed"), hold_part(tmp_path / "x", wanted):
            pass


def test_closing_ends_a_read_that_waits(server, tmp_path):
    client = Client(Patience())  # which would wait for half a minute
    remote = RemoteFolder.open(server.url, cache_dir=tmp_path, client=client)
    server.faults["first.bin"] = lambda handler, data: (client.stopped.set(), silence(handler, data))[0]
    with pytest.raises(DeliveryError, match="the delivery was closed") as caught:
        remote.bring(["first.bin"])
    assert not isinstance(caught.value, UnreachableError)


def test_proxies_of_the_environment_are_not_used_and_that_is_said(server, opened, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://192.0.2.1:1")
    opened(server).bring(FILES)
    server.leave()
    server.url += "/another"
    with pytest.raises(UnreachableError, match="the proxy that the environment names is not used"):
        opened(server)


def test_a_manifest_that_was_damaged_in_the_cache_is_put_right(server, opened):
    remote = opened(server)
    remote.bring(FILES)
    for damage in (b"", b"{}", manifest({**FILES, "first.bin": b"other"}), manifest({**FILES, "more": b""})):
        (remote.folder / "bundle.json").write_bytes(damage)
        opened(server).bring(FILES)
        assert (remote.folder / "bundle.json").read_bytes() == server.files["bundle.json"]


def test_a_cost_table_that_was_measured_here_stays(server, opened):
    remote = opened(server, pin := f"#sha256={sha256(server.files['bundle.json'])}")
    remote.bring(FILES)
    mine = manifest({**FILES, "costs/cpu.json": b"mine", "costs2/here.json": b"mine too"})
    for name, data in {
        "bundle.json": mine,
        "costs/cpu.json": b"mine",
        "costs2/here.json": b"mine too",
    }.items():
        (remote.folder / name).parent.mkdir(exist_ok=True)
        (remote.folder / name).write_bytes(data)
    for at in ("", pin):
        again = opened(server, at)
        again.bring([*FILES, "costs2/here.json"])
        assert (again.folder / "bundle.json").read_bytes() == mine
        assert (again.folder / "costs/cpu.json").read_bytes() == b"mine"
    (remote.folder / "costs/cpu.json").unlink()  # a list of tables that are not there is no list
    opened(server).bring(FILES)
    assert (remote.folder / "bundle.json").read_bytes() == server.files["bundle.json"]
    assert (remote.folder / "costs/cpu.json").read_bytes() == b"{}"
