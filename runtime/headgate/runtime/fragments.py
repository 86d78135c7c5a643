"""Cut a frame's payload into slices for the transport, and put slices together again."""

from headgate.runtime.messages import Frame


def fragment(frame: Frame, max_fragment_bytes: int) -> list[Frame]:
    """Return the frame's slices in sending order: at least one, each at most that many bytes."""
    raise NotImplementedError
