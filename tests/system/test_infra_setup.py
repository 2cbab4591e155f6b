"""`infra/setup` where it cannot go on, on machines made of a folder of programs; and CI's word on skipped tests."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "cat", "chmod", "cut", "dirname", "env", "flock", "id", "mkdir", "mktemp", "rm", "sha256sum", "tail")
FILES = ("infra/setup", "pyproject.toml", ".ci/run", *(path.name for path in ROOT.glob("requirements*.txt")))
MODERN = 'case $1 in --version) echo "Python 3.12.1" ;; *) exit 0 ;; esac'
OLD = 'case $* in --version) echo "Python 3.9.2" ;; *version_info*) exit 1 ;; *) exit 0 ;; esac'
PRESENT = ("ffmpeg", "ffprobe", "gcc", "git", "gource", "rabbitmq-server")


@pytest.fixture
def machine(tmp_path):
    """A checkout, and a PATH with little on it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(shutil.which(tool))
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def provide(machine, name, script="exit 0"):
    program = machine / "bin" / name
    program.unlink(missing_ok=True)
    program.write_text(f"#!{shutil.which('bash')}\n{script}\n")
    program.chmod(0o755)


def run(machine, *words, **environment):
    # The script looks for its tools in the system's folders, too, so the machine's own stand first.
    return subprocess.run(
        (shutil.which("bash"), *words),
        cwd=machine,
        env={"PATH": str(machine / "bin"), "HOME": str(machine)} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_machine_without_apt_is_reported_what_it_lacks(machine):
    provide(machine, "python3", MODERN)
    result = run(machine, "infra/setup", "run")
    assert result.returncode == 1
    assert "lacks" in result.stderr
    assert "ffmpeg" in result.stderr
    assert "has no apt-get" in result.stderr
    assert "docker compose" in result.stderr


def test_a_user_who_may_not_install_is_given_the_command_for_who_may(machine):
    provide(machine, "python3", MODERN)
    provide(machine, "apt-get", "echo called >> called")
    provide(machine, "id", "echo 1000")
    result = run(machine, "infra/setup", "run")
    assert result.returncode == 1
    assert "neither root nor have sudo" in result.stderr
    assert "apt-get install --no-install-recommends ffmpeg gcc git gource" in result.stderr
    assert not (machine / "called").exists()


def test_a_sudo_that_asks_for_a_password_is_not_waited_for(machine):
    provide(machine, "python3", MODERN)
    provide(machine, "apt-get", "echo called >> called")
    provide(machine, "id", "echo 1000")
    provide(machine, "sudo", "exit 1")
    result = run(machine, "infra/setup", "run")
    assert result.returncode == 1
    assert "sudo wants a password" in result.stderr
    assert not (machine / "called").exists()


def ubuntu(machine):
    (machine / "os-release").write_text('PRETTY_NAME="Ubuntu 26.04 LTS"\nID=ubuntu\nID_LIKE=debian\n')
    return {"OS_RELEASE": str(machine / "os-release")}


def test_ubuntus_chromium_is_a_snap_and_apt_is_not_asked_for_it(machine):
    provide(machine, "python3", MODERN)
    provide(machine, "apt-get", "echo called >> called")
    result = run(machine, "infra/setup", "test", **ubuntu(machine))
    assert result.returncode == 1
    assert "sudo snap install chromium" in result.stderr
    assert not (machine / "called").exists()


def test_packages_that_ubuntu_does_not_install_are_in_its_universe(machine):
    provide(machine, "python3", MODERN)
    provide(machine, "id", "echo 0")
    provide(
        machine, "apt-get", "case $* in *update*) exit 0 ;; *) echo 'E: Unable to locate package'; exit 100 ;; esac"
    )
    provide(machine, "tee", "exec cat >/dev/null")
    provide(machine, "chmod")
    on_ubuntu = run(machine, "infra/setup", "run", **ubuntu(machine))
    assert on_ubuntu.returncode == 1
    assert "Unable to locate package" in on_ubuntu.stderr
    assert "add-apt-repository universe" in on_ubuntu.stdout
    assert "universe" not in run(machine, "infra/setup", "run", OS_RELEASE="nowhere").stdout


def test_a_python_that_is_too_old_is_named(machine):
    for name in PRESENT:
        provide(machine, name)
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        provide(machine, name, OLD)
    result = run(machine, "infra/setup", "run")
    assert result.returncode == 1
    assert "Python 3.11 or newer is needed, and python3 is Python 3.9.2" in result.stderr
    assert not (machine / ".venv").exists()


def test_an_unknown_profile_is_wrong_usage(machine):
    result = run(machine, "infra/setup", "everything")
    assert (result.returncode, result.stderr) == (2, "usage: infra/setup [run|check|test]\n")


@pytest.mark.parametrize(
    ("cases", "outcome", "code", "word"),
    [
        ('<testcase classname="a" name="b"/>', 0, 0, "CI: 1 tests, none skipped"),
        ('<testcase classname="a" name="b"><skipped message="no luck"/></testcase>', 0, 1, "a.b: no luck"),
        ('<testcase classname="a" name="b"/>', 3, 3, "CI: 1 tests, none skipped"),
        ("", 0, 1, "CI: no test ran"),
    ],
)
def test_ci_fails_for_a_failed_a_skipped_and_a_missing_test(machine, cases, outcome, code, word):
    (machine / ".venv/bin").mkdir(parents=True)
    (machine / ".venv/bin/python").symlink_to(Path(os.__file__).parents[2] / "bin/python3")
    count = cases.count("<testcase")
    suite = f'<testsuites><testsuite tests="{count}">{cases}</testsuite></testsuites>'
    provide(
        machine,
        "make",
        f'echo "$1" >> asked\n[ "$1" = test ] || exit 0\necho \'{suite}\' > "${{PYTEST_ADDOPTS##*=}}"\nexit {outcome}',
    )
    result = run(machine, ".ci/run")
    assert (machine / "asked").read_text() == "check\ntest\n"
    assert result.returncode == code, result.stderr
    assert word in result.stdout + result.stderr


def test_ci_stops_where_the_check_fails(machine):
    provide(machine, "make", 'echo "$1" >> asked; exit 2')
    assert run(machine, ".ci/run").returncode == 2
    assert (machine / "asked").read_text() == "check\n"
