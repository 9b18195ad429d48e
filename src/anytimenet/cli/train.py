"""`anytimenet train RECIPE`."""

from __future__ import annotations

import json as json_module
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from anytimenet.cli.output import check_threads, emit_json

if TYPE_CHECKING:
    from anytimenet.data import Augmentation
    from anytimenet.recipes import Experiment, Run


@dataclass(frozen=True)
class Train:
    """Train a net by a recipe; every flag overrides the recipe.

    Writes to --out: bundle/ (the net), report.json, report.csv, curve.png, summary.txt, log.jsonl,
    tensorboard/ and checkpoints/. Examples:

      anytimenet train digits
      anytimenet train folder --data folder:PATH --image-size 32 --epochs 10 --out runs/mine
      anytimenet train folder --data folder:PATH --net iresnext_small --net-args normalisation=shared

    `anytimenet list recipes` shows what there is.
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """Name of a recipe."""
    data: str | None = None
    """Data by name: digits, or folder:PATH with one sub-folder of images a class."""
    net: str | None = None
    """A registered net; see `anytimenet list nets`."""
    net_args: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...")] = ()
    """Arguments of the net, for example normalisation=shared or slices=[2,2,4]."""
    out: Path | None = None
    """Folder of the run; runs/RECIPE by default."""
    init: Path | None = None
    """Start from the weights of this bundle; the classes may differ."""
    resume: bool = False
    """Go on from the last checkpoint in --out."""
    overwrite: bool = False
    """Replace a run that is in --out."""
    seed: int | None = None
    """Draws weights, order, augmentation and validation split."""
    seeds: Annotated[str | None, tyro.conf.arg(metavar="N,N,...")] = None
    """Repeat with each of these seeds and report mean and spread."""
    preset: Literal["paper", "paper_imagenet", "paper_cub", "official_code", "fast"] | None = None
    """Take optimiser and schedule from this preset; official_code also starts as PyTorch's layers do."""
    epochs: int | None = None
    """Passes over the training images."""
    batch_size: int | None = None
    """Images in a step."""
    lr: float | None = None
    """Peak learning rate."""
    momentum: float | None = None
    """Momentum of SGD."""
    weight_decay: float | None = None
    """Weight decay on every parameter."""
    schedule: Literal["multistep", "cosine"] | None = None
    """Of the learning rate."""
    warmup: float | None = None
    """Fraction of the run over which the learning rate rises."""
    clip_norm: float | None = None
    """Largest norm of the gradient."""
    label_smoothing: float | None = None
    """Share of the target spread over all classes."""
    precision: Literal["32", "bf16"] | None = None
    """Number format of the forward pass."""
    device: Literal["auto", "cpu", "cuda"] | None = None
    """Where to train."""
    scheme: str | None = None
    """How the stages learn together; see `anytimenet list schemes`."""
    select: Literal["last", "mean"] | None = None
    """The best checkpoint is best for the last stage, or for the mean over stages."""
    checkpoint_steps: int | None = None
    """Steps between checkpoints inside an epoch."""
    flip: Literal["yes", "no"] | None = None
    """Mirror half of the training images; not for digits, letters and signs."""
    pad: int | None = None
    """Zero pixels around an image before a random crop back to size."""
    image_size: int | None = None
    """Side of the square that images are resized and cropped to."""
    channels: Literal[1, 3] | None = None
    """Read images as grey or RGB; by default as they are."""
    resample: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] | None = None
    """Filter that resizes; box at an integer factor is the exact mean."""
    val_fraction: float | None = None
    """Part of the training images that selects; where the data brings no validation part."""
    limit: int | None = None
    """At most this many training images, drawn by class."""
    skip_bad: bool = False
    """Leave out images that cannot be read, and say how many."""
    threads: int | None = None
    """CPU threads of PyTorch."""
    quiet: bool = False
    """No progress."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print the result as JSON, or write it to a file."""

    def run(self) -> None:
        """Trains, judges, saves and prints."""
        from anytimenet.core.errors import require

        torch = require("torch", "train")
        from anytimenet.recipes import run, run_seeds

        if self.threads is not None:
            torch.set_num_threads(check_threads(self.threads))
        if self.seed is not None and self.seeds is not None:
            raise ValueError("--seed is one run and --seeds several: give one of the two")
        experiment = self.experiment()
        out = self.out or Path("runs") / self.recipe
        options: dict[str, Any] = {
            "init": self.init,
            "resume": self.resume,
            "overwrite": self.overwrite,
            "quiet": self.quiet,
            "recipe_name": self.recipe,
        }
        if self.seeds is None:
            self._show(run(experiment, out, **options))
        else:
            self._show_seeds(run_seeds(experiment, out, parse_seeds(self.seeds), **options), out)

    def experiment(self) -> Experiment:
        """The recipe with every flag that was given."""
        from anytimenet.recipes import recipe
        from anytimenet.training import preset

        experiment = recipe(self.recipe).build()
        config = experiment.config
        net_arguments = dict(experiment.net_arguments)
        if self.preset is not None:
            config = replace(preset(self.preset), seed=config.seed)
        if self.preset == "official_code":
            net_arguments["init"] = "pytorch"
        options = replace(experiment.options, skip_bad=experiment.options.skip_bad or self.skip_bad)
        return replace(
            experiment,
            data=self.data or experiment.data,
            net=self.net or experiment.net,
            net_arguments={**net_arguments, **parse_arguments(self.net_args)},
            config=replace(config, **self._given(config)),
            options=replace(options, **self._given(options)),
            augmentation=self._augmentation(experiment.augmentation),
        )

    def _given(self, target: Any) -> dict[str, Any]:
        """The flags of this command that are fields of `target` and were given."""
        values = {f.name: getattr(self, f.name, None) for f in fields(target) if f.name != "skip_bad"}
        return {name: value for name, value in values.items() if value is not None}

    def _augmentation(self, augmentation: Augmentation) -> Augmentation:
        flip = augmentation.flip if self.flip is None else self.flip == "yes"
        return replace(augmentation, flip=flip, pad=augmentation.pad if self.pad is None else self.pad)

    def _show(self, run: Run) -> None:
        if self.json is not None:
            emit_json({"out": str(run.folder), **run.report.to_dict()}, self.json)
        if self.json != "-":
            print((run.folder / "summary.txt").read_text(encoding="utf-8"))
            print(f"Everything is in {run.folder}: bundle/ is the net, curve.png the picture.")

    def _show_seeds(self, runs: list[Run], out: Path) -> None:
        from anytimenet.core.files import write_json
        from anytimenet.evaluation import Spread, plot_curves

        result = Spread.of([run.report for run in runs])
        write_json(out / "spread.json", result.to_dict())
        plot_curves([result], out / "curve.png")
        if self.json is not None:
            emit_json({"out": str(out), **result.to_dict()}, self.json)
        if self.json != "-":
            print(result.table())
            print(f"Everything is in {out}: one folder a seed, spread.json and curve.png.")


def parse_arguments(pairs: tuple[str, ...]) -> dict[str, Any]:
    """`("slices=[2,2]", "normalisation=shared")` to a dictionary; values are JSON where they parse as such.

    Raises:
        ValueError: for an entry without an equals sign.

    >>> parse_arguments(("slices=[2,2]", "normalisation=shared"))
    {'slices': [2, 2], 'normalisation': 'shared'}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--net-args {pair}: KEY=VALUE is needed, for example width=64")
        if name == "num_classes":
            raise ValueError("--net-args num_classes: the data says how many; `info` has --num-classes")
        if name in found:
            raise ValueError(f"--net-args gives {name} twice")
        try:
            found[name] = json_module.loads(value)
        except json_module.JSONDecodeError:
            found[name] = value
    return found


def parse_seeds(text: str) -> list[int]:
    """`"1,2,3"` to `[1, 2, 3]`.

    Raises:
        ValueError: for anything but different whole numbers with commas.
    """
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--seeds {text}: whole numbers with commas are needed, for example 1,2,3") from None
    if len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise ValueError(f"--seeds {text}: different numbers from 0 on are needed")
    return seeds
