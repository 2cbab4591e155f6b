"""Every way out that we know of, and that none of them is one."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.adapters.storage.nas import NasStorage
from worker.adapters.storage.s3 import S3Storage
from worker.adapters.storage.web import WebSource
from worker.adapters.storage.web.client import checked_url
from worker.core.errors import RefusedPath
from worker.core.location import External, Relative, parse_location

ESCAPES = [
    # out of the workspace
    "..",
    "../a.mkv",
    "../../../../etc/passwd",
    "a/../../b.mkv",
    "./../b.mkv",
    "a/./../../b",
    ".",
    "./",
    "",
    "a/..",
    # out of the file system's root, or of the logical one
    "/..",
    "/../etc/passwd",
    "/{root}/../../../../../../../../../../../../../etc/passwd",
    "file:///../etc/passwd",
    "nas://..",
    "nas://../etc/passwd",
    "nas://a/../../etc/passwd",
    "nas:///../../etc/passwd",
    "nas://./../x",
    # absolute, but not ours
    "/etc/passwd",
    "//etc/passwd",
    "/etc/../etc/shadow",
    "/proc/self/environ",
    "/proc/self/fd/0",
    "/proc/1/root/etc/passwd",
    "/dev/null",
    "/dev/sda",
    "/dev/fd/3",
    "/sys/kernel/x",
    "/",
    "///",
    "file:///etc/passwd",
    "file:///",
    "FILE:///etc/passwd",
    "file://localhost/etc/passwd",
    "{root}",
    "{root}/",
    "{root}x/a.mkv",
    "{root}/../a.mkv",
    "{root}/a/../../b.mkv",
    "{root}/./../b.mkv",
    "{root}//../b.mkv",
    "file://{root}/../b.mkv",
    # hosts where none belongs
    "file://example.com/a.mkv",
    "file://127.0.0.1/a.mkv",
    "file://..//a.mkv",
    # the workers' own names
    "{root}/.leveret",
    "{root}/.leveret-abc-a.mkv",
    "nas://.leveret-abc-a.mkv",
    "nas://a/.leveret-x/b.mkv",
    "s3://media/lib/.leveret-abc",
    # other schemes, and ffmpeg's protocols
    "concat:/etc/passwd|/etc/shadow",
    "subfile,,start,0,end,99,,:/etc/passwd",
    "data:text/plain;base64,AAAA",
    "pipe:0",
    "fd:0",
    "crypto:/etc/passwd",
    "cache:/etc/passwd",
    "async:file:/etc/passwd",
    "tee:a|b",
    "ffconcat:a",
    "lavfi:testsrc",
    "hls+http://example.com/a.m3u8",
    "http:example.com",
    "https:/example.com/a",
    "file:etc/passwd",
    "file:/etc/passwd",
    "s3:/media/a",
    "nas:/a",
    "ftp://example.com/a",
    "sftp://example.com/a",
    "smb://example.com/a",
    "rtmp://example.com/a",
    "udp://@239.0.0.1:1234",
    "gopher://example.com/a",
    "ext::sh -c id",
    "javascript:alert(1)",
    "C:\\Windows\\win.ini",
    # buckets that are not ours
    "s3://",
    "s3:///key",
    "s3://media",
    "s3://media/",
    "s3://media/other/a.mkv",
    "s3://media/library/a.mkv",
    "s3://media/lib",
    "s3://media/lib/../other/a.mkv",
    "s3://media/../media2/lib/a.mkv",
    "s3://media2/lib/a.mkv",
    "s3://MEDIA/lib/a.mkv",
    "s3://user:planted@media/lib/a.mkv",
    "s3://media:9000/lib/a.mkv",
    "s3://media/lib/" + "k" * 200 + "/" + "k" * 200 + "/" + "k" * 200 + "/" + "k" * 200 + "/" + "k" * 220,
    # the web: plain, private, in disguise
    "http://example.com/a.mp4",
    "https://",
    "https:///a",
    "https://user:planted@example.com/a",
    "https://planted@example.com/a",
    "https://example.com\\@127.0.0.1/a",
    "https://127.0.0.1/a",
    "https://127.0.0.1:8443/a",
    "https://10.0.0.1/a",
    "https://172.16.0.1/a",
    "https://192.168.1.1/a",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/a",
    "https://0.0.0.0/a",
    "https://255.255.255.255/a",
    "https://224.0.0.1/a",
    "https://[::1]/a",
    "https://[::]/a",
    "https://[::ffff:127.0.0.1]/a",
    "https://[::ffff:7f00:1]/a",
    "https://[64:ff9b::7f00:1]/a",
    "https://[fe80::1]/a",
    "https://[fd00:ec2::254]/a",
    "https://[2002:7f00:1::]/a",
    "https://[::127.0.0.1]/a",
    "https://[::1/a",
    "https://0177.0.0.1/a",
    "https://exa mple.com/a",
    "https://example.com:port/a",
    # control characters and lengths
    "a\x00.mkv",
    "{root}/a\x00.mkv",
    "a\n.mkv",
    "a\r\n.mkv",
    "a\x1b[31m.mkv",
    "a\x7f.mkv",
    "s3://media/lib/a\x00b",
    "https://example.com/a\r\nHost: x",
    "n" * 256,
    "é" * 128,
    "{root}/" + "n" * 256,
    "a/" * 2049,
]


@pytest.fixture
def storages(tmp_path):
    root = tmp_path / "nas"
    root.mkdir()
    nas = NasStorage(root, (root,))
    buckets = S3Storage((External("s3", "media", "/lib/"),))
    web = WebSource()
    return root, {"file": nas, "nas": nas, "s3": buckets, "https": web, "http": web}


def test_the_table_has_a_hundred_distinct_escapes():
    assert len(ESCAPES) == len(set(ESCAPES)) >= 100


def judged(by_scheme, text: str, *, writing: bool) -> None:
    place = parse_location(text)
    assert isinstance(place, External), f"{text!r} is taken for a file of the workspace: {place}"
    by_scheme[place.scheme].admit(place, writing=writing)


@pytest.mark.parametrize("text", ESCAPES, ids=[ascii(text)[:60] for text in ESCAPES])
def test_an_escape_is_refused_before_anything_is_touched(storages, text):
    root, by_scheme = storages
    text = text.replace("/{root}", str(root)).replace("{root}", str(root))
    for writing in (True, False):
        with pytest.raises(RefusedPath) as caught:
            judged(by_scheme, text, writing=writing)
        message = str(caught.value)
        assert "planted" not in message
        assert not any(ord(one) < 32 for one in message)


@pytest.mark.parametrize(
    "text",
    ["{root}/a/b.mkv", "{root}/a/../b.mkv", "nas://a/./b.mkv", "nas://a//b.mkv", "s3://media/lib/a b%2e%2e.mkv"],
)
def test_an_odd_name_inside_a_root_is_admitted(storages, text):
    root, by_scheme = storages
    place = parse_location(text.replace("{root}", str(root)))
    assert isinstance(place, External)
    assert ".." not in by_scheme[place.scheme].admit(place, writing=True).path.split("/")


def test_a_path_map_does_not_open_a_way_out(storages):
    root, by_scheme = storages
    path_map = {"/mnt/phoenix": str(root)}
    place = parse_location("/mnt/phoenix/a.mkv", path_map)
    assert by_scheme["file"].admit(place, writing=True) == External("nas", "", "/a.mkv")
    for text in ("/mnt/phoenix/../a.mkv", "/mnt/phoenixx/a.mkv", "/mnt/phoenix/../../etc/passwd"):
        with pytest.raises(RefusedPath):
            by_scheme["file"].admit(parse_location(text, path_map), writing=True)


PIECES = st.sampled_from(
    [
        "/",
        "//",
        "..",
        ".",
        "a",
        "b.mkv",
        "file:",
        "nas:",
        "s3:",
        "https:",
        "media",
        "@",
        "%2e%2e",
        "\\",
        ":",
        "é",
        " ",
        "?",
        "#",
    ]
)


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=14).map("".join)))
def test_any_text_is_refused_or_has_one_normal_form_inside_its_root(text):
    try:
        place = parse_location(text)
    except RefusedPath:
        return
    if isinstance(place, Relative):
        assert not place.path.startswith(("/", "../"))
        assert place.path == posixpath.normpath(place.path)
        assert parse_location("./" + place.path) == place
        return
    assert place.path.startswith("/")
    if not place.is_web:
        assert ".." not in place.path.split("/")
        assert parse_location(str(place)) == place


@pytest.mark.parametrize("url", ["https://bob:pa/sswd@example.org/x", "https://bob:sswd/@example.org/x"])
def test_a_password_in_the_place_of_a_port_is_in_no_error(url):
    with pytest.raises(RefusedPath) as caught:
        checked_url(url, allow_private=False)
    assert "pa/" not in str(caught.value)
    assert "sswd" not in str(caught.value)


def test_a_port_beyond_the_last_is_refused():
    with pytest.raises(RefusedPath, match="no such port"):
        checked_url("https://example.org:99999/", allow_private=False)


@pytest.mark.parametrize("text", ["{}.mkv", "/in/{}.mkv", "nas://{}.mkv", "s3://media/{}", "https://example.com/{}"])
def test_a_name_that_is_no_text_is_refused(text):
    with pytest.raises(RefusedPath, match="UTF-8"):
        parse_location(text.format("gr\udcf6\udcdfe"))
