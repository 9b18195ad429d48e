"""Promises of the figure: what is drawn, that nothing overlaps, that files are whole."""

import subprocess
import sys
from itertools import combinations

import matplotlib
import numpy as np
import pytest

from anytimenet.evaluation import Curve, PlotOptions, Report, Spread, StageReport, curve_figure, plot_curves
from anytimenet.evaluation.reports.sections import ClassificationSections
from anytimenet.evaluation.text.units import axis_scale, format_count

MACS = (12_977_000, 28_903_000, 47_778_000, 69_602_000, 94_375_000, 122_097_000)
TOP1 = (0.970, 0.976, 0.981, 0.985, 0.983, 0.987)
SIGNATURES = {".png": b"\x89PNG\r\n", ".pdf": b"%PDF", ".svg": b"<?xml"}


def report_of(macs, top1, half=0.012, ms=None):
    stages = tuple(
        StageReport(
            *(k, m, m + 9, m // 100, {"top1": a, "top1_low": a - half, "top1_high": a + half / 2}),
            *(ms and ms[k - 1], ms and 9.0),
        )
        for k, (m, a) in enumerate(zip(macs, top1, strict=True), start=1)
    )
    sections = ClassificationSections(num_classes=10, example_violations=0.0)
    return Report("classification", "made up", "test", 540, stages, (1.0, 2.0), sections)


DIGITS = report_of(MACS, TOP1, ms=(1, 2, 4, 3, 5, 6))
SEEDS = Spread.of(
    [report_of((380_000, 800_000, 1_790_000), np.array([0.58, 0.63, 0.65]) + d) for d in (0, 0.02)]
)
NETS = [
    Curve((530_000, 840_000, 1_140_000, 1_450_000), (0.595, 0.624, 0.639, 0.645), "I-ResNeXt, own BN"),
    Curve((530_000, 840_000, 1_140_000, 1_450_000), (0.418, 0.593, 0.601, 0.604), "I-ResNeXt, shared BN"),
    Curve((380_000, 800_000, 1_270_000, 1_790_000), (0.584, 0.628, 0.644, 0.655), "IS-ResNeXt"),
]
WIDE = [
    Curve(
        (3e5, 4e7, 1.5e9),
        (0.1, 0.5, 0.999),
        "a/very/long/path/to/some/bundle/of/a/run/with/seed/zero/in/some/folder",
    ),
    NETS[2],
]
FIGURES = {
    "digits": ([DIGITS], None, PlotOptions()),
    "log steps": ([DIGITS], None, PlotOptions(log=True, line="step")),
    "latency": ([DIGITS], None, PlotOptions(cost="ms", title="digits")),
    "three": (NETS, None, PlotOptions(value="error")),
    "seeds": ([SEEDS, NETS[1]], ["IS-ResNeXt", "I-ResNeXt"], PlotOptions(log=True, chance=0.1)),
    "one stage": ([Curve((1.2e8,), (0.93,))], None, PlotOptions(log=True)),
    "all right": ([Curve((5, 6, 7), (1, 1, 1), unit="ms")], None, PlotOptions()),
    "nine": ([Curve((1e6, 2e6 + i), (0.5, 0.6), f"net {i}") for i in range(9)], None, PlotOptions()),
    "wide": (WIDE, None, PlotOptions(log=True)),
    "narrow": ([Curve((100, 103, 104), (0.90, 0.901, 0.9015))], None, PlotOptions(log=True)),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_overlaps_and_all_of_it_is_inside_the_figure(name):
    items, labels, options = FIGURES[name]
    figure = curve_figure(items, labels=labels, options=options)
    figure.draw_without_rendering()
    axes, renderer = figure.axes[0], figure.canvas.get_renderer()
    texts = [axes.xaxis.label, axes.yaxis.label, axes.title, *axes.get_xticklabels(), *axes.get_yticklabels()]
    texts += [figure._supxlabel] if figure._supxlabel else []
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts if text.get_text()]
    for (one, box), (two, other) in combinations(boxes, 2):
        assert not box.overlaps(other), (one, two)
    for text, box in boxes:
        assert figure.bbox.x0 <= box.x0, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert figure.bbox.y0 <= box.y0, text
        assert box.y1 <= figure.bbox.y1 + 1, text
    for legend in figure.legends:
        assert not legend.get_window_extent(renderer).overlaps(axes.get_window_extent(renderer))


@pytest.mark.parametrize("name", FIGURES)
def test_all_data_are_inside_the_axes(name):
    items, labels, options = FIGURES[name]
    axes = curve_figure(items, labels=labels, options=options).axes[0]
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for line in axes.get_lines():
        if len(line.get_xdata()) and line.get_marker() != "None":
            assert left < min(line.get_xdata()) <= max(line.get_xdata()) <= right
            assert bottom < min(line.get_ydata()) <= max(line.get_ydata()) < top


def test_points_are_accuracies_in_percent_at_costs_in_millions():
    axes = curve_figure([DIGITS]).axes[0]
    line = axes.get_lines()[0]
    np.testing.assert_allclose(line.get_xdata(), np.array(MACS) / 1e6)
    np.testing.assert_allclose(line.get_ydata(), 100 * np.array(TOP1))
    assert axes.get_xlabel() == "multiply-adds (millions)"
    assert axes.get_ylabel() == "accuracy (%)"


def test_error_is_the_rest_and_its_interval_is_turned_round():
    axes = curve_figure([DIGITS], options=PlotOptions(value="error", cost="full")).axes[0]
    np.testing.assert_allclose(axes.get_lines()[0].get_ydata(), 100 - 100 * np.array(TOP1))
    np.testing.assert_allclose(axes.get_lines()[0].get_xdata(), (np.array(MACS) + 9) / 1e6)
    (bars,) = [c for c in axes.collections if hasattr(c, "get_segments")]
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends, 100 - 100 * np.array(TOP1)[:, None] + [-0.6, 1.2])


