"""Commands that the reproductions' pages name exist: verbs, flags, recipes, nets and their arguments."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest
import torch
import tyro

from anytimenet.cli.main import VERBS
from anytimenet.cli.output import split_json_flag
from anytimenet.nets import create_net
from anytimenet.recipes import list_recipes

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "reproductions").rglob("*.md"))
# In backticks, or as an indented line.
COMMAND = re.compile(r"`(anytimenet [a-z][^`]*)`|^ {4}(anytimenet .*)$", re.MULTILINE)
TABLE_NAMES = re.compile(r"^\| 4\..*$", re.MULTILINE)


def commands() -> list[str]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        options = re.search(r'^ {4}OPTIONS="(.*)"$', text, re.MULTILINE)
        for match in COMMAND.finditer(text):
            line = match[1] or match[2].partition("  #")[0]
            found.append(line.replace("$OPTIONS", options[1] if options else ""))
    return sorted({line for line in found if len(line.split()) > 2})


@pytest.mark.parametrize("line", commands())
def test_a_command_is_understood(line):
    _, verb, *arguments = shlex.split(line)
    module, _, name = VERBS[verb][0].partition(".")
    command = tyro.cli(
        getattr(importlib.import_module(f"anytimenet.cli.{module}"), name),
        args=split_json_flag(arguments),
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
    )
    if verb == "train":
        experiment = command.experiment()
        with torch.device("meta"):
            create_net(experiment.net, **experiment.net_arguments)


def test_commands_and_recipes_are_found_at_all():
    assert len(commands()) > 15
    page = (ROOT / "reproductions" / "slicing_vertically" / "README.md").read_text(encoding="utf-8")
    rows = " ".join(TABLE_NAMES.findall(page))
    for name in list_recipes():
        if name not in ("digits", "folder") and not name.startswith("msdnet_cifar"):
            assert name in rows or name.removeprefix("msdnet_imagenet") in rows, f"no row names {name}"


@pytest.mark.parametrize(
    "arguments", re.findall(r"`[^`\n]*--net-args ([^`;\n]+)`", PAGES[-1].read_text("utf-8"))
)
def test_arguments_that_a_table_names_are_arguments(arguments):
    from anytimenet.cli.train import parse_arguments

    values = parse_arguments("--net-args", tuple(arguments.split()))
    nets = ["iresnext_29", "msdnet_cifar_7"]
    with torch.device("meta"):
        built = [name for name in nets if _builds(name, values)]
    assert built, f"neither {' nor '.join(nets)} has {values}"


def _builds(name: str, values: dict) -> bool:
    try:
        create_net(name, **values)
    except ValueError:
        return False
    return True
