"""The server as a process: killed under the supervisor of the guide, told to reload, and told to end."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from tests.unit.serving.http.serving import PNG, export_of, png, table_of, wait_for

from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.runtime import load
from anytimenet.runtime.exported.tables import store_table
from anytimenet.serving.client import Client, ServerError

GUIDE = Path(__file__).resolve().parents[4] / "docs" / "guides" / "serving.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An export with a cost table, so that a server need not measure."""
    found = export_of(tmp_path / "digits")
    table: CostTable = table_of(load(found))
    store_table(found, table)
    return found


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


class Supervisor(threading.Thread):
    """What systemd does with the unit of the guide: starts it, and again when it ended, after RestartSec."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(daemon=True)
        (text,) = re.findall(r"```ini\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
        unit = configparser.ConfigParser(interpolation=None)
        unit.optionxform = str  # type: ignore[assignment, method-assign]
        unit.read_string(text)
        service = unit["Service"]
        assert service["Restart"] == "always"
        self.pause_s = float(service["RestartSec"])
        words = shlex.split(service["ExecStart"])
        assert words[0].endswith("/anytimenet")
        places = {"/srv/models/digits": str(folder), "8000": str(port), "5": "0.2"}
        self.command = [sys.executable, "-m", "anytimenet", *(places.get(word, word) for word in words[1:])]
        self.ending, self.starts = False, 0
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def run(self) -> None:
        while not self.ending:
            self.process = started = subprocess.Popen(
                self.command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            self.starts += 1
            started.wait()
            if not self.ending:
                time.sleep(self.pause_s)

    def end(self) -> int:
        self.ending = True
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.slow
def test_a_server_that_is_killed_is_started_again_and_no_client_hangs(folder):
    port = free_port()
    url, found, ended = f"http://127.0.0.1:{port}", [], threading.Event()
    supervisor = Supervisor(folder, port)

    def ask() -> None:
        with Client(url) as client:
            while not ended.is_set():
                began = time.monotonic()
                try:
                    told: object = client.predict(png(), deadline_ms=1000).label
                except ServerError as error:
                    told = error
                    ended.wait(0.05)
                found.append((told, time.monotonic() - began))

    try:
        wait_for(lambda: ready(url), 300)
        clients = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
        for client in clients:
            client.start()
        wait_for(lambda: len(found) > 20)
        supervisor.process.kill()
        wait_for(lambda: supervisor.starts == 2)
        wait_for(lambda: ready(url), 300)
        before = len(found)
        wait_for(lambda: any(isinstance(told, str) for told, _ in found[before + 5 :]))
        ended.set()
        for client in clients:
            client.join(30)
            assert not client.is_alive(), "a client hangs"
        assert max(seconds for _, seconds in found) < 60  # each had its deadline of one, on a busy machine
        assert {told.reason for told, _ in found if isinstance(told, ServerError)} <= {
            *("unreachable", "timeout", "expired", "overload", "closing"),
        }
    finally:
        ended.set()
        assert supervisor.end() == 0


@pytest.mark.slow
def test_signals_reload_and_drain(folder, tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "anytimenet", "serve", str(folder), "--port", str(port)),
                *("--lame-duck-s", "4", "--watch-s", "0"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        wait_for(lambda: ready(url), 300)
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            process.send_signal(signal.SIGHUP)
            wait_for(lambda: 'result="loaded"} 1.0' in client.get("/metrics").text)
            assert client.post("/v1/predict", content=png(), headers=PNG).status_code == 200
            damaged = {"content-type": "multipart/form-data; boundary=B"}
            assert client.post("/v1/predict", content=png(), headers=damaged).status_code == 400
            process.send_signal(signal.SIGTERM)
            wait_for(lambda: client.get("/readyz").status_code == 503)
            assert client.post("/v1/predict", content=png(), headers=PNG).status_code == 200
        assert process.wait(60) == 0
        told = (tmp_path / "log").read_text(encoding="utf-8")
        assert "draining" in [json.loads(line)["event"] for line in told.splitlines()]  # JSON, all of it
        assert "Traceback" not in told
    finally:
        process.kill()
        process.wait()
