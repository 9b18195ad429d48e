"""Every command refuses a wrong flag by its name: no traceback, no raw error, and an exit code that says so.

The flags are read off the commands, so that a new one is tried without a line here. Behind the doors nothing
is trained or measured.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro
from PIL import Image

import anytimenet as an
from anytimenet.cli.main import VERBS, run
from anytimenet.cli.parsing import flags_of
from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.evaluation import make_report, write_report
from anytimenet.evaluation.protocols.outputs import OutputCost

VALUES = ("xyzzy", "-1", "nan", "9" * 30, "")
"""What a hand may type, a shell may expand to nothing, and a script may compute."""


class Reached(BaseException):
    """The work behind the door began; no error, so that no command takes it for one of its own."""


def reach(*_: Any, **__: Any) -> Any:
    raise Reached


WORK = (
    "recipes.runner.fit",
    "recipes.runner.RunFolder",
    "workflows.evaluation.collect_logits",
    "workflows.reestimating.reestimate_statistics",
    "export.folder.new_folder",
    "workflows.profiling.profile_backend",
    "workflows.benching.profile_backend",
    "workflows.exits.stepped_outputs",
    "evaluation.plots.plots.plot_curves",
    "evaluation.plot_curves",
    "serving.http.running.serve",
    "serving.samples.chosen",
    "serving.site.write_site",
    "serving.simulation.simulator.simulate",
    "serving.simulation.planning.replicas_for",
)
"""What is not run."""


@dataclasses.dataclass(frozen=True)
class Command:
    """A right command line: the words after the verb, and which of them are fields without a flag."""

    words: tuple[str, ...]
    places: dict[str, int] = dataclasses.field(default_factory=dict)


COMMANDS = {
    "train": Command(("digits", "--out", "run", "--quiet"), {"recipe": 0}),
    "quickstart": Command(("--out", "quick")),
    "evaluate": Command(("saved", "--data", "digits", "--out", "judged"), {"bundle": 0}),
    "reestimate": Command(
        ("saved", "--out", "again", "--data", "digits", "--augmentation", "none"), {"bundle": 0}
    ),
    "join": Command(("saved", "dearer", "--out", "joined", "--data", "digits"), {"bundles": 1}),
    "export": Command(("saved", "--out", "elsewhere", "--overwrite"), {"bundle": 0}),
    "slice": Command(("saved", "--stages", "2", "--out", "sliced", "--overwrite"), {"bundle": 0}),
    "profile": Command(("saved",), {"bundle": 0}),
    "bench": Command(("saved",), {"bundle": 0}),
    "exits": Command(("saved", "--data", "digits", "--min-accuracy", "0.5"), {"bundle": 0}),
    "predict": Command(("saved", "digit.png"), {"bundle": 0, "images": 1}),
    "serve": Command(("saved",), {"models": 0}),
    "simulate": Command(("timed",), {"folder": 0}),
    "page": Command(("exported", "--out", "site", "--count", "0"), {"export": 0}),
    "compare": Command(("judged", "--out", "curves.png"), {"runs": 0}),
    "list": Command(("nets",), {"what": 0, "pattern": 1}),
    "info": Command(("resnet_tiny",), {"what": 0}),
    "completion": Command(("bash",), {"shell": 0}),
}


def command_of(verb: str) -> Any:
    module, _, name = VERBS[verb][0].partition(".")
    return getattr(importlib.import_module(f"anytimenet.cli.{module}"), name)


def fields_of(verb: str) -> list[str]:
    """The fields that take a value: those of a bool are switches."""
    return [name for name, hint in flags_of(command_of(verb)).items() if hint is not bool]


CASES = [(verb, name) for verb in COMMANDS for name in fields_of(verb)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle and an image of its kind."""
    here = tmp_path_factory.mktemp("commands")
    net = an.create_net("isresnext_tiny", 10, in_channels=1)
    names = [[str(digit) for digit in range(10)]]
    look = an.Preprocessing(8, 8, 1, (0.5,), (0.25,))
    an.Bundle.create(net, class_names=names, preprocessing=look).save(here / "saved")
    an.export_bundle(an.load(here / "saved"), here / "exported", format="native")
    wide = an.create_net("isresnext_tiny", 10, in_channels=1, width=48)
    an.Bundle.create(wide, class_names=names, preprocessing=look).save(here / "dearer")
    logits = [np.eye(3), np.eye(3)]
    costs = [OutputCost(1, 20, 30, 5, 20, 20), OutputCost(2, 40, 50, 9, 60, 60)]
    write_report(make_report(logits, np.arange(3), costs, data="digits"), here / "judged")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(here / "digit.png")
    stages = net.num_stages
    timed = an.Bundle.create(
        net, class_names=names, preprocessing=look, val_accuracies=[0.5 + k / 100 for k in range(stages)]
    )
    ms = {(0, k, 1): Latency(float(k), float(k), float(k), repeats=50) for k in range(1, stages + 1)}
    table = CostTable("cpu", {"id": "0" * 8}, "float32", 1, (1, 8, 8), ms)
    an.Bundle(net, timed.manifest, {table.key: table}).save(here / "timed")
    return here


@pytest.fixture(scope="module", autouse=True)
def _one_parser_a_verb() -> Iterator[None]:
    """What a verb understands is the same for every value, and tyro finds it out anew in 80 ms each time."""
    kind = tyro._parsers.ParserSpecification
    find_out, known = kind.from_callable_or_type, {}

    def found(command: Any, **how: Any) -> Any:
        if how["parent_classes"] or how["intern_prefix"]:  # a part of one
            return find_out(command, **how)
        if command not in known:
            known[command] = find_out(command, **how)
        return known[command]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "from_callable_or_type", staticmethod(found))
        yield


@pytest.fixture(autouse=True)
def _behind_the_doors(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for path in WORK:
        module, _, name = path.rpartition(".")
        monkeypatch.setattr(importlib.import_module(f"anytimenet.{module}"), name, reach)


def test_every_verb_has_a_row() -> None:
    assert set(COMMANDS) == set(VERBS)


@pytest.mark.parametrize(("verb", "name"), CASES, ids=lambda value: str(value))
def test_a_wrong_flag_is_refused_by_name(verb: str, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    for value in VALUES:
        check(verb, name, value, capfd)


def check(verb: str, name: str, value: str, capfd: pytest.CaptureFixture[str]) -> None:
    command = COMMANDS[verb]
    flag = "--" + name.replace("_", "-")
    words = list(command.words)
    if name in command.places:
        words[command.places[name] : command.places[name] + 1] = [value]
    elif flag in words:
        words[words.index(flag) + 1] = value
    else:
        words += [flag, value]
    try:
        code = run([verb, *words])
    except Reached:
        return
    finally:
        told = "".join(capfd.readouterr())
    if code == 0:
        return
    assert code in (1, 2), f"{words}: exit code {code}"
    assert "Traceback" not in told, f"{words}: {told}"
    assert "unexpected" not in told, f"{words}: a raw error: {told}"
    said = (
        flag,
        name,
        name.replace("_", " "),
        name.rstrip("s"),
        *([value] if len(value) > 1 else []),
        value.partition("=")[0] or flag,
    )
    plain = re.sub(r"[│╭╰─╮╯\s]+", " ", told)
    # An empty word is a folder, this one, or no word at all: there is nothing to name.
    assert value == "" or any(word.casefold() in plain.casefold() for word in said), (
        f"{words}: does not name {flag}: {told}"
    )
