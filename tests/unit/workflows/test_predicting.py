"""Predictors of any net on any backend give the answers of the bundle."""

import pytest

import anytimenet as an
from anytimenet.cli.serve import _bundle_loader
from anytimenet.core.errors import BackendError, CostTableError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.costs.segment_specs import segment_specs
from anytimenet.export import export, folder
from anytimenet.native.library import is_there

GREY = Preprocessing(8, 8, 1, (0.5,), (0.5,))


@pytest.fixture(scope="module")
def bundle():
    net = an.create_net("isresnext_tiny", num_classes=3, in_channels=1).eval()
    return an.Bundle.create(
        net, class_names=[list("abc")], preprocessing=GREY, val_accuracies=[0.5, 0.6, 0.7]
    )


@pytest.fixture(scope="module")
def digit():
    return an.load_data("digits").test.images[0]


@pytest.mark.parametrize("backend", ["eager", "onnxruntime"])
def test_every_backend_answers_as_the_bundle_does(bundle, digit, backend):
    found = an.predictor(bundle, backend=backend)
    for stage in (1, 2, 3):
        answer, expected = found.predict(digit, stage=stage), bundle.predict(digit, stage=stage)
        assert answer.label == expected.label
        assert answer.probabilities == pytest.approx(expected.probabilities, abs=1e-5)


def test_an_exported_folder_and_a_saved_bundle_are_opened_by_their_paths(bundle, digit, tmp_path):
    expected = bundle.predict(digit).label
    files = export(bundle, tmp_path / "export")
    saved = bundle.save(tmp_path / "bundle")
    for path in (files, saved):
        assert an.predictor(path).predict(digit).label == expected


def test_deadlines_are_planned_with_the_table_of_that_backend_alone(bundle, digit):
    table = an.profile(bundle, backend="eager", minutes=0.01, device="cpu")
    assert bundle.cost_tables[table.key] is table
    assert an.predictor(bundle).predict(digit, deadline_ms=1e6).path == ((0, 3),)
    with pytest.raises(CostTableError, match="backend 'eager', 2 thread"):
        an.predictor(bundle, backend="eager", threads=2).predict(digit, deadline_ms=5)


def test_a_backend_that_does_not_exist_is_refused_by_name(bundle):
    with pytest.raises(BackendError, match="did you mean 'eager'"):
        an.predictor(bundle, backend="eagre")


def test_segments_are_counted_once_and_a_damaged_list_anew(bundle, monkeypatch, tmp_path):
    monkeypatch.setenv("ANYTIMENET_CACHE", str(tmp_path))
    counted = []

    def counting(*given, **named):
        counted.append(given)
        return segment_specs(*given, **named)

    monkeypatch.setattr(folder, "segment_specs", counting)
    net = folder.as_float32(bundle.net)
    wanted = folder.specs_of(net, bundle, None)
    assert folder.specs_of(net, bundle, None) == wanted
    assert len(counted) == 1
    (kept,) = tmp_path.rglob("*.segments.json")
    for damaged in (b"", kept.read_bytes()[:-9], kept.read_bytes().replace(b'"macs":', b'"maca":')):
        kept.write_bytes(damaged)
        assert folder.specs_of(net, bundle, None) == wanted
    assert len(counted) == 4


def test_a_server_answers_with_the_native_engine_and_a_named_backend_wins(bundle, tmp_path):
    fresh = an.Bundle.create(bundle.net, class_names=[list("abc")], preprocessing=GREY)
    saved = fresh.save(tmp_path / "bundle")
    for named, wanted in ((None, "native" if is_there() else "eager"), ("eager", "eager")):
        model, table = _bundle_loader(named)(saved)
        assert model.backend.name == wanted
        assert table is None
