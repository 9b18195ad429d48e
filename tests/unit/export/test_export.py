"""A bundle leaves Python as a folder: weights once, nothing half written, errors in words."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn

from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.core.errors import BackendError, BundleError
from anytimenet.export import export
from anytimenet.export.stored import Cut, Piece, Stored, StoredWeights, Together, tensors_by_name
from anytimenet.runtime import ExportedNet
from anytimenet.testing.net_under_test import redraw


def bundle_of(name: str, side: int = 8) -> Bundle:
    net = create_net(name).eval()
    redraw(net, torch.Generator().manual_seed(0))
    return Bundle.create(
        net,
        class_names=[[f"class {i}" for i in range(10)]],
        preprocessing=Preprocessing(side, side, 3, (0.5,) * 3, (0.5,) * 3),
    )


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return bundle_of("isresnext_tiny")


@pytest.fixture(scope="module")
def folder(bundle, tmp_path_factory):
    return export(bundle, tmp_path_factory.mktemp("export") / "folder", segments=[(0, 1), (0, 3), (1, 2)])


def test_the_weight_files_are_the_shards_of_the_bundle_byte_for_byte(bundle, folder, tmp_path):
    saved = bundle.save(tmp_path / "bundle")
    for name in ("model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"):
        assert (folder / name).read_bytes() == (saved / name).read_bytes()


def built(piece: Piece, files: dict[str, bytes]) -> torch.Tensor:
    if isinstance(piece, Stored):
        numbers = torch.frombuffer(bytearray(files[piece.file]), dtype=torch.uint8)[piece.offset :]
        count = torch.Size(piece.shape).numel()
        return numbers[: 4 * count].clone().view(torch.float32).view(piece.shape)
    if isinstance(piece, Cut):
        return built(piece.of, files)[tuple(slice(*side) for side in piece.box)]
    assert isinstance(piece, Together)
    return torch.cat([built(each, files) for each in piece.pieces], piece.axis)


@pytest.mark.parametrize("name", ["isresnext_tiny", "iresnext_tiny", "slimmable_tiny", "eann_tiny"])
def test_every_tensor_of_every_segment_is_found_among_what_is_stored(name):
    net = create_net(name).eval()
    redraw(net, torch.Generator().manual_seed(0))
    stored, snapshot = StoredWeights(net), net.snapshot()
    files = dict(stored.files)
    for start, stop in ((0, 1), (0, net.num_stages), (1, net.num_stages)):
        places = stored.places(start, stop)
        for key, tensor in tensors_by_name(snapshot.segment(start, stop)).items():
            if tensor.is_floating_point():
                piece = stored.find(places[key])
                assert piece is not None
                assert torch.equal(built(piece, files), tensor)


def test_a_folder_that_is_there_is_replaced_only_when_asked_and_only_if_it_is_an_export(bundle, tmp_path):
    place = tmp_path / "folder"
    export(bundle, place, segments=[(0, 1)])
    before = hashlib.sha256((place / "manifest.json").read_bytes()).digest()
    with pytest.raises(BundleError, match="overwrite=True"):
        export(bundle, place)
    assert hashlib.sha256((place / "manifest.json").read_bytes()).digest() == before
    export(bundle, place, segments=[(0, 2)], overwrite=True)
    assert ExportedNet.load(place).segments == {(0, 2)}
    (place / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"notes\.txt is not the export's"):
        export(bundle, place, overwrite=True)
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match="is no export"):
        export(bundle, other, overwrite=True)


@pytest.mark.parametrize(
    ("segments", "match"),
    [
        ([(0, 4)], "segments"),
        ([(2, 1)], r"\(2, 1\) does not exist"),
        ([(1, 2)], "none begins with the input"),
    ],
)
def test_segments_that_cannot_be_are_refused(bundle, tmp_path, segments, match):
    with pytest.raises(ValueError, match=match):
        export(bundle, tmp_path / "folder", segments=segments)
    assert not (tmp_path / "folder").exists()


def test_an_unknown_format_is_refused(bundle, tmp_path):
    with pytest.raises(ValueError, match="format"):
        export(bundle, tmp_path / "folder", format="onx")


def test_a_segment_that_cannot_be_traced_says_which_and_why(bundle, tmp_path, monkeypatch):
    def refuse(*arguments, **more):
        raise RuntimeError("a tensor decides")

    monkeypatch.setattr(torch.export, "export", refuse)
    with pytest.raises(BackendError, match=r"segment \(0, 1\) cannot be exported .*a tensor decides"):
        export(bundle, tmp_path / "folder", segments=[(0, 1)])
    assert not (tmp_path / "folder").exists()


def test_the_rows_of_a_triangle_are_one_convolution_and_finished_channels_are_not_joined(folder):
    onnx = pytest.importorskip("onnx")
    for name, parts in (("segment-0-1", 1), ("segment-0-3", 1), ("segment-1-2", 2)):
        graph = onnx.load(folder / f"{name}.onnx", load_external_data=False).graph
        # The stem, and in each of three blocks the rows (once for each part of the input), 3x3 and 1x1.
        assert sum(node.op_type == "Conv" for node in graph.node) == 1 + 3 * (parts + 2)
        joined = {name for node in graph.node if node.op_type == "Concat" for name in node.input}
        assert not joined & {tensor.name for tensor in graph.input if tensor.name.startswith("u")}


@pytest.mark.parametrize(
    ("name", "side", "most"),
    [("slimmable_cifar", 32, 1.1), ("isresnext_small", 16, 1.25), ("msdnet_small", 16, 1.25)],
)
@pytest.mark.slow
def test_a_folder_is_hardly_larger_than_the_weights(name, side, most, tmp_path):
    """Of a published net; those of 200 kB of weights have graphs of a fifth of that."""
    place = export(bundle_of(name, side), tmp_path / "folder")
    sizes = {file: file.stat().st_size for file in place.rglob("*") if file.is_file()}
    weights = sum(size for file, size in sizes.items() if file.suffix == ".safetensors")
    assert sum(sizes.values()) <= most * weights


class Squashed(nn.Module):
    """A head with an operator that is not in the table of `export.operators`."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, state: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return tuple(torch.softmax(level, 1) for level in self.head(state))


@pytest.mark.slow
def test_an_operator_that_is_not_known_here_is_written_by_pytorchs_own_exporter(tmp_path):
    bundle = bundle_of("plain_chain_tiny")
    bundle.net.heads[1] = Squashed(bundle.net.heads[1])
    backend = ExportedNet.load(export(bundle, tmp_path / "folder", segments=[(0, 1), (1, 2)])).backend
    for batch in (1, 3):
        x = torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(batch))
        state, _ = backend.run(0, 1, backend.begin(x.numpy()))
        _, (found,) = backend.run(1, 2, state)
        with torch.inference_mode():
            ((wanted,),) = bundle.net(x, (2,))
        assert torch.allclose(torch.from_numpy(found), wanted, atol=1e-5)
    sizes = [path.stat().st_size for path in (tmp_path / "folder").glob("*.safetensors")]
    assert sum(sizes) == sum(map(len, (data for _, data in StoredWeights(bundle.net).files)))
