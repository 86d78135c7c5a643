"""Write the config.pbtxt that lets Triton or KServe serve a tail unchanged.

`tails/` of a family is a Triton model repository: one folder per member, version 1 inside. The
batch axis is Triton's own (`max_batch_size`), so shapes are written without it.
"""

from collections.abc import Sequence

from headgate.profiles.manifest import TensorSpec

MAX_BATCH = 32

_TRITON_TYPES = {
    "uint8": "TYPE_UINT8",
    "int8": "TYPE_INT8",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
}


def triton_config(name: str, *, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> str:
    """Return the text of a config.pbtxt; `name` must be that of the model's folder."""
    return (
        f'name: "{name}"\n'
        'backend: "onnxruntime"\n'
        f"max_batch_size: {MAX_BATCH}\n"
        f"{_tensors('input', inputs)}"
        f"{_tensors('output', outputs)}"
        "dynamic_batching { }\n"
    )


def _tensors(kind: str, specs: Sequence[TensorSpec]) -> str:
    blocks = [
        "  {\n"
        f'    name: "{spec.name}"\n'
        f"    data_type: {_TRITON_TYPES[spec.dtype]}\n"
        f"    dims: [ {', '.join(map(str, spec.shape))} ]\n"
        "  }"
        for spec in specs
    ]
    return f"{kind} [\n" + ",\n".join(blocks) + "\n]\n"