def test_latency_axis_orders_points_by_time():
    line = curve_figure([DIGITS], options=PlotOptions(cost="ms")).axes[0].get_lines()[0]
    assert line.get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(line.get_ydata(), 100 * np.array(TOP1)[[0, 1, 3, 2, 4, 5]])


def test_steps_hold_the_last_accuracy_to_the_edge():
    axes = curve_figure(NETS, options=PlotOptions(line="step")).axes[0]
    for line in axes.get_lines():
        assert line.get_drawstyle() == "steps-post"
        assert line.get_xdata()[-1] == axes.get_xlim()[1]
        assert line.get_ydata()[-1] == line.get_ydata()[-2]


@pytest.mark.parametrize("line", ["points", "step"])
def test_the_band_is_one_standard_deviation_around_the_mean(line):
    figure = curve_figure([SEEDS], options=PlotOptions(line=line))
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    sd = 100 * np.sqrt(2) / 100  # of two runs 0.02 apart
    assert band[:, 1].min() == pytest.approx(59 - sd)
    assert band[:, 1].max() == pytest.approx(66 + sd)
    assert figure._supxlabel.get_text() == "band: ± 1 sd over seeds"


def test_chance_is_drawn_where_it_is():
    for value, level in (("accuracy", 10), ("error", 90)):
        axes = curve_figure(NETS, options=PlotOptions(chance=0.1, value=value)).axes[0]
        assert [line.get_ydata()[0] for line in axes.get_lines() if line.get_marker() == "None"] == [level]
        assert axes.get_ylim()[0] < level < axes.get_ylim()[1]


def test_legend_names_every_curve_in_order_and_a_single_unnamed_one_has_none():
    (legend,) = curve_figure(NETS, labels=["_a", "b", "c"]).legends
    assert [text.get_text() for text in legend.get_texts()] == ["_a", "b", "c"]
    assert curve_figure([DIGITS]).legends == []
    assert len(curve_figure([DIGITS], labels=["digits"]).legends) == 1


