"""Payloads turned into answers, a batch at a time: the local onnxruntime as a `TailBackend`.

Every graph is loaded and warmed at the start, so that no device waits for the first batch of a
point.

Shapes: N batch, C sent feature maps, h w their size, H W picture, K classes.
"""

import time
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from headgate.profiles.errors import DataError, WireError
from headgate.profiles.family import Family
from headgate.profiles.manifest import OperatingPoint, PointKind
from headgate.profiles.pictures import decode_picture, encode_picture
from headgate.runtime.codec.layer_codec import decode_layers, encode_layers
from headgate.runtime.codec.prediction import decode_split, encode_split
from headgate.runtime.edge.edge_events import FULL_GRAPH_KEY, BatchItem, ItemOutcome
from headgate.runtime.edge.edge_rules import graph_key
from headgate.runtime.networks.family_graphs import (
    TAIL_OUTPUTS,
    blaming_the_family,
    tail_graph,
    whole_network,
)
from headgate.runtime.networks.graphs import (
    CUDA_PROVIDER,
    DEFAULT_OPTIONS,
    EngineOptions,
    Graph,
    GraphRunError,
)
from headgate.runtime.networks.memory import return_freed_memory
from headgate.runtime.networks.scales import Scales, tail_scales_of
from headgate.runtime.wire.messages import NamedTensor, RejectReason

