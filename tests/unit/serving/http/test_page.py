"""The static page: its files and no others, with headers that let it load nothing from elsewhere."""

from __future__ import annotations

from tests.unit.serving.http.serving import client_of, resident_of, running

from anytimenet.serving.http.settings import Settings


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
