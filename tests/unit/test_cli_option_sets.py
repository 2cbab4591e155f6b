"""`leveret option-sets`: stored, shown, deleted, and checked by the module that they are for."""

from __future__ import annotations

import json

import pytest

from tests.support.command_line import one_line
from worker.control.option_sets import check_options
from worker.core.errors import InvalidJob
from worker.registry import Registry
from worker.tasks.ffmpeg import FfmpegTask


def test_option_sets_are_stored_shown_and_deleted(cli):
    assert cli.type("option-sets", "put", "echo", "loud", "--options", '{"times": 9}').code == 0
    predecessors = cli.write("set.json", '{"name": "soft", "options": {"times": 1}}')
    assert cli.type("option-sets", "put", "echo", "soft", predecessors).code == 0
    listed = json.loads(cli.type("option-sets", "list", "--json").out)
    assert [(item["name"], item["options"]) for item in listed] == [("loud", {"times": 9}), ("soft", {"times": 1})]
    shown = cli.type("option-sets", "get", "echo", "soft").out
    assert json.loads(shown) == {"module": "echo", "name": "soft", "options": {"times": 1}}
    assert cli.type("option-sets", "put", "echo", "soft", cli.write("again.json", shown)).code == 0
    assert "soft" in cli.type("option-sets", "list", "echo").out
    assert cli.type("option-sets", "delete", "echo", "loud").code == 0
    assert "no option set 'loud'" in one_line(cli.type("option-sets", "delete", "echo", "loud"))
    assert "did you mean 'soft'?" in one_line(cli.type("option-sets", "get", "echo", "sofd"))


@pytest.mark.parametrize(
    ("module", "options", "word"),
    [
        ("ecko", "{}", "did you mean 'echo'?"),
        ("echo", "[]", "options are a JSON object"),
        ("echo", "{", "not JSON"),
        ("echo", '{"name": "other", "options": {}}', "'other'"),
    ],
)
def test_a_wrong_option_set_is_refused(cli, module, options, word):
    assert word in one_line(cli.type("option-sets", "put", module, "mine", "--options", options))
    assert json.loads(cli.type("option-sets", "list", "--json").out) == []


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"codec": "libopus", "b": "128k", "ac": 2, "vbr": "on"}, None),
        ({"codec": "libx265", "x265-params": {"bframes": 8}, "pix_fmt": "yuv420p10le"}, None),
        ({"codec": "libopus", "filter_script": "/etc/passwd"}, "options.filter_script"),
    ],
)
def test_ffmpegs_options_are_checked_by_its_own_model(options, path):
    registry = Registry({"ffmpeg": FfmpegTask()})
    if path is None:
        check_options(registry, "ffmpeg", options)
        return
    with pytest.raises(InvalidJob) as caught:
        check_options(registry, "ffmpeg", options)
    assert [problem.path for problem in caught.value.problems] == [path]
