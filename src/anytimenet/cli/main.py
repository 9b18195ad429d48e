"""The command `anytimenet`: one verb a file, errors in one line, exit codes that scripts can use."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Sequence

from anytimenet.cli.output import NotUnderstoodError, print_error, warnings_once
from anytimenet.cli.wording import in_flags
from anytimenet.core.errors import AnytimeNetError, SharedTrainingError, suggest
from anytimenet.core.launcher import launched_rank
from anytimenet.core.registered import registered
from anytimenet.core.version import __version__

# Verb, its class in the module of the same name, and its line in the list of verbs.
VERBS = {
    "quickstart": (
        "quickstart.Quickstart",
        "train, evaluate and try a first anytime net on handwritten digits",
    ),
    "train": ("train.Train", "train a net by a recipe"),
    "evaluate": ("evaluate.Evaluate", "evaluate every stage of a bundle on held-out images"),
    "exits": ("exits.Exits", "choose where images may leave early, so that a contract is kept"),
    "reestimate": ("reestimate.Reestimate", "estimate a bundle's BatchNorm statistics anew"),
    "join": ("join.Join", "make one bundle of several nets that run one after the other"),
    "export": ("export.Export", "write a bundle for devices without PyTorch: ONNX or OpenVINO"),
    "page": ("page.Page", "write a web page on which a net answers in the browser"),
    "slice": ("slicing.Slice", "make a smaller bundle of some stages of a bundle"),
    "profile": ("profile.Profile", "measure a bundle's latency on this machine"),
    "bench": ("bench.Bench", "sweep batch sizes and deadlines on this machine"),
    "predict": ("predict.Predict", "predict images within a budget"),
    "serve": ("serve.Serve", "answer images over HTTP, each by its deadline"),
    "simulate": ("simulate.Simulate", "try a server under load on a virtual clock, or plan its replicas"),
    "compare": ("compare.Compare", "draw the curves of several runs in one figure"),
    "list": ("listing.List", "show nets, recipes, schemes or data sets"),
    "info": ("info.Info", "counted costs of a net or a bundle"),
    "completion": ("completion.Completion", "print a script for the shell that completes words"),
}

_USAGE = f"""anytimenet {__version__}: train one network, answer within any budget.

usage: anytimenet [--import MODULE] VERB ...
{{verbs}}

`anytimenet VERB --help` explains a verb; `anytimenet --version` prints the version.
`--import my_nets` imports my_nets.py first, so that nets which it registers have names here.
Exit codes: 0 done, 1 it failed (the reason is on standard error), 2 the command was not understood,
130 interrupted. ANYTIMENET_DEBUG=1 shows the traceback of an error, NO_COLOR=1 plain text."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits."""
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone (`anytimenet ... | head`); Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code."""
    try:
        arguments = _import_modules(arguments)
    except ImportError as error:
        print_error(f"--import: {error}; name a module that lies here or is installed")
        return 2
    verb, *rest = arguments or ["--help"]
    if verb in ("--version", "-V"):
        print(__version__)
        return 0
    if verb in ("--help", "-h"):
        print(_USAGE.format(verbs="\n".join(f"  {name:11}{line}" for name, (_, line) in VERBS.items())))
        return 0
    if verb == "--complete":
        print(*_completed(rest[1:]), sep="\n")
        return 0
    if verb not in VERBS:
        print_error(f"no verb is named {verb!r}: {_instead_of_verb(verb)}")
        return 2
    try:
        with warnings_once():
            return _run_verb(verb, rest)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        if launched_rank() > 0:
            return 130
        more = "; the same command with --resume goes on from the last checkpoint" if verb == "train" else ""
        print_error(f"interrupted{more}")
        return 130
    except NotUnderstoodError as error:
        print_error(f"{error}; anytimenet {verb} --help explains")
        return 2
    except Exception as error:
        if os.environ.get("ANYTIMENET_DEBUG"):
            raise
        # Of several processes each tells what happened to it alone, and the first what happened to all.
        if launched_rank() == 0 or not isinstance(error, SharedTrainingError):
            print_error(_message(error, verb))
        return 1


def _completed(words: Sequence[str]) -> Iterable[str]:
    """What the last of the words of a command may become; scripts of `anytimenet completion` ask for it."""
    *given, current = words or [""]
    while given[:1] == ["--import"]:
        given = given[2:]
    if not given:
        return (word for word in (*VERBS, "--import", "--help", "--version") if word.startswith(current))
    if given[0] not in VERBS:
        return ()
    from anytimenet.cli.completion import candidates

    return candidates(_command(given[0]), [word for word in given[1:] if word != "="], current.lstrip("="))


def _instead_of_verb(word: str) -> str:
    """What to do with a word that is no verb: names of nets and recipes are often given first."""
    commands = {
        "recipes": f"a recipe: anytimenet train {word}",
        "nets": f"a net: anytimenet info {word}, or anytimenet train folder --net {word} --data folder:PATH",
        "data": f"data: anytimenet train folder --data {word}",
        "schemes": f"a scheme: anytimenet train digits --scheme {word}",
    }
    for kind, command in commands.items():
        if any(record["name"] == word for record in registered(kind)):  # type: ignore[arg-type]
            return f"it is {command}"
    if os.path.isdir(word):
        return f"it is a folder: anytimenet evaluate {word}, or anytimenet train folder --data folder:{word}"
    return suggest(word, VERBS)


def _import_modules(arguments: Sequence[str]) -> Sequence[str]:
    """Imports what `--import MODULE` before the verb names: modules that register nets. Returns the rest."""
    while arguments and arguments[0] == "--import":
        if len(arguments) < 2:
            raise ImportError("a module's name is missing")
        if "" not in sys.path:
            sys.path.insert(0, "")
        importlib.import_module(arguments[1].removesuffix(".py"))
        arguments = arguments[2:]
    return arguments


def _message(error: Exception, verb: str) -> str:
    """One paragraph that says what is wrong and what to do, in the words of the command line."""
    if isinstance(error, AnytimeNetError | ValueError) or _is_of_a_check(error):
        return in_flags(str(error), _arguments(verb), _arguments("train"))
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return f"{error.filename or 'the output'}: {reason}; choose another path or free what is in the way"
    name = type(error).__name__
    return f"unexpected {name}: {error}. ANYTIMENET_DEBUG=1 shows where; please report it"


def _is_of_a_check(error: Exception) -> bool:
    """Whether an argument's check raised it, so that its message is written for people."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and place.tb_frame.f_globals.get("__name__") == "anytimenet.core.checks"


def _command(verb: str) -> type:
    """The class whose fields are the flags of a verb."""
    module, _, name = VERBS[verb][0].partition(".")
    command: type = getattr(importlib.import_module(f"anytimenet.cli.{module}"), name)
    return command


def _arguments(verb: str) -> frozenset[str]:
    from anytimenet.cli.parsing import flags_of

    return frozenset(flags_of(_command(verb)))


def _run_verb(verb: str, arguments: Sequence[str]) -> int:
    from anytimenet.cli.parsing import parse

    parsed = parse(verb, _command(verb), arguments)
    if isinstance(parsed, int):
        return parsed
    parsed.run()
    return 0
