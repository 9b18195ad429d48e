"""Wrote `bundle-v1` and `bundle-v1.json` when format version 1 was current. Never run it over them again:

what it wrote then must keep loading. For a new format version, copy this file and write beside the old one.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from anytimenet.bundle import Bundle
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.core.manifest.versions import FORMAT_VERSION
from anytimenet.nets import AnytimeNet, create_net

HERE = Path(__file__).parent


def example_net() -> AnytimeNet:
    """A small net for digits whose every tensor holds random numbers."""
    net = create_net("isresnext_tiny", num_classes=10, in_channels=1)
    generator = torch.Generator().manual_seed(1)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            positive = name.endswith(("running_var", "norm1.weight", "norm2.weight", "norm3.weight"))
            scale = 1.0 if tensor.ndim < 2 else (2.0 / tensor[0].numel()) ** 0.5
            values = torch.randn(tensor.shape, generator=generator) * scale
            tensor.copy_(values.abs() + 0.5 if positive else values)
        else:
            tensor.fill_(7)
    net.eval()
    return net


def example_image() -> torch.Tensor:
    """One standardised image, the same on every machine: (1, 1, 8, 8)."""
    return torch.arange(64, dtype=torch.float32).mul(37).remainder(64).div(32).sub(1).reshape(1, 1, 8, 8)


def main() -> None:
    assert FORMAT_VERSION == 1, "this wrote format version 1; copy it for another"
    folder = HERE / "bundle-v1"
    assert not folder.exists(), "the committed bundle must stay as it is"
    net = example_net()
    bundle = Bundle.create(
        net,
        class_names=[[str(digit) for digit in range(10)]],
        preprocessing=Preprocessing(8, 8, 1, mean=(0.3,), std=(0.4,), resample="box"),
        val_accuracies=(0.9, 0.96, 0.95),
        provenance={"recipe": "none: random weights", "data": {"name": "digits"}, "seed": 1},
    )
    machine = {"id": "00000000", "cpu": "an example", "cores": 2}
    entries = {(0, 1, 1): Latency(1.0, 1.5, 2.0, repeats=50), (0, 3, 1): Latency(2.0, 3.0, 4.0, repeats=50)}
    bundle.add_cost_table(CostTable("cpu", machine, "float32", 1, (1, 8, 8), entries))
    bundle.save(folder, extra_files={"notes.txt": b"a file that was added\n"})
    with torch.no_grad():
        logits = [output[0][0].tolist() for output in net(example_image())]
    (HERE / "bundle-v1.json").write_text(json.dumps({"logits": logits}, indent=1) + "\n")


if __name__ == "__main__":
    main()
