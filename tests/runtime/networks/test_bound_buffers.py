"""Runs through bound buffers give what plain runs give, whatever came before."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from headgate.runtime.networks import bound_buffers
from headgate.runtime.networks.bound_buffers import MOST_BYTES, BoundRun
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.family_graphs import HEAD_OUTPUTS
from headgate.runtime.networks.scales import scales_of
from runtime.tiny_family import tinted_pictures, write_tiny_family


@pytest.mark.parametrize("most_bytes", [MOST_BYTES, 1])
def test_bound_runs_answer_as_plain_ones_for_every_batch_size_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_bytes: int
) -> None:
    """Also where there is no room for the buffers of one run."""
    monkeypatch.setattr(bound_buffers, "MOST_BYTES", most_bytes)
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


def test_buffers_used_longest_ago_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = write_tiny_family(tmp_path / "family")
    full = family.file(family.manifest.full_graph)
    session = ort.InferenceSession(str(full), providers=["CPUExecutionProvider"])
    pictures, _ = tinted_pictures(4)
    monkeypatch.setattr(bound_buffers, "MOST_BYTES", pictures[:3].nbytes)
    bound = BoundRun(session, device="cpu")
    held = []
    for size in (1, 2, 1, 3, 1):
        bound.run(["probabilities"], {"picture": pictures[:size]})
        held.append(bound.num_bytes // pictures[:1].nbytes)
    assert held == [1, 3, 3, 3, 1]


def test_what_onnxruntime_refuses_is_raised(tmp_path: Path) -> None:
    family = write_tiny_family(tmp_path / "family")
    full = family.file(family.manifest.full_graph)
    session = ort.InferenceSession(str(full), providers=["CPUExecutionProvider"])
    with pytest.raises(Exception, match="picture"):
        BoundRun(session, device="cpu").run(
            ["probabilities"], {"picture": np.zeros((1, 2, 2, 3), np.uint8)}
        )
