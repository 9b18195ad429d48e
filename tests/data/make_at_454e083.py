"""Wrote `at_454e083` at that commit, before bundles of format 3 and hashed checkpoints. Never run it again:

what was written then must keep loading, or be refused with the reason. It holds bundles of kinds that
`bundle-v1` and `bundle-v2` have not, with the logits that they gave; reports, as `evaluate` and `train` wrote
them; and a run on digits that was stopped after the second of three epochs, with what it went on to.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import anytimenet as an
from anytimenet.cli.main import main as command
from anytimenet.core.labels.mask_classes import MaskClasses
from anytimenet.nets import AnytimeNet
from anytimenet.training import Reporter

OUT = Path(__file__).parent / "at_454e083"
RANET: dict[str, Any] = {"name": "ranet_tiny", "arguments": {}}
MEMBERS: list[dict[str, Any]] = [{"name": "resnet_ann_tiny"}, {"name": "isresnext_tiny", "keep": [1, 3]}]


def drawn(net: AnytimeNet) -> AnytimeNet:
    """The net with random numbers in its every tensor, statistics included."""
    generator = torch.Generator().manual_seed(3)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            positive = name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight"))
            scale = 0.25 if tensor.ndim < 2 else (2.0 / tensor[0].numel()) ** 0.5
            values = torch.randn(tensor.shape, generator=generator) * scale
            tensor.copy_(values.abs() + 0.75 if positive else values)
        else:
            tensor.fill_(7)
    return net.eval()


def example_image(channels: int, side: int) -> torch.Tensor:
    """One standardised image, the same on every machine: (1, channels, side, side)."""
    values = torch.arange(channels * side * side, dtype=torch.float32).mul(37).remainder(64).div(32).sub(1)
    return values.reshape(1, channels, side, side)


def write_bundle(name: str, net: AnytimeNet, side: int, masks: MaskClasses | None = None) -> None:
    classes = net.num_classes[0]
    names = tuple(str(i) for i in range(classes)) if masks is None else masks.names
    bundle = an.Bundle.create(
        drawn(net),
        class_names=(names,),
        preprocessing=an.Preprocessing(side, side, 1, mean=(0.3,), std=(0.4,)),
        val_accuracies=[(i + 1) / (net.num_stages + 1) for i in range(net.num_stages)],
        provenance={} if masks is None else {"masks": masks.to_dict()},
    )
    bundle.save(OUT / name)
    with torch.no_grad():
        logits = [[level[0].tolist() for level in output] for output in net(example_image(1, side))]
    (OUT / f"{name}.json").write_text(json.dumps({"logits": logits}, indent=1) + "\n")


def write_bundles() -> None:
    masks = MaskClasses(("background", "object"), (0, 1), ((0, 0, 0), (128, 0, 0)))
    write_bundle("bundle-segmentation", an.create_net("fcn_exits_tiny", 2, in_channels=1), 16, masks)
    slimmable = an.create_net("slimmable_tiny", 10, in_channels=1, normalisation="recalibrate")
    write_bundle("bundle-recalibrated", slimmable, 8)
    write_bundle("bundle-eann", an.create_net("eann_tiny", 10, in_channels=1, members=MEMBERS), 8)
    write_bundle("bundle-ranet", an.create_net("ranet_tiny", 10, in_channels=1), 8)
    with_ranet = [*MEMBERS[:1], RANET]
    write_bundle("bundle-eann-ranet", an.create_net("eann_tiny", 10, in_channels=1, members=with_ranet), 8)


def write_reports(work: Path) -> None:
    run = ["--net", "isresnext_tiny", "--epochs", "1", "--quiet"]
    said(["train", "digits", *run, "--seeds", "0,1", "--out", str(work / "digits")])
    shutil.copy(work / "digits" / "seed-0" / "report.json", OUT / "report.json")
    shutil.copy(work / "digits" / "spread.json", OUT / "spread.json")
    kinds = {str(digit): "round" if digit in (0, 3, 6, 8, 9) else "straight" for digit in range(10)}
    (work / "kinds.json").write_text(json.dumps(kinds))
    said(["train", "digits", *run, "--taxonomy", str(work / "kinds.json"), "--out", str(work / "levels")])
    shutil.copy(work / "levels" / "report.json", OUT / "report-levels.json")
    chosen = an.evaluate_levels(an.load(work / "levels"), target_accuracy=0.5)
    (OUT / "chosen-levels.json").write_text(json.dumps(chosen.to_dict(), indent=2) + "\n")
    write_masks(work / "masks")
    os.chdir(work)
    maps = ["train", "segmentation", "--data", "masks:masks", "--image-size", "16x16", "--epochs", "1"]
    said([*maps, "--net", "fcn_exits_tiny", "--quiet", "--seeds", "0,1", "--out", str(work / "maps")])
    shutil.copy(work / "maps" / "seed-0" / "report.json", OUT / "report-segmentation.json")
    shutil.copy(work / "maps" / "spread.json", OUT / "spread-segmentation.json")
    for file in OUT.glob("*.json"):
        assert str(work) not in file.read_text(), file


def write_masks(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    (folder / "classes.json").write_text('["background", "object"]')
    for i in range(12):
        mask = np.zeros((16, 16), np.uint8)
        mask[4:12, i % 8 : i % 8 + 8] = 1
        image = generator.integers(0, 90, (16, 16, 3), dtype=np.uint8)
        image[mask > 0] += 120
        Image.fromarray(image).save(folder / "images" / f"{i}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{i}.png")


class _Stop(Reporter):
    def epoch(self, number: int, *_: object) -> None:
        if number == 2:
            raise KeyboardInterrupt


def train_run(folder: Path, name: str, *, stop: bool) -> an.Bundle:
    """Three epochs on a few digits, the same in every call."""
    torch.manual_seed(0)
    splits = an.load_data("digits", an.DataOptions(limit=128))
    config = an.TrainConfig(epochs=3, batch_size=32, lr=0.05, schedule="cosine", device="cpu")
    net = an.create_net(name, 10, in_channels=1)
    reporter = _Stop(quiet=True) if stop else Reporter(quiet=True)
    return an.fit(net, splits, config=config, out=folder, resume=True, reporter=reporter)


def write_run(name: str, work: Path) -> None:
    folder = work / name
    with contextlib.suppress(KeyboardInterrupt):
        train_run(folder, name, stop=True)
    target = OUT / f"run-{name}" / "checkpoints"
    target.mkdir(parents=True)
    for file in ("last", "best"):
        shutil.copy(folder / "checkpoints" / f"{file}.safetensors", target)
    shutil.copy(folder / "log.jsonl", target.parent)
    bundle = train_run(folder, name, stop=False)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    told = {"best_epoch": bundle.manifest.provenance["best_epoch"], "log": log}
    (OUT / f"run-{name}.json").write_text(json.dumps(told, indent=1) + "\n")


def said(arguments: list[str]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            command(arguments)
        except SystemExit as end:
            if end.code:
                raise


def main() -> None:
    assert not OUT.exists(), "the committed files must stay as they are"
    OUT.mkdir()
    torch.set_num_threads(1)
    write_bundles()
    with tempfile.TemporaryDirectory() as name:
        write_reports(Path(name))
        write_run("isresnext_tiny", Path(name))
        write_run("ranet_tiny", Path(name))


if __name__ == "__main__":
    main()
