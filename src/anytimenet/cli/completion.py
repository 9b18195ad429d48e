"""`anytimenet completion bash|zsh|fish`, and the words that its scripts ask for when Tab is pressed.

(tyro can print scripts, too. They know no words without a flag, such as recipes, and only the names of the
day on which they were printed.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

import tyro

from anytimenet.cli.parsing import flags_of
from anytimenet.core.registered import Kind, registered

SCRIPTS = {
    "bash": """\
_anytimenet() {
  local IFS=$'\\n'
  COMPREPLY=($(anytimenet --complete "${COMP_WORDS[@]:0:COMP_CWORD+1}" 2>/dev/null))
  [[ ${COMPREPLY[0]} == *: ]] && compopt -o nospace
  return 0
}
complete -o default -F _anytimenet anytimenet
""",
    "zsh": """\
_anytimenet() {
  local -a candidates
  candidates=("${(@f)$(anytimenet --complete "${(@)words[1,CURRENT]}" 2>/dev/null)}")
  if [[ -n ${candidates[1]} ]]; then compadd -a candidates; else _files; fi
}
compdef _anytimenet anytimenet
""",
    "fish": """\
function __anytimenet_complete
    set -l current (commandline -ct)
    set -l candidates (anytimenet --complete (commandline -opc) "$current" 2>/dev/null)
    if test -n "$candidates"
        printf '%s\\n' $candidates
    else
        __fish_complete_path "$current"
    end
end
complete -c anytimenet -f -a '(__anytimenet_complete)'
""",
}
_NAMES: dict[str, Kind] = {
    "recipe": "recipes",
    "net": "nets",
    "name": "nets",
    "scheme": "schemes",
    "data": "data",
}
"""Flags and positional words that take a registered name."""


@dataclass(frozen=True)
class Completion:
    """Print a script for the shell: Tab then completes verbs, options, choices and registered names.

    bash  eval "$(anytimenet completion bash)"       in ~/.bashrc

    zsh   eval "$(anytimenet completion zsh)"        in ~/.zshrc, below compinit

    fish  anytimenet completion fish | source        in ~/.config/fish/config.fish
    """

    shell: Annotated[
        Literal["bash", "zsh", "fish"], tyro.conf.Positional, tyro.conf.arg(metavar="bash|zsh|fish")
    ]
    """Which shell."""

    def run(self) -> None:
        """Prints the script."""
        print(SCRIPTS[self.shell], end="")


def candidates(command: type, given: Sequence[str], current: str) -> Iterable[str]:
    """What `current` may become, after the words that were given to a verb; nothing where it is a path.

    >>> from anytimenet.cli.listing import List
    >>> list(candidates(List, [], "re"))
    ['recipes']
    """
    hints = flags_of(command, include_extras=True)
    positional = {name for name, hint in hints.items() if tyro.conf.Positional in get_args(hint)}
    flags = {f"--{name.replace('_', '-')}": name for name in hints if name not in positional}
    before = given[-1] if given else ""
    words = [word for name in positional for word in _choices(name, hints[name])]
    if before in flags and not _is_switch(hints[flags[before]]):
        words = _choices(flags[before], hints[flags[before]])
    elif before == ":":  # bash parts folder:PATH there
        words = []
    elif current.startswith("-") or set(words) & set(given):
        words = [flag for flag in flags if flag not in given]
    return (word for word in words if word.startswith(current))


def _choices(name: str, hint: Any) -> list[str]:
    if name in _NAMES:
        return [record["name"].removesuffix("PATH") for record in registered(_NAMES[name])]
    if get_origin(hint) is Literal:
        return [str(choice) for choice in get_args(hint)]
    return [choice for inner in get_args(hint) for choice in _choices("", inner)]


def _is_switch(hint: Any) -> bool:
    return hint is bool or bool in get_args(hint)
