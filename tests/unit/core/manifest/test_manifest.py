"""`bundle.json`: read without torch, exactly what was written, and refused with cause and cure otherwise."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anytimenet.core.answers.level_selection import LevelSelection
from anytimenet.core.errors import BundleError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.labels.mask_classes import MaskClasses
from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.core.manifest.folder import FileRecord, check_file_name, find_bundle, read_listed, record_of
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.core.manifest.records import NetOrigin, StageRecord, Structure, TaskRecord, Thresholds
from anytimenet.core.manifest.versions import FORMAT_VERSION, digest_of

LEVELS = (("cat", "dog", "eiche, blühend"), ("animal", "plant"))


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        net=NetOrigin("a_net", {"num_classes": [3, 2], "slices": (1, 2)}, keep=(1, 3)),
        class_names=LEVELS,
        preprocessing=Preprocessing(8, 9, 1, mean=(0.1,), std=(1 / 3,)),
        input_shape=(1, 8, 9),
        stages=(StageRecord(1, 10, 20, 5, 0.5), StageRecord(2, 30, 40, 7, None)),
        taxonomy=Taxonomy(LEVELS, ((0,), (0,), (1,))),
        provenance={"recipe": "digits", "seed": 0, "lr": 0.1, "versions": {"numpy": "2"}},
        files={"costs/cpu.json": record_of(b"hello")},
    )


def changed(manifest: Manifest, path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The manifest's JSON with one field replaced and the digest made right again, as a forger would."""
    whole = manifest.to_dict()
    place: Any = whole
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    whole["digest"] = digest_of(whole)
    return whole


def test_a_manifest_survives_the_round_trip_through_a_file_exactly(
    manifest: Manifest, tmp_path: Path
) -> None:
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest
    assert Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest


