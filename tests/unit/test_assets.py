"""The page's players: the files of the list, by their hashes, and no others."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest

from infra import assets
from infra.assets import Asset, AssetError


def packed(folder, member: str, content: bytes):
    path = folder / "package.tgz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(f"package/{member}")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return path


def test_a_file_with_another_hash_is_not_taken(tmp_path, monkeypatch):
    good = Asset("player@1.0.0", "dist/player.js", "player.js", hashlib.sha256(b"good").hexdigest())
    monkeypatch.setattr(assets, "assets", lambda: (good,))
    monkeypatch.setattr(assets, "_npm", lambda _: ("npm",))
    monkeypatch.setattr(assets, "_packed", lambda *_: packed(tmp_path, "dist/player.js", b"evil"))
    vendor = tmp_path / "vendor"
    with pytest.raises(AssetError, match="is not the file whose hash"):
        assets.fetch(vendor)
    assert list(vendor.iterdir()) == []
    monkeypatch.setattr(assets, "_packed", lambda *_: packed(tmp_path, "dist/player.js", b"good"))
    assert assets.fetch(vendor) == ("player.js",)
    assert (vendor / "player.js").read_bytes() == b"good"
    assert assets.fetch(vendor) == ()
    monkeypatch.setattr(assets, "_packed", lambda *_: packed(tmp_path, "dist/other.js", b"good"))
    (vendor / "player.js").write_bytes(b"changed")
    with pytest.raises(AssetError, match=r"has no dist/player\.js"):
        assets.fetch(vendor)


def test_every_file_of_the_list_is_pinned():
    for one in assets.assets():
        assert one.package.rpartition("@")[2].count(".") == 2
        assert len(one.sha256) == 64
