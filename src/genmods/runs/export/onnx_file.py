"""ONNX files of trained models, compared with the model by ONNX Runtime before they are kept."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim

from genmods import __version__
from genmods.core.atomic import replacing
from genmods.core.errors import UserError
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.export.graphs import Graph

TOLERANCE = 1e-4
"""The largest difference from the model, relative to the largest output above 1."""


def export_onnx(graph: Graph, checkpoint: Checkpoint, path: Path) -> float:
    """Write a graph as an ONNX file with any batch size, and any height and width where the network takes them.

    Args:
        graph: The graph, in eval mode on the CPU.
        checkpoint: The checkpoint of its model, for the metadata.
        path: The file.

    Returns:
        The largest difference of the file's output from the model's, in units of the largest output above 1.

    Raises:
        UserError: If the packages are missing, the model cannot be traced, or the difference is above 1e-4.
    """
    runtime = _runtime()
    with torch.no_grad(), _quiet():
        program = _traced(graph)
        program.model.metadata_props.update(_metadata(graph, checkpoint))
        with replacing(path) as staged:
            program.save(str(staged))
            difference = max(_difference(runtime, staged, graph, inputs) for inputs in _inputs(program, graph))
            if not difference <= TOLERANCE:
                raise UserError(f"{path}: not written, its output differs from the model's by {difference:.2g}")
    return difference


def _runtime() -> Any:
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"ONNX files require the package {error.name}: pip install 'genmods[onnx]'") from error
    return onnxruntime


@contextmanager
def _quiet() -> Iterator[None]:
    """Context without the warnings of the exporter."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _traced(graph: Graph) -> Any:
    """The ONNX program of a graph; of one size if it cannot be traced for any."""
    tries: list[tuple[bool, int | None]] = [(True, None)] if graph.resizable else []
    tries += [(False, None), (False, 63)]
    for resizable, most in tries:
        try:
            exported = torch.export.export(
                graph.module,
                tuple(graph.inputs.values()),
                dynamic_shapes=(tuple(_dimensions(graph, resizable, most)),),
                strict=False,
                prefer_deferred_runtime_asserts_over_guards=True,
            )
            return torch.onnx.export(
                exported,
                dynamo=True,
                verbose=False,
                input_names=list(graph.inputs),
                output_names=[graph.output],
                custom_translation_table={torch.ops.prims.hypot.default: _hypot},
            )
        except Exception as error:  # torch documents none
            if (resizable, most) == tries[-1]:
                raise UserError(f"this model cannot be exported as ONNX: {_reason(error)}") from error
    raise AssertionError


def _hypot(a: Any, b: Any) -> Any:
    """`torch.hypot` of ONNX values, which torch does not translate."""
    from onnxscript import opset18 as op

    return op.Sqrt(op.Add(op.Mul(a, a), op.Mul(b, b)))


def _reason(error: BaseException) -> str:
    """The first line of the innermost error."""
    while error.__cause__ is not None:
        error = error.__cause__
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line[:200]


def _dimensions(graph: Graph, resizable: bool, most: int | None) -> Iterator[dict[int, Any]]:
    """The dimensions of each input that vary. `most` samples are traced; diffusers copies the memory of more than 63 in
    another order, of which the file is independent."""
    batch = Dim("batch", min=1, max=most)
    for name in graph.inputs:
        sides = {2: Dim("height", min=2), 3: Dim("width", min=2)} if resizable and name in graph.resizable else {}
        yield {0: batch, **sides}


def _inputs(program: Any, graph: Graph) -> Iterator[dict[str, Tensor]]:
    """The example inputs, as many as three samples of them, and larger images where the file takes them."""
    yield graph.inputs
    three = {name: torch.cat([value, value[:1]]) for name, value in graph.inputs.items()}
    yield three
    if any(not isinstance(side, int) for value in program.model.graph.inputs for side in list(value.shape)[1:]):
        yield {n: torch.cat([v, v[..., :-1]], -1) if n in graph.resizable else v for n, v in three.items()}


def _difference(runtime: Any, path: Path, graph: Graph, inputs: dict[str, Tensor]) -> float:
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    known = {one.name for one in session.get_inputs()}
    (found,) = session.run(None, {name: value.numpy() for name, value in inputs.items() if name in known})
    want = graph.module(*inputs.values())
    return (torch.from_numpy(found) - want).abs().max().item() / max(1.0, want.abs().max().item())


def _metadata(graph: Graph, checkpoint: Checkpoint) -> dict[str, str]:
    preparation = checkpoint.preparation
    return {
        "producer": f"genmods {__version__}",
        "task": checkpoint.recipe["task"]["name"],
        "meanings": json.dumps(graph.meanings),
        "class_names": json.dumps(checkpoint.data_info.class_names),
        "preparation": json.dumps(None if preparation is None else preparation.plain()),
        "data_hash": checkpoint.data_hash or "",
    }
