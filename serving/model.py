"""One version of the model: a SavedModel in a TensorFlow session.

A session rather than `tf.saved_model.load`, as in TensorFlow Serving: a call takes half the
processor time (1.3 instead of 2.7 ms for one user), loading a third, and closing it frees the
memory. Calls bypass `Session.run`, which looks up and checks every feed and fetch in Python at each
call: 0.6 instead of 1.1 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from schema import export_contract
from serving.errors import InvalidInput, ModelError, ModelFault
from serving.graph_check import check_graph

Arrays = Mapping[str, np.ndarray[Any, Any]]

INTERNAL_SIGNATURES = frozenset(
    {
        "__saved_model_init_op",
        "__saved_model_train_op",
        export_contract.SIGNATURE,
        export_contract.EVALUATION_SIGNATURE,
    }
)
_SERVE_TAG = "serve"
_PLAIN = re.compile(r"[\w./ -]*", re.ASCII)
_CALL_SECONDS = 60
"""Time limit of one call: a graph that loops would block all other calls."""


@dataclass(frozen=True)
class Tensor:
    """An input or output of a signature.

    Args:
      name: its name in the signature.
      dtype: its numpy type; `object` for strings.
      shape: the size of each dimension, None where any; None if the rank is unknown.
      handle: TensorFlow's name for it in calls.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...] | None
    handle: Any = None

    @property
    def rank(self) -> int | None:
        """Its number of dimensions, if known."""
        return None if self.shape is None else len(self.shape)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Checks the shape of a value for this input.

        Raises:
          InvalidInput: if it is another one.
        """
        if self.shape is not None and (
            len(shape) != len(self.shape)
            or any(
                expected is not None and expected != found
                for expected, found in zip(self.shape, shape, strict=True)
            )
        ):
            raise InvalidInput(
                f"Expected shape {_shape(self.shape)} in input {self.name!r},"
                f" found {_shape(shape)}."
            )


@dataclass(frozen=True)
class Signature:
    """One of the model's functions.

    Args:
      name: its name.
      inputs: by name.
      outputs: by name.
      run: called with the inputs' values by handle, and the outputs' handles; returns the outputs.
    """

    name: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    run: Callable[[dict[Any, Any], list[Any]], list[Any]]

    def __call__(self, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        """Runs the function.

        Raises:
          InvalidInput: if a value is not a tf.Example where one is expected.
          ModelFault: if the model fails on valid inputs.
        """
        from tensorflow.python.framework import errors_impl

        fed = {one.handle: np.asarray(inputs[one.name], one.dtype) for one in self.inputs.values()}
        try:
            values = self.run(fed, [one.handle for one in self.outputs.values()])
        except errors_impl.OpError as error:
            if isinstance(error, errors_impl.InvalidArgumentError) and _PARSING.search(str(error)):
                raise InvalidInput(_first_line(error)) from error
            raise ModelFault("failed", f"signature {self.name!r}: {_first_line(error)}") from error
        return dict(zip(self.outputs, values, strict=True))


class RetiredError(Exception):
    """The model is no longer served."""


class ServedModel:
    """A loaded version. Close it when it is no longer served.

    Args:
      version: its number.
      path: where it was loaded from.
      signatures: its functions.
      signature_defs: their `SignatureDef` protocol buffers.
      close: frees its session.
    """

    def __init__(
        self,
        version: int,
        path: Path,
        signatures: Mapping[str, Signature],
        signature_defs: Mapping[str, Any],
        close: Callable[[], None],
    ) -> None:
        self.version = version
        self.path = path
        self.signatures = signatures
        self.signature_defs = signature_defs
        self._close = close
        self._lock = threading.Lock()
        self._leases = 0
        self._retired = False

    def accepts(self, signature: str, name: str) -> bool:
        """Returns whether a signature exists and has the input."""
        return signature in self.signatures and name in self.signatures[signature].inputs

    @contextlib.contextmanager
    def lease(self) -> Iterator[ServedModel]:
        """Keeps the model open while it is used, even if it is retired meanwhile.

        Raises:
          RetiredError: if it is retired already.
        """
        with self._lock:
            if self._retired:
                raise RetiredError(self.version)
            self._leases += 1
        try:
            yield self
        finally:
            with self._lock:
                self._leases -= 1
                last = self._retired and self._leases == 0
            if last:
                self._release()

    def retire(self) -> None:
        """Closes the model once its last lease ends."""
        with self._lock:
            if self._retired:
                return
            self._retired = True
            unused = self._leases == 0
        if unused:
            self._release()

    def _release(self) -> None:
        # In a thread of its own: the last lease may end in the event loop.
        # Not a daemon: TensorFlow must not run when the interpreter ends.
        threading.Thread(target=self._free, name=f"close-{self.version}").start()

    def _free(self) -> None:
        self.signatures = {}
        self._close()
        gc.collect()
        trim_memory()


def load(path: Path, version: int, threads: int = 1) -> ServedModel:
    """Loads a SavedModel.

    Args:
      path: its folder.
      version: its number.
      threads: how many threads one operation, and the operations of one call, may use.

    Returns:
      The model with one callable per signature.

    Raises:
      ModelError: if TensorFlow cannot read it.
    """
    with _plain_path(path) as folder:
        try:
            model = _load(folder, version, threads)
        except ModelError as error:
            message = error.message.replace(str(folder), str(path))
            raise ModelError(error.code, message) from error
    model.path = path
    return model


@contextlib.contextmanager
def _plain_path(path: Path) -> Iterator[Path]:
    """Yields a path to the same folder without the characters that TensorFlow takes for a pattern.

    The path itself if it has none; else that of a link, which is removed at the end.
    """
    if _PLAIN.fullmatch(str(path)):
        yield path
        return
    usual = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(dir=usual if _PLAIN.fullmatch(usual) else "/tmp") as folder:
        link = Path(folder) / "folder"
        link.symlink_to(path.absolute())
        yield link


def _load(path: Path, version: int, threads: int) -> ServedModel:
    from tensorflow.core.protobuf import config_pb2
    from tensorflow.python.client import session as tf_session
    from tensorflow.python.framework import ops
    from tensorflow.python.saved_model import loader_impl

    # The loader logs at every load that tf.saved_model.load is newer.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    graph = ops.Graph()
    config = config_pb2.ConfigProto(
        intra_op_parallelism_threads=threads,
        inter_op_parallelism_threads=threads,
        operation_timeout_in_ms=_CALL_SECONDS * 1000,
    )
    session = tf_session.Session(graph=graph, config=config)
    try:
        with graph.as_default():
            loader = loader_impl.SavedModelLoader(str(path))
            check_graph(loader.get_meta_graph_def_from_tags([_SERVE_TAG]))
            meta_graph = loader.load(session, [_SERVE_TAG])
            definitions = dict(meta_graph.signature_def)
            _check_contract(definitions, session)
            signatures = {
                name: _signature(name, definition, session)
                for name, definition in sorted(definitions.items())
                if name not in INTERNAL_SIGNATURES
            }
        graph.finalize()
    except ModelError:
        session.close()
        raise
    except Exception as error:
        session.close()
        # Clients do not see folders of the server, relative ones included.
        cause = _first_line(error).replace(f"{path}/", "")
        raise ModelError(_code(error), f"cannot be loaded: {cause}") from error
    return ServedModel(version, path, signatures, definitions, session.close)


def _check_contract(definitions: Mapping[str, Any], session: Any) -> None:
    """Checks that this server supports the export contract of a model of this pipeline.

    Raises:
      ModelError: the model is of a later release, or names another project.
    """
    if export_contract.SIGNATURE not in definitions:
        return
    definition = definitions[export_contract.SIGNATURE]
    signature = _signature(export_contract.SIGNATURE, definition, session)
    values: dict[str, Any] = signature({})
    name, number = values.get("name", b""), values.get("version", 0)
    if name != export_contract.NAME.encode() or not 1 <= number <= export_contract.VERSION:
        raise ModelError(
            "UNIMPLEMENTED",
            f"was exported with contract {name.decode('utf-8', 'replace')[:60]!r} {number}; this"
            f" server supports {export_contract.NAME!r} 1 to {export_contract.VERSION}:"
            " update the server",
        )


def _signature(name: str, definition: Any, session: Any) -> Signature:
    """Returns a signature that runs as `session.make_callable` does, without its work in Python.

    TensorFlow's `_make_callable_from_options` is as fast, but with it signatures cannot be warmed
    up at the same time, which costs 0.6 s until a server is ready.
    """

    def run(fed: dict[Any, Any], fetched: list[Any]) -> list[Any]:
        found: list[Any] = session._call_tf_sessionrun(None, fed, fetched, [], None)
        return found

    inputs, outputs = (
        {given: _tensor(given, infos[given], session.graph) for given in sorted(infos)}
        for infos in (definition.inputs, definition.outputs)
    )
    return Signature(name, inputs, outputs, run)


def _tensor(name: str, info: Any, graph: Any) -> Tensor:
    from tensorflow.python.framework import dtypes

    handle = graph.get_tensor_by_name(info.name)._as_tf_output()
    shape = None
    if not info.tensor_shape.unknown_rank:
        shape = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
    return Tensor(name, np.dtype(dtypes.as_dtype(info.dtype).as_numpy_dtype), shape, handle)


def _code(error: Exception) -> str:
    """TensorFlow's name for the kind of error."""
    if isinstance(error, OSError):
        # The loader distinguishes these by the text alone.
        return "DATA_LOSS" if "parse" in str(error) else "NOT_FOUND"
    number = getattr(error, "error_code", None)
    if number is None:
        return "INVALID_ARGUMENT"
    from tensorflow.core.protobuf import error_codes_pb2

    return str(error_codes_pb2.Code.Name(number))


def _first_line(error: BaseException) -> str:
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    # Graph execution errors put the cause between a heading and the graph's inner names.
    lines = [line for line in lines if not line.startswith(_HEADINGS)] or [type(error).__name__]
    # "Restoring from checkpoint failed. … Original error:" has the cause on the next line.
    cause = lines[1] if lines[0].endswith(":") and len(lines) > 1 else lines[0]
    return _PATHS.sub(r"\1", _FUNCTIONS.sub("", cause).split(" [[", 1)[0][:300])


def _shape(sizes: tuple[int | None, ...]) -> str:
    return f"[{', '.join('any' if size is None else str(size) for size in sizes)}]"


# Clients do not see folders of the server.
_PATHS = re.compile(r"(?<![\w.])/(?:[^\s/:;,'\"]+/)+([^\s/:;,'\"]*)")
# The operation that reads the serialized tf.Examples of a call.
_PARSING = re.compile(r"\{\{node [^}]*ParseExample|Could not parse example input")
# The functions in which the cause happened, before its text.
_FUNCTIONS = re.compile(r"^(\{\{.*?\}\} )+")
_HEADINGS = ("Graph execution error", "Detected at node", "Node:", "[[")


def trim_memory() -> None:
    """Returns unused memory to the system, where glibc can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
