"""One ONNX graph in onnxruntime, on the provider that was asked for or not at all.

onnxruntime lists providers it cannot use, and falls back to the CPU with only a log line when asked
for one of them. So what was asked for is compared with what the session says it got.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from headgate.profiles.errors import FamilyError, HeadgateError, UsageError
from headgate.runtime.networks.bound_buffers import BoundRun

Array = npt.NDArray[np.generic]

PROVIDER_CHOICES = ("auto", "cpu", "cuda", "tensorrt")
CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"
_PROVIDERS = {
    "cpu": (CPU_PROVIDER,),
    "cuda": (CUDA_PROVIDER, CPU_PROVIDER),
    "tensorrt": ("TensorrtExecutionProvider", CUDA_PROVIDER, CPU_PROVIDER),
}
# Of CUDA, whose default tries all algorithms of every convolution for each new batch size.
_PROVIDER_OPTIONS = {CUDA_PROVIDER: {"cudnn_conv_algo_search": "HEURISTIC"}}
# onnxruntime's exceptions share no base of their own (tried with 1.31).
_ORT_ERRORS = (
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NoModel,
    ort_state.NoSuchFile,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
    ort_state.EPFail,
)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to run graphs. `threads` is per graph run; 0 lets onnxruntime use every core."""

    providers: str = "auto"  # one of PROVIDER_CHOICES
    threads: int = 1


DEFAULT_OPTIONS = EngineOptions()


def providers_to_try(asked: str, *, available: Sequence[str]) -> tuple[str, ...]:
    """Return onnxruntime's provider names for what was asked, best first.

    `auto` takes CUDA where this onnxruntime has it; TensorRT only on request, because building
    its engines takes minutes. Raises UsageError for what this onnxruntime was built without.
    """
    if asked not in PROVIDER_CHOICES:
        raise UsageError(f"providers: {asked!r} is not one of {', '.join(PROVIDER_CHOICES)}")
    if asked == "auto":
        return tuple(name for name in _PROVIDERS["cuda"] if name in available)
    wanted = _PROVIDERS[asked]
    if wanted[0] not in available:
        raise UsageError(
            f"providers: {asked} was asked for, the installed onnxruntime has "
            f"{', '.join(available)}; install the extra `gpu` instead of `cpu`, or use auto"
        )
    return tuple(name for name in wanted if name in available)


@cache
def load_gpu_libraries() -> None:
    """Load CUDA and cuDNN where pip put them, as `onnxruntime-gpu[cuda,cudnn]` does.

    The system's loader does not look there. What is not found by pip's paths is left to it, so the
    complaints that onnxruntime prints about each are no news; the session says what it got.
    """
    preload = getattr(ort, "preload_dlls", None)  # from onnxruntime 1.21 on
    if preload is not None:
        with contextlib.redirect_stdout(io.StringIO()):
            preload()


class GraphRunError(HeadgateError):
    """A graph that loaded could not be run on this input."""


def _check_name(path: Path) -> None:
    """Refuse a name that onnxruntime cannot be told.

    It could be given the bytes of the file instead, but would then find no weights that lie beside
    it, and hold the file twice while it loads: too much for a small device.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{path}: this path is not UTF-8, and onnxruntime opens no other; rename its folders"
        ) from None


class Graph:
    """One loaded ONNX graph."""

    def __init__(self, path: Path, *, options: EngineOptions) -> None:
        _check_name(path)
        session_options = ort.SessionOptions()
        session_options.intra_op_num_threads = options.threads
        session_options.inter_op_num_threads = 1
        # Errors come back as exceptions; warnings about unused outputs help nobody at run time.
        session_options.log_severity_level = 3
        # Idle threads must not burn a small device's cores between two frames.
        session_options.add_session_config_entry("session.force_spinning_stop", "1")
        providers = providers_to_try(options.providers, available=ort.get_available_providers())
        if providers[0] != CPU_PROVIDER:
            load_gpu_libraries()
        try:
            self._session = ort.InferenceSession(
                str(path),
                sess_options=session_options,
                providers=[(name, _PROVIDER_OPTIONS.get(name, {})) for name in providers],
            )
        except _ORT_ERRORS as reason:
            raise FamilyError(
                f"{path}: onnxruntime {ort.__version__} cannot load it ({_first_line(reason)}); "
                "update onnxruntime or export the family again"
            ) from None
        self.provider: str = self._session.get_providers()[0]
        if options.providers != "auto" and self.provider != providers[0]:
            raise UsageError(
                f"providers: {options.providers} was asked for, onnxruntime could only start "
                f"{self.provider}; check driver and GPU, or use auto"
            )
        on_gpu = self.provider != CPU_PROVIDER
        self._bound = BoundRun(self._session, device="cuda") if on_gpu else None
        self.inputs = {spec.name: tuple(spec.shape) for spec in self._session.get_inputs()}
        self.outputs = tuple(spec.name for spec in self._session.get_outputs())
        self._path = path

    def require(self, *, inputs: set[str], outputs: set[str]) -> None:
        """Raise FamilyError unless the graph takes exactly `inputs` and gives `outputs`."""
        if set(self.inputs) != inputs or not outputs <= set(self.outputs):
            raise FamilyError(
                f"{self._path}: takes {sorted(self.inputs)} and gives {sorted(self.outputs)}, "
                f"expected {sorted(inputs)} and {sorted(outputs)}; export the family again"
            )

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """Return the named outputs; raises GraphRunError if onnxruntime cannot compute them."""
        try:
            if self._bound is not None:
                return self._bound.run(outputs, feeds)
            return self._session.run(outputs, feeds)  # type: ignore[no-any-return]
        except _ORT_ERRORS as reason:
            raise GraphRunError(f"graph failed: {_first_line(reason)}") from None


def _first_line(reason: BaseException) -> str:
    return str(reason).strip().splitlines()[0][:200]
