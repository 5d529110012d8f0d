"""The command line of `.venv/bin/python -m serving`."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import re
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import uvicorn

from schema.dataset import number_of
from serving.access_log import Log, announce, printable
from serving.application import make_application
from serving.batching import BatchingOptions
from serving.config import LOOPBACK_HOSTS, Config, is_loopback
from serving.connection import connections
from serving.recommender import Recommender
from serving.service import Service
from serving.shutdown import StoppableServer, end
from serving.tokens import TOKEN_VARIABLE, Token, TokenError, read_token
from serving.validation_process import ValidationLimits
from storage.environment import open_closed_streams
from storage.errors import PathError
from storage.paths import refuse_url, versions_in

_BACKLOG = 512
_SWITCH_SECONDS = 0.0005
_NO_MODEL = _NO_TOKEN = 2
_STOP_SECONDS = 10
_OTHER_FILES = 256


def main(argv: Sequence[str] | None = None, started: float | None = None) -> int:
    """Serves until a signal stops it.

    Args:
      argv: the arguments; None for those of the process.
      started: when the process started, as `time.monotonic` counts; None is now.

    Returns:
      The exit code: 0 after a stop, 1 if the port or an option cannot be used, 2 if there is no
      model to serve or no token where one is required.
    """
    started = time.monotonic() if started is None else started
    open_closed_streams()
    arguments = _parser().parse_args(argv)
    token = _token(arguments.token_file)
    _check_model_dir(arguments.model_dir)
    config = _config(arguments, token.value)
    if not arguments.wait and not _has_versions(config.model_dir):
        print(printable(_nothing_pushed(config.model_dir)), file=sys.stderr)
        return _NO_MODEL
    log = Log(sys.stderr.buffer, requests=arguments.access_log)
    _allow_files(config.max_connections)
    listener = _listen(config)
    _warn(config, token, log)
    service = Service(config, log, _announcement(config, listener, started))
    # uvicorn raises the signal that stopped it again, after everything is closed.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda number, frame: None)
    # TensorFlow's thread waits at most this long for the interpreter while requests are parsed.
    sys.setswitchinterval(_SWITCH_SECONDS)
    server = StoppableServer(
        _uvicorn(config, service), log, config.shutdown_seconds + _STOP_SECONDS
    )
    server.run(sockets=[listener])
    log.info("stopped")
    end(0, log)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m serving",
        description="Serve the newest pushed model: a page, a REST API, TensorFlow Serving's API.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--model-dir", default="output/serving_model", metavar="DIR",
        help="the folder with a subfolder per pushed version")  # fmt: skip
    add("--model-name", dest="name", default=Config.name, metavar="NAME",
        help="the name in /v1/models/NAME")  # fmt: skip
    add("--host", default=Config.host, help="address to listen on; 0.0.0.0 for all addresses")
    add("--token-file", type=Path, metavar="FILE",
        help=f"require the bearer token in this file (or in ${TOKEN_VARIABLE})")  # fmt: skip
    add("--root-path", type=_prefix, default="", metavar="PREFIX",
        help="the path prefix of the server behind a proxy, such as /shop")  # fmt: skip
    add("--cors-origin", action="append", default=[], metavar="ORIGIN",
        type=_origin, help="allow requests from pages of this origin; may be repeated")  # fmt: skip
    add("--allow-host", action="append", default=[], metavar="NAME",
        help="also accept this host name (on loopback: only localhost by default)")  # fmt: skip
    add("--wait", action="store_true", help="wait for a first version instead of exiting")
    defaults = {
        field.name: field.default
        for settings in (Config, BatchingOptions, ValidationLimits)
        for field in dataclasses.fields(settings)
    }
    for option, field, kind, least, most, metavar, meaning in _NUMBERS:
        add(option, dest=field, type=_number(kind, least, most), default=defaults[field],
            metavar=metavar, help=meaning)  # fmt: skip
    add("--access-log", action=argparse.BooleanOptionalAction, default=not sys.stderr.isatty(),
        help="one line per request on stderr")  # fmt: skip
    return parser


_Kind = type[int] | type[float]
_NUMBERS: tuple[tuple[str, str, _Kind, float, float, str, str], ...] = (
    ("--port", "port", int, 0, 65_535, "N", "port; 0 for a free one"),
    ("--max-batch", "max_rows", int, 1, 1024, "N", "rows of one batch; 1 turns batching off"),
    ("--batch-delay", "delay_ms", float, 0, 1000, "MS",
     "how long a call waits for others to be batched with"),
    ("--queue", "queue_size", int, 1, 100_000, "N",
     "calls that may wait; further ones get status 503"),
    ("--deadline", "deadline_seconds", float, 0.01, 600, "S",
     "time limit of a call, then status 504"),
    ("--max-cells", "max_cells", int, 1, 10_000_000, "N",
     "cells (rows times items, times reasons) of one predict response"),
    ("--read-timeout", "read_seconds", float, 0.1, 600, "S",
     "how long a client may take to send a head or a body"),
    ("--max-connections", "max_connections", int, 1, 100_000, "N",
     "open connections; a further one closes the one that has waited longest"),
    ("--max-connections-per-address", "max_connections_per_address", int, 1, 100_000, "N",
     "the same for one address"),
    ("--threads", "threads", int, 1, 256, "N", "threads of TensorFlow for one call"),
    ("--poll", "poll_seconds", float, 0.05, 3600, "S", "time between checks for new versions"),
    ("--load-timeout", "seconds", float, 1, 86_400, "S",
     "time limit for loading and validating a version"),
)  # fmt: skip
"""Options with a number: the field of the configuration, the type, least, most, the meaning."""


def _number(kind: _Kind, least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"expected {least:g} to {most:g}, found {text}")
        return value

    parse.__name__ = "number"
    return parse


def _matching(pattern: str, expected: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        value = text.rstrip("/")
        if not re.fullmatch(pattern, value, re.IGNORECASE | re.ASCII):
            raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r}")
        return value

    return parse


_prefix = _matching(
    "((/[a-z0-9._~-]+)+)?", "a path such as /shop, of letters, digits and signs of ASCII"
)
_origin = _matching(
    r"\*|null|[a-z][a-z0-9+.-]*://[^\s/?#,]+",
    "an origin such as https://shop.example, without a path",
)


def _config(arguments: argparse.Namespace, token: str) -> Config:
    allowed = tuple(arguments.allow_host)
    if is_loopback(arguments.host):
        # Any site's page could otherwise reach the server by a name that resolves to it.
        allowed = (*LOOPBACK_HOSTS, *allowed)
    values = vars(arguments)
    return Config(
        model_dir=Path(arguments.model_dir),
        token=token,
        cors_origins=tuple(origin.lower() for origin in arguments.cors_origin),
        allowed_hosts=allowed,
        batching=BatchingOptions(**_fields(BatchingOptions, values)),
        validation=ValidationLimits(**_fields(ValidationLimits, values)),
        **_fields(Config, {name: values[name] for name in values.keys() - {"model_dir"}}),
    )


def _fields(settings: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values that are fields of a class of settings."""
    names = {field.name for field in dataclasses.fields(settings)}
    return {name: values[name] for name in names & values.keys()}


