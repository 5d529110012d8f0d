"""Configuration of the server, fixed at its start."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from serving import limits
from serving.batching import BatchingOptions
from serving.validation_process import ValidationLimits

MODEL_NAME = "movielens"
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Config:
    """Settings of the server.

    Args:
      model_dir: the directory with a subfolder per version.
      name: the model's name in paths of TensorFlow Serving's API.
      host: the address to listen on.
      port: the port to listen on; 0 takes a free one.
      token: if not empty, required in every request but those for health and the page's files.
      cors_origins: origins whose pages may send requests; none by default.
      allowed_hosts: accepted names in the Host header; none allows all.
      batching: options of batching.
      threads: how many threads TensorFlow may use for one call.
      poll_seconds: how often to look for versions.
      settle_seconds: age of the files of a version without a manifest from which it is complete.
      validation: limits of time and memory for loading and validating a version.
      max_body_bytes: limit of one request's body.
      max_cells: limit of the cells in each output of a predict call.
      max_bodies_bytes: limit of all bodies in memory at the same time.
      read_seconds: how long a client may take to send a request's head, or its body, or to
        receive a response.
      idle_seconds: how long a connection may wait for its next request.
      max_connections: open connections; a further one closes the one that has waited longest.
      max_connections_per_address: the same for one IPv4 address or IPv6 network of 64 bits.
      root_path: the path prefix of the server behind a proxy, such as `/films`.
      shutdown_seconds: how long a stopping server waits for running requests.
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

    @property
    def answer_seconds(self) -> float:
        """How long a request may run; beyond it the connection is closed."""
        return 3 * self.batching.deadline_seconds + 60


def is_loopback(host: str) -> bool:
    """Returns whether an address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
