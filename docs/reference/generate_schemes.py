"""Writes docs/reference/schemes.md from the registry.

python docs/reference/generate_schemes.py            writes the page
python docs/reference/generate_schemes.py --check    exits with 1 if the page is not what would be written
"""

from __future__ import annotations

import inspect
import json
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from page_file import write_or_check

from anytimenet.schemes import MEMBERS, Scheme, SchemePreset, list_schemes, scheme_preset, scheme_to_dict

PAGE = Path(__file__).with_name("schemes.md")

_INTRODUCTION = """\
# Training schemes by name
Written by `python docs/reference/generate_schemes.py` from the registry; a test compares. A scheme says how
the stages learn together: which run in a step (sampling), what each learns (targets), how much each counts
(weighting) and how their gradients combine (gradients). `anytimenet train --scheme NAME` takes one of the
names below, and `--scheme-args` changes it: `weighting=sieve` takes another member of a hook,
`gradients.window=2` sets a field, however deep (`weighting.base.version=v2`). Values are JSON: `true`,
`null`, `[1,2]`, and `'["largest"]'` in quotation marks for the shell. In Python a scheme is
`Scheme(targets=Distillation(), gradients=BlockDependent(window=2))`, and `TrainConfig(scheme=...)` takes it
or a name. Hooks compose freely; what makes no sense is refused in one line.

- Block-dependent losses, groups and equilibrium act between the blocks of a chain: nets with exits, MSDNet,
  `resnet_ann`, wrapped nets. Everything else works on every net.
- Weights are as published unless `weighting.total=X` rescales them to a sum. The scale of the summed loss is
  a scale of the learning rate, too: compare schemes at equal sums.
- A step of OSGD and of projection on conflict goes back once for every stage.
- `exp_lin` is EXP-LIN of Hu et al. by inference: no source at hand defines it, and it is the one of the
  weights in the authors' scripts that has no other name (`CalledWeights(function)` takes any weights).
- Left out: the rising temperature of Phuong and Lampert and the feature loss of BYOT.
"""


def page() -> str:
    """The whole page."""
    presets = sorted((scheme_preset(name) for name in list_schemes()), key=lambda p: (p.paper, p.name))
    sections = [_papers(presets), *(_hook(name, members) for name, members in MEMBERS.items())]
    return "\n".join([_INTRODUCTION, *sections])


def _papers(presets: list[SchemePreset]) -> str:
    lines = ["## Published schemes", "| name | what | differs from `anytime` in |", "|---|---|---|"]
    for paper, group in groupby(presets, lambda preset: preset.paper):
        lines.append(f"| | *{paper or 'no paper'}* | |")
        lines += [f"| `{p.name}` | {p.summary} | {_differences(p)} |" for p in group]
    return "\n".join(lines) + "\n"


def _differences(preset: SchemePreset) -> str:
    """The words of `--scheme-args` that would make it of the plain scheme."""
    plain = scheme_to_dict(Scheme())
    words = []
    for hook, value in scheme_to_dict(preset.scheme).items():
        if value != plain[hook]:
            member = MEMBERS[hook][value["member"]]
            usual = {field.name: _plain(field.default) for field in fields(member)}
            words.append(f"`{hook}={value['member']}`")
            words += [
                f"`{hook}.{name}={_word(given)}`"
                for name, given in value.items()
                if name != "member" and not isinstance(given, dict) and given != usual[name]
            ]
    return " ".join(words)


def _hook(name: str, members: Any) -> str:
    lines = [f"## `{name}`", "| member | class | what | fields |", "|---|---|---|---|"]
    for word, member in members.items():
        what = (inspect.getdoc(member) or "").partition("\n")[0].rstrip(".").replace("|", "\\|")
        given = (
            ", ".join(f"`{f.name}={_default(f)}`{_allowed(member, f.name)}" for f in fields(member)) or "none"
        )
        lines.append(f"| `{word}` | `{member.__name__}` | {what} | {given} |")
    return "\n".join(lines) + "\n"


def _default(field: Any) -> str:
    if callable(field.default_factory):
        member = type(field.default_factory())
        return next(word for word, known in MEMBERS["weighting"].items() if known is member)
    return _word(_plain(field.default))


def _allowed(member: Any, name: str) -> str:
    """The words that a field takes, other than its default, where they are few."""
    hint = get_type_hints(member)[name]
    inner = get_args(hint)[0] if get_origin(hint) is tuple else hint
    words = [str(word) for word in get_args(inner)] if get_origin(inner) is Literal else []
    return f" ({', '.join(words)})" if words else ""


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


if __name__ == "__main__":
    write_or_check(PAGE, page())
