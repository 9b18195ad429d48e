"""Two gloo processes that run the functions of scenarios.py, for all tests of this folder."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).parent
TIMEOUT_S = 300


class Pair:
    """Two processes; `run` calls one function in both and returns what each answered."""

    stopped = False

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, str(HERE / "worker.py"), str(folder / "store")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._workers = [
            subprocess.Popen(
                [*command, str(rank)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            for rank in range(2)
        ]

    def run(self, scenario: str, **arguments: Any) -> list[Any]:
        """The values of both; fails with the first error."""
        answers = self.answers(scenario, **arguments)
        for rank, answer in enumerate(answers):
            assert "error" not in answer, f"process {rank}: {answer['error']}"
        return [answer["value"] for answer in answers]

    def answers(self, scenario: str, **arguments: Any) -> list[dict[str, Any]]:
        """As `run`, errors as values."""
        for worker in self._workers:
            assert worker.stdin is not None
            worker.stdin.write(json.dumps([scenario, arguments]) + "\n")
            worker.stdin.flush()
        answers = [self._answer(worker) for worker in self._workers]
        found = [answer for answer in answers if answer is not None]
        if len(found) < len(answers):
            self.stop()
            pytest.fail(f"a process hangs or has ended; the answers are {answers}")
        return found

    def _answer(self, worker: subprocess.Popen[str]) -> dict[str, Any] | None:
        assert worker.stdout is not None
        ready, _, _ = select.select([worker.stdout], [], [], TIMEOUT_S)
        line = worker.stdout.readline() if ready else ""
        return json.loads(line) if line else None

    def stop(self) -> None:
        """Ends both."""
        self.stopped = True
        for worker in self._workers:
            worker.kill()
            worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                assert pipe is not None
                pipe.close()


@pytest.fixture(scope="session")
def _pairs() -> Iterator[list[Pair]]:
    pairs: list[Pair] = []
    yield pairs
    for pair in pairs:
        pair.stop()


@pytest.fixture
def pair(_pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Two processes in one group, the same for all tests until one of them hangs."""
    if not _pairs or _pairs[-1].stopped:
        _pairs.append(Pair(tmp_path_factory.mktemp("pair")))
    return _pairs[-1]


@pytest.fixture(scope="session")
def scenarios() -> ModuleType:
    """The scenarios' own module, for what a test does by itself."""
    spec = importlib.util.spec_from_file_location("distributed_scenarios", HERE / "scenarios.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