Array = npt.NDArray[np.generic]
Pictures = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class EdgeEngine:
    """The edge's graphs: every tail, and the whole networks that offloaded pictures are for."""

    def __init__(
        self, family: Family, *, options: EngineOptions = DEFAULT_OPTIONS, max_batch: int = 16
    ) -> None:
        self.manifest = family.manifest
        self.max_batch = max_batch
        self._output_name = family.manifest.outputs[0].name
        self._full = {FULL_GRAPH_KEY: whole_network(family, self.manifest.full_graph, options)}
        self._tails: dict[str, Graph] = {}
        self._scales: dict[str, Scales] = {}
        for member in self.manifest.members:
            self._tails[member.id] = tail_graph(family, member, options)
        for point in self.manifest.points:
            if point.kind is PointKind.SPLIT:
                assert point.member is not None
                self._scales[point.id] = tail_scales_of(point, self.manifest.member(point.member))
            elif point.kind is PointKind.OFFLOAD:
                assert point.graph is not None
                key = graph_key(point, full_graph=self.manifest.full_graph)
                if key not in self._full:
                    self._full[key] = whole_network(family, point.graph, options)
        with blaming_the_family(family):
            self._warm_up()
        family.check_unchanged()
        return_freed_memory()

    @property
    def provider(self) -> str:
        """What onnxruntime could start."""
        return self._full[FULL_GRAPH_KEY].provider

    def infer(self, graph_key: str, items: Sequence[BatchItem]) -> list[ItemOutcome]:
        """Decode and run one batch for one graph, outcomes in order; see `edge_rules.graph_key`.

        A payload that cannot be decoded, or that the graph chokes on, fails alone.
        """
        assert len(items) <= self.max_batch
        decoded: list[Pictures] = []
        decode_s: dict[int, float] = {}
        outcomes: dict[int, ItemOutcome] = {}
        for index, item in enumerate(items):
            started_s = time.perf_counter()
            try:
                sample = self._decode(item)
            except (WireError, DataError) as reason:
                spent_s = time.perf_counter() - started_s
                outcomes[index] = ItemOutcome(None, str(reason), spent_s, 0.0)
                continue
            decode_s[index] = time.perf_counter() - started_s
            decoded.append(sample)
        points = [items[index].point for index in decode_s]
        results = self._run_or_isolate(graph_key, points, decoded) if decoded else []
        for index, sample, result in zip(decode_s, decoded, results, strict=True):
            probabilities_K, error, tail_s = result
            tensors = None
            if probabilities_K is not None:
                tensors = (NamedTensor(self._output_name, probabilities_K),)
            outcomes[index] = ItemOutcome(
                tensors, error, decode_s[index], tail_s, RejectReason.FAILED, decoded=sample
            )
        return [outcomes[index] for index in range(len(items))]

    def tails(self, point: OperatingPoint, features_NCHW: Pictures) -> Floats:
        """Return probabilities [N,K] of decoded features [N,C,h,w] of one split point.

        Of a progressive point only the maps that it sends count.
        """
        assert point.member is not None
        feeds = self._scales[point.twin or point.id].feeds(len(features_NCHW))
        feeds["features"] = features_NCHW
        return self._tails[point.member].run(TAIL_OUTPUTS, feeds)[0]  # type: ignore[return-value]

    def full(self, pictures_NHWC: Pictures, *, key: str = FULL_GRAPH_KEY) -> Floats:
        """Return probabilities [N,K] of a whole network on preprocessed pictures."""
        return self._full[key].run(TAIL_OUTPUTS, {"picture": pictures_NHWC})[0]  # type: ignore[return-value]

    def _decode(self, item: BatchItem) -> Pictures:
        point = item.point
        if point.kind is PointKind.SPLIT:
            assert point.member is not None
            member = self.manifest.member(point.member)
            if point.prefix is not None:
                return decode_layers(point, item.layers, member=member)
            return decode_split(point, item.payload, item.reference, shape=member.features.shape)
        expected = (self.manifest.input.height_px, self.manifest.input.width_px, 3)
        picture = decode_picture(item.payload, max_pixels=expected[0] * expected[1])
        if picture.shape != expected:
            raise DataError(
                f"picture: is {picture.shape[1]} x {picture.shape[0]} px, "
                f"expected {expected[1]} x {expected[0]} px"
            )
        return picture

    def _run_or_isolate(
        self, graph_key: str, points: list[OperatingPoint], samples: list[Pictures]
    ) -> list[tuple[Floats | None, str | None, float]]:
        """Run the batch; if it fails, each sample alone, so that one cannot fail the others."""
        started_s = time.perf_counter()
        try:
            probabilities_NK = self._run(graph_key, points, samples)
        except GraphRunError as reason:
            if len(samples) == 1:
                return [(None, str(reason), 0.0)]
            return [
                self._run_or_isolate(graph_key, [point], [sample])[0]
                for point, sample in zip(points, samples, strict=True)
            ]
        tail_s = time.perf_counter() - started_s
        return [(row_K, None, tail_s) for row_K in probabilities_NK]

    def _run(self, graph_key: str, points: list[OperatingPoint], samples: list[Pictures]) -> Floats:
        batch = samples[0][None] if len(samples) == 1 else np.stack(samples)
        if graph_key in self._full:
            return self.full(batch, key=graph_key)
        if len(points) == 1:
            return self.tails(points[0], batch)
        scales = [self._scales[point.twin or point.id] for point in points]
        feeds: dict[str, Array] = {
            "features": batch,
            "low": np.concatenate([each.low for each in scales]),
            "span": np.concatenate([each.span for each in scales]),
            "levels": np.concatenate([each.levels for each in scales]),
        }
        return self._tails[graph_key].run(TAIL_OUTPUTS, feeds)[0]  # type: ignore[return-value]

    def _warm_up(self) -> None:
        """Run every graph, so that no device waits for its first batch.

        With CUDA of every size: each is prepared for at its first run. Else the smallest and the
        largest do; TensorRT builds an engine, which takes minutes, for each size that it has seen
        neither itself nor smaller and larger ones of.
        """
        size_px = (self.manifest.input.height_px, self.manifest.input.width_px)
        picture = np.zeros((*size_px, 3), dtype=np.uint8)
        sizes: Iterable[int] = (1, self.max_batch)
        if self._full[FULL_GRAPH_KEY].provider == CUDA_PROVIDER:
            sizes = range(1, self.max_batch + 1)
        for num in sizes:
            for key in self._full:
                self.full(np.stack([picture] * num), key=key)
            for member in self.manifest.members:
                sample = np.zeros(member.features.shape, dtype=np.uint8)
                points = [p for p in self.manifest.points if p.id in self._scales]
                first = next((p for p in points if p.member == member.id), None)
                if first is not None:
                    self._run(member.id, [first] * num, [sample] * num)
        for point in self.manifest.points:
            self._warm_up_decoder(point, picture)

    def _warm_up_decoder(self, point: OperatingPoint, picture: Pictures) -> None:
        """Decode one payload: the first use of a codec's tables prepares them.

        At its first picture Pillow imports its readers, which takes 8 to 44 ms.
        """
        if point.kind is PointKind.OFFLOAD:
            assert point.picture_format is not None
            assert point.picture_quality is not None
            payload = encode_picture(picture, point.picture_format, point.picture_quality)  # type: ignore[arg-type]
            decode_picture(payload, max_pixels=picture.shape[0] * picture.shape[1])
        if point.kind is not PointKind.SPLIT:
            return
        assert point.member is not None
        member = self.manifest.member(point.member)
        blank = np.zeros(member.features.shape, dtype=np.uint8)
        if point.prefix is not None:
            decode_layers(point, encode_layers(point, blank, member=member), member=member)
            return
        decode_split(point, encode_split(point, blank, None), None, shape=blank.shape)
