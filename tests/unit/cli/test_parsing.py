"""The words of a command: numbers as tables print them, short help, errors in one line that name the way."""

from __future__ import annotations

import logging

import pytest

from anytimenet.cli.main import VERBS, _command, run
from anytimenet.cli.parsing import parse
from anytimenet.evaluation.text.units import format_count, parse_count


def one_line(capsys) -> str:
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    text: str = said.err
    return text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.5M", 1_500_000),
        ("1.499 M", 1_499_000),
        (" 84.80 k", 84_800),
        ("84.80K", 84_800),
        ("1.531G", 1_531_000_000),
        ("2 t", 2e12),
        ("2e6", 2e6),
        ("2e3k", 2e6),
        ("640", 640),
        ("100,000", 100_000),
        ("-1", -1),
    ],
)
def test_a_count_is_read_as_people_write_it(text, number):
    assert parse_count(text) == number


@pytest.mark.parametrize("text", ["", "M", "1.5x", "1.5 MM", "1,5", "one", "1.5M2"])
def test_what_is_no_count_is_refused(text):
    with pytest.raises(ValueError, match=r"is no number such as 2e6, 1\.5M or 100,000"):
        parse_count(text)


@pytest.mark.parametrize("count", [640, 89_690, 12_977_000, 1_530_644_000, 999_990])
def test_what_a_table_prints_can_be_given_back(count):
    assert format_count(parse_count(format_count(count))) == format_count(count)


def test_counts_are_taken_wherever_a_budget_is():
    parsed = parse("predict", _command("predict"), ["b", "x.png", "--budget-macs", "1.499 M"])
    assert parsed.budget_macs == 1_499_000
    parsed = parse("evaluate", _command("evaluate"), ["b", "--budgeted", "--mean-budgets", "1.5M", "2e6"])
    assert parsed.mean_budgets == (1_500_000, 2_000_000)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "digits", "--epoch", "3"], "--epoch, 3: did you mean --epochs? anytimenet train --help"),
        (["train"], "RECIPE is missing; anytimenet train --help explains"),
        (["info"], "NET|BUNDLE is missing"),
        (["join", "a"], "--out PATH is missing"),
        (["train", "digits", "--epochs", "x"], "--epochs x: INT is needed"),
        (["predict", "b", "x.png", "--budget-macs", "1.5x"], "--budget-macs 1.5x: NUMBER is needed"),
        (["train", "digits", "--seed"], "--seed needs a value"),
        (["train", "digits", "--preset", "papr"], "--preset 'papr' is no choice: did you mean 'paper'"),
        (["list", "net"], "'net' is no choice: did you mean 'nets'?"),
    ],
)
def test_an_error_of_the_parser_is_one_line_like_every_other(words, said, capsys):
    assert run(words) == 2
    line = one_line(capsys)
    assert line.startswith("anytimenet: ")
    assert said in line
    assert "│" not in line


@pytest.mark.parametrize("verb", VERBS)
def test_help_says_no_default_where_there_is_none(verb, capsys):
    assert run([verb, "--help"]) == 0
    said = capsys.readouterr().out
    for words in ("default: None", "default: False", "default: )", "{None}"):
        assert words not in said


def test_help_says_a_default_that_is_a_number(capsys):
    run(["evaluate", "--help"])
    assert "(default: 0.0)" in capsys.readouterr().out


# --- Names of one kind where another is wanted ------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ["train", "isresnext_small"],
            1,
            "a net: take the recipe folder with --net isresnext_small and --data",
        ),
        (["train", "cifar10"], 1, "it is data: take the recipe folder with --data cifar10"),
        (["train", "folder:pets"], 1, "it is data: take the recipe folder with --data folder:pets"),
        (["train", "sieve"], 1, "it is a scheme: take a recipe, such as digits, with --scheme sieve"),
        (["train", "digts"], 1, "did you mean 'digits'?"),
        (["train", "digits", "--net", "digits"], 1, "it is a recipe: the name of a net is needed here"),
        (["train", "digits", "--data", "resnet_20"], 1, "it is a net: the name of data is needed here"),
        (["train", "digits", "--scheme", "resnet_20"], 1, "it is a net: the name of a scheme is needed here"),
        (["info", "digits"], 1, "it is a recipe: the name of a net is needed here"),
        (["info", "isresnext_smal"], 1, "did you mean 'isresnext_small'"),
        (["isresnext_small"], 2, "it is a net: anytimenet info isresnext_small, or anytimenet train folder"),
        (["digits"], 2, "it is a recipe: anytimenet train digits"),
        (["cifar10"], 2, "it is data: anytimenet train folder --data cifar10"),
        (["sieve"], 2, "it is a scheme: anytimenet train digits --scheme sieve"),
        (["trian"], 2, "did you mean 'train'?"),
        (["evaluate", "isresnext_small"], 1, "it is a net, and the folder of a bundle is needed"),
        (["predict", "digits", "x.png"], 1, "it is a recipe, and the folder of a bundle is needed"),
    ],
)
def test_a_name_of_another_kind_says_what_it_is_and_what_to_do(
    words, code, said, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert run(words) == code
    assert said in one_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_verb(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pets").mkdir()
    assert run(["pets"]) == 2
    assert "it is a folder: anytimenet evaluate pets, or anytimenet train folder --data" in one_line(capsys)


def test_a_warning_of_the_library_is_said_once_a_command(capsys):
    from anytimenet.cli.output import warnings_once

    log = logging.getLogger("anytimenet.data.reading.decoding")
    for _ in range(2):
        with warnings_once():
            for name in ("a.png", "a.png", "b.png"):
                log.warning("%s cannot be read", name)
        assert (
            capsys.readouterr().err == "anytimenet: a.png cannot be read\nanytimenet: b.png cannot be read\n"
        )
    assert not logging.getLogger("anytimenet").handlers
