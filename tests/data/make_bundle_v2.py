"""Wrote `bundle-v2` and `bundle-v2.json` when format version 2 was current. Never run it over them again:

what it wrote then must keep loading. For a new format version, copy this file and write beside the old ones.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from anytimenet.bundle import Bundle
from anytimenet.core.answers.level_selection import LevelSelection
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.core.manifest.versions import FORMAT_VERSION
from anytimenet.nets import AnytimeNet, create_net

HERE = Path(__file__).parent
KINDS = {str(digit): "round" if digit in (0, 3, 6, 8, 9) else "straight" for digit in range(10)}


def example_net() -> AnytimeNet:
    """A small net for digits and their kinds whose every tensor holds random numbers."""
    net = create_net("isresnext_tiny", num_classes=(10, 2), in_channels=1)
    generator = torch.Generator().manual_seed(2)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            positive = name.endswith(("running_var", "norm1.weight", "norm2.weight", "norm3.weight"))
            scale = 1.0 if tensor.ndim < 2 else (2.0 / tensor[0].numel()) ** 0.5
            values = torch.randn(tensor.shape, generator=generator) * scale
            tensor.copy_(values.abs() + 0.5 if positive else values)
        else:
            tensor.fill_(7)
    return net.eval()


def example_image() -> torch.Tensor:
    """One standardised image, the same on every machine: (1, 1, 8, 8)."""
    return torch.arange(64, dtype=torch.float32).mul(37).remainder(64).div(32).sub(1).reshape(1, 1, 8, 8)


def main() -> None:
    assert FORMAT_VERSION == 2, "this wrote format version 2; copy it for another"
    folder = HERE / "bundle-v2"
    assert not folder.exists(), "the committed bundle must stay as it is"
    net, taxonomy = example_net(), Taxonomy.from_mapping([str(digit) for digit in range(10)], KINDS)
    bundle = Bundle.create(
        net,
        class_names=taxonomy.levels,
        taxonomy=taxonomy,
        preprocessing=Preprocessing(8, 8, 1, mean=(0.3,), std=(0.4,), resample="box"),
        val_accuracies=(0.5, 0.75, 0.875),
        coarser_val_accuracies=((0.75,), (0.875,), (0.9375,)),
        provenance={"recipe": "none: random weights", "data": {"name": "digits"}, "seed": 2},
    )
    bundle.use_levels(LevelSelection((2, 1, 1), (0.75, 0.75, 0.875), 0.75))
    bundle.save(folder)
    with torch.no_grad():
        logits = [[level[0].tolist() for level in output] for output in net(example_image())]
    (HERE / "bundle-v2.json").write_text(json.dumps({"logits": logits}, indent=1) + "\n")


if __name__ == "__main__":
    main()
