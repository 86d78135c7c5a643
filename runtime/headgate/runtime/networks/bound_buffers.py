"""Run a graph on inputs in the accelerator's own memory, allocated once and kept between runs.

`InferenceSession.run` allocates device memory for every input of every run. Here each input has a
buffer per batch size that the next run writes over; answers are small and come back to the host.
Where batches of many sizes are large, the buffers used last stay: all sizes up to 256 of pictures
of 224 px would take 5 GB.
For CUDA and TensorRT; the tests run it on the CPU, where it changes nothing but the way.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

Array = npt.NDArray[np.generic]
MOST_BYTES = 256 << 20  # of one session's buffers; more only for a single run


class BoundRun:
    """One session and its input buffers. Not for two threads at a time."""

    def __init__(self, session: ort.InferenceSession, *, device: str) -> None:
        """`device` as onnxruntime names it: cuda or cpu."""
        self._session, self._device = session, device
        self._buffers: OrderedDict[tuple[str, tuple[int, ...], str], ort.OrtValue] = OrderedDict()
        self.num_bytes = 0  # of all buffers

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """Return the named outputs, as arrays of the host; raises what onnxruntime raises."""
        binding = self._session.io_binding()
        for name, array in feeds.items():
            binding.bind_ortvalue_input(name, self._filled(name, array))
        for name in outputs:
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()  # type: ignore[no-any-return]

    def _filled(self, name: str, array: Array) -> ort.OrtValue:
        """Return the buffer for an input of this shape, with the values of `array`."""
        key = (name, array.shape, array.dtype.str)
        buffer = self._buffers.get(key)
        if buffer is None:
            self._make_room(array.nbytes)
            self.num_bytes += array.nbytes
            buffer = ort.OrtValue.ortvalue_from_shape_and_type(
                list(array.shape), array.dtype.type, self._device, 0
            )
            self._buffers[key] = buffer
        self._buffers.move_to_end(key)
        buffer.update_inplace(np.ascontiguousarray(array))
        return buffer

    def _make_room(self, num_bytes: int) -> None:
        """Let go of the buffers used longest ago; a run under way holds its own."""
        while self._buffers and self.num_bytes + num_bytes > MOST_BYTES:
            (_, shape, dtype), _ = self._buffers.popitem(last=False)
            self.num_bytes -= prod(shape) * np.dtype(dtype).itemsize
