"""What one operating point asks of the device, done: a picture turned into a payload or an answer.

Every graph is loaded and warmed at the start, so that switching the operating point costs nothing
later.

Shapes: N batch, C sent feature maps, h w their size, H W picture, K classes.
"""

import time

import numpy as np
import numpy.typing as npt

from headgate.profiles.family import Family
from headgate.profiles.manifest import OperatingPoint, PointKind
from headgate.profiles.pictures import encode_picture, preprocess
from headgate.runtime.codec.layer_codec import encode_layers
from headgate.runtime.codec.prediction import Reference, encode_split
from headgate.runtime.networks.family_graphs import (
    HEAD_OUTPUTS,
    TAIL_OUTPUTS,
    blaming_the_family,
    head_graph,
    whole_network,
)
from headgate.runtime.networks.graphs import CPU_PROVIDER, DEFAULT_OPTIONS, EngineOptions, Graph
from headgate.runtime.networks.memory import return_freed_memory
from headgate.runtime.networks.scales import Scales, scales_of
from headgate.runtime.session.events import Answer, Computed

Pictures = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


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
            self._heads[member.id] = head_graph(family, member, options)
        for point in self.manifest.points:
            if point.member is not None:
                member = self.manifest.member(point.member)
                self._scales[point.id] = scales_of(point, member)
            elif point.kind is PointKind.LOCAL and point.graph not in self._full:
                assert point.graph is not None  # the manifest was checked
                self._full[point.graph] = whole_network(family, point.graph, options)
        graphs = [*self._heads.values(), *self._full.values()]
        self.provider = graphs[0].provider if graphs else CPU_PROVIDER
        with blaming_the_family(family):
            self._warm_up()
        family.check_unchanged()
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
            answer = _answer_from(probabilities[0], name=self._output_name)
            return Computed(None, answer, time.perf_counter() - started_s, 0.0)
        features, exit_probabilities = self.features(point, picture_1HWC)
        answer = _answer_from(exit_probabilities[0], name=self._output_name)
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


def _answer_from(probabilities_K: Floats, *, name: str) -> Answer:
    """Return the classification answer that one row of probabilities amounts to."""
    label = int(probabilities_K.argmax())
    return Answer({name: probabilities_K}, label, float(probabilities_K[label]))
