"""Nets of transformers from a folder: built, saved, rebuilt without the folder, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from anytimenet.core.errors import MissingExtraError, PretrainedError
from anytimenet.core.images.pretraining import Pretraining
from anytimenet.core.manifest.records import NetOrigin
from anytimenet.nets import create_net, list_nets, net_entry, rebuild_net
from anytimenet.nets.registry import pretrained_weights
from anytimenet.nets.wrapped.adapters.huggingface_folder import (
    checked_config,
    config_of,
    pretraining_of,
    size_of,
)

SIZE, CLASSES = 16, 5
KINDS: dict[str, dict[str, Any]] = {
    "vit": {
        "hidden_size": 8,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "image_size": SIZE,
        "patch_size": 8,
    },
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 8, 16], "depths": [1, 1, 1], "layer_type": "basic"},
}
IMAGES = {"image_mean": [0.5, 0.25, 0.125], "image_std": [0.25, 0.5, 0.5], "size": {"shortest_edge": SIZE}}


@pytest.fixture(scope="module")
def transformers(torchvision_or_none: Any) -> Any:
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed (extra huggingface)")
    import transformers

    return transformers


@pytest.fixture(scope="module")
def torchvision_or_none(request: pytest.FixtureRequest) -> Any:
    """transformers imports torchvision where it finds it."""
    found = importlib.util.find_spec("torchvision")
    return None if found is None else request.getfixturevalue("torchvision")


@pytest.fixture(scope="module", params=list(KINDS))
def saved(request: pytest.FixtureRequest, transformers: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A net of random weights in evaluation mode, and the folder in which it is."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(request.param, **KINDS[request.param], num_labels=CLASSES)
    net = transformers.AutoModelForImageClassification.from_config(config)
    folder = tmp_path_factory.mktemp("saved") / request.param
    net.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(IMAGES), encoding="utf-8")
    return net.eval(), folder


def test_the_last_answer_is_that_of_transformers_and_the_bundle_needs_no_folder(saved, tmp_path):
    theirs, saved_in = saved
    folder = tmp_path / "net"
    shutil.copytree(saved_in, folder)
    net = create_net(f"huggingface:{folder}", CLASSES, exits=3, pretrained=True).eval()
    assert net.num_stages == 3
    x = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        answers = [logits for (logits,) in net(x)]
        assert torch.allclose(answers[-1], theirs(x).logits, rtol=1e-4, atol=1e-5)
    mean, std = tuple(IMAGES["image_mean"]), tuple(IMAGES["image_std"])
    assert net.pretraining == Pretraining(mean, std, SIZE, "the weights of transformers in net")

    told = json.dumps([net.origin.name, net.origin.arguments])
    assert str(tmp_path) not in told
    assert "LABEL_0" not in told
    shutil.rmtree(folder)
    twin = rebuild_net(NetOrigin(*json.loads(told))).eval()
    assert twin.origin == net.origin
    twin.load_state_dict(net.state_dict())
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, (b,) in zip(answers, twin(x), strict=True))


def test_of_other_classes_all_but_the_classifier_is_taken(saved, tmp_path):
    theirs, folder = saved
    net = create_net(f"huggingface:{folder}", 7, exits=2, pretrained=True)
    mine, weights = list(net.state_dict().values()), theirs.state_dict()
    taken = {n for n, t in weights.items() if any(t.shape == m.shape and torch.equal(t, m) for m in mine)}
    new = set(weights) - taken
    assert new
    assert all(name.startswith("classifier") for name in new)
    assert net.eval()(torch.zeros(1, 3, SIZE, SIZE))[-1][0].shape == (1, 7)


def test_weights_that_are_missing_or_do_not_fit_are_refused(saved, transformers, tmp_path):
    from safetensors.torch import load_file, save_file

    _, saved_in = saved
    folder = tmp_path / "net"
    shutil.copytree(saved_in, folder)
    name, file = f"huggingface:{folder}", folder / "model.safetensors"
    weights = load_file(file)
    lost = next(key for key in weights if key.endswith("weight") and not key.startswith("classifier"))
    save_file({key: tensor for key, tensor in weights.items() if key != lost}, file, {"format": "pt"})
    bars = transformers.utils.logging.is_progress_bar_enabled()
    with pytest.raises(PretrainedError, match=f"do not fit: they have no {lost}"):
        create_net(name, CLASSES, exits=2, pretrained=True)
    assert transformers.utils.logging.is_progress_bar_enabled() == bars
    file.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02]")
    with pytest.raises(PretrainedError, match=r"no model\.safetensors: other files of weights are not read"):
        create_net(name, CLASSES, exits=2, pretrained=True)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(PretrainedError, match="says how its images were standardised"):
        create_net(name, CLASSES, exits=2, pretrained=True)


def test_types_that_are_no_image_classifiers_are_refused(transformers):
    for kind, message in (("bert", "no image classifier of the type 'bert'"), ("timm_wrapper", "timm:NAME")):
        with pytest.raises(ValueError, match=message):
            create_net(f"huggingface:@{kind}", config={"model_type": kind})


def test_where_transformers_is_missing_the_extra_is_named(monkeypatch, tmp_path):
    folder_with(tmp_path, config={"model_type": "vit", "image_size": 32})
    for name in ("transformers", "torchvision"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"\[huggingface\]"):
        create_net(f"huggingface:{tmp_path}")


def test_a_place_without_a_net_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"is no folder with a config\.json: nothing is downloaded here"):
        create_net(f"huggingface:{tmp_path}")
    with pytest.raises(ValueError, match="give its config too"):
        create_net("huggingface:@vit")
    assert list_nets("huggingface:*") == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[]", "no JSON object"),
        ("{", "is no JSON"),
        ("{}", "names no model_type"),
        ('{"model_type": "vit", "hidden_size": 10000000}', "too large"),
        ('{"model_type": "x", "backbone": "who/what"}', "sets backbone"),
        (
            '{"model_type": "x", "vision_config": {"use_pretrained_backbone": true}}',
            "use_pretrained_backbone",
        ),
    ],
)
def test_a_config_that_builds_nothing_here_is_refused_before_it_is_built(tmp_path, config, message):
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        create_net(f"huggingface:{tmp_path}")


def test_code_and_names_in_a_config_are_left_out(tmp_path):
    inner = {"hidden_size": 8, "id2label": {"0": "cat"}}
    config = {
        "model_type": "vit",
        "auto_map": {"AutoModel": "code.Net"},
        "_name_or_path": "/home/me",
        "x": inner,
    }
    assert checked_config(config, "config") == {"model_type": "vit", "x": {"hidden_size": 8}}


@pytest.mark.parametrize(
    ("images", "config", "size"),
    [
        ({"size": 20}, {}, (20, 20)),
        ({"size": {"height": 20, "width": 24}}, {}, (20, 24)),
        ({"size": {"shortest_edge": 20}, "crop_size": 18, "do_center_crop": True}, {}, (18, 18)),
        ({"size": {"shortest_edge": 20}, "crop_size": 18, "do_center_crop": False}, {}, (20, 20)),
        ({"size": {"longest_edge": 20}}, {"image_size": 28}, (28, 28)),
        ({}, {"image_size": [28, 32]}, (28, 32)),
        (None, {}, (224, 224)),
    ],
)
def test_the_size_of_images_is_read_in_every_way_in_which_it_is_written(tmp_path, images, config, size):
    folder_with(tmp_path, images, {"model_type": "vit", **config})
    assert size_of(config_of(tmp_path), tmp_path) == size
    assert net_entry(f"huggingface:{tmp_path}").input_shape == (3, *size)


@pytest.mark.parametrize(
    ("images", "mean", "std"),
    [
        ({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.5]}, (0.1, 0.2, 0.3), (0.5, 0.5, 0.5)),
        ({"image_mean": 0.5, "image_std": 0.25}, (0.5,) * 3, (0.25,) * 3),
        ({"do_normalize": False}, (0.0,) * 3, (1.0,) * 3),
    ],
)
def test_mean_and_std_are_those_of_values_scaled_to_one(tmp_path, images, mean, std):
    folder_with(tmp_path, images)
    found = pretrained_weights(f"huggingface:{tmp_path}").pretraining
    assert found.mean == pytest.approx(mean)
    assert found.std == pytest.approx(std)


@pytest.mark.parametrize(
    ("scaling", "factor"), [({"rescale_factor": 1 / 127.5}, 1 / 127.5), ({"do_rescale": False}, 1)]
)
def test_other_scales_of_pixels_standardise_to_the_same_values(tmp_path, scaling, factor):
    folder_with(tmp_path, {"image_mean": [1.0] * 3, "image_std": [0.5] * 3, **scaling})
    found, pixel = pretraining_of(tmp_path), 200
    theirs = (pixel * factor - 1.0) / 0.5
    assert (pixel / 255 - found.mean[0]) / found.std[0] == pytest.approx(theirs)


def test_images_that_are_prepared_in_another_way_are_refused(tmp_path):
    folder_with(tmp_path, {"image_mean": 0.5, "image_std": 0.5, "do_flip_channel_order": True})
    with pytest.raises(PretrainedError, match="asks for do_flip_channel_order"):
        pretraining_of(tmp_path)
    folder_with(tmp_path, {"size": 16})
    with pytest.raises(PretrainedError, match="no image_mean and image_std"):
        pretraining_of(tmp_path)


def folder_with(folder: Path, images: Any = None, config: Any = None) -> None:
    told = {"config.json": config or {"model_type": "vit"}, "preprocessor_config.json": images}
    for name, values in told.items():
        if values is not None:
            (folder / name).write_text(json.dumps(values), encoding="utf-8")
