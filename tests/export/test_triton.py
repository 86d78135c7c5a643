"""Claims about headgate.export.triton."""

from headgate.export.triton import triton_config
from headgate.profiles.manifest import TensorSpec

EXPECTED = """name: "b4r1"
backend: "onnxruntime"
max_batch_size: 32
input [
  {
    name: "features"
    data_type: TYPE_UINT8
    dims: [ 4, 8, 8 ]
  },
  {
    name: "levels"
    data_type: TYPE_FP32
    dims: [ 1 ]
  }
]
output [
  {
    name: "probabilities"
    data_type: TYPE_FP32
    dims: [ 10 ]
  }
]
dynamic_batching { }
"""


def test_a_config_names_every_tensor_without_its_batch_axis() -> None:
    text = triton_config(
        "b4r1",
        inputs=(TensorSpec("features", "uint8", (4, 8, 8)), TensorSpec("levels", "float32", (1,))),
        outputs=(TensorSpec("probabilities", "float32", (10,)),),
    )
    assert text == EXPECTED
