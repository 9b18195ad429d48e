"""Which URLs are fetched, and where a server may send who asks."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytimenet.core.delivery.addresses import Address, is_url, parse_url
from anytimenet.core.delivery.reach import Reach, endpoints, reach_of
from anytimenet.core.errors import DeliveryError, UnreachableError

PIN = "0123456789abcdef" * 4


def test_a_folder_and_its_manifest_are_the_same_place():
    for url in ("https://a.org/x/y", "https://A.org:443/x/y/", "https://a.org/x/y/bundle.json"):
        assert parse_url(url, ("bundle.json",)) == (Address("https", "a.org", 443, "/x/y"), None)
    address, pin = parse_url(f"https://[2606:4700::1111]:8443#sha256={PIN.upper()}")
    assert (str(address), pin) == ("https://[2606:4700::1111]:8443", PIN)


def test_names_of_files_are_encoded():
    assert parse_url("https://a.org/x")[0].file("costs/ä b.json").path == "/x/costs/%C3%A4%20b.json"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "file:// is not fetched"),
        ("ftp://a.org/x", "ftp:// is not fetched"),
        ("https://user:secret@a.org/x", "holds a user name"),
        ("https://a.org@b.org/x", "holds a user name"),
        ("https://a.org\\@b.org/x", "backslashes"),
        ("https://a.org/x y", "spaces"),
        ("https://a.org/x\r\nHost: b.org", "control characters"),
        ("https:///x", "names no server"),
        ("https://a.org:99999/x", "names no server"),
        ("https://a.org:no/x", "names no server"),
        ("https://[::1/x", "is no URL"),
        ("https://[fe80::1%25eth0]/x", "names no server"),
        ("https://a..org/x", "names no server"),
        ("https://a.org/x?token=1", "has a \\?query"),
        ("https://a.org/x#sha256=12", "is no pin"),
        ("https://a.org/x#part", "is no pin"),
        ("https://a.org/x/../y", "holds . or .."),
        ("https://a.org/x/%2e%2E/y", "holds . or .."),
        ("https://a.org/" + "x" * 5000, "characters"),
    ],
)
def test_what_is_refused_says_why(url, reason):
    with pytest.raises(DeliveryError, match=reason) as caught:
        parse_url(url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_paths_are_no_urls():
    assert [is_url(x) for x in ("nets/digits", "C:\\nets", "C:/nets", "./https:/x", 3, None)] == [False] * 6
    assert all(is_url(x) for x in ("https://a", "HTTP://a", " https://a", "file:///a", "s3://a/b"))


@given(st.text(max_size=40))
def test_any_text_is_refused_in_words_or_read_back_alike(text):
    found = message = None
    try:
        found, _ = parse_url(f"https://{text}")
    except DeliveryError as error:
        message = str(error)
    assert "\n" not in (message or "")
    assert found is None or parse_url(str(found))[0] == found


def test_a_redirect_keeps_its_scheme_and_may_carry_a_signature():
    there = parse_url("https://a.org/x")[0].file("w.bin")
    found = there.redirected("https://cdn.org/k?sig=a%2Fb&n=1#part")
    assert (found.host, found.target) == ("cdn.org", "/k?sig=a%2Fb&n=1")
    assert there.redirected("/y").path == "/y"
    assert there.redirected("//b.org").target == "/"
    assert there.redirected("../z/w.bin").path == "/z/w.bin"
    for location, reason in (
        ("http://a.org/x", "redirects to http: a redirect must keep to https"),
        ("file:///etc/passwd", "redirects to file"),
        ("https://me@b.org/", "holds a user name"),
        ("https://b.org/a b", "spaces"),
        ("https://[::1", "no URL"),
    ):
        with pytest.raises(DeliveryError, match=reason):
            there.redirected(location)


def test_reach_is_that_of_the_address_within():
    here = ("127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1", "64:ff9b::7f00:1")
    assert {reach_of(one) for one in here} == {Reach.THIS_MACHINE}
    private = (
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "fe80::1%eth0",
        "fd00::1",
    )
    more = ("::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "224.0.0.1", "ff02::1", "255.255.255.255")
    assert {reach_of(one) for one in (*private, *more)} == {Reach.PRIVATE}
    assert {reach_of(one) for one in ("9.9.9.9", "2606:4700::1111", "::ffff:9.9.9.9")} == {Reach.PUBLIC}


def resolving(monkeypatch: pytest.MonkeyPatch, *numbers: str) -> None:
    """Every name has these addresses."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, 443)) for number in numbers]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)


def test_no_address_of_a_name_may_reach_less_than_allowed(monkeypatch):
    address = parse_url("https://a.org/x")[0]
    resolving(monkeypatch, "9.9.9.9", "10.0.0.1")
    assert len(endpoints(address, Reach.PRIVATE)) == 2
    with pytest.raises(DeliveryError, match=r"leads into a private network \(10.0.0.1\)"):
        endpoints(address, Reach.PUBLIC)
    resolving(monkeypatch, "127.0.0.1")
    with pytest.raises(DeliveryError, match="leads into this machine"):
        endpoints(address, Reach.PRIVATE)


def test_http_is_for_this_machine_alone(monkeypatch):
    address = parse_url("http://localhost.example.org/x")[0]
    resolving(monkeypatch, "127.0.0.1")
    assert endpoints(address, Reach.THIS_MACHINE)[0].reach is Reach.THIS_MACHINE
    for number in ("9.9.9.9", "192.168.0.1"):
        resolving(monkeypatch, "127.0.0.1", number)
        with pytest.raises(DeliveryError, match="use https"):
            endpoints(address, Reach.THIS_MACHINE)


def test_a_name_that_nobody_knows(monkeypatch):
    def nobody(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(UnreachableError, match=r"a\.org cannot be looked up \(Name or service not known\)"):
        endpoints(parse_url("https://a.org/x")[0], Reach.THIS_MACHINE)
