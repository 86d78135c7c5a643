import numpy as np

from headgate.runtime.edge.batch_times import GraphKey
from headgate.runtime.edge.edge_events import EdgeLimits
from headgate.runtime.edge.edge_references import EdgeReferences
from headgate.runtime.edge.queued import Queued
from headgate.runtime.wire.messages import NO_BUDGET_US, Frame
from runtime.predicted import Integers, predicted_manifest

MANIFEST = predicted_manifest()
POINT = MANIFEST.index_of("b1r1-l16-p")
TWIN = MANIFEST.index_of("b1r1-l16")
PICTURE = MANIFEST.index_of("webp-q80")
FRAME_BYTES = 16


def edge(*, max_references: int = 4, max_reference_bytes: int = 1 << 20) -> EdgeReferences:
    limits = EdgeLimits(max_references=max_references, max_reference_bytes=max_reference_bytes)
    return EdgeReferences({MANIFEST.digest: MANIFEST}, limits)


def keep(
    references: EdgeReferences, frame_id: int, *, peer: bytes = b"a", point: int = POINT
) -> None:
    key = GraphKey(MANIFEST.digest, "b1r1")
    queued = Queued(key, peer, frame_id, point, b"x", arrived_s=0.0, deadline_s=1.0)
    references.keep(queued, np.full((1, 4, 4), frame_id % 16, np.uint8))


def found(
    references: EdgeReferences, frame_id: int, distance: int, *, peer: bytes = b"a"
) -> Integers | None:
    frame = Frame(frame_id, POINT, NO_BUDGET_US, bytes([distance]))
    integers, lost = references.find(peer, MANIFEST, frame)
    assert (integers is None) == (lost is not None)
    return integers


def test_a_frame_finds_the_one_that_it_names_whichever_twin_brought_it() -> None:
    references = edge()
    keep(references, 5)
    keep(references, 6, point=TWIN)
    for distance in (1, 2):
        integers = found(references, 7, distance)
        assert integers is not None
        assert integers[0, 0, 0] == 7 - distance


def test_whole_frames_and_points_without_a_twin_need_nothing() -> None:
    for point, payload in ((POINT, b"\0"), (TWIN, b"\x07"), (PICTURE, b"\xff\xd8")):
        assert edge().find(b"a", MANIFEST, Frame(3, point, 0, payload)) == (None, None)


def test_a_reference_that_never_was_is_named_in_the_reason() -> None:
    for frame_id, distance in ((7, 3), (2, 255)):  # the latter lies before the first frame
        frame = Frame(frame_id, POINT, 0, bytes([distance]))
        integers, lost = edge().find(b"a", MANIFEST, frame)
        assert integers is None
        assert lost is not None
        assert f"refers to frame {frame_id - distance}, which this edge does not have" in lost


def test_peers_do_not_see_each_others_frames() -> None:
    references = edge()
    keep(references, 5, peer=b"a")
    assert found(references, 6, 1, peer=b"b") is None


def test_pictures_are_not_kept() -> None:
    references = edge()
    keep(references, 5, point=PICTURE)
    assert len(references) == 0


def test_the_oldest_frame_of_a_stream_makes_room() -> None:
    references = edge(max_references=3)
    for frame_id in range(10):
        keep(references, frame_id)
    assert len(references) == 3
    assert found(references, 10, 3) is not None
    assert found(references, 10, 4) is None


def test_all_peers_together_keep_no_more_than_the_limit_and_the_oldest_goes_first() -> None:
    references = edge(max_reference_bytes=5 * FRAME_BYTES + 3)
    for frame_id in range(4):
        for peer in (b"a", b"b"):
            keep(references, frame_id, peer=peer)
    assert references.num_bytes == 5 * FRAME_BYTES
    assert found(references, 4, 1, peer=b"a") is not None
    assert found(references, 4, 3, peer=b"a") is None
    assert found(references, 4, 3, peer=b"b") is not None


def test_a_frame_larger_than_the_limit_is_not_kept() -> None:
    references = edge(max_reference_bytes=FRAME_BYTES - 1)
    keep(references, 0)
    assert (len(references), references.num_bytes) == (0, 0)


def test_the_same_frame_id_again_replaces_the_frame_and_is_counted_once() -> None:
    references = edge()
    keep(references, 1)
    keep(references, 1)
    assert (len(references), references.num_bytes) == (1, FRAME_BYTES)


def test_a_peer_that_leaves_takes_its_frames_along() -> None:
    references = edge()
    for frame_id in range(3):
        keep(references, frame_id, peer=b"a")
    keep(references, 0, peer=b"b")
    references.forget(b"a")
    references.forget(b"a")
    assert (len(references), references.num_bytes) == (1, FRAME_BYTES)
    assert found(references, 3, 1) is None
