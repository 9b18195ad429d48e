"""The figure of anytime curves, fit for a paper's column: several nets, intervals, spread over seeds."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from anytimenet.core.errors import require
from anytimenet.core.files.writing import write_bytes
from anytimenet.core.scores import CLASSIFICATION
from anytimenet.evaluation.plots.axes import GREY, draw, set_budget_axis, set_score_axis
from anytimenet.evaluation.plots.series import Drawable, Series, Value, all_series
from anytimenet.evaluation.reports.stages import Cost

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

ENDINGS = (".png", ".pdf", ".svg")

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8.5,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.fontsize": 7.5,
    # TrueType in PDF and text in SVG, which journals ask for and editors can change.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    # The same figure gives the same bytes.
    "svg.hashsalt": "anytimenet",
}


@dataclass(frozen=True)
class PlotOptions:
    """How curves are drawn.

    Attributes:
        cost: what reports and spreads show on the x axis: multiply-adds ("macs"), the "full" count, or the
            median latency ("ms").
        value: what the y axis shows: "accuracy" or "error".
        line: "points" joins the stages by straight lines, as papers do; "step" shows what each budget gets.
        log: logarithmic budget axis.
        chance: accuracy of guessing, drawn as a dotted line; None leaves it out.
        title: what stands above the axes; papers put it into the caption instead.
        width_in: width in inches; 3.4 is one column of most two-column papers.
        height_in: height in inches.
        dpi: dots per inch of a PNG.

    Raises:
        ValueError: for a choice that does not exist or a size that is not positive.
    """

    cost: Cost = "macs"
    value: Value = "accuracy"
    line: Literal["points", "step"] = "points"
    log: bool = False
    chance: float | None = None
    title: str = ""
    width_in: float = 3.4
    height_in: float = 2.5
    dpi: int = 300

    def __post_init__(self) -> None:
        choices = {"cost": ("macs", "full", "ms"), "value": ("accuracy", "error"), "line": ("points", "step")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} {getattr(self, name)!r} is not one of {', '.join(known)}")
        if self.chance is not None and not 0 <= self.chance <= 1:
            raise ValueError(f"chance {self.chance} is an accuracy, a fraction between 0 and 1")
        if min(self.width_in, self.height_in, self.dpi) <= 0:
            raise ValueError("width_in, height_in and dpi of a figure are positive")


def plot_curves(
    items: Sequence[Drawable],
    path: Path | str,
    *,
    labels: Sequence[str] | None = None,
    options: PlotOptions | None = None,
) -> Path:
    """Draws anytime curves into one file, atomically; its ending says which kind.

    A `Report` gets the 95 % interval of each stage where its score has one, a `Spread` a band of one standard
    deviation around the mean, a `Curve` its line alone, a `Series` what it says.

    Args:
        items: what to draw, first to last in the legend.
        path: a .png, .pdf or .svg file; its folder is made.
        labels: one name an item; by default the label of a curve, and none for others. A single item
            without a name gets no legend.
        options: how to draw; `PlotOptions()` by default.

    Returns:
        The path.

    Raises:
        ValueError: for another ending, no items, labels that do not match, or costs or scores that differ in
            kind.
        MissingExtraError: without matplotlib.

    >>> import tempfile
    >>> from anytimenet.evaluation import Curve
    >>> nets = [Curve((10, 20), (0.5, 0.8), "ours"), Curve((15, 30), (0.5, 0.8), "theirs")]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plot_curves(nets, f"{folder}/curves.pdf", options=PlotOptions(line="step")).name
    'curves.pdf'
    """
    path = Path(path)
    write_bytes(path, render_curves(items, path.suffix, labels=labels, options=options))
    return path


def render_curves(
    items: Sequence[Drawable],
    ending: str,
    *,
    labels: Sequence[str] | None = None,
    options: PlotOptions | None = None,
) -> bytes:
    """The bytes of the file that `plot_curves` writes; the same input gives the same bytes."""
    check_ending(ending)
    options = options or PlotOptions()
    with paper_style():
        return figure_bytes(curve_figure(items, labels=labels, options=options), ending, options.dpi)


def curve_figure(
    items: Sequence[Drawable],
    *,
    labels: Sequence[str] | None = None,
    options: PlotOptions | None = None,
) -> Figure:
    """The matplotlib figure itself, for notebooks and further work; arguments as in `plot_curves`.

    >>> from anytimenet.evaluation import Curve
    >>> curve_figure([Curve((10e6, 20e6), (0.5, 0.8))]).axes[0].get_xlabel()
    'multiply-adds (millions)'
    """
    options = options or PlotOptions()
    figure_class = require("matplotlib.figure", "train").Figure
    canvas_class = require("matplotlib.backends.backend_agg", "train").FigureCanvasAgg
    series = all_series(items, labels, cost=options.cost, value=options.value)
    with paper_style():
        figure: Figure = figure_class((options.width_in, options.height_in), layout="constrained")
        canvas = canvas_class(figure)
        axes = figure.add_subplot()
        divisor = set_budget_axis(axes, series, log=options.log)
        steps = options.line == "step"
        lines = [draw(axes, one, number, divisor, steps=steps) for number, one in enumerate(series)]
        score = next((one.score for one in series if one.score is not None), CLASSIFICATION[0])
        name = score.label if options.value == "accuracy" else options.value
        set_score_axis(axes, series, f"{name} ({score.unit})", _chance_percent(options), score.is_share)
        if options.title:
            axes.set_title(options.title)
        _explain(figure, series)
        if len(series) > 1 or series[0].label:
            _legend_above(figure, lines, series, canvas.get_renderer())
    return figure


def check_ending(ending: str) -> None:
    """Raises ValueError unless a figure can end so."""
    if ending.lower() not in ENDINGS:
        raise ValueError(f"no figure can end in {ending!r}: {', '.join(ENDINGS)} are known")


def figure_bytes(figure: Figure, ending: str, dpi: int) -> bytes:
    """The bytes of a figure's file; call it within `paper_style`. The same figure gives the same bytes."""
    check_ending(ending)
    # No dates in the file: it is the same tomorrow.
    dates: dict[str, dict[str, None]] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
    file = io.BytesIO()
    figure.savefig(file, format=ending[1:].lower(), dpi=dpi, metadata=dates.get(ending.lower()))
    return file.getvalue()


