"""EfficientNet-Lite0 as it was trained on ImageNet; needs the package of the extra `pretrained`."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor

from anytimenet.bundle import Bundle
from anytimenet.core.errors import PretrainedError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.nets import AnytimeNet, build_on_meta, create_net
from anytimenet.nets.pretrained import efficientnet_lite0
from anytimenet.nets.pretrained.packaged import PackagedWeights


@pytest.fixture(scope="module")
def packaged() -> dict[str, Tensor]:
    try:
        distribution(efficientnet_lite0.PACKAGED.package)
    except PackageNotFoundError:
        pytest.skip("the pretrained weights are not installed (extra pretrained)")
    return efficientnet_lite0.PACKAGED.read()


@pytest.fixture(autouse=True)
def _read_once(monkeypatch: pytest.MonkeyPatch, packaged: dict[str, Tensor]) -> None:
    monkeypatch.setattr(PackagedWeights, "read", lambda self: packaged)


def test_it_sees_a_palace_and_a_daisy() -> None:
    net = create_net("efficientnet_lite0", 1000, pretrained=True).eval()
    known = net.pretraining
    assert known is not None
    preprocessing = Preprocessing(224, 224, 3, known.mean, known.std, "bicubic", shorter_side=256)
    photos = [preprocessing.decode(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    with torch.no_grad():
        (logits,) = net(torch.from_numpy(preprocessing.standardise(np.stack(photos))), [5])[0]
    assert logits.argmax(1).tolist() == [698, 985]


def test_every_tensor_of_the_package_has_its_place(packaged: dict[str, Tensor]) -> None:
    net = create_net("efficientnet_lite0", 1000, pretrained=True, exits_after=(16,))
    assert len(net.state_dict()) == len(packaged)
    assert sum(t.double().sum() for t in net.state_dict().values()) == pytest.approx(
        float(sum(t.double().sum() for t in packaged.values()))
    )
    last = net.state_dict()
    assert torch.equal(last["heads.0.head.levels.0.weight"], packaged["_fc.weight"])
    assert torch.equal(last["heads.0.head.levels.0.bias"], packaged["_fc.bias"])


def test_other_classes_start_with_new_heads_on_the_same_layers(packaged: dict[str, Tensor]) -> None:
    drawn, net = seeded(pretrained=False), seeded(pretrained=True)
    for name, tensor in net.state_dict().items():
        if name.startswith("heads."):
            assert torch.equal(tensor, drawn.state_dict()[name])
        else:
            assert torch.equal(tensor, packaged[efficientnet_lite0.their_name(name)])


def test_exits_may_be_anywhere_and_what_was_learnt_is_remembered_by_what_is_kept() -> None:
    net = create_net("efficientnet_lite0", 1000, pretrained=True, exits_after=(2, 16), dropout=0.0)
    assert net.pretraining is efficientnet_lite0.WEIGHTS.pretraining
    assert net.keep((1,)).pretraining is net.pretraining
    assert net.origin is not None
    assert "pretrained" not in net.origin.arguments, "a bundle builds it again without the package"
    assert create_net("efficientnet_lite0").pretraining is None


def test_a_bundle_of_it_is_loaded_without_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = create_net("efficientnet_lite0", 2, pretrained=True).eval()
    assert net.pretraining is not None
    look = Preprocessing(32, 32, 3, net.pretraining.mean, net.pretraining.std)
    Bundle.create(net, class_names=[["cat", "dog"]], preprocessing=look).save(tmp_path / "bundle")

    def gone(self: PackagedWeights) -> None:
        raise AssertionError("the weights of the package are read")

    monkeypatch.setattr(PackagedWeights, "read", gone)
    again = Bundle.load(tmp_path / "bundle")
    assert again.manifest.preprocessing == look
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        for one, other in zip(net(x), again.net(x), strict=True):
            assert torch.equal(one[0], other[0])


def test_without_values_there_is_nothing_to_fill() -> None:
    net = build_on_meta(lambda: create_net("efficientnet_lite0", 3, pretrained=True))
    assert all(parameter.is_meta for parameter in net.parameters())


@pytest.mark.parametrize("arguments", [{"width": 2.0}, {"in_channels": 1}, {"top_channels": 64}])
def test_layers_of_other_shapes_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="pretrained weights do not fit this net"):
        create_net("efficientnet_lite0", 3, pretrained=True, **arguments)


def test_a_net_without_weights_says_which_have_some() -> None:
    with pytest.raises(
        PretrainedError, match=r"no pretrained weights for isresnext_tiny; .* for efficientnet_lite0"
    ):
        create_net("isresnext_tiny", pretrained=True)


def seeded(*, pretrained: bool) -> AnytimeNet:
    torch.manual_seed(3)
    return create_net("efficientnet_lite0", 7, pretrained=pretrained)
