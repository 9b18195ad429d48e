"""`anytimenet exits BUNDLE`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from anytimenet.cli.output import check_threads, emit
from anytimenet.cli.parsing import Count
from anytimenet.cli.reading import ReadingFlags, reading_arguments
from anytimenet.core import checks
from anytimenet.core.errors import require
from anytimenet.core.manifest.folder import find_bundle
from anytimenet.evaluation import Contract
from anytimenet.evaluation.protocols.contracts import Target
from anytimenet.evaluation.protocols.exit_data import ExitRule

if TYPE_CHECKING:
    from anytimenet.workflows import Exits as ChosenExits


@dataclass(frozen=True)
class Exits:
    """Choose where images may leave a net early, so that a contract is kept.

    Give one of --max-mean-macs, --max-mean-ms, --min-accuracy, --max-disagreement. Half of the validation
    images find thresholds, the other half judges them, and the test images check them: simulated from outputs
    of all stages, and really run. That a contract cannot be kept is an answer, not an error. JSON keys: met,
    result {contract, policy, met, thresholds, cost, stage_costs, tested_on, learned_on, tried, p_value,
    held_out, why}, executed {summary, backend, mode, batch_size, differing, unexplained, ms_per_image,
    all_steps_ms_per_image} or null; each of tested_on, learned_on, held_out and summary is {count, shares,
    mean_cost, accuracy, disagreement, full_accuracy}.
    """

    bundle: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Folder of a bundle, or of the run that made it."""
    max_mean_macs: Count | None = None
    """The mean multiply-adds of an image may be at most this, for example 1.5M."""
    max_mean_ms: float | None = None
    """The mean milliseconds of an image may be at most this, by the cost table of this machine."""
    min_accuracy: float | None = None
    """At least this share of the images is to be answered right."""
    max_disagreement: float | None = None
    """At most this share of the images may be answered otherwise than by the last stage."""
    confidence: float | Literal["average"] = 0.95
    """The probability, over draws of validation images, that it holds; or average: it holds on average."""
    policy: ExitRule = "max_probability"
    """What decides: a confidence, patience (equal answers in a row), or a threshold for each class."""
    save: bool = False
    """Keep the thresholds in the bundle, if the contract is met."""
    backend: str | None = None
    """What runs the net; by default what it was profiled with on this machine, the native engine first, else
    eager."""
    threads: int = 1
    """CPU threads."""
    batch_size: int = 32
    """Images that run together."""
    mode: Literal["results", "compact", "regroup"] = "compact"
    """How images leave a batch: results (early, the work goes on for all), compact (their rows are dropped),
    regroup (rows that go on fill new batches)."""
    seed: int = 0
    """Of the division of the validation images."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print the result as JSON, or write it to a file."""
    images: ReadingFlags = field(default_factory=ReadingFlags)

    def run(self) -> None:
        """Solves, checks, executes, saves and prints."""
        contract = self._contract()
        check_threads(self.threads)
        require("torch", "train")
        from anytimenet.workflows import choose_exits, load

        bundle = load(self.bundle)
        found = choose_exits(
            bundle,
            contract=contract,
            policy=self.policy,
            unit="macs" if self.max_mean_ms is None else "ms",
            backend=self.backend,
            threads=self.threads,
            batch_size=self.batch_size,
            mode=self.mode,
            seed=self.seed,
            **reading_arguments(self.images),
        )
        if self.save and found.met:
            bundle.use_exits(found.thresholds)
            bundle.save(find_bundle(self.bundle))
        if emit(self.json, found.to_dict()):
            print_exits(found)
            if self.save:
                print(
                    "the thresholds are kept in the bundle" if found.met else "nothing is kept in the bundle"
                )

    def _contract(self) -> Contract:
        limits: dict[str, tuple[Target, float | None]] = {
            "--max-mean-macs": ("max_mean_cost", self.max_mean_macs),
            "--max-mean-ms": ("max_mean_cost", self.max_mean_ms),
            "--min-accuracy": ("min_accuracy", self.min_accuracy),
            "--max-disagreement": ("max_disagreement", self.max_disagreement),
        }
        given = [(flag, target, limit) for flag, (target, limit) in limits.items() if limit is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(limits)}, not {len(given)} of them")
        flag, target, limit = given[0]
        if target == "max_mean_cost":
            checks.number(limit, flag, above=0)
        else:
            checks.fraction(limit, flag)
        confidence = None if self.confidence == "average" else float(self.confidence)
        return Contract(target, limit, confidence)


def print_exits(found: ChosenExits) -> None:
    """The table and what it says of the contract, for people."""
    result, executed = found.result, found.executed
    print(f"{result.contract.in_words}: {'met' if found.met else 'not met'}")
    if not found.met:
        print(f"{result.why}. The nearest exits:")
    print(
        f"by {result.policy.replace('_', ' ')}, candidates judged: {result.tried}, "
        f"costs in {'milliseconds' if result.cost == 'ms' else 'multiply-adds'}"
    )
    print(found.table())
    if executed is not None:
        print(
            f"executed by {executed.backend} in batches of {executed.batch_size} ({executed.mode}): "
            f"{executed.differing} of {executed.summary.count} images left elsewhere than simulated; "
            f"{executed.ms_per_image:.3f} ms an image, {executed.all_steps_ms_per_image:.3f} ms for all steps"
        )