def test_nine_curves_differ_in_colour_marker_or_dashes():
    lines = curve_figure(FIGURES["nine"][0]).axes[0].get_lines()
    assert len({(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines}) == 9


@pytest.mark.parametrize("ending", [".png", ".pdf", ".svg", ".PNG"])
def test_the_ending_says_the_kind_and_the_bytes_repeat(tmp_path, ending):
    path = tmp_path / "new" / f"curves{ending}"
    assert plot_curves(NETS, path) == path
    first = path.read_bytes()
    assert first.startswith(SIGNATURES[ending.lower()])
    plot_curves(NETS, path)
    assert path.read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_png_has_the_size_asked_for(tmp_path):
    path = plot_curves(NETS, tmp_path / "a.png", options=PlotOptions(width_in=3, height_in=2, dpi=200))
    size = np.frombuffer(path.read_bytes()[16:24], dtype=">u4")
    assert size.tolist() == [600, 400]


@pytest.mark.parametrize("name", ["curves.jpg", "curves", "curves.png.gz"])
def test_another_ending_is_refused_before_anything_is_made(tmp_path, name):
    with pytest.raises(ValueError, match=r"no figure can end in .*\.png, \.pdf, \.svg"):
        plot_curves(NETS, tmp_path / "new" / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("items", "labels", "options", "message"),
    [
        ([], None, None, "nothing to draw"),
        (NETS, ["one"], None, "1 labels for 3 curves"),
        ([DIGITS, DIGITS], None, None, "need labels"),
        ([NETS[0], Curve((1,), (0.5,), "x", "ms")], None, None, "macs and ms"),
        ([SEEDS], None, PlotOptions(cost="ms"), "no cost 'ms'"),
        ([report_of(MACS, TOP1)], None, PlotOptions(cost="ms"), "profile the bundle"),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_the_old_file_stays(tmp_path, items, labels, options, message):
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=message):
        plot_curves(items, path, labels=labels, options=options)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "changes",
    [{"cost": "flops"}, {"value": "loss"}, {"line": "smooth"}, {"chance": 10}, {"width_in": 0}, {"dpi": -1}],
)
def test_options_are_checked(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        PlotOptions(**changes)


def test_the_users_settings_are_neither_used_nor_changed(tmp_path):
    expected = plot_curves(NETS, tmp_path / "a.svg").read_bytes()
    with matplotlib.rc_context(
        {"font.size": 30, "lines.linewidth": 9, "svg.fonttype": "path", "axes.labelcolor": "red"}
    ):
        before = dict(matplotlib.rcParams)
        assert plot_curves(NETS, tmp_path / "b.svg").read_bytes() == expected
        assert dict(matplotlib.rcParams) == before


def test_pyplot_is_not_imported():
    code = (
        "import sys; from anytimenet.evaluation import Curve, curve_figure; "
        "curve_figure([Curve((1, 2), (0.5, 0.6))]); print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- counts for people ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"), (7, "7"), (999, "999"), (1000, "1.000 k"), (89_690, "89.69 k"), (999_949, "999.9 k"),
        (999_951, "1.000 M"), (9_999_600, "10.00 M"), (12_977_000, "12.98 M"), (122_097_000, "122.1 M"),
        (1_530_644_000, "1.531 G"), (2.5e12, "2.500 T"),
    ],
)  # fmt: skip
def test_counts_have_four_digits_and_a_prefix(count, text):
    assert format_count(count) == text


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="negative"):
        format_count(-1)


@pytest.mark.parametrize(
    ("smallest", "largest", "divisor"),
    [(12e6, 122e6, 1e6), (0.38e6, 1.79e6, 1e6), (210e6, 1.53e9, 1e9), (120e6, 120e6, 1e6), (5e4, 5e5, 1e3),
     (3e5, 1.5e9, 1e6), (1e3, 5e9, 1e6), (10, 50, 1)],
)  # fmt: skip
def test_axis_scale_keeps_numbers_short(smallest, largest, divisor):
    assert axis_scale("macs", smallest, largest)[0] == divisor
