"""The task keeps Leveret's rules."""

from leveret_checksum import ChecksumTask

from worker.testing import check_task


def test_the_task_keeps_the_rules() -> None:
    """Look at the model, the files it names and the refusal of odd data."""
    check_task(ChecksumTask(), {"source": "nas://in.mkv", "output_file": "in.sha256"})
