"""The static page: its files and no others, with headers that let it load nothing from elsewhere."""

from __future__ import annotations

import json

import pytest
from tests.unit.serving.http.serving import client_of, png, resident_of, running

from anytimenet.cli.main import run
from anytimenet.serving.http.settings import Settings
from anytimenet.serving.samples import Sample, write_samples


def test_files_of_the_page_and_no_others(net, tmp_path):
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("<title>a page</title>", encoding="utf-8")
    (page / "app.js").write_text("1", encoding="utf-8")
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    (page / "link").symlink_to(tmp_path / "secret")
    settings = Settings(port=0, log="errors", watch_s=None, page=page)
    with running([resident_of(net)], settings) as server, client_of(server) as client:
        found = client.get("/")
        assert "a page" in found.text
        assert (
            found.headers["content-security-policy"]
            == "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"
        )
        assert found.headers["x-frame-options"] == "DENY"
        assert found.headers["x-content-type-options"] == "nosniff"
        assert "javascript" in client.get("/app.js").headers["content-type"]
        for path in ("/../secret", "/%2e%2e/secret", "/link", "//etc/passwd", "/nowhere", "/app.js/.."):
            assert "secret" not in client.get(path).text
        assert client.get("/nowhere").json()["reason"] == "not_found"
        assert client.post("/nowhere").json()["reason"] == "not_found"
        assert client.get("/v1/predict").json()["reason"] == "method_not_allowed"
        assert client.get("/v1/load").json()["ready"] is True


def test_a_server_without_a_page_has_none(net, tmp_path):
    settings = Settings(port=0, log="errors", watch_s=None, page=tmp_path / "nowhere")
    with running([resident_of(net)], settings) as server, client_of(server) as client:
        assert client.get("/").status_code == 404


def test_samples_are_shown_beside_the_page_and_told(net, tmp_path):
    folder = tmp_path / "samples"
    folder.mkdir()
    write_samples([Sample(png(1), ".png", "class 1"), Sample(png(2), ".png")], folder)
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    (folder / "link").symlink_to(tmp_path / "secret")
    settings = Settings(port=0, log="errors", watch_s=None, samples=folder)
    with running([resident_of(net)], settings) as server, client_of(server) as client:
        assert client.get("/v1/model").json()["samples"] is True
        assert client.get("/v1/models").json()["models"][0]["samples"] is True
        listed = client.get("/samples/samples.json").json()["samples"]
        assert [one["label"] for one in listed] == ["class 1", None]
        found = client.get(f"/samples/{listed[1]['file']}")
        assert found.content == png(2)
        assert found.headers["content-type"] == "image/png"
        assert found.headers["content-security-policy"].startswith("default-src 'self'")
        for path in (
            "/samples/../secret",
            "/samples/%2e%2e/secret",
            "/samples/link",
            "/samples/",
            "/samples/3.png",
        ):
            found = client.get(path)
            assert found.status_code == 404 or "secret" not in found.text
        assert client.get("/samples/link").status_code == 404
        assert client.post("/samples/1.png").json()["reason"] == "not_found"
        assert "<title>anytimenet" in client.get("/").text


def test_without_samples_none_are_told(net, tmp_path):
    with running([resident_of(net)]) as server, client_of(server) as client:
        assert client.get("/v1/model").json()["samples"] is False
        assert client.get("/samples/samples.json").status_code == 404
    with pytest.raises(ValueError, match="anytimenet page"):
        Settings(samples=tmp_path)


@pytest.fixture
def served(net, monkeypatch):
    """What the command gives to the server, without one: settings, and what lies in the folder of samples."""
    seen = []

    def serve(sources, settings, *, listening):
        folder = settings.samples
        listed = None if folder is None else json.loads((folder / "samples.json").read_text())["samples"]
        seen.append((folder, listed))

    monkeypatch.setattr("anytimenet.serving.http.running.serve", serve)
    return seen


def test_the_command_takes_what_page_wrote_a_folder_of_images_and_data_by_name(exported, served, tmp_path):
    images = tmp_path / "images"
    for label in ("one", "two"):
        (images / label).mkdir(parents=True)
        for seed in range(9):
            (images / label / f"{seed}.png").write_bytes(png(seed))
    written = tmp_path / "samples"
    written.mkdir()
    write_samples([Sample(png(1), ".png", "class 1")], written)
    for given in (str(written), str(images), "digits"):
        assert run(["serve", str(exported), "--samples", given]) == 0
    (kept, first), (made, second), (_, third) = served
    assert kept == written
    assert [one["label"] for one in first] == ["class 1"]
    assert [one["label"] for one in second] == ["one", "two"] * 4
    assert not made.exists()
    assert len({one["label"] for one in third} & set("0123456789")) == 8


def test_a_demonstration_has_the_images_of_data_that_needs_no_files(exported, served, monkeypatch):
    assert run(["serve", str(exported), "--demo"]) == 0
    monkeypatch.setattr("anytimenet.cli.samples.offline_data", lambda manifest: "digits")
    assert run(["serve", str(exported), "--demo"]) == 0
    assert run(["serve", str(exported)]) == 0
    assert [listed is not None for _, listed in served] == [False, True, False]


def test_samples_that_are_none_are_refused_before_the_server_starts(exported, served, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for given, said in ((str(tmp_path / "empty"), "holds no image"), ("digitz", "digits")):
        assert run(["serve", str(exported), "--samples", given]) != 0
        assert said in capsys.readouterr().err
    assert not served
