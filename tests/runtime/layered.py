"""A family with a progressive member for tests that need no graph, and messages of its frames."""

from dataclasses import replace

from headgate.profiles.manifest import FileEntry, Manifest, TensorSpec
from headgate.runtime.wire.messages import NO_BUDGET_US, Frame
from profiles.manifests import small_manifest

LAYER_MAPS = (1, 2, 1)  # maps of each layer
SHAPE = (4, 8, 8)
FILE = FileEntry("00" * 32, 4, ("device", "edge"))
PATHS = ("heads/b2r1/model.onnx", "tails/b2r1/1/model.onnx", "full/model.onnx")


def layered_manifest() -> Manifest:
    """Return the small manifest with a progressive member `b4r1`, its prefixes in no order."""
    manifest = small_manifest(dict.fromkeys(PATHS, FILE))
    plain = manifest.members[0]
    spec = TensorSpec("features", "uint8", SHAPE)
    member = replace(plain, id="b4r1", budget=4, features=spec, layers=LAYER_MAPS)
    first = replace(
        manifest.points[0], member="b4r1", low=(0.1, 0.0, 0.2, 0.0), span=(1.0, 2.0, 1.0, 0.5)
    )
    prefixes = [
        replace(first, id=f"b4r1-l16-p{prefix}", prefix=prefix, metrics={"top1": top1})
        for prefix, top1 in ((2, 0.75), (3, 0.8), (1, 0.6))
    ]
    return replace(manifest, members=(plain, member), points=(*manifest.points, *prefixes))


LAYERED = layered_manifest()
P1, P2, P3 = (LAYERED.index_of(f"b4r1-l16-p{prefix}") for prefix in (1, 2, 3))
WHOLE = 0  # a split point without layers
SIZES = (10, 20, 30)  # bytes of each layer's payload, here


def layers(
    frame_id: int,
    first: int,
    num: int = 1,
    *,
    point: int = P3,
    sent_s: float,
    deadline_s: float | None = None,
    last: bool = False,
) -> Frame:
    """Return a message with `num` layers of a frame; times are the device's clock."""
    budget_us = NO_BUDGET_US if deadline_s is None else round((deadline_s - sent_s) * 1e6)
    payloads = [bytes([index + 1]) * size for index, size in enumerate((*SIZES, 40, 50))]
    return Frame(
        frame_id,
        point,
        budget_us,
        payloads[first],
        layer=first,
        more_layers=tuple(payloads[first + 1 : first + num]),
        last=last,
        sent_us=round(sent_s * 1e6) % (1 << 32),
    )
