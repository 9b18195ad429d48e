"""The page in a real browser: flows of a person with a server of the contract, and with the real one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.browser.tools import HERE, browser, node

from anytimenet import Bundle, TrainConfig, create_net, fit
from anytimenet.export import export
from anytimenet.native import library
from anytimenet.runtime import load

pytestmark = pytest.mark.slow
SECONDS = 500


def run_flows(file: str, **variables: str) -> None:
    """Runs a file of Node's test runner; its report is the message where a flow fails."""
    environment = {**os.environ, "ANYTIMENET_CHROMIUM": browser(), **variables}
    command = [node(), "--test", "--test-force-exit", "--test-reporter=spec", str(HERE / file)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"^ℹ pass (\d+)", done.stdout, re.MULTILINE)[0]) > 0


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """A net that knows digits, a little."""
    net = create_net("isresnext_tiny", num_classes=10, in_channels=1)
    return fit(net, "digits", config=TrainConfig(epochs=2, batch_size=64))


@pytest.fixture(scope="module")
def exported(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not library.is_there():
        pytest.skip("no engine")
    return Path(export(bundle, tmp_path_factory.mktemp("net") / "digits", format="native"))


@pytest.fixture(scope="module")
def site(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static site of it, with held-out digits."""
    from anytimenet.cli.samples import held_out
    from anytimenet.serving.samples import chosen
    from anytimenet.serving.site import write_site

    samples = chosen(held_out("digits"), load(exported).predictor(policy=None), 6)
    return write_site(exported, tmp_path_factory.mktemp("site") / "site", samples, title="digits")


@pytest.fixture
def server(exported: Path) -> Iterator[str]:
    """The address of a real server of it."""
    pytest.importorskip("fastapi")
    from tests.unit.serving.http.serving import resident_of, running

    from anytimenet.serving.http.settings import Settings

    with running(
        [resident_of(load(exported), "digits", ms=0.2)], Settings(port=0, demo=True, watch_s=None)
    ) as one:
        yield one.url + "/"


def test_the_page_works_with_any_server_of_the_contract():
    run_flows("page.test.mjs")


def test_the_page_works_with_the_real_server_and_its_calls_run_as_they_stand(server, tmp_path):
    picture = tmp_path / "seven.png"
    from anytimenet.data import load_data

    Image.fromarray(load_data("digits").test.images[0][:, :, 0]).save(picture)
    run_flows("real_server.test.mjs", SERVER=server, PICTURE=str(picture), PYTHON=sys.executable)


def test_the_static_site_answers_while_it_arrives_and_says_what_python_says(site):
    run_flows("site.test.mjs", SITE=str(site))
