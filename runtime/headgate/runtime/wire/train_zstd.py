"""Entropy coding of split training's tensors: zstd frames that name no size, read within bounds."""

from __future__ import annotations

from headgate.profiles.errors import WireError

_SAMPLE_BYTES = 16 << 10  # entropy coding is tried on so many first,
WORTH_IT = 0.95  # and used where it leaves at most this share
_ZSTD_LEVEL = 1
_MIN_WINDOW_BYTES = 1 << 10  # zstd's own minimum


def compressed(data: bytes | memoryview) -> bytes | None:
    """Return a zstd frame, or None where it would not pay."""
    import zstandard  # not at the top: training in float32 does without

    parameters = zstandard.ZstdCompressionParameters.from_level(
        _ZSTD_LEVEL, source_size=max(1, len(data)), write_content_size=0, write_checksum=0
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    if len(data) > 2 * _SAMPLE_BYTES:
        sample = compressor.compress(data[:_SAMPLE_BYTES])
        if len(sample) > WORTH_IT * _SAMPLE_BYTES:
            return None
    frame = compressor.compress(data)
    return frame if len(frame) <= WORTH_IT * len(data) else None


def decompressed(frame: bytes, *, num_bytes: int, where: str) -> bytes:
    """Return exactly that many bytes, or raise WireError before anything larger is allocated."""
    import zstandard

    try:
        announced = zstandard.get_frame_parameters(frame)
        # A size in the frame would be allocated whatever limit we pass; so would a large window.
        if announced.content_size != zstandard.CONTENTSIZE_UNKNOWN or announced.dict_id:
            raise WireError(f"{where}: the zstd frame names a size or dictionary, expected neither")
        if announced.window_size > max(_MIN_WINDOW_BYTES, 2 * num_bytes):
            raise WireError(
                f"{where}: the zstd frame wants a window of {announced.window_size} bytes "
                f"for {num_bytes}"
            )
        data = zstandard.ZstdDecompressor().decompress(
            frame, max_output_size=num_bytes, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise WireError(f"{where}: not a whole zstd frame of {num_bytes} bytes: {error}") from None
    if len(data) != num_bytes:
        raise WireError(f"{where}: the zstd frame holds {len(data)} bytes, expected {num_bytes}")
    return data
