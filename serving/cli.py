"""The command line of `.venv/bin/python -m serving`."""

from __future__ import annotations

import argparse
import logging
import os
import re
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import uvicorn

from schema.dataset import number_of
from serving.access_log import Log, announce, printable
from serving.application import make_application
from serving.batching import BatchingOptions
from serving.config import LOOPBACK_HOSTS, MODEL_NAME, Config, is_loopback
from serving.connection import connections
from serving.recommender import Recommender
from serving.service import Service
from serving.shutdown import StoppableServer, end
from serving.tokens import TOKEN_VARIABLE, Token, TokenError, read_token
from serving.validation_process import ValidationLimits
from serving.version_folder import versions_in
from storage.environment import open_closed_streams
from storage.errors import PathError
from storage.paths import refuse_url

_BACKLOG = 512
_SWITCH_SECONDS = 0.0005
_NO_MODEL = _NO_TOKEN = 2
_STOP_SECONDS = 10
_OTHER_FILES = 256


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until a signal stops it.

    Returns:
      The exit code: 0 after a stop, 1 if the port or an option cannot be used, 2 if there is no
      model to serve or no token where one is required.
    """
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
    announcement = _Announcement(config, listener, _started())
    service = Service(config, log, announcement.ready)
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
    add("--model-name", default=MODEL_NAME, metavar="NAME", help="the name in /v1/models/NAME")
    add("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all addresses")
    add("--port", type=_number(int, 0, 65_535), default=8501, help="port; 0 for a free one")
    add("--token-file", type=Path, metavar="FILE",
        help=f"require the bearer token in this file (or in ${TOKEN_VARIABLE})")  # fmt: skip
    add("--root-path", type=_prefix, default="", metavar="PREFIX",
        help="the path prefix of the server behind a proxy, such as /films")  # fmt: skip
    add("--cors-origin", action="append", default=[], metavar="ORIGIN",
        type=_origin, help="allow requests from pages of this origin; may be repeated")  # fmt: skip
    add("--allow-host", action="append", default=[], metavar="NAME",
        help="also accept this host name (on loopback: only localhost by default)")  # fmt: skip
    add("--wait", action="store_true", help="wait for a first version instead of exiting")
    add("--max-batch", type=_number(int, 1, 1024), default=BatchingOptions.max_rows, metavar="N",
        help="rows of one batch; 1 turns batching off")  # fmt: skip
    add("--batch-delay", type=_number(float, 0, 1000), default=BatchingOptions.delay_ms,
        metavar="MS", help="how long a call waits for others to be batched with")  # fmt: skip
    add("--queue", type=_number(int, 1, 100_000), default=BatchingOptions.queue_size, metavar="N",
        help="calls that may wait; further ones get status 503")  # fmt: skip
    add("--deadline", type=_number(float, 0.01, 600), metavar="S",
        default=BatchingOptions.deadline_seconds,
        help="time limit of a call, then status 504")  # fmt: skip
    add("--max-cells", type=_number(int, 1, 10_000_000), default=Config.max_cells, metavar="N",
        help="cells (rows times movies, times reasons) of one predict response")  # fmt: skip
    add("--read-timeout", type=_number(float, 0.1, 600), default=Config.read_seconds, metavar="S",
        help="how long a client may take to send a head or a body")  # fmt: skip
    add("--max-connections", type=_number(int, 1, 100_000), default=Config.max_connections,
        metavar="N", help="open connections; a further one closes the one that has waited"
        " longest")  # fmt: skip
    add("--max-connections-per-address", type=_number(int, 1, 100_000), metavar="N",
        default=Config.max_connections_per_address, help="the same for one address")  # fmt: skip
    add("--threads", type=_number(int, 1, 256), default=Config.threads, metavar="N",
        help="threads of TensorFlow for one call")  # fmt: skip
    add("--poll", type=_number(float, 0.05, 3600), default=Config.poll_seconds, metavar="S",
        help="time between checks for new versions")  # fmt: skip
    add("--load-timeout", type=_number(float, 1, 86_400), metavar="S",
        default=ValidationLimits.seconds,
        help="time limit for loading and validating a version")  # fmt: skip
    add("--access-log", action=argparse.BooleanOptionalAction, default=not sys.stderr.isatty(),
        help="one line per request on stderr")  # fmt: skip
    return parser


def _number(kind: type[int] | type[float], least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"expected {least:g} to {most:g}, found {text}")
        return value

    parse.__name__ = "number"
    return parse


def _prefix(text: str) -> str:
    if text in ("", "/"):
        return ""
    prefix = text.rstrip("/")
    if not _PREFIX.fullmatch(prefix):
        raise argparse.ArgumentTypeError(
            f"expected a path such as /films, of letters, digits and signs of ASCII, found {text!r}"
        )
    return prefix


_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^\s/?#,]+")


def _origin(text: str) -> str:
    origin = text.lower().removesuffix("/")
    if not _ORIGIN.fullmatch(origin):
        raise argparse.ArgumentTypeError(
            f"expected an origin such as https://films.example, without a path, found {text!r}"
        )
    return origin


def _config(arguments: argparse.Namespace, token: str) -> Config:
    allowed = tuple(arguments.allow_host)
    if is_loopback(arguments.host):
        # Any site's page could otherwise reach the server by a name that resolves to it.
        allowed = (*LOOPBACK_HOSTS, *allowed)
    return Config(
        model_dir=Path(arguments.model_dir),
        name=arguments.model_name,
        host=arguments.host,
        port=arguments.port,
        token=token,
        cors_origins=tuple(arguments.cors_origin),
        allowed_hosts=allowed,
        batching=BatchingOptions(
            max_rows=arguments.max_batch,
            queue_size=arguments.queue,
            delay_ms=arguments.batch_delay,
            deadline_seconds=arguments.deadline,
        ),
        threads=arguments.threads,
        poll_seconds=arguments.poll,
        validation=ValidationLimits(seconds=arguments.load_timeout),
        read_seconds=arguments.read_timeout,
        max_cells=arguments.max_cells,
        max_connections=arguments.max_connections,
        max_connections_per_address=arguments.max_connections_per_address,
        root_path=arguments.root_path,
    )


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
    host = config.host.strip("[]")
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, config.port))
    except OSError as error:
        listener.close()
        _quit(
            f"Cannot listen on {config.host} port {config.port}: {error.strerror or error}."
            " Choose others with --host and --port."
        )
    return listener


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


class _Announcement:
    """Prints the server's address once a version is served."""

    def __init__(self, config: Config, listener: socket.socket, started: float) -> None:
        host = f"[{config.host}]" if ":" in config.host else config.host
        self._url = f"http://{host}:{listener.getsockname()[1]}"
        self._started = started
        self._done = False

    def ready(self, recommender: Recommender) -> None:
        """Prints it, at the first call only."""
        if self._done:
            return
        self._done = True
        announce(
            f"Ready: {self._url} serves version {recommender.version},"
            f" {number_of(len(recommender.catalogue), recommender.item_noun)}, after"
            f" {time.time() - self._started:.1f} s. API: {self._url}/docs. Ctrl-C stops it."
        )


def _started() -> float:
    """Returns when this process started, in unix seconds."""
    try:
        fields = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return time.time() - uptime + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return time.time()


def _quit(message: str, code: int = 1) -> NoReturn:
    print(printable(message), file=sys.stderr)
    raise SystemExit(code)
