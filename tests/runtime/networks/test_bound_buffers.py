"""Runs through bound buffers give what plain runs give, whatever came before."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from headgate.runtime.networks.bound_buffers import BoundRun
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.family_graphs import HEAD_OUTPUTS
from headgate.runtime.networks.scales import scales_of
from runtime.tiny_family import tinted_pictures, write_tiny_family


def test_bound_runs_answer_as_plain_ones_for_every_batch_size_and_again(tmp_path: Path) -> None:
    family = write_tiny_family(tmp_path / "family")
    engine = DeviceEngine(family)
    point = family.manifest.points[0]
    assert point.member is not None
    scales = scales_of(point, family.manifest.member(point.member))
    head = family.file(family.manifest.member(point.member).head)
    session = ort.InferenceSession(str(head), providers=["CPUExecutionProvider"])
    bound = BoundRun(session, device="cpu")
    pictures, _ = tinted_pictures(8)
    for batch in (pictures[:1], pictures[1:5], pictures[5:6], pictures[4:8], pictures[::2]):
        before = batch.copy()
        features, probabilities = engine.features(point, batch)
        feeds = {"picture": batch, **scales.feeds(len(batch))}
        answers = bound.run(HEAD_OUTPUTS, feeds)
        np.testing.assert_array_equal(answers[0], features)
        np.testing.assert_array_equal(answers[1], probabilities)
        np.testing.assert_array_equal(batch, before)


def test_what_onnxruntime_refuses_is_raised(tmp_path: Path) -> None:
    family = write_tiny_family(tmp_path / "family")
    full = family.file(family.manifest.full_graph)
    session = ort.InferenceSession(str(full), providers=["CPUExecutionProvider"])
    with pytest.raises(Exception, match="picture"):
        BoundRun(session, device="cpu").run(
            ["probabilities"], {"picture": np.zeros((1, 2, 2, 3), np.uint8)}
        )
