"""Python errors speak Python, and the command line says the same in its flags."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import anytimenet
from anytimenet.cli.main import VERBS, _arguments, run
from anytimenet.cli.wording import in_flags

SOURCE = Path(anytimenet.__file__).parent
FLAG = re.compile(r"(?<![\w-])--[a-z]|anytimenet (?:" + "|".join(VERBS) + r") [A-Z-]")
FLAGS = (
    "skip_bad",
    "image_size",
    "device",
    "data",
    "resume",
    "out",
    "epochs",
    "ignore_index",
    "limit",
    "int8",
    "stage",
    "deadline_ms",
)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every text of a file but the docstrings, the decorators and what recipes show as their command."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    left_out: set[ast.AST] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            left_out |= {s.value for s in body if isinstance(s, ast.Expr)}
        for decorator in getattr(node, "decorator_list", []):
            left_out |= set(ast.walk(decorator))
    for node in tree.body:
        if path.parent.name == "recipes" and isinstance(node, ast.Assign):
            left_out |= set(ast.walk(node))
        # A text below a value says what the value is.
        if isinstance(node, ast.Expr):
            left_out.add(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in left_out:
            yield node.lineno, node.value


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("leave them out with skip_bad=True", "leave them out with --skip-bad"),
        ("choose a size with image_size=N", "choose a size with --image-size N"),
        ("give image_size=(96, 128)", "give --image-size 96x128"),
        ("or device='cpu'", "or --device cpu"),
        ("give data='folder:PATH', with", "give --data folder:PATH, with"),
        ("in DataOptions(limit=3, skip_bad=True).", "in --limit 3 --skip-bad."),
        ("an.DataOptions(ignore_index=None)", "--ignore-index none"),
        ("DataOptions(split_seed=1)", "DataOptions(split_seed=1)"),
        ("epochs must be at least 1, not 0", "--epochs must be at least 1, not 0"),
        ("int8 must be from 1 to 4096, not 0", "--int8 must be from 1 to 4096, not 0"),
        ("give stage=K or deadline_ms, not both", "give --stage K or --deadline-ms, not both"),
        ("device 'gpu' does not exist", "--device 'gpu' does not exist"),
        ("image_size must be a size", "--image-size must be a size"),
        ("out=FOLDER, or go on with resume=True", "--out FOLDER, or go on with --resume"),
        ("the net saw all (val_fraction=0)", "the net saw all (train --val-fraction 0)"),
        ("an.reestimate(bundle), or", "anytimenet reestimate BUNDLE --out FOLDER, or"),
        # Words, and what users have written themselves.
        ("data of the device are out of date", "data of the device are out of date"),
        ("runs/image_size/x.png is broken", "runs/image_size/x.png is broken"),
        ("'skip_bad=True' cannot be read", "'skip_bad=True' cannot be read"),
        ("a/b.device=3.png cannot be read", "a/b.device=3.png cannot be read"),
        ("lr=3 differs", "lr=3 differs"),
        ("is 0: resume=False", "is 0: --resume no"),
    ],
)
def test_arguments_become_flags_and_nothing_else_does(said, shown):
    assert in_flags(said, FLAGS, ("val_fraction",)) == shown


def test_no_message_of_the_library_names_a_flag():
    found = [
        f"{path.relative_to(SOURCE)}:{line} {text}"
        for path in sorted(SOURCE.rglob("*.py"))
        if "cli" not in path.relative_to(SOURCE).parts
        for line, text in texts(path)
        if FLAG.search(text)
    ]
    assert not found, "say it in Python's words, see cli/wording.py:\n" + "\n".join(found)


def test_texts_are_found_at_all():
    found = [text for path in SOURCE.rglob("*.py") for _, text in texts(path)]
    assert sum("skip_bad=True" in text for text in found) >= 2
    assert FLAG.search("leave them out with --skip-bad")
    assert FLAG.search("anytimenet reestimate BUNDLE")


@pytest.mark.parametrize("verb", VERBS)
def test_the_arguments_of_a_verb_are_known(verb):
    assert "json" in _arguments(verb) or verb in ("quickstart", "completion", "serve")


def test_the_command_line_names_its_flag_and_python_its_argument(tmp_path, capsys):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ValueError, match="with the same settings and resume=True"):
        anytimenet.load(tmp_path)
    # `predict` has no --resume: it is that of train.
    assert run(["predict", str(tmp_path), "a.png"]) == 1
    assert "with the same settings and train --resume" in capsys.readouterr().err


def test_a_type_that_a_check_refuses_is_no_unexpected_error(capsys):
    from anytimenet.cli.main import _message
    from anytimenet.core import checks

    with pytest.raises(TypeError) as refused:
        checks.whole_number("3", "batch_size")
    assert _message(refused.value, "train") == "--batch-size must be a whole number, not '3'"
    with pytest.raises(TypeError) as other:
        len(3)
    assert _message(other.value, "train").startswith("unexpected TypeError")


def test_flags_are_the_fields_of_a_command_and_of_its_groups():
    assert {"recipe", "out", "epochs", "image_size", "flip", "mixup"} <= _arguments("train")
    assert not {"training", "images", "augmentation", "mixing"} & _arguments("train")
