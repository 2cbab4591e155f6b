"""Broken media files to the modules that read them. `make chaos` tries 300, some of them a gigabyte."""

from __future__ import annotations

import sys

import pytest

from tests.chaos.media import BrokenMedia
from tests.chaos.mutations import KINDS, MEGABYTE

pytestmark = [pytest.mark.xdist_group("chaos"), pytest.mark.timeout(200)]


async def test_a_broken_file_ends_with_a_reason_or_a_whole_output_and_leaves_no_program(tmp_path):
    media = BrokenMedia(tmp_path / "media", 2 * len(KINDS), seed=7, zeros=(32 * MEGABYTE,))
    breaches = await media.run()
    sys.stdout.write(media.table())
    assert breaches == []
    assert media.outcomes["BadInput"] >= 5
    assert media.outcomes["whole output"] >= 3
