"""Draws what every exit of some runs says of one test image, a row a run, without the photograph.

python reproductions/street.py runs/camvid/conventional/seed-1 runs/camvid/q3/seed-1 --out street.png

The photograph and its true mask belong to the data set, not to this project: `anytimenet predict RUN IMAGE
--out FOLDER` and each run's `masks.png` show them beside the predictions.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch

import anytimenet as an
from anytimenet.core.files.writing import write_bytes
from anytimenet.evaluation import most_varied


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--titles", default="", help="with commas, one a run; the folders' names by default")
    parser.add_argument("--out", required=True, type=Path)
    arguments = parser.parse_args()
    titles = arguments.titles.split(",") if arguments.titles else [run.parent.name for run in arguments.runs]
    write_bytes(arguments.out, _picture([an.load(run) for run in arguments.runs], titles))


def _picture(bundles: list[an.Bundle], titles: list[str]) -> bytes:
    trained_on = bundles[0].manifest.provenance["data"]
    images = an.load_data(trained_on["name"], an.DataOptions(**trained_on["options"])).test
    pixels = images.images[most_varied(images.masks)]
    classes, columns = bundles[0].manifest.mask_classes, bundles[0].num_stages
    height = 7.0 / columns * pixels.shape[0] / pixels.shape[1]
    figure = Figure((7.0, len(bundles) * (height + 0.1) + 0.75), layout="constrained")
    axes = figure.subplots(len(bundles), columns, squeeze=False)
    seen: set[int] = set()
    for number, (row, bundle, title) in enumerate(zip(axes, bundles, titles, strict=True)):
        # Standardised here: what is decoded already must not be cut again.
        x = torch.from_numpy(bundle.manifest.preprocessing.standardise(pixels[None]))
        for stage, one in enumerate(row, 1):
            found = an.label_map(bundle, x, stage=stage).classes
            seen |= set(np.unique(found).tolist())
            one.imshow(classes.colours(found), interpolation="nearest")
            one.set(xticks=[], yticks=[])
            if number == 0:
                one.set_title(f"exit {stage}", fontsize=8)
        row[0].set_ylabel(title, fontsize=8)
    handles = [
        Patch(facecolor=tuple(part / 255 for part in classes.palette[i]), label=classes.names[i])
        for i in sorted(seen)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False, fontsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
