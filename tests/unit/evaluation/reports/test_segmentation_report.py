"""Reports of label maps: from counts to numbers, files, spread and pictures."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from anytimenet.core.errors import DataError
from anytimenet.core.labels.mask_classes import IGNORED, MaskClasses, default_palette
from anytimenet.evaluation import (
    PlotOptions,
    SegmentationReport,
    SegmentationSpread,
    Spread,
    curve_figure,
    make_report,
    make_segmentation_report,
    most_varied,
    plot_curves,
    plot_masks,
    read_any_report,
    read_report,
    spread_of,
    write_report,
)

COSTS = [SimpleNamespace(stage=k, macs=10 * k, full=12 * k, params=k) for k in (1, 2)]
NAMES = ("road", "sky", "tree")
WEAK = np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]])
GOOD = np.array([[4, 0, 0], [1, 5, 0], [0, 0, 0]])


def report(weak=WEAK, good=GOOD, **options):
    return make_segmentation_report([weak, good], COSTS, NAMES, count=2, data="masks:x", **options)


def test_the_scores_are_those_of_the_counts():
    first, last = report().stages
    assert first.class_ious == (3 / 6, 4 / 7, None)
    assert first.mean_iou == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert last.pixel_accuracy == 0.9
    assert report().pixels == 10
    assert report().violations == ()
    assert report(GOOD, WEAK).violations == (2,)
    assert report().area == pytest.approx((first.mean_iou + last.mean_iou) / 2)


def test_a_report_survives_its_file_and_is_no_report_of_labels(tmp_path):
    write_report(report(), tmp_path)
    assert read_any_report(tmp_path) == report()
    assert json.loads((tmp_path / "report.json").read_text())["kind"] == "segmentation"
    header, line, _ = (tmp_path / "report.csv").read_text().splitlines()
    assert header.split(",")[-3:] == ["iou road", "iou sky", "iou tree"]
    assert line.startswith("1,10,12,1,")
    assert line.endswith(",")  # nothing was measured of the absent class
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="holds a report of label maps"):
        read_report(tmp_path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kind": "labels"}, "of 'labels'"),
        ({"stages": []}, "at least one stage"),
        ({"stages": [{"stage": 1}]}, "missing"),
        ({"class_names": ["road"]}, "an IoU for each of 1 classes"),
    ],
)
def test_what_is_no_report_is_refused(change, why):
    with pytest.raises(ValueError, match=why):
        SegmentationReport.from_dict({**report().to_dict(), **change})
    with pytest.raises(ValueError, match="the key 'kind' is missing"):
        SegmentationReport.from_dict({})


def test_tables_have_a_line_a_stage_and_a_line_a_class():
    assert report().table().splitlines()[2].split() == ["2", "20", "2", "81.7", "90.0"]
    lines = report().class_table().splitlines()
    assert lines[1].split() == ["road", "50.0", "80.0"]
    assert lines[3].split() == ["tree", "-", "-"]


def test_the_spread_over_seeds_joins_the_classes(tmp_path):
    runs = [report(), report(GOOD, GOOD)]
    spread = spread_of(runs)
    assert isinstance(spread, SegmentationSpread)
    assert spread.class_names == NAMES
    assert spread.stages[0].mean_iou.mean == pytest.approx(np.mean([run.values[0] for run in runs]))
    assert spread.stages[0].class_ious[0].sd == pytest.approx(np.std([3 / 6, 4 / 5], ddof=1))
    assert spread.stages[0].class_ious[2] is None
    told = json.loads(json.dumps(spread.to_dict()))
    assert (told["kind"], told["stages"][0]["class_ious"][2]) == ("segmentation", None)
    assert plot_curves([spread], tmp_path / "curve.svg").read_text().count("mean IoU") == 1


def test_reports_of_label_maps_and_of_labels_have_no_spread():
    labels = make_report([np.eye(2)], np.array([0, 1]), COSTS[:1])
    assert isinstance(spread_of([labels, labels]), Spread)
    for mixed in ([report(), labels], [labels, report()]):
        with pytest.raises(ValueError, match=r"task .* are not runs of one experiment"):
            spread_of(mixed)


def test_a_figure_draws_reports_of_label_maps_and_says_what_it_shows():
    axes = curve_figure([report()]).axes[0]
    assert axes.get_ylabel() == "mean IoU (%)"
    assert axes.lines[0].get_ydata() == pytest.approx([100 * s.mean_iou for s in report().stages])
    spread = spread_of([report(), report(GOOD, GOOD)])
    assert curve_figure([spread, report()], labels=["seeds", "one"]).axes[0].get_ylabel() == "mean IoU (%)"
    assert curve_figure([report().curve()]).axes[0].get_ylabel() == "mean IoU (%)"
    with pytest.raises(ValueError, match="accuracy and mean IoU do not fit on one axis"):
        curve_figure([report(), make_report([np.eye(2)], [0, 1], COSTS[:1])], labels=["maps", "labels"])
    with pytest.raises(ValueError, match="mean IoU and no error"):
        curve_figure([report()], options=PlotOptions(value="error"))


# --- pictures ------------------------------------------------------------------------------------------

CLASSES = MaskClasses(NAMES, (0, 1, 2), default_palette(3))


def test_a_picture_shows_the_colours_of_the_maps_and_of_nothing_else(tmp_path):
    image = np.full((20, 40, 3), 90, np.uint8)
    map_, truth = np.zeros((20, 40), np.uint8), np.ones((20, 40), np.uint8)
    path = plot_masks(image, [map_, map_], CLASSES, tmp_path / "street.png", truth=truth)
    shown = {tuple(colour) for colour in np.array(Image.open(path).convert("RGB")).reshape(-1, 3)}
    assert {(90, 90, 90), CLASSES.palette[0], CLASSES.palette[1]} <= shown
    assert CLASSES.palette[2] not in shown


def test_a_legend_names_the_classes_that_appear(tmp_path):
    truth = np.full((6, 8), IGNORED, np.uint8)
    maps = [np.zeros((6, 8), np.uint8), np.full((6, 8), 2, np.uint8)]
    text = plot_masks(
        np.zeros((6, 8, 1), np.uint8), maps, CLASSES, tmp_path / "a.svg", truth=truth
    ).read_text()
    for words in ("image", "truth", "stage 1", "stage 2", "road", "tree", "not counted"):
        assert f">{words}</text>" in text
    assert ">sky</text>" not in text


def test_maps_that_do_not_lie_on_the_image_are_refused(tmp_path):
    image, map_ = np.zeros((6, 8, 3), np.uint8), np.zeros((6, 8), np.uint8)
    with pytest.raises(DataError, match="does not lie on an image"):
        plot_masks(image, [map_[:3]], CLASSES, tmp_path / "a.png")
    with pytest.raises(ValueError, match="one a map is needed"):
        plot_masks(image, [map_], CLASSES, tmp_path / "a.png", titles=["one", "two"])
    with pytest.raises(ValueError, match="no figure can end in"):
        plot_masks(image, [map_], CLASSES, tmp_path / "a.bmp")


def test_the_most_varied_mask_does_not_count_what_is_ignored():
    masks = np.array([[[0, IGNORED, IGNORED]], [[0, 1, 1]], [[2, 1, 0]]], np.uint8)
    assert most_varied(masks) == 2
    assert most_varied(masks[:2]) == 1
