"""Trains, exports and profiles the nets that are served, and keeps the test images that are sent.

    python benchmarks/serving/prepare.py CIFAR10 MODELS [NET ...]

CIFAR10 is a folder with train/CLASS/*.png and test/CLASS/*.png. In MODELS there is then a folder for each net
with the native export, and `images.npz`: files of the test part as they are, with their labels. Trained
lightly, so that answers are really right or wrong and later stages really better: nobody should quote these
accuracies.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

FROZEN = ("--net", "efficientnet_lite0", "--pretrained", "--regime", "frozen")
NETS = {
    "efficientnet_lite0_112": (*FROZEN, "--image-size", "112", "--head-views", "2"),
    "efficientnet_lite0_224": (*FROZEN, "--image-size", "224", "--head-views", "1"),
    "isresnext_47": ("--net", "isresnext_47", "--image-size", "32", "--epochs", "5", "--schedule", "cosine"),
}


def train(name: str, data: Path, out: Path) -> None:
    """One net, by the recipe for folders of images."""
    command = ("train", "folder", "--data", f"folder:{data}", *NETS[name], "--seed", "1", "--threads", "1")
    _run(*command, "--workers", "0", "--overwrite", "--quiet", "--out", str(out))


def export(run: Path, out: Path) -> None:
    """For the native engine, with latencies that were measured on this machine."""
    _run("export", str(run), "--format", "native", "--overwrite", "--out", str(out))
    command = (sys.executable, "-m", "anytimenet.runtime", "profile", str(out), "--minutes", "0.2")
    subprocess.run(command, check=True, env=_ONE_THREAD)


def keep_images(data: Path, out: Path, each: int = 60) -> None:
    """`each` test images of every class, drawn; the bytes of their files."""
    draws = np.random.default_rng(0)
    chosen = [
        (path.read_bytes(), folder.name)
        for folder in sorted((data / "test").iterdir())
        for path in draws.permutation(np.array(sorted(folder.glob("*.png")), object))[:each]
    ]
    joined = np.frombuffer(b"".join(content for content, _ in chosen), np.uint8)
    ends = np.cumsum([len(content) for content, _ in chosen])
    np.savez(out, joined=joined, ends=ends, labels=np.array([label for _, label in chosen]))


_ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def _run(*arguments: str) -> None:
    subprocess.run((sys.executable, "-m", "anytimenet", *arguments), check=True, env=_ONE_THREAD)


def main() -> None:
    """The nets that are asked for, or all of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="CIFAR10")
    parser.add_argument("models", type=Path, metavar="MODELS")
    parser.add_argument("nets", nargs="*", choices=[[], *NETS], metavar="NET", default=[])
    options = parser.parse_args()
    options.models.mkdir(parents=True, exist_ok=True)
    keep_images(options.data, options.models / "images.npz")
    for name in options.nets or NETS:
        train(name, options.data, options.models / "runs" / name)
        export(options.models / "runs" / name, options.models / name)


if __name__ == "__main__":
    main()
