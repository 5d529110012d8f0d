"""Checks the operations of a model's graph: computation, variables and tables, but no files.

A SavedModel is a program that runs with the server's rights. The lists here refuse mistakes and
simple attacks, such as a model that returns the content of a file. They are not a sandbox.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.errors import ModelError

_INIT_SIGNATURE = "__saved_model_init_op"
_TABLE_FROM_FILE = frozenset({"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"})

_CHECKPOINTS = frozenset(
    {"SaveV2", "RestoreV2", "MergeV2Checkpoints", "Save", "SaveSlices", "Restore", "RestoreSlice"}
)
"""Operations that save and restore variables: for the SavedModel's own functions alone."""

_RESTORES = frozenset({"RestoreV2", "Restore", "RestoreSlice"})
"""Those that run when a model is loaded."""

_STATEFUL = re.compile(
    "|".join(
        (
            # Checks and control flow.
            "Assert", "CheckNumerics(V2)?", "(Stateful)?PartitionedCall", "_?(If|While)", "Case",
            # Variables.
            "VarHandleOp", "_VarHandlesOp", "Variable(V2)?", "ReadVariableOp", "Variable(Op|Shape)",
            "Assign(Add|Sub)?VariableOp", "VarIsInitializedOp", "DisableCopyOnRead",
            "DestroyResourceOp", "TemporaryVariable",
            "Resource(Gather|Scatter|Apply|Sparse|Count)\\w*",
            "ResourceStridedSliceAssign", "Empty", "DeepCopy", "GuaranteeConst",
            # Tables.
            "(Anonymous)?(Mutable)?(Dense)?HashTable(OfTensors)?(V2)?", "LookupTable\\w+",
            "InitializeTable(FromTextFile)?(V2)?",
            # Chance and time.
            "Random\\w*", "Stateful\\w*", "Multinomial", "\\w*TruncatedNormal", "RngReadAndSkip",
            "RngSkip", "NonDeterministicInts", "StatelessRandomGetAlg", "Timestamp",
            "AllCandidateSampler", "\\w*UniformCandidateSampler", "LogUniformCandidateSampler",
            # Lists of tensors within one call.
            "TensorArray\\w*", "Stack(V2|Push|PushV2|Pop|PopV2|Close|CloseV2)?", "CudnnRNN\\w*",
            # Output to the server's own streams.
            "Print(V2)?",
        )
    )
)  # fmt: skip
"""The allowed stateful operations; most others reach outside the process."""

_REFUSED = re.compile(
    "_.*|.*(File|PyFunc|Dataset|Iterator|Reader|Record|Checkpoint|Remap|Queue|Barrier|Debug|TPU|Tpu|"
    "BigQuery|Summary|Remote|Rpc).*|(Save|Restore).*|Abort|ImmutableConst|(En|De)codeProto(V2)?"
)
"""Refused operations that TensorFlow registers as stateless."""

_HARMLESS = re.compile(
    "_(Arg|Retval|DeviceArg|DeviceRetval|If|While|VarHandlesOp)|Sharded(Filename|Filespec)"
)


@dataclass(frozen=True)
class _Body:
    """The nodes of the graph, or of one of its functions."""

    nodes: Mapping[str, Any]
    arguments: tuple[str, ...] = ()


_Callers = Mapping[str, Sequence[tuple[str, Any]]]


def check_graph(meta_graph: Any) -> None:
    """Checks that a model has only the operations that a model needs.

    Args:
      meta_graph: the `MetaGraphDef` to be loaded.

    Raises:
      ModelError: an operation is not allowed, an asset is outside of the version, a table is read
        from a file that is not an asset, or variables from another checkpoint than the model's.
    """
    bodies = _bodies(meta_graph.graph_def)
    assets = _check_assets(meta_graph)
    if assets:
        _check_inputs(meta_graph, bodies[""], assets)
    callers = _callers(bodies)
    checkpoints, known = [], set()
    for function, body in bodies.items():
        for node in body.nodes.values():
            if node.op in _CHECKPOINTS:
                checkpoints.append((function, node))
            elif node.op not in known and node.op not in bodies:
                _check_operation(node)
                if node.op != "PrintV2":
                    known.add(node.op)
            if node.op in _TABLE_FROM_FILE and not _comes_from(
                assets, bodies, callers, (function, node.input[1])
            ):
                _refuse(node.op, "of a file that is none of the model's assets")
    _check_checkpoints(meta_graph, bodies, callers, checkpoints)


