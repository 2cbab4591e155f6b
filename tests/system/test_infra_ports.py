"""The ports of private services, which others on the machine want too."""

import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from infra.local import LocalServices, ServiceError
from infra.local.ports import LOOPBACK, free_port
from infra.local.process import last_words

pytestmark = pytest.mark.xdist_group("infra")


def test_a_given_port_is_used_or_refused(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"port {port} \(postgres\) is in use"):
            LocalServices(tmp_path / "state", ports={"postgres": port}).start("postgres")
    services = LocalServices(tmp_path / "state", ports={"postgres": port})
    try:
        services.start("postgres")
        assert urlsplit(services.environment()["WORKER_DATABASE_URL"]).port == port
    finally:
        services.down(purge=True)


@pytest.mark.parametrize("name", ["postgres", "s3"])
def test_a_port_that_another_program_takes_before_the_server_listens_is_replaced(tmp_path, monkeypatch, name):
    services = LocalServices(tmp_path / "state")
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        lost = other.getsockname()[1]
        draws = []

        def draw(taken):
            draws.append(free_port(taken) if draws else lost)
            return draws[-1]

        monkeypatch.setattr("infra.local.services.free_port", draw)
        try:
            services.start(name)
            assert lost not in services.status()[0].ports.values()
        finally:
            services.down(purge=True)


def test_a_port_that_one_process_drew_is_not_drawn_by_another():
    mine = free_port(frozenset())
    code = (
        "from infra.local import ports\n"
        f"ports.CANDIDATES = range({mine}, {mine + 1})\n"
        "print(ports.is_free(ports.CANDIDATES[0]))\n"
        "print(ports.free_port(frozenset()))"
    )
    other = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, check=False, timeout=60)
    assert other.stdout == "True\n"
    assert f"ServiceError: no free port between {mine}" in other.stderr


def test_the_last_words_of_a_server_are_its_fatal_line_and_not_the_trace_below_it(tmp_path):
    log = tmp_path / "s3.log"
    log.write_text(
        "I1128 15:00:48.1 filer.go:1 starts\n"
        "F1128 15:00:48.8 filer.go:454 Filer listener error: bind: address already in use\n"
        + "goroutine 1 [running]:\n\tserver.go:397 +0x25\n"
        * 200
    )
    assert last_words(log) == "F1128 15:00:48.8 filer.go:454 Filer listener error: bind: address already in use"
    log.write_text("one\ntwo\n\nthree\nfour\n")
    assert last_words(log) == "two / three / four"
    assert last_words(tmp_path / "none.log") == ""