def _token(path: Path | None) -> Token:
    try:
        return read_token(path, os.environ)
    except TokenError as error:
        _quit(str(error), _NO_TOKEN)


def _check_model_dir(text: str) -> None:
    if not text:
        _quit("Expected a directory in --model-dir, found nothing.")
    try:
        refuse_url(text, "--model-dir")
    except PathError as error:
        _quit(str(error))


def _has_versions(model_dir: Path) -> bool:
    try:
        return bool(versions_in(model_dir))
    except OSError as error:
        _quit(f"Expected --model-dir to be a directory that can be read: {error}.")


def _nothing_pushed(model_dir: Path) -> str:
    return (
        f"No model has been pushed to {model_dir} yet: expected a subfolder per version there.\n"
        "Run 'make run' first, or name another directory with --model-dir, or let the server"
        " wait for a first version with --wait."
    )


def _listen(config: Config) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host.strip("[]"), config.port), family=family)
    except OSError as error:
        _quit(
            f"Cannot listen on {config.host} port {config.port}: {error.strerror or error}."
            " Choose others with --host and --port."
        )


def _warn(config: Config, token: Token, log: Log) -> None:
    for warning in token.warnings:
        log.warning(warning)
    if not is_loopback(config.host) and not config.token:
        log.warning(
            "anybody who can reach this address can use the server;"
            f" --token-file or ${TOKEN_VARIABLE} requires a token",
            host=config.host,
        )


def _uvicorn(config: Config, service: Service) -> uvicorn.Config:
    # Its lines repeat those of the log.
    logging.getLogger("uvicorn").addHandler(logging.NullHandler())
    return uvicorn.Config(
        make_application(service),
        http=connections(config),
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=config.shutdown_seconds,
    )


def _allow_files(connections: int) -> None:
    """Raises the limit of open files to fit the limit of connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _announcement(
    config: Config, listener: socket.socket, started: float
) -> Callable[[Recommender], None]:
    """Returns a function that prints the server's address at its first call, for a version."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    url = f"http://{host}:{listener.getsockname()[1]}"
    once = iter((True,))

    def ready(recommender: Recommender) -> None:
        if next(once, False):
            announce(
                f"Ready: {url} serves version {recommender.version},"
                f" {number_of(len(recommender.catalogue), recommender.item_noun)}, after"
                f" {time.monotonic() - started:.1f} s. API: {url}/docs. Ctrl-C stops it."
            )

    return ready


def _quit(message: str, code: int = 1) -> NoReturn:
    print(printable(message), file=sys.stderr)
    raise SystemExit(code)
