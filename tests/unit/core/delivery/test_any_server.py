"""Whatever a server does, in whatever order: what is kept is right, and an honest server finishes it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.unit.core.delivery.servers import Handler, serving

from anytimenet.core.delivery.client import Client
from anytimenet.core.delivery.part import part_of
from anytimenet.core.delivery.patience import Patience
from anytimenet.core.delivery.remote_folder import RemoteFolder
from anytimenet.core.errors import DeliveryError

DATA = np.random.default_rng(0).bytes(40_000)
Move = Callable[[Handler, bytes], None]


def cut(count: int) -> Move:
    """Sends so many of the bytes that are asked for, then hangs up."""

    def move(handler: Handler, data: bytes) -> None:
        first, total = handler.first_byte, len(data)
        about = {"Content-Range": f"bytes {first}-{total - 1}/{total}"} if first else {}
        handler.head(206 if first else 200, total - first, about)
        handler.wfile.write(data[first : first + count])

    return move


def whole(count: int) -> Move:
    """Knows no ranges, and hangs up."""

    def move(handler: Handler, data: bytes) -> None:
        handler.head(200, len(data))
        handler.wfile.write(data[:count])

    return move


def shifted(handler: Handler, data: bytes) -> None:
    """Sends another range than was asked for."""
    handler.head(206, len(data), {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"})
    handler.wfile.write(data)


def status(code: int) -> Move:
    return lambda handler, data: handler.head(code, 0)


def wrong(handler: Handler, data: bytes) -> None:
    """Sends as many bytes of something else."""
    first, total = handler.first_byte, len(data)
    about = {"Content-Range": f"bytes {first}-{total - 1}/{total}"} if first else {}
    handler.head(206 if first else 200, total - first, about)
    handler.wfile.write(bytes(total - first))


COUNTS = st.integers(0, len(DATA))
HONEST = st.one_of(
    COUNTS.map(cut), COUNTS.map(whole), st.sampled_from([503, 429, 416, 404]).map(status), st.just(shifted)
)


@examples(20)
@given(st.lists(st.one_of(HONEST, st.just(wrong)), max_size=8))
def test_what_has_its_name_is_right_and_an_honest_server_ends_it(moves):
    with serving({"file": DATA}) as server, tempfile.TemporaryDirectory() as cache:
        remote = RemoteFolder.open(server.url, cache_dir=cache, client=Client(Patience(tries=2, pause_s=0)))
        left = list(moves)
        server.faults["file"] = lambda handler, data: (left.pop(0) if left else Handler.whole_or_rest)(
            handler, data
        )
        file = Path(remote.folder) / "file"
        for _ in range(len(moves) + 1):
            try:
                remote.bring(["file"])
            except DeliveryError:
                assert not file.exists()
            else:
                break
        assert file.read_bytes() == DATA
        assert not part_of(file).exists()


@examples(20)
@given(st.lists(HONEST, min_size=1, max_size=8))
def test_what_an_honest_server_sent_stays(moves):
    with serving({"file": DATA}) as server, tempfile.TemporaryDirectory() as cache:
        remote = RemoteFolder.open(server.url, cache_dir=cache, client=Client(Patience(tries=1)))
        kept = 0
        for move in moves:
            server.faults["file"] = move
            try:
                remote.bring(["file"])
            except DeliveryError:
                now = part_of(remote.folder / "file").stat().st_size
                assert now >= kept
                kept = now
                assert part_of(remote.folder / "file").read_bytes() == DATA[:kept]
            else:
                break
