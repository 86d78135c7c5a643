"""Claims about headgate.runtime.edge.edge_rules: which graph answers a frame."""

from dataclasses import replace

from headgate.runtime.edge.edge_events import FULL_GRAPH_KEY
from headgate.runtime.edge.edge_rules import CROWD, graph_key, no_room_reason
from headgate.runtime.wire.messages import RejectReason
from profiles.manifests import small_manifest

MANIFEST = small_manifest({})


def test_pictures_for_another_whole_network_do_not_share_its_key() -> None:
    split, offload = MANIFEST.points[:2]
    tuned = replace(offload, graph="full/pictures.onnx")
    full_graph = MANIFEST.full_graph
    assert graph_key(split, full_graph=full_graph) == split.member
    assert graph_key(offload, full_graph=full_graph) == FULL_GRAPH_KEY
    assert graph_key(tuned, full_graph=full_graph) == "full/pictures.onnx"


def test_a_frame_without_room_makes_its_device_pause_only_where_many_wait() -> None:
    assert no_room_reason(0) is RejectReason.EXPIRED
    assert no_room_reason(CROWD - 1) is RejectReason.EXPIRED
    assert no_room_reason(CROWD) is RejectReason.BUSY