def test_a_run_folder_with_a_bundle_inside_is_found(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    manifest.write(tmp_path / "bundle")
    assert find_bundle(tmp_path) == tmp_path / "bundle"
    assert Manifest.read(str(tmp_path)) == manifest


def test_a_manifest_is_not_written_into_a_file(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"folder must be a folder, and .*file is a file"):
        manifest.write(tmp_path / "file")


def test_reading_a_manifest_imports_no_torch(manifest: Manifest, tmp_path: Path) -> None:
    manifest.write(tmp_path)
    code = (
        "import sys; from anytimenet.core.manifest.manifest import Manifest; "
        f"print(Manifest.read({str(tmp_path)!r}).net.name, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["a_net", "False"]


def test_a_field_and_its_own_copy_do_not_change_each_other(manifest: Manifest) -> None:
    provenance = {"notes": [1]}
    made = replace(manifest, provenance=provenance)
    provenance["notes"].append(2)
    assert made.provenance == {"notes": [1]}


@pytest.mark.parametrize(
    ("path", "value", "cause"),
    [
        (("format",), "zip", "not written by anytimenet"),
        (("format_version",), FORMAT_VERSION + 1, "newer anytimenet.*upgrade"),
        (("format_version",), 0, "format_version must be at least 1"),
        (("format_version",), "1", "format_version must be a whole number"),
        (("surprise",), 1, r"unknown: \['surprise'\]"),
        (("net",), 7, "net must be a JSON object"),
        (("net", "name"), "", r"net: name must be non-empty"),
        (("net", "arguments"), [1], "net.arguments must be a JSON object"),
        (("net", "keep"), 3, "net.keep must be a JSON list"),
        (("net", "keep"), [2, 1], "net: keep must be increasing"),
        (("net", "keep"), [], "net: keep must be increasing"),
        (("net", "keep"), ["1", "2"], r"net.keep\[0\] must be a whole number"),
        (("net", "keep"), [1, 2, 3], "2 records and net.keep 3"),
        (("net", "arguments", "num_classes"), [4, 2], r"\[3, 2\] classes and the net predicts \[4, 2\]"),
        (("class_names",), "abc", "class_names must be a JSON list"),
        (("class_names",), ["abc", "de"], r"class_names\[0\] must be a JSON list"),
        (("class_names",), [], "at least one name"),
        (("class_names",), [["a", "b", "c"], []], "at least one name"),
        (("class_names", 1, 0), 7, r"class_names\[1\]\[0\] must be text, not 7"),
        (("class_names", 1, 0), "\ud800", "class_names must be non-empty Unicode text"),
        (("class_names", 1, 0), "mineral", "taxonomy and class_names disagree"),
        (("taxonomy",), {"levels": 3}, "taxonomy: the key 'parents' is missing"),
        (("taxonomy", "parents", 0), [9], r"taxonomy: class 'cat' needs one id .*\(9,\); download"),
        (("preprocessing",), {}, r"preprocessing has wrong fields \(missing: \['channels', "),
        (("preprocessing",), 7, "preprocessing must be a JSON object, not 7; download"),
        (("preprocessing", "height"), -1, "preprocessing.height must be at least 0, not -1; download"),
        (("preprocessing", "height"), 7, r"input_shape is \(1, 8, 9\) and preprocessing gives .*\(1, 7, 9\)"),
        (("input_shape",), [1, 8], r"input_shape must be a JSON list of 3, not \[1, 8\]"),
        (("input_shape",), [1.0, 8, 9], r"input_shape\[0\] must be a whole number"),
        (("input_shape",), None, "input_shape must be a JSON list"),
        (("stages",), [], "stages must be numbered"),
        (("stages", 0), [], r"stages\[0\] must be a JSON object"),
        (("stages", 0, "stage"), 2, "stages must be numbered"),
        (("stages", 0, "macs"), 0, r"stages\[0\]: macs must be at least 1"),
        (("stages", 0, "full"), 1.5, r"stages\[0\].full must be a whole number"),
        (("stages", 0, "params"), True, r"stages\[0\].params must be a whole number"),
        (("stages", 0, "val_accuracy"), 97, "fraction from 0 to 1"),
        (("stages", 0, "val_accuracy"), math.nan, r"stages\[0\].val_accuracy must be a finite number"),
        (("stages", 0, "val_accuracy"), "0.5", r"stages\[0\].val_accuracy must be a number"),
        (("stages", 0, "colour"), "red", r"unknown: \['colour'\]"),
        (("stages", 0, "macs"), 10**30, r"stages\[0\].macs is too large a number"),
        (("stages", 0, "macs_complete"), False, "macs_complete is False"),
        (("stages", 0, "uncounted_operators"), [7], "macs_complete is True and uncounted_operators"),
        (("net",), None, "exactly one of them must be null"),
        (("net", "form"), 0, "net: form must be at least 1"),
        (("structure",), {"class": "A"}, "exactly one of them must be null"),
        (("task",), "classification", "task must be a JSON object"),
        (("task", "kind"), "detection", "task: kind is 'detection', which .* does not know.*upgrade"),
        (("task", "kind"), "classification", "task is 'classification' and class_names tell 'hierarchical'"),
        (("task", "kind"), ["classification"], "task.kind must be text"),
        (("task", "masks"), {"names": 3}, "task.masks: the key 'values' is missing"),
        (("task", "decoding"), None, "task.decoding must be text, not None"),
        (("score", "kind"), "", "score: kind must be non-empty"),
        (("score", "range"), [0, 100], "score: range is .*upgrade"),
        (("score", "better"), True, "score.better must be text, not True"),
        (("input", "kind"), "tokens", "input: kind is 'tokens'.*upgrade"),
        (("input", "shape"), [1, 8, 8], "they must agree"),
        (("input", "shape"), 7, "input.shape must be a JSON list"),
        (("input", "fixed"), 1, "input.fixed must be True or False"),
        (("input", "smallest"), [0, 1], "input: smallest must be at least 1"),
        (("thresholds",), [0.5], "thresholds must be a JSON object"),
        (("thresholds",), {"policy": "p", "values": [0.5], "about": {}}, "1 values for 2 stages"),
        (
            ("thresholds",),
            {"policy": "p", "values": [0.5, "x"], "about": {}},
            r"thresholds.values\[1\] must be a number",
        ),
        (("extensions",), [], "extensions must be a JSON object"),
        (("provenance",), [], "provenance must be a JSON object"),
        (("provenance", "lr"), math.inf, "provenance must hold JSON values only"),
        (("files",), [], "files must be a JSON object"),
        (("files", "../x"), {"sha256": "0" * 64, "bytes": 1}, "no name of a file inside a bundle"),
        (("files", "/etc/passwd"), {"sha256": "0" * 64, "bytes": 1}, "no name of a file inside a bundle"),
        (("files", "costs/cpu.json", "sha256"), "0" * 63, "64 hexadecimal digits"),
        (("files", "costs/cpu.json", "bytes"), -1, r"files\['costs/cpu.json'\].bytes must be at least 0"),
        (("files", "costs/cpu.json"), "abc", r"files\['costs/cpu.json'\] must be a JSON object"),
    ],
)  # fmt: skip
def test_every_field_is_checked_even_under_a_right_digest(
    manifest: Manifest, path: tuple[Any, ...], value: Any, cause: str
) -> None:
    with pytest.raises(BundleError, match=cause):
        Manifest.from_dict(changed(manifest, path, value))


@pytest.mark.parametrize("name", sorted({"net", "class_names", "stages", "files", "taxonomy", "provenance"}))
def test_a_missing_field_is_named(manifest: Manifest, name: str) -> None:
    whole = manifest.to_dict()
    del whole[name]
    whole["digest"] = digest_of(whole)
    with pytest.raises(BundleError, match=rf"missing: \['{name}'\]"):
        Manifest.from_dict(whole)


def test_any_change_under_the_old_digest_is_noticed(manifest: Manifest) -> None:
    whole = manifest.to_dict()
    whole["stages"][0]["macs"] += 1
    with pytest.raises(BundleError, match=r"digest does not match.*changed or damaged"):
        Manifest.from_dict(whole)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "not JSON"),
        (b'{"format": "anyti', "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not JSON"),
        (b" " * (16 * 2**20 + 1), "more than the 16,777,216 allowed"),
        (b"[]", "not written by anytimenet"),
        (b'{"name": "a web bundler"}', "not written by anytimenet"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused_by_name(tmp_path: Path, content: bytes, cause: str) -> None:
    (tmp_path / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError, match=rf"bundle\.json.*{cause}"):
        Manifest.read(tmp_path)


def test_a_folder_without_a_bundle_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is not a bundle: it holds no bundle\.json"):
        Manifest.read(tmp_path)
    with pytest.raises(BundleError, match="does not exist"):
        Manifest.read(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match="is a file; give the bundle's folder"):
        Manifest.read(tmp_path / "file")


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/../b",
        "../a",
        "/a",
        "a//b",
        "a/",
        "a\\b",
        "C:a",
        "a\0b",
        "a/./b",
        "a\nb",
        "\ud800",
        3,
        None,
    ],
)
def test_names_that_could_leave_the_folder_are_refused(name: Any) -> None:
    with pytest.raises(BundleError, match="no name of a file inside a bundle"):
        check_file_name(name)


