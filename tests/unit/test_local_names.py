"""Names that tools get: plain ones, whatever a job or a NAS calls its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.adapters.storage.nas import NasStorage
from worker.core.errors import RefusedPath
from worker.core.local_names import is_plain, plain_name
from worker.core.location import External, Relative, parse_location
from worker.engine.attempt.workspace import Workspace
from worker.engine.storages import Storages

if TYPE_CHECKING:
    from pathlib import Path

NAMES = (
    "[Group] Show {x264} - 01.png", "q?u*e.png", "pic%03d.png", "100% %%.png", "a{b,c}d.mkv", "back\\slash.jpg",
    "-i.mkv", "--output=x.mp4", "@args.mkv", "=next.mkv", "+append.mkv", "(paren).mkv", "it's \"quoted\".srt",
    "semi;colon|pipe.ts", "comma,name=x.mp4", "title: subtitle.mp4", "concat:a|b.mp4", "$Number%05d$.ts",
    "~home $HOME `id`.mkv", "ünïcödé \N{EN DASH} 日本.mkv", "<i>x<i> & y.mkv", ".hidden", "é" * 127,
    "\N{RIGHT-TO-LEFT OVERRIDE}4pm.exe",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
async def test_a_tool_gets_plain_names_and_the_world_the_names_as_asked(name: str, tmp_path: Path) -> None:
    root = tmp_path / "nas" / "[Gr] 50% {a}"
    root.mkdir(parents=True)
    (root / name).write_text("right")
    storage = NasStorage(tmp_path / "nas", (tmp_path / "nas",))
    workspace = Workspace(tmp_path / "job.1", External("nas", "", "/out/"), Storages.of((storage,), {}))
    source = await workspace.input(f"nas://[Gr] 50% {{a}}/{name}")
    assert (is_plain(str(source)), source.read_text()) == (True, "right")
    assert source.suffix == (root / name).suffix or not source.suffix
    target = workspace.output(f"./{name}")
    assert is_plain(str(target))
    assert (workspace.asked_name(source), workspace.asked_name(target)) == (name, name)
    target.write_text("made")
    (artifact,) = await workspace.artifacts()
    assert artifact.uri == f"nas://out/{name}"


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), max_size=255))
def test_a_plain_name_is_a_name_that_fits(name: str) -> None:
    plain = plain_name(name)
    assert is_plain(plain)
    assert "/" not in plain
    assert plain[0] not in "-.=@+~#"
    assert len(plain.encode()) <= max(len(name.encode()), len("file"))


async def test_the_index_of_a_vobsub_stays_beside_its_pictures(tmp_path: Path) -> None:
    root = tmp_path / "nas"
    root.mkdir()
    (root / "[a].idx").write_text("# VobSub")
    storage = NasStorage(root, (root,))
    workspace = Workspace(tmp_path / "job.1", External("nas", "", "/out/"), Storages.of((storage,), {}))
    assert await workspace.input("nas://[a].idx") == root / "[a].idx"


@pytest.mark.parametrize("name", ["title: subtitle.mp4", "concat:a|b", "12:30 news.mp4", "Film:Teil 2.mkv"])
def test_a_name_with_a_colon_is_refused_with_the_way_to_write_it(name: str) -> None:
    if name[0].isdigit():
        assert parse_location(name) == Relative(name)
        return
    with pytest.raises(RefusedPath) as refused:
        parse_location(name)
    assert f"write './{name}'" in str(refused.value)
    assert parse_location(f"./{name}") == Relative(name)


@pytest.mark.parametrize("name", ["ftp://example.com/a", "sftp://a", "smb://a/b"])
def test_a_scheme_is_no_name(name: str) -> None:
    with pytest.raises(RefusedPath) as refused:
        parse_location(name)
    assert "write" not in str(refused.value)
