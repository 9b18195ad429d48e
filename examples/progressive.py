"""A net that answers while most of it is still on its way: python examples/progressive.py [FOLDER]

Trains an anytime net on handwritten digits and serves its bundle from a slow HTTP server. A client that asks
for it answers as soon as the first stage's file is there, and better with each further file; the connection
is even cut on the way. Any web server of static files will do; one that knows ranges saves what was cut.
"""

from __future__ import annotations

import functools
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anytimenet as an

RATE = 100_000
"""Bytes a second that the server sends."""


def make(folder: Path, epochs: int = 4) -> Path:
    """Trains and saves; the path of the bundle."""
    net = an.create_net("isresnext_small", num_classes=10, in_channels=1)
    config = an.TrainConfig(epochs=epochs, batch_size=64, schedule="cosine", warmup=0.25)
    return an.fit(net, "digits", config=config).save(folder / "digits")


class SlowFiles(SimpleHTTPRequestHandler):
    """Sends files slowly, and hangs up in the middle of the third shard the first time."""

    def __init__(self, *args: Any, rate: int, cut: set[str], **more: Any) -> None:
        self._rate, self._cut = rate, cut
        super().__init__(*args, **more)

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Sends a file, a twentieth of a second's bytes at a time."""
        sent = 0
        while piece := source.read(max(self._rate // 20, 1)):
            if sent and "model-00003" in self.path and self.path not in self._cut:
                self._cut.add(self.path)
                self.close_connection = True
                return
            outputfile.write(piece)
            sent += len(piece)
            time.sleep(1 / 20)

    def log_message(self, format: str, *args: Any) -> None:
        """What is asked for is not printed."""


@contextmanager
def serving(folder: Path, rate: int) -> Iterator[str]:
    """The URL of a server of this folder on this machine."""
    handler = functools.partial(SlowFiles, directory=str(folder), rate=rate, cut=set())
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def answer(url: str) -> list[an.Prediction]:
    """Answers a digit again and again while the net arrives; the first answer of each set of stages."""
    digit = an.load_data("digits").test.images[0]
    found: list[an.Prediction] = []
    with an.load(url, progressive=True) as arriving:
        began = time.perf_counter()
        arriving.wait(1)
        ready = count = 0
        while ready < arriving.num_stages:
            if arriving.error is not None:
                raise arriving.error
            bundle = arriving.model  # the newest; the next round may find a larger one
            prediction = bundle.predict(digit, stage=bundle.num_stages)
            count += 1
            if bundle.num_stages > ready:
                ready = bundle.num_stages
                found.append(prediction)
                print(
                    f"{time.perf_counter() - began:4.1f} s: {ready} of {arriving.num_stages} stages are in, "
                    f"stage {prediction.stage} says {prediction.label}, {prediction.probability:.0%} sure"
                )
            time.sleep(0.005)
    print(f"{count} answers while it arrived")
    return found


def main(folder: Path, rate: int = RATE, epochs: int = 4) -> list[an.Prediction]:
    """Trains, serves and asks; the answers, one for each set of stages that answered."""
    path = make(folder, epochs)
    with serving(path, rate) as url:
        return answer(url)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as unnamed:
            main(Path(unnamed))