def test_a_listed_file_is_read_only_if_it_is_the_one_that_was_saved(tmp_path: Path) -> None:
    record = record_of(b"12345")
    for content, cause in (
        (b"1234", "truncated"),
        (b"123456", "another file"),
        (b"12346", "SHA-256 differs"),
    ):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(BundleError, match=cause):
            read_listed(tmp_path, "a", record)
    (tmp_path / "a").write_bytes(b"12345")
    assert read_listed(tmp_path, "a", record) == b"12345"
    with pytest.raises(BundleError, match="b is missing: download or save"):
        read_listed(tmp_path, "b", record)
    (tmp_path / "c").mkdir()
    size = (tmp_path / "c").stat().st_size
    with pytest.raises(BundleError, match="cannot be read"):
        read_listed(tmp_path, "c", FileRecord("0" * 64, size))


def test_a_net_built_by_hand_is_written_with_what_it_is_recognised_by(manifest: Manifest) -> None:
    with pytest.raises(BundleError, match=r"nothing says how .* use Bundle\.save"):
        replace(manifest, net=None).to_dict()
    by_hand = replace(manifest, net=None, structure=Structure("MyNet", "0" * 64, "1" * 64))
    written = by_hand.to_dict()
    assert written["net"] is None
    assert "load(PATH, net=NET)" in written["structure"]["note"]
    assert Manifest.from_dict(written) == by_hand
    assert by_hand.keep([1]).structure is None


def test_arguments_that_are_not_json_are_refused() -> None:
    with pytest.raises(BundleError, match="arguments must hold JSON values only"):
        NetOrigin("a_net", {"dtype": object()})


def with_stages(manifest: Manifest, *stages: tuple[int, float | None]) -> Manifest:
    records = [StageRecord(i, macs, macs, 1, accuracy) for i, (macs, accuracy) in enumerate(stages, 1)]
    net = NetOrigin("a_net", {"num_classes": [3, 2]})
    return replace(manifest, net=net, stages=tuple(records))


