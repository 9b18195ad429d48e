"""A folder is written into only if it is new, empty or proven to hold a run, and by one run at a time."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import anytimenet as an
from anytimenet.cli.main import run
from anytimenet.core.errors import TrainingError
from anytimenet.core.files.folder_lock import LOCK_NAME, HeldFolder, hold
from anytimenet.core.manifest.run_proof import holds_run
from anytimenet.evaluation import read_report
from anytimenet.recipes.run_folder import RunFolder

WORDS = ["train", "digits", "--net", "isresnext_tiny", "--epochs", "1", "--limit", "40", "--quiet"]
OWN = {
    "report.csv": b"mine,1\n",
    "summary.txt": b"mine",
    "checkpoints/best.safetensors": b"mine",
    "bundle/weights.bin": b"mine",
    "seed-bank/oak.txt": b"mine",
    "experiment.json": b'{"trial": 3}',
    "log.jsonl": b"not json\n",
    "notes.txt": b"mine",
}


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def fit(out: Path, **options):
    net = an.create_net("isresnext_tiny", num_classes=10, in_channels=1)
    config = an.TrainConfig(epochs=1, batch_size=20, device="cpu")
    return an.fit(net, an.load_data("digits", an.DataOptions(limit=20)), config=config, out=out, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    out: Path = tmp_path_factory.mktemp("runs") / "run"
    assert run([*WORDS, "--out", str(out)]) == 0
    assert not (out / LOCK_NAME).exists()
    return out


@pytest.fixture
def a_run(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_the_report_of_a_run_has_the_costs_that_its_bundle_is_counted_with(finished):
    bundle, stages = an.load(finished), read_report(finished / "report.json").stages
    told = [(stage.macs, stage.full, stage.params) for stage in stages]
    assert told == [(c.macs, c.full, c.params) for c in bundle.stage_costs()]


# --- a person's own files -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("flags", [[], ["--overwrite"], ["--resume"], ["--seeds", "1", "--overwrite"]])
def test_a_folder_that_is_no_run_is_left_alone(tmp_path, capsys, name, flags):
    folder = written(tmp_path / "d", {name: OWN[name]})
    assert run([*WORDS, "--out", str(folder), *flags]) == 1
    assert "and no run" in capsys.readouterr().err
    assert files_of(folder) == {name: OWN[name]}


@pytest.mark.parametrize("name", OWN)
def test_fit_leaves_it_alone_too(tmp_path, name):
    folder = written(tmp_path / "d", {name: OWN[name]})
    for options in ({}, {"resume": True}):
        with pytest.raises(TrainingError, match="and no run"):
            fit(folder, **options)
    assert files_of(folder) == {name: OWN[name]}


@pytest.mark.parametrize("verb", ["reestimate", "join"])
def test_so_do_the_verbs_that_write_like_a_run(a_run, tmp_path, capsys, verb):
    folder = written(tmp_path / "d", {"report.csv": b"mine"})
    bundles = [str(a_run)] * (2 if verb == "join" else 1)
    assert run([verb, *bundles, "--out", str(folder), "--overwrite"]) == 1
    assert "and no run" in capsys.readouterr().err
    assert files_of(folder) == {"report.csv": b"mine"}


def test_evaluate_replaces_its_own_report_and_no_other(a_run, tmp_path, capsys):
    folder = written(tmp_path / "d", {"report.csv": b"mine"})
    words = ["evaluate", str(a_run), "--out"]
    assert run([*words, str(folder)]) == 1
    assert "report.csv would be replaced" in capsys.readouterr().err
    assert files_of(folder) == {"report.csv": b"mine"}
    for _ in range(2):
        assert run([*words, str(tmp_path / "new")]) == 0


# --- overwriting ----------------------------------------------------------------------------------------


def test_clearing_deletes_what_the_run_wrote_and_nothing_else(a_run):
    own = {"notes.txt": b"a", "checkpoints/mine.pt": b"b", "tensorboard/mine.txt": b"c", "seed-bank/x": b"d"}
    written(a_run, own)
    RunFolder(a_run).clear()
    assert files_of(a_run) == own


def test_clearing_leaves_an_empty_folder_of_an_untouched_run(a_run):
    RunFolder(a_run).clear()
    assert list(a_run.iterdir()) == []


@pytest.mark.parametrize("name", ["bundle/mine.txt", "curve.png/mine.txt", "seed-7/mine.txt"])
def test_all_is_looked_at_before_anything_is_deleted(a_run, capsys, name):
    if name.startswith("curve"):
        (a_run / "curve.png").unlink()
    written(a_run, {name: b"mine"})
    before = files_of(a_run)
    assert run([*WORDS, "--out", str(a_run), "--overwrite"]) == 1
    assert files_of(a_run) == before


@pytest.mark.parametrize("name", ["checkpoints", "bundle", "tensorboard", "report.csv"])
def test_links_are_taken_away_and_never_followed(a_run, tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    shutil.move(a_run / name, elsewhere)
    (a_run / name).symlink_to(elsewhere)
    kept = files_of(elsewhere) if elsewhere.is_dir() else elsewhere.read_bytes()
    assert run([*WORDS, "--out", str(a_run), "--overwrite"]) == 0
    assert not (a_run / name).is_symlink()
    assert (files_of(elsewhere) if elsewhere.is_dir() else elsewhere.read_bytes()) == kept
    assert holds_run(a_run)


def test_a_run_that_fit_wrote_is_a_run(tmp_path):
    fit(tmp_path / "run")
    assert holds_run(tmp_path / "run")
    RunFolder(tmp_path / "run").claim(resume=False, overwrite=True)
    with pytest.raises(TrainingError, match="holds a run already"):
        RunFolder(tmp_path / "run").claim(resume=False, overwrite=False)


# --- one at a time --------------------------------------------------------------------------------------


HOLDER = """
import sys
from anytimenet.core.files.folder_lock import hold
with hold(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held_elsewhere(tmp_path):
    folder = tmp_path / "held"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"held\n"
    yield folder, process
    process.stdin.close()
    process.wait(timeout=300)
    process.stdout.close()


def test_a_folder_that_another_process_holds_is_refused(held_elsewhere, capsys):
    folder, process = held_elsewhere
    with pytest.raises(TrainingError, match="another run is writing into"):
        fit(folder)
    for flags in ([], ["--overwrite"], ["--resume"], ["--seeds", "1"]):
        assert run([*WORDS, "--out", str(folder), *flags]) == 1
        assert "another run is writing into" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == [LOCK_NAME]
    process.kill()  # what dies holds nothing any more
    process.wait(timeout=300)
    with hold(folder):
        pass
    assert not folder.exists() or not any(folder.iterdir())


def test_two_threads_do_not_share_a_folder(tmp_path):
    refused = []

    def other():
        try:
            with hold(tmp_path):
                pass
        except TrainingError as error:
            refused.append(error)

    with hold(tmp_path) as held:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        with hold(held) as again:  # given on, it is not asked for twice
            assert again is held
            assert os.fspath(again) == str(tmp_path)
    assert len(refused) == 1
    assert not (tmp_path / LOCK_NAME).exists()


@pytest.mark.filterwarnings(
    "ignore:.*fork:DeprecationWarning"
)  # of a process with threads, where Python tells
def test_children_that_outlive_a_run_do_not_hold_its_folder(tmp_path):
    reading, writing = os.pipe()
    with hold(tmp_path):
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
    os.close(reading)
    with hold(tmp_path):
        pass
    os.close(writing)
    os.waitpid(child, 0)


def test_a_refused_run_leaves_no_folder(tmp_path, capsys):
    assert run([*WORDS, "--out", str(tmp_path / "a" / "b"), "--data", "folder:/nowhere"]) == 1
    assert list(tmp_path.iterdir()) == []
    assert "does not exist" in capsys.readouterr().err
    assert isinstance(HeldFolder(tmp_path), os.PathLike)


def test_a_broken_report_proves_nothing(tmp_path):
    for content in (b"", b"[]", b"[" * 100_000, b"\xff", json.dumps({"data": 1}).encode()):
        for name in ("experiment.json", "report.json", "checkpoints/last.safetensors"):
            assert not holds_run(written(tmp_path / "d", {name: content}))
