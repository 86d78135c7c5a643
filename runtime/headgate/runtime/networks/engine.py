"""Run the graphs of a family. Only `graphs` and `bound_buffers` import onnxruntime.

`DeviceEngine` turns a picture into what one operating point sends (or answers by itself);
`TailEngine` turns a batch of payloads into answers, behind `backend.TailBackend`. Both load and
warm every graph at the start, so that switching the operating point costs nothing later.

Shapes: N batch, C sent feature maps, h w their size, H W picture, K classes.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from headgate.profiles.errors import DataError, FamilyError, WireError
from headgate.profiles.family import Family
from headgate.profiles.manifest import OperatingPoint, PointKind
from headgate.profiles.pictures import decode_picture, encode_picture, preprocess
from headgate.runtime.codec.layer_codec import decode_layers, encode_layers
from headgate.runtime.codec.prediction import Reference, decode_split, encode_split
from headgate.runtime.edge.backend import BackendDescription
from headgate.runtime.edge.edge_events import FULL_GRAPH_KEY, BatchItem, ItemOutcome
from headgate.runtime.edge.edge_rules import graph_key
from headgate.runtime.networks.graphs import (
    CPU_PROVIDER,
    DEFAULT_OPTIONS,
    PROVIDER_CHOICES,
    EngineOptions,
    Graph,
    GraphRunError,
    providers_to_try,
)
from headgate.runtime.networks.memory import return_freed_memory
from headgate.runtime.networks.scales import SCALE_INPUTS, Scales, scales_of, tail_scales_of
from headgate.runtime.session.events import Answer, Computed
from headgate.runtime.wire.messages import NamedTensor, RejectReason

__all__ = [
    "CPU_PROVIDER",
    "DEFAULT_OPTIONS",
    "PROVIDER_CHOICES",
    "DeviceEngine",
    "EngineOptions",
    "Graph",
    "GraphRunError",
    "TailEngine",
    "answer_from",
    "providers_to_try",
    "whole_network",
]

Array = npt.NDArray[np.generic]
Pictures = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

HEAD_OUTPUTS = ("features", "exit_probabilities")
TAIL_OUTPUTS = ("probabilities",)


def answer_from(probabilities_K: Floats, *, name: str = "probabilities") -> Answer:
    """Return the classification answer that one row of probabilities amounts to."""
    label = int(probabilities_K.argmax())
    return Answer({name: probabilities_K}, label, float(probabilities_K[label]))


class DeviceEngine:
    """The device's graphs: every head, and the whole network if the family lists it for devices."""

    def __init__(self, family: Family, *, options: EngineOptions = DEFAULT_OPTIONS) -> None:
        self.manifest = family.manifest
        self._input = family.manifest.input
        self._output_name = family.manifest.outputs[0].name
        self._heads: dict[str, Graph] = {}
        self._full: dict[str, Graph] = {}
        self._scales: dict[str, Scales] = {}
        for member in self.manifest.members:
            head = Graph(family.file(member.head), options=options)
            head.require(inputs={"picture", *SCALE_INPUTS}, outputs=set(HEAD_OUTPUTS))
            self._heads[member.id] = head
        for point in self.manifest.points:
            if point.member is not None:
                member = self.manifest.member(point.member)
                self._scales[point.id] = scales_of(point, member)
            elif point.kind is PointKind.LOCAL and point.graph not in self._full:
                assert point.graph is not None  # the manifest was checked
                self._full[point.graph] = whole_network(family, point.graph, options)
        graphs = [*self._heads.values(), *self._full.values()]
        self.provider = graphs[0].provider if graphs else CPU_PROVIDER
        with _warming_up(family):
            self._warm_up()
        return_freed_memory()

    def compute(
        self, point: OperatingPoint, picture_HWC: Pictures, reference: Reference | None = None
    ) -> Computed:
        """Do what `point` asks of the device for one picture of any size.

        A predicted point codes it against `reference`, or whole without one.
        The time of resizing is part of `head_s`, or of `encode_s` where no network runs.
        """
        started_s = time.perf_counter()
        picture = preprocess(picture_HWC, self._input)
        if point.kind is PointKind.OFFLOAD:
            assert point.picture_format is not None
            assert point.picture_quality is not None
            payload = encode_picture(picture, point.picture_format, point.picture_quality)  # type: ignore[arg-type]
            return Computed(payload, None, 0.0, time.perf_counter() - started_s)
        picture_1HWC = picture[None]
        if point.member is None:
            probabilities = self.full(picture_1HWC, graph=point.graph)
            answer = answer_from(probabilities[0], name=self._output_name)
            return Computed(None, answer, time.perf_counter() - started_s, 0.0)
        features, exit_probabilities = self.features(point, picture_1HWC)
        answer = answer_from(exit_probabilities[0], name=self._output_name)
        head_done_s = time.perf_counter()
        if point.kind is PointKind.LOCAL:
            return Computed(None, answer, head_done_s - started_s, 0.0)
        layers: tuple[bytes, ...] = ()
        if point.prefix is None:
            payload = encode_split(point, features[0], reference)
        else:
            layers = encode_layers(point, features[0], member=self.manifest.member(point.member))
            payload = b"".join(layers)
        encoded_s = time.perf_counter()
        return Computed(
            payload, answer, head_done_s - started_s, encoded_s - head_done_s, features[0], layers
        )

    def features(self, point: OperatingPoint, pictures_NHWC: Pictures) -> tuple[Pictures, Floats]:
        """Return features [N,C,h,w] and exit probabilities [N,K] of preprocessed pictures.

        Of a progressive member these are all its maps, whatever prefix of them `point` sends.
        """
        assert point.member is not None
        feeds = self._scales[point.twin or point.id].feeds(len(pictures_NHWC))
        feeds["picture"] = pictures_NHWC
        features, exit_probabilities = self._heads[point.member].run(HEAD_OUTPUTS, feeds)
        return features, exit_probabilities  # type: ignore[return-value]

    def full(self, pictures_NHWC: Pictures, *, graph: str | None = None) -> Floats:
        """Return probabilities [N,K] of the whole network on preprocessed pictures."""
        network = self._full[graph or self.manifest.full_graph]
        return network.run(TAIL_OUTPUTS, {"picture": pictures_NHWC})[0]  # type: ignore[return-value]

    def _warm_up(self) -> None:
        """Run every point twice: the first run of a graph allocates, and is many times slower."""
        blank = np.zeros((self._input.height_px, self._input.width_px, 3), dtype=np.uint8)
        for _ in range(2):
            for point in self.manifest.points:
                self.compute(point, blank)