@pytest.mark.parametrize(
    ("stages", "budget", "expected"),
    [
        ([(10, 0.5), (20, 0.9), (30, 0.7)], None, (2, False)),  # the best validated one, not the last
        ([(10, 0.5), (20, 0.9), (30, 0.7)], 35, (2, False)),
        ([(10, 0.5), (20, 0.9), (30, 0.7)], 20, (2, False)),  # a budget may be used up
        ([(10, 0.5), (20, 0.9), (30, 0.7)], 19.9, (1, False)),
        ([(10, 0.5), (20, 0.9), (30, 0.7)], 9, (1, True)),
        ([(10, 0.5), (20, 0.9), (30, 0.7)], 0, (1, True)),
        ([(10, 0.9), (20, 0.9), (30, 0.9)], None, (1, False)),  # of equals the cheapest
        ([(10, 0.5), (30, 0.9), (20, 0.9)], None, (3, False)),  # cheap, not early
        ([(10, 0.0), (20, 0.0)], None, (1, False)),
        ([(10, None), (20, None)], None, (2, False)),
        ([(10, None), (20, None)], 15, (1, False)),
        ([(10, 0.5), (20, None)], None, (1, False)),
    ],
)
def test_the_best_stage_for_a_budget(
    manifest: Manifest,
    stages: list[tuple[int, float | None]],
    budget: float | None,
    expected: tuple[int, bool],
) -> None:
    assert with_stages(manifest, *stages).best_stage(budget) == expected


@pytest.mark.parametrize("budget", [math.nan, "100", True])
def test_a_budget_that_is_no_number_is_refused(manifest: Manifest, budget: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"budget_macs must be a (finite )?number"):
        manifest.best_stage(budget)


def test_keeping_stages_renumbers_them_and_remembers_where_they_came_from(manifest: Manifest) -> None:
    kept = manifest.keep([2])
    assert kept.stages == (StageRecord(1, 30, 40, 7, None),)
    assert kept.net is not None
    assert kept.net.keep == (3,)
    assert kept.files == {}
    assert with_stages(manifest, (1, None), (2, None), (3, None)).keep([1, 3]).net == NetOrigin(
        "a_net", {"num_classes": [3, 2]}, (1, 3)
    )


# --- label levels -------------------------------------------------------------------------------------


@pytest.fixture
def levelled(manifest: Manifest) -> Manifest:
    return replace(
        manifest,
        stages=(StageRecord(1, 10, 20, 5, 0.5, (0.75,)), StageRecord(2, 30, 40, 7, 0.625, (0.875,))),
        level_selection=LevelSelection((2, 1), (0.75, 0.625), 0.6),
    )


def test_levels_survive_the_round_trip_through_a_file_exactly(levelled: Manifest, tmp_path: Path) -> None:
    levelled.write(tmp_path)
    assert Manifest.read(tmp_path) == levelled
    assert levelled.level_accuracies == ((0.5, 0.75), (0.625, 0.875))


SINCE_3 = ("structure", "task", "score", "input", "thresholds", "extensions")


def as_before(manifest: Manifest, version: int) -> dict[str, Any]:
    """What an earlier anytimenet wrote of it."""
    value = manifest.to_dict()
    value = {key: item for key, item in value.items() if key not in SINCE_3 and item is not None}
    value["taxonomy"] = manifest.taxonomy and manifest.taxonomy.to_dict()
    del value["net"]["form"]
    for stage in value["stages"]:
        del stage["macs_complete"], stage["uncounted_operators"]
    value["format_version"] = version
    return {**value, "digest": digest_of(value)}


@pytest.mark.parametrize("version", [1, 2])
def test_what_earlier_versions_wrote_means_the_same(levelled: Manifest, version: int) -> None:
    assert Manifest.from_dict(as_before(levelled, version)) == levelled
    assert Manifest.from_dict(as_before(replace(levelled, level_selection=None), version)).task == TaskRecord(
        "hierarchical"
    )
    later = {**as_before(levelled, version), "task": {}}
    with pytest.raises(BundleError, match=r"unknown: \['task'\]"):
        Manifest.from_dict({**later, "digest": digest_of(later)})
    without = {**as_before(levelled, version), "net": None}
    with pytest.raises(BundleError, match="net and structure: exactly one of them must be null"):
        Manifest.from_dict({**without, "digest": digest_of(without)})


