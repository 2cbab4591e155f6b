"""What a failed clone means follows from git's own words, not from the server's and not from the URL's."""

from __future__ import annotations

import pytest

from worker.adapters.git.errors import clone_error
from worker.core.command import Command, Exit
from worker.core.errors import BadInput, DiskFull, RemoteUnavailable

URL = "https://example.org/No-space-left-on-device/returned-error:-404.git"


def meant(tail: str, url: str = URL) -> BaseException:
    return clone_error(
        Exit(Command(("git", "clone", "--", url, "/scratch/repository.git")), 128, None, 1.0, tail), url, ()
    )


@pytest.mark.parametrize(
    "words", ["No space left on device", "Disk quota exceeded", "repository 'x' not found", "access denied"]
)
def test_a_message_of_the_server_does_not_change_the_class_of_an_error(words):
    for tail in (f"remote: {words}", f"fatal: remote error: {words}", f"remote: {words}\nfatal: the end hung up"):
        assert type(meant(tail)) is RemoteUnavailable


def test_a_url_decides_nothing():
    url = "https://example.org/does not exist: No space left on device"
    assert type(meant(f"fatal: {url} went wrong", url)) is RemoteUnavailable


def test_an_error_of_git_itself_is_classified_by_its_words():
    assert type(meant("fatal: write error: No space left on device")) is DiskFull
    assert type(meant(f"fatal: repository '{URL}' not found")) is BadInput
