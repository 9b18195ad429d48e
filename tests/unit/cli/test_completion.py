"""Tab completes verbs, options, choices and registered names, in the shells themselves where those are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from anytimenet.cli.completion import SCRIPTS
from anytimenet.cli.main import VERBS, run
from anytimenet.core.registered import registered

NETS = [record["name"] for record in registered("nets")]


def completed(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert run(["--complete", "anytimenet", *words]) == 0
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ev"], ["evaluate"]),
        (["train", "digi"], ["digits"]),
        (["train", "digits", "--net", "isresnext_4"], ["isresnext_47"]),
        (
            ["train", "digits", "--scheme", "siev"],
            ["sieve", "sieve_alternating", "sieve_from_end", "sieve_v2"],
        ),
        (["train", "digits", "--data", "fol"], ["folder:"]),
        (["train", "--preset", "fa"], ["fast"]),
        (["train", "digits", "--epo"], ["--epochs"]),
        (["train", "digits", "--flip", ""], ["yes", "no"]),
        (["train", "digits", "--net", "=", "isresnext_4"], ["isresnext_47"]),
        (["evaluate", "runs/a", "--ens", "--exit-cost", "m"], ["macs_cumulative", "msd", "macs"]),
        (["evaluate", "runs/a", "--dev"], ["--device"]),
        (["list", "rec"], ["recipes"]),
        (["info", "isresnext_4"], ["isresnext_47"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["--import", "my_nets", "pred"], ["predict"]),
        # Paths are the shell's.
        (["evaluate", "ru"], []),
        (["train", "digits", "--out", ""], []),
        (["nothing", ""], []),
        (["train", "--data", "folder", ":", "dig"], []),
    ],
)
def test_words_are_completed(words, expected, capsys):
    assert completed(capsys, *words) == expected


def test_every_verb_and_what_it_takes(capsys):
    assert completed(capsys, "")[: len(VERBS)] == list(VERBS)
    assert completed(capsys, "info", "") == NETS
    flags = completed(capsys, "train", "digits", "--seed", "3", "--skip-bad", "-")
    assert {"--net", "--epochs", "--image-size", "--mixup"} <= set(flags)
    assert not {"--seed", "--skip-bad", "--recipe"} & set(flags)  # given already, or no flag


def test_it_needs_no_torch():
    code = (
        "import sys\nfrom anytimenet.cli.main import run\n"
        "run(['--complete', 'anytimenet', 'train', 'digits', '--net', 'isresnext_4'])\n"
        "print([m for m in ('torch', 'numpy', 'PIL') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split("\n")[:2] == ["isresnext_47", "[]"]


@pytest.fixture
def on_path(tmp_path: Path) -> dict[str, str]:
    """An environment in which `anytimenet` is this one."""
    program = tmp_path / "anytimenet"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m anytimenet "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}


def in_bash(words: list[str], environment: dict[str, str], here: Path) -> list[str]:
    """What bash offers for the last word."""
    script = (
        'eval "$(anytimenet completion bash)"\ncomplete -p anytimenet >&2\n'
        f"COMP_WORDS=({' '.join(map(repr, words))})\nCOMP_CWORD={len(words) - 1}\n"
        "compopt() { :; }\n"  # a builtin that works while Tab is pressed only
        '_anytimenet\nprintf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = ["bash", "--norc", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=here)
    assert done.returncode == 0
    assert done.stderr == "complete -o default -F _anytimenet anytimenet\n"
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["anytimenet", "ev"], ["evaluate"]),
        (["anytimenet", "train", "digits", "--net", "isresnext_4"], ["isresnext_47"]),
        (["anytimenet", "train", "digits", "--data", "fol"], ["folder:"]),
        (["anytimenet", "evaluate", ""], []),
    ],
)
def test_bash_completes(words, expected, on_path, tmp_path):
    assert in_bash(words, on_path, tmp_path) == expected


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_is_one_for_its_shell(shell, capsys, tmp_path):
    assert run(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    assert "anytimenet --complete" in script.read_text()
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n", str(script)], check=True)