@contextmanager
def paper_style() -> Iterator[None]:
    """matplotlib's own defaults with this project's style, whatever the user set; undone at the end."""
    matplotlib = require("matplotlib", "train")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def _chance_percent(options: PlotOptions) -> float | None:
    if options.chance is None:
        return None
    return 100 * (options.chance if options.value == "accuracy" else 1 - options.chance)


def _explain(figure: Figure, series: Sequence[Series]) -> None:
    """Says below the figure what bars and bands are."""
    meanings = {
        "bars": "bars: 95 % interval",
        "band": "band: ± 1 sd over seeds",
        "sd": "bars: ± 1 sd over seeds",
    }
    words = [meaning for mark, meaning in meanings.items() if any(one.mark == mark for one in series)]
    if words:
        figure.supxlabel("; ".join(words), fontsize=6.5, color=GREY)


def _legend_above(
    figure: Figure, lines: Sequence[Line2D], series: Sequence[Series], renderer: RendererAgg
) -> None:
    """A legend outside of the axes, where it cannot cover data, in as many columns as fit the width."""
    # About how many characters fit beside a handle; a bundle's path may be longer.
    characters = max(10, int((figure.get_figwidth() * 72 - 30) / 4.6))
    names = [textwrap.fill(one.label, characters) for one in series]
    for columns in range(min(len(names), 4), 0, -1):
        legend = figure.legend(
            lines,
            names,
            loc="outside upper center",
            ncols=columns,
            frameon=False,
            handlelength=1.8,
            columnspacing=1.2,
            handletextpad=0.5,
            borderaxespad=0.2,
        )
        if columns == 1 or legend.get_window_extent(renderer).width <= figure.bbox.width:
            return
        legend.remove()
