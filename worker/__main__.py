"""`python -m worker` and `leveret`: the command line, with the commands of the other faces."""

from worker.cli import main as command_line
from worker.web import command


def main() -> None:
    """Run the command on the command line."""
    command_line(command.add_to)


if __name__ == "__main__":
    main()
