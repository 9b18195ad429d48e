"""`anytimenet list nets|recipes|schemes|data`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Annotated, Any, Literal

import tyro

from anytimenet.cli.output import emit
from anytimenet.core.errors import require
from anytimenet.core.registered import Kind, registered

_OF_OTHERS = (
    "Nets of other packages have a prefix: timm:NAME and torchvision:NAME are their nets with exits (extra "
    "vision), and anytimenet list nets 'timm:*vit*' lists some of them; huggingface:PATH is a net of "
    "transformers in a folder (extra huggingface)."
)


@dataclass(frozen=True)
class List:
    """Show registered nets, recipes, schemes or data sets.

    JSON: a line each; nets {name, summary, paper, family, input_shape}, recipes {name, summary, command,
    hardware, minutes, expected}, schemes {name, summary, paper, hooks}, data {name, summary, classes,
    train_images, held_out, test_images, image_size, page}, where null depends on the folder.
    """

    what: Annotated[
        Literal["nets", "recipes", "schemes", "data"],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="nets|recipes|schemes|data"),
    ]
    """Which list."""
    pattern: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PATTERN")] = "*"
    """A shell pattern for the names, for example "is*"; "timm:*vit*" lists nets of timm."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.jsonl]")] = None
    """Print JSON lines, or write them to a file."""

    def run(self) -> None:
        """Prints the list."""
        records = self._records()
        if emit(self.json, records):
            width = max((len(record["name"]) for record in records), default=0)
            for record in records:
                print(f"{record['name']:{width}}  {record['summary']}")
            if not records:
                print(f"no {self.what} match {self.pattern!r}")
            if self.what == "nets" and self.pattern == "*":
                print(_OF_OTHERS)

    def _records(self) -> list[dict[str, Any]]:
        if self.what == "nets" and ":" in self.pattern:
            require("torch", "train")
            return _nets(self.pattern)
        return [record for record in records_of(self.what) if fnmatch(record["name"], self.pattern)]


def records_of(kind: Kind) -> list[dict[str, Any]]:
    """The list as it is: from the generated table, unless something was registered beside it (`--import`)."""
    if "anytimenet.nets" in sys.modules or "anytimenet.recipes" in sys.modules:
        return live_records(kind)
    return [{k: v for k, v in record.items() if k != "costs"} for record in registered(kind)]


def live_records(kind: Kind) -> list[dict[str, Any]]:
    """The list from the registries; it needs torch."""
    return _RECORDS[kind]()


def _nets(pattern: str = "*") -> list[dict[str, Any]]:
    from anytimenet.nets import list_nets, net_entry

    entries = [net_entry(name) for name in list_nets(pattern)]
    return [
        {name: getattr(e, name) for name in ("name", "summary", "paper", "family")}
        | {"input_shape": list(e.input_shape)}
        for e in entries
    ]


def _recipes() -> list[dict[str, Any]]:
    from anytimenet.recipes import list_recipes, recipe

    names = ("name", "summary", "command", "hardware", "minutes", "expected")
    return [{name: getattr(recipe(key), name) for name in names} for key in list_recipes()]


def _schemes() -> list[dict[str, Any]]:
    from anytimenet.schemes import list_schemes, scheme_preset, scheme_to_dict

    presets = [scheme_preset(name) for name in list_schemes()]
    return [
        {"name": p.name, "summary": p.summary, "paper": p.paper, "hooks": scheme_to_dict(p.scheme)}
        for p in presets
    ]


def _data() -> list[dict[str, Any]]:
    from anytimenet.data.load import describe_data

    return describe_data()


_RECORDS = {"nets": _nets, "recipes": _recipes, "schemes": _schemes, "data": _data}