def _check_checkpoints(
    meta_graph: Any,
    bodies: Mapping[str, _Body],
    callers: _Callers,
    found: Sequence[tuple[str, Any]],
) -> None:
    """Checks that no call saves variables, and that they are restored from the version."""
    if not found:
        return
    saver = meta_graph.saver_def
    run = _reachable(bodies, [*_run_by_the_server(meta_graph), *_run_unnamed(meta_graph)])
    restored = _reachable(bodies, [("", _node(saver.restore_op_name)[0])])
    checkpoint = frozenset({_node(saver.filename_tensor_name)[0]})
    for function, node in found:
        if (function, node.name) in run:
            _refuse(node.op, "outside of saving and restoring variables")
        if (function, node.name) not in restored:
            continue
        if node.op not in _RESTORES:
            _refuse(node.op, "where variables are restored")
        if not _comes_from(checkpoint, bodies, callers, (function, node.input[0])):
            _refuse(node.op, "of another checkpoint than the model's own")


def _bodies(graph: Any) -> dict[str, _Body]:
    """Returns the graph under the name "", and each function under its own."""
    found = {"": _Body({node.name: node for node in graph.node})}
    for function in graph.library.function:
        arguments = tuple(argument.name for argument in function.signature.input_arg)
        nodes = {node.name: node for node in function.node_def}
        found[function.signature.name] = _Body(nodes, arguments)
    return found


def _check_operation(node: Any) -> None:
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(node.op)
    if definition is None:
        _refuse(node.op, "which this server's TensorFlow does not know")
    known = _HARMLESS.fullmatch(node.op) or (
        _STATEFUL.fullmatch(node.op)
        if definition.is_stateful or node.op in _TABLE_FROM_FILE
        else not _REFUSED.fullmatch(node.op)
    )
    if not known:
        _refuse(node.op)
    if node.op == "PrintV2":
        stream = node.attr["output_stream"].s.decode("utf-8", "replace")
        if stream and not re.fullmatch(r"stdout|stderr|log\((info|warning|error)\)", stream):
            _refuse(node.op, "to a file")


def _refuse(operation: str, where: str = "which has no place in a model") -> None:
    raise ModelError(
        "PERMISSION_DENIED",
        f"is refused: its graph has the operation {operation!r} {where}",
    )


def _check_assets(meta_graph: Any) -> frozenset[str]:
    """Returns the names of the tensors that hold the paths of assets."""
    for asset in meta_graph.asset_file_def:
        name = posixpath.normpath(asset.filename)
        if name.startswith(("/", "..")) or "\0" in name:
            raise ModelError(
                "PERMISSION_DENIED", "is refused: one of its assets lies outside of its folder"
            )
    return frozenset(_node(asset.tensor_info.name)[0] for asset in meta_graph.asset_file_def)


def _check_inputs(meta_graph: Any, graph: _Body, assets: frozenset[str]) -> None:
    """Checks that no input of a signature can replace the path of an asset."""
    for signature in meta_graph.signature_def.values():
        for info in signature.inputs.values():
            for name in _tensors_of(info):
                node = graph.nodes.get(name)
                if name in assets or node is None or not node.op.startswith("Placeholder"):
                    raise ModelError(
                        "PERMISSION_DENIED",
                        "is refused: it has assets, and a signature with an input that is no"
                        " placeholder of its own",
                    )


# -- reachable nodes ---------------------------------------------------------------------------


def _run_by_the_server(meta_graph: Any) -> Iterator[tuple[str, str]]:
    """Yields the nodes of the graph that are fetched by initialisers and signatures."""
    for name, signature in meta_graph.signature_def.items():
        if name == _INIT_SIGNATURE or signature.outputs:
            for info in signature.outputs.values():
                yield from (("", tensor) for tensor in _tensors_of(info))
    for key in ("saved_model_main_op", "legacy_init_op"):
        if key in meta_graph.collection_def:
            for name in meta_graph.collection_def[key].node_list.value:
                yield "", _node(name)[0]


def _run_unnamed(meta_graph: Any) -> Iterator[tuple[str, str]]:
    """Yields the nodes of functions that TensorFlow may run in place of the named ones.

    Functions with the attribute `api_implements` replace each other; gradients replace functions.
    """
    library = meta_graph.graph_def.library
    gradients = {gradient.gradient_func for gradient in library.gradient}
    for function in library.function:
        if "api_implements" in function.attr or function.signature.name in gradients:
            yield from ((function.signature.name, node.name) for node in function.node_def)


