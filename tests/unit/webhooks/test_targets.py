from __future__ import annotations

import pytest

from transcriber.webhooks.targets import BadUrlError, parse_target


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "authority"),
    [
        ("https://Hooks.Example.com", "hooks.example.com", 443, "/", "hooks.example.com"),
        ("http://hooks.example.com:80/a?b=1#c", "hooks.example.com", 80, "/a?b=1", "hooks.example.com"),
        ("http://hooks.example.com:8080?x", "hooks.example.com", 8080, "/?x", "hooks.example.com:8080"),
        ("https://h.example.com.:8443/%20", "h.example.com", 8443, "/%20", "h.example.com:8443"),
        ("http://8.8.8.8/x//y", "8.8.8.8", 80, "/x//y", "8.8.8.8"),
        ("https://[2606:4700::0:1]:99/", "2606:4700::1", 99, "/", "[2606:4700::1]:99"),
        ("http://my_host:1/", "my_host", 1, "/", "my_host:1"),
    ],
)
def test_parts_of_a_url(url: str, host: str, port: int, path: str, authority: str) -> None:
    target = parse_target(url)

    assert (target.host, target.port, target.path, target.authority) == (host, port, path, authority)
    assert target.is_encrypted == url.startswith("https")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com/a",
        "//hooks.example.com/a",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "gopher://hooks.example.com/_x",
        "http://",
        "http:///a",
        "http://?a",
        "http://:80/",
        "http://a.example:0/",
        "http://a.example:65536/",
        "http://a.example:x/",
        "http://user@a.example/",
        "http://user:word@a.example/",
        "http://@a.example/",
        "http://a.example\\@b.example/",
        "http://a.example/ b",
        "http://a.example/\r\nX-Injected: 1",
        "http://a.example/\x00",
        "http://a.example/\x7f",
        "http://ä.example/",
        "http://a..example/",
        "http://-a.example/",
        "http://a.example../",
        f"http://{'a' * 64}.example/",
        f"http://{'a.' * 127}example/",
        "http://[::1/",
        "http://::1/",
        "http://[a.example]/",
        "http://[v1.x]/",
        "http://a.example/" + "x" * 2048,
    ],
)
def test_what_is_not_plainly_a_url_is_refused(url: str) -> None:
    with pytest.raises(BadUrlError):
        parse_target(url)
