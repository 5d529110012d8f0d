"""What the server is told once, at its start."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from serving import limits
from serving.batching import BatchingOptions
from serving.validation import ValidationLimits

MODEL_NAME = "movielens"
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Config:
    """How to serve.

    Args:
      model_dir: the directory with a subfolder per version.
      name: the model's name in TensorFlow Serving's paths.
      host: the address to listen on.
      port: the port to listen on; 0 takes a free one.
      token: if not empty, every request but those for health and the page's files must carry it.
      cors_origins: the origins whose pages may call; none by default.
      allowed_hosts: names in the Host header that are answered; none allows all.
      batching: how calls of the model are batched.
      threads: how many threads TensorFlow may use for one call.
      poll_seconds: how often to look for versions.
      settle_seconds: how old a new version's files must be to be taken for complete at once.
      validation: what a version may take until it is loaded and has answered the trial queries.
      max_body_bytes: a longer request is refused.
      max_cells: a predict call whose outputs would have more cells is refused.
      max_bodies_bytes: bytes of all requests' bodies that are held at the same time.
      read_seconds: how long a client may take to send a request's head, or its body, or to
        take an answer.
      idle_seconds: how long a connection may wait for its next request.
      max_connections: open connections; a further one closes the one that has waited longest.
      max_connections_per_address: the same for one IPv4 address or IPv6 network of 64 bits.
      root_path: the path prefix under which a proxy shows the server, such as `/films`.
      shutdown_seconds: how long a stopping server waits for answers that are under way.
    """

    model_dir: Path
    name: str = MODEL_NAME
    host: str = "127.0.0.1"
    port: int = 8501
    token: str = ""
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    batching: BatchingOptions = field(default_factory=BatchingOptions)
    threads: int = 1
    poll_seconds: float = 1.0
    settle_seconds: float = 2.0
    validation: ValidationLimits = field(default_factory=ValidationLimits)
    max_body_bytes: int = 1 << 20
    max_cells: int = limits.MAX_CELLS
    max_bodies_bytes: int = 64 << 20
    read_seconds: float = 10.0
    idle_seconds: float = 60.0
    max_connections: int = 1_000
    max_connections_per_address: int = 500
    root_path: str = ""
    shutdown_seconds: int = 10


def is_loopback(host: str) -> bool:
    """Tells whether an address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