class TailEngine:
    """The edge's graphs: every tail, and the whole networks that offloaded pictures are for."""

    def __init__(
        self, family: Family, *, options: EngineOptions = DEFAULT_OPTIONS, max_batch: int = 16
    ) -> None:
        self.manifest = family.manifest
        self.max_batch = max_batch
        self._healthy = True
        self._output_name = family.manifest.outputs[0].name
        self._full = {FULL_GRAPH_KEY: whole_network(family, self.manifest.full_graph, options)}
        self._tails: dict[str, Graph] = {}
        self._scales: dict[str, Scales] = {}
        for member in self.manifest.members:
            tail = Graph(family.file(member.tail), options=options)
            tail.require(inputs={"features", *SCALE_INPUTS}, outputs=set(TAIL_OUTPUTS))
            self._tails[member.id] = tail
        for point in self.manifest.points:
            if point.kind is PointKind.SPLIT:
                assert point.member is not None
                self._scales[point.id] = tail_scales_of(point, self.manifest.member(point.member))
            elif point.kind is PointKind.OFFLOAD:
                assert point.graph is not None
                key = graph_key(point, full_graph=self.manifest.full_graph)
                if key not in self._full:
                    self._full[key] = whole_network(family, point.graph, options)
        with _warming_up(family):
            self._warm_up()
        return_freed_memory()

    def describe(self) -> BackendDescription:
        return BackendDescription(
            family_digest=self.manifest.digest,
            graph_keys=(*self._tails, *self._full),
            max_batch=self.max_batch,
            provider=self._full[FULL_GRAPH_KEY].provider,
        )

    def health(self) -> bool:
        return self._healthy

    def drain(self) -> None:
        """Nothing outlives a call to `infer` here."""
        self._healthy = False

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
        """Run every graph at the smallest and the largest batch, so that no device waits for it."""
        size_px = (self.manifest.input.height_px, self.manifest.input.width_px)
        picture = np.zeros((*size_px, 3), dtype=np.uint8)
        for num in (1, self.max_batch):
            for key in self._full:
                self.full(np.stack([picture] * num), key=key)
            for member in self.manifest.members:
                sample = np.zeros(member.features.shape, dtype=np.uint8)
                points = [p for p in self.manifest.points if p.id in self._scales]
                first = next((p for p in points if p.member == member.id), None)
                if first is not None:
                    self._run(member.id, [first] * num, [sample] * num)
        for point in self.manifest.points:
            if point.kind is PointKind.SPLIT:  # the first use of a codec's tables prepares them
                assert point.member is not None
                member = self.manifest.member(point.member)
                blank = np.zeros(member.features.shape, dtype=np.uint8)
                if point.prefix is not None:
                    decode_layers(point, encode_layers(point, blank, member=member), member=member)
                    continue
                payload = encode_split(point, blank, None)
                decode_split(point, payload, None, shape=blank.shape)


@contextlib.contextmanager
def _warming_up(family: Family) -> Iterator[None]:
    """Say of a graph that fails on blank input that the family, and not a frame, is to blame."""
    try:
        yield
    except GraphRunError as reason:
        raise FamilyError(
            f"{family.path}: {reason}; its graphs do not take what family.json says, or the "
            "machine lacks memory for them; export the family again"
        ) from None


def whole_network(family: Family, name: str, options: EngineOptions) -> Graph:
    """Load a graph that answers pictures by itself."""
    graph = Graph(family.file(name), options=options)
    graph.require(inputs={"picture"}, outputs=set(TAIL_OUTPUTS))
    return graph
