"""`python -m infra`: the private services of this checkout, and what the broker and the database must hold."""

import argparse
import json
import logging
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from dotenv import dotenv_values

from infra import assets
from infra.clock import build_clock
from infra.command import STATE, exit_code
from infra.demo.processes import end_page, end_workers
from infra.leftovers import leftovers
from infra.local import SERVICES, LocalServices, ServiceError
from infra.media import check_media
from infra.provision import provision
from infra.settings import ProvisionSettings, overlay


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 not done and why, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    return exit_code(partial(command, options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra", description=__doc__)
    parser.add_argument(
        "--state", type=Path, default=STATE, metavar="FOLDER", help="where the services live (%(default)s)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start RabbitMQ, and what --with names; what runs is left as it is")
    up.add_argument("--with", dest="others", type=_names, default=(), metavar="NAME,…", help="s3, postgres, or both")
    up.add_argument(
        "--port",
        dest="ports",
        type=_port,
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="a given port instead of a free one: amqp, management, s3, postgres, …",
    )
    up.set_defaults(command=_up)
    down = commands.add_parser("down", help="end what runs")
    down.add_argument("--purge", action="store_true", help="remove its data, too")
    down.set_defaults(command=_down)
    status = commands.add_parser("status", help="what runs, and where")
    status.add_argument("--json", action="store_true", help="one JSON document")
    status.set_defaults(command=_status)
    env = commands.add_parser("env", help='settings of what runs, for `eval "$(python -m infra env)"`')
    env.set_defaults(command=_env)
    provisioning = commands.add_parser("provision", help="declare the topology, migrate the database, make the bucket")
    provisioning.add_argument(
        "--media", type=Path, metavar="FOLDER", help="look first whether this folder can be read and written"
    )
    provisioning.set_defaults(command=_provision)
    clock = commands.add_parser("clock", help="build gource's virtual clock for this host, if it is not there")
    clock.set_defaults(command=_clock)
    players = commands.add_parser("assets", help="fetch the page's players (hls.js, Shaka) by their hashes, if missing")
    players.set_defaults(command=_assets)
    return parser


def _assets(_: argparse.Namespace) -> int:
    brought = assets.fetch()
    _say("\n".join(f"{name}: fetched" for name in brought) or "all of the page's players are there")
    return 0


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = sorted(set(names) - set(SERVICES))
    if unknown:
        raise argparse.ArgumentTypeError(f"no such service: {', '.join(unknown)} (known: {', '.join(SERVICES)})")
    return names


def _port(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not number.isdecimal() or not 0 < int(number) < 65536:  # noqa: PLR2004
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER with a port from 1 to 65535")
    return name, int(number)


def _up(options: argparse.Namespace) -> int:
    services = LocalServices(options.state, ports=dict(options.ports))
    wanted = dict.fromkeys(("rabbitmq", *options.others))
    services.check(wanted)
    for name in wanted:
        _say(f"{name}: {'started' if services.up((name,)) else 'runs already'}")
    _table(services)
    return 0


def _down(options: argparse.Namespace) -> int:
    ended = ["the demo's page"] if options.state == STATE and end_page() else []
    ended += ["the demo's worker"] if options.state == STATE and end_workers() else []
    ended += LocalServices(options.state).down(purge=options.purge)
    _say("\n".join(f"{name}: ended" for name in ended) or "nothing was running")
    if options.purge:
        for line in leftovers(options.state, os.environ):
            _say(line)
    return 0


def _status(options: argparse.Namespace) -> int:
    services = LocalServices(options.state)
    if options.json:
        _say(json.dumps([asdict(service) for service in services.status()], indent=2))
    else:
        _table(services)
    return 0


def _table(services: LocalServices) -> None:
    status = services.status()
    for service in status:
        _say(f"{service.name:<9} {'running' if service.running else 'down':<8} {service.summary}")
    if not status:
        _say("nothing was started here: run `python -m infra up`")


def _env(options: argparse.Namespace) -> int:
    services = LocalServices(options.state)
    environment = services.environment()
    if not environment:
        raise ServiceError("nothing is running: run `python -m infra up`")
    for name, value in (_files(services) | environment).items():
        _say(f"export {name}={shlex.quote(value)}")
    return 0


def _files(services: LocalServices) -> dict[str, str]:
    """The settings of this checkout's own files, where something runs and no server takes their place."""
    running = services.environment()
    storage = services.folder / "storage"
    files = {"WORKER_DATABASE_URL": f"sqlite:///{services.folder / 'leveret.db'}"}
    if "AWS_ENDPOINT_URL_S3" not in running and "WORKER_STORAGE_URL" not in running:
        storage.mkdir(parents=True, exist_ok=True)
        files["WORKER_STORAGE_URL"] = f"file://{storage}/"
    return {name: value for name, value in files.items() if running and name not in running}


def _provision(options: argparse.Namespace) -> int:
    # pika logs a stack for every address it tries; the one line that we tell holds the cause.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    in_file = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    services = LocalServices(options.state)
    parts = [services.environment(name) for name in SERVICES]
    own = [{name: value} for name, value in _files(services).items()]
    if options.media is not None:
        _say(check_media(options.media))
    environment = overlay(in_file | os.environ, (*parts, *own))
    for line in provision(ProvisionSettings.read(environment)):
        _say(line)
    return 0


def _clock(options: argparse.Namespace) -> int:
    del options
    _say(f"{build_clock()}")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
