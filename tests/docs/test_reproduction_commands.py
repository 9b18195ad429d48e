"""Commands that the reproductions' pages name exist: verbs, flags, recipes, nets and their arguments."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from anytimenet.cli.main import VERBS
from anytimenet.cli.parsing import parse
from anytimenet.nets import create_net
from anytimenet.recipes import list_recipes

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "reproductions").rglob("*.md"))
# In backticks, or as an indented line.
COMMAND = re.compile(r"`(anytimenet [a-z][^`]*)`|^ {4}(anytimenet .*)$", re.MULTILINE)
ROW = re.compile(r"^\|.*$", re.MULTILINE)
# Of any data: no paper's experiment.
GENERAL = ("digits", "folder", "segmentation")


def texts() -> list[str]:
    return [page.read_text(encoding="utf-8") for page in PAGES]


def commands() -> list[str]:
    found = []
    for text in texts():
        text = text.replace("\\\n", " ")
        options = re.search(r'^ {4}OPTIONS="(.*)"$', text, re.MULTILINE)
        for match in COMMAND.finditer(text):
            line = match[1] or match[2].partition("  #")[0]
            found.append(line.replace("$OPTIONS", options[1] if options else ""))
    return sorted({line for line in found if len(line.split()) > 2})


def cells(pattern: str) -> list[str]:
    return sorted({found for text in texts() for found in re.findall(pattern, text)})


def understood(line: str):
    _, verb, *arguments = shlex.split(line)
    module, _, name = VERBS[verb][0].partition(".")
    return parse(verb, getattr(importlib.import_module(f"anytimenet.cli.{module}"), name), arguments)


@pytest.mark.parametrize("line", commands())
def test_a_command_is_understood(line):
    command = understood(line)
    assert not isinstance(command, int), "the parser refused it"
    if shlex.split(line)[1] == "train":
        experiment = command.experiment()
        with torch.device("meta"):
            assert create_net(experiment.net, **experiment.net_arguments).num_stages >= 1


@pytest.mark.parametrize("options", cells(r"`(--scheme [^`\n]+)`"))
def test_a_scheme_that_a_table_names_is_one(options):
    experiment = understood(f"anytimenet train folder {options}").experiment()
    assert experiment.config.chosen_scheme


def test_commands_are_found_at_all():
    assert len(commands()) > 15


@pytest.mark.parametrize("name", [name for name in list_recipes() if name not in GENERAL])
def test_a_row_of_a_table_names_the_recipe(name):
    rows = {word for text in texts() for row in ROW.findall(text) for word in re.findall(r"\w+", row)}
    assert name in rows, f"no table of reproductions/*/README.md names the recipe {name}"


@pytest.mark.parametrize("arguments", cells(r"`[^`\n]*--net-args ([^`;\n]+)`"))
def test_arguments_that_a_table_names_are_arguments(arguments):
    from anytimenet.cli.train import parse_arguments

    values = parse_arguments("--net-args", tuple(arguments.partition(" --")[0].split()))
    nets = ["iresnext_29", "msdnet_cifar_7", "resnet_ann_45"]
    with torch.device("meta"):
        built = [name for name in nets if _builds(name, values)]
    assert built, f"none of {', '.join(nets)} has {values}"


def _builds(name: str, values: dict[str, Any]) -> bool:
    try:
        create_net(name, **values)
    except ValueError:
        return False
    return True