def _tensors_of(info: Any) -> Iterator[str]:
    if info.name:
        yield _node(info.name)[0]
    for part in info.composite_tensor.components:
        yield _node(part.name)[0]
    sparse = info.coo_sparse
    for name in (sparse.values_tensor_name, sparse.indices_tensor_name,
                 sparse.dense_shape_tensor_name):  # fmt: skip
        if name:
            yield _node(name)[0]


def _reachable(
    bodies: Mapping[str, _Body], starts: Iterable[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Returns (function, node) for each node that runs when the given ones are fetched."""
    found: set[tuple[str, str]] = set()
    waiting = list(starts)
    while waiting:
        function, name = waiting.pop()
        node = bodies[function].nodes.get(name)
        if node is None or (function, name) in found:
            continue
        found.add((function, name))
        waiting.extend((function, _node(given)[0]) for given in node.input)
        for called in _called(node, bodies):
            # Every node of a function counts, so control outputs need not be followed.
            waiting.extend((called, inner) for inner in bodies[called].nodes)
    return found


def _called(node: Any, bodies: Mapping[str, _Body]) -> Iterator[str]:
    if node.op in bodies:
        yield node.op
    for value in node.attr.values():
        for function in (value.func, *value.list.func):
            if function.name in bodies and function.name:
                yield function.name


# -- names of files ----------------------------------------------------------------------------


def _comes_from(
    names: frozenset[str],
    bodies: Mapping[str, _Body],
    callers: _Callers,
    given: tuple[str, str],
) -> bool:
    """Returns whether the loader sets a file's name, for every call of the function that uses it.

    Args:
      names: the nodes of the graph that the loader replaces by paths.
      bodies: of all functions.
      callers: of all functions.
      given: the function that uses the name, and the name's tensor there.
    """
    waiting, seen = [(given[0], _node(given[1])[0])], set()
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        where, name = place
        body = bodies[where]
        found = body.nodes.get(name)
        if not where and name in names and found is not None and found.op in _GIVEN:
            continue
        if name in body.arguments:
            waiting.extend(_given(callers, where, body.arguments.index(name)))
        elif found is not None and found.op == "Identity":
            waiting.append((where, _node(found.input[0])[0]))
        elif not where and found is not None and found.op == "ReadVariableOp":
            values = _assigned(bodies, _node(found.input[0])[0])
            if not values:
                return False
            waiting.extend(("", value) for value in values)
        else:
            return False
    return True


_GIVEN = frozenset({"Const", "Placeholder", "PlaceholderWithDefault"})
"""Operations whose value the loader can replace by a path."""
_OF_A_NAME = frozenset({"AssignVariableOp", "ReadVariableOp", "VarIsInitializedOp"})


def _assigned(bodies: Mapping[str, _Body], variable: str) -> list[str]:
    """Returns the tensors assigned to a variable; empty if a function could assign to it too."""
    handle = bodies[""].nodes.get(variable)
    if handle is None or handle.op != "VarHandleOp":
        return []
    name = handle.attr["shared_name"].s
    values, same_name = [], 0
    for body in bodies.values():
        for node in body.nodes.values():
            same_name += node.op == "VarHandleOp" and node.attr["shared_name"].s == name
    for node in bodies[""].nodes.values():
        if variable in (_node(given)[0] for given in node.input if not given.startswith("^")):
            if node.op not in _OF_A_NAME:
                return []
            if node.op == "AssignVariableOp":
                values.append(_node(node.input[1])[0])
    return values if same_name == 1 else []


def _given(callers: _Callers, function: str, position: int) -> Iterator[tuple[str, str]]:
    """Yields the tensor of an argument of a function, for each call."""
    for where, node in callers.get(function, ()):
        if node.op in (function, "PartitionedCall", "StatefulPartitionedCall"):
            yield where, _node(node.input[position])[0]
        else:
            # Loops and branches pass arguments otherwise; initialisers of tables do not need them.
            yield where, ""


def _callers(bodies: Mapping[str, _Body]) -> _Callers:
    """Returns the callers of each function."""
    found: dict[str, list[tuple[str, Any]]] = {}
    for where, body in bodies.items():
        for node in body.nodes.values():
            for called in _called(node, bodies):
                found.setdefault(called, []).append((where, node))
    return found


def _node(tensor: str) -> tuple[str, str]:
    """Splits "^node", "node", "node:0" or, in a function, "node:output:0"."""
    name, _, output = tensor.lstrip("^").partition(":")
    return name, output