def test_version_3_is_always_written_and_tells_everything(manifest: Manifest) -> None:
    value = manifest.to_dict()
    assert value["format_version"] == 3
    assert value["net"]["form"] == 1
    assert value["structure"] is value["thresholds"] is value["level_selection"] is None
    assert value["task"] == {"kind": "hierarchical", "decoding": "softmax", "masks": None}
    assert value["score"] == {"kind": "accuracy", "range": [0, 1], "better": "higher"}
    assert value["input"] == {
        "kind": "images",
        "shape": [1, 8, 9],
        "dtype": "float32",
        "smallest": None,
        "multiple_of": None,
        "fixed": None,
    }
    assert value["extensions"] == {}


def test_thresholds_and_extensions_survive_the_round_trip(manifest: Manifest) -> None:
    more = replace(
        manifest,
        thresholds=Thresholds("max_probability", (0.75, None), {"target_accuracy": 0.9}),
        extensions={"somebody": {"else": [1, None, "x"]}},
    )
    assert Manifest.from_dict(more.to_dict()) == more
    kept = more.keep([1])
    assert kept.thresholds is None  # solved for both stages together
    assert kept.extensions == more.extensions


def test_counts_that_are_not_complete_say_so(manifest: Manifest) -> None:
    records = (replace(manifest.stages[0], macs=0, uncounted_operators=("aten.fft",)), manifest.stages[1])
    some = replace(manifest, stages=records)
    value = some.to_dict()
    assert [stage["macs_complete"] for stage in value["stages"]] == [False, True]
    assert Manifest.from_dict(value) == some
    assert some.uncounted_operators == ("aten.fft",)
    assert some.best_stage() == manifest.best_stage()
    with pytest.raises(ValueError, match=r"budget_macs cannot be kept: aten\.fft .*rules="):
        some.best_stage(100)


def test_a_net_that_labels_pixels_remembers_what_its_maps_mean(manifest: Manifest) -> None:
    assert manifest.mask_classes is None
    classes = MaskClasses(("road", "sky"), (1, 2), ((1, 2, 3), (4, 5, 6)), ignore_index=0)
    one: dict[str, Any] = {"net": NetOrigin("a_net", {}), "class_names": (("road", "sky"),), "taxonomy": None}
    told = replace(manifest, **one, task=None, score=None, provenance={"masks": classes.to_dict()})
    assert told.mask_classes == classes
    assert told.to_dict()["score"]["kind"] == "mean_iou"
    assert Manifest.from_dict(told.to_dict()) == told
    with pytest.raises(BundleError, match="classes of the masks and class_names disagree"):
        replace(told, class_names=(("road", "tree"),))


def test_one_level_is_measured_by_the_fine_accuracy_alone(manifest: Manifest) -> None:
    stages = (StageRecord(1, 10, 20, 5, 0.5), StageRecord(2, 30, 40, 7, 0.9))
    one = replace(manifest, net=None, class_names=LEVELS[:1], taxonomy=None, stages=stages)
    assert one.level_accuracies == ((0.5,), (0.9,))


def test_kept_stages_keep_their_levels(levelled: Manifest) -> None:
    kept = levelled.keep([2])
    assert kept.level_selection == LevelSelection((1,), (0.625,), 0.6)
    assert kept.level_accuracies == ((0.625, 0.875),)


@pytest.mark.parametrize(
    ("path", "value", "cause"),
    [
        (("stages", 0, "coarser_val_accuracies"), [0.5, 0.5], "2 coarser label levels, and there are 1"),
        (("stages", 0, "coarser_val_accuracies"), [1.5], "coarser_val_accuracies must be a fraction"),
        (("stages", 0, "coarser_val_accuracies"), 0.5, "coarser_val_accuracies must be a JSON list"),
        (("level_selection",), [2, 1], r"level_selection must be a JSON object, not \[2, 1\]"),
        (("level_selection", "levels"), [1, 2], r"level_selection: the levels \(1, 2\) rise.*; download"),
        (("level_selection", "levels"), [3, 1], r"has the levels \(3, 1\): 2 are needed, each from 1 to 2"),
        (
            ("level_selection", "target_accuracy"),
            "x",
            "level_selection.target_accuracy must be a number, not 'x'",
        ),
    ],
)
def test_levels_are_checked_even_under_a_right_digest(
    levelled: Manifest, path: tuple[Any, ...], value: Any, cause: str
) -> None:
    with pytest.raises(BundleError, match=cause):
        Manifest.from_dict(changed(levelled, path, value))


def test_a_selection_for_other_stages_is_refused(manifest: Manifest) -> None:
    with pytest.raises(BundleError, match="2 are needed"):
        replace(manifest, level_selection=LevelSelection((1, 1, 1), (0.5, 0.5, 0.5), 0.5))
