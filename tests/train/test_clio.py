"""Claims about CLIO's weights: chances of prefixes, from the rates of a link."""

from pathlib import Path

import pytest

from headgate.profiles.errors import UsageError
from headgate.train.clio import prefix_chances, with_prefix_weights
from headgate.train.progressive import ProgressiveConfig
from train.tiny_runs import tiny_config, write_pictures

LAYERS = (1000.0, 1000.0, 2000.0)  # bytes


def test_a_prefix_is_as_likely_as_the_rates_whose_longest_it_is() -> None:
    rates_bps = (4e3, 8e3, 15e3, 16e3, 32e3, 1e9, 1e9, 1e9)
    assert prefix_chances(rates_bps, layer_bytes=LAYERS, deadline_s=1.0) == (0.25, 0.125, 0.5)


def test_a_longer_deadline_is_a_quicker_link() -> None:
    slow = prefix_chances((8e3, 16e3), layer_bytes=LAYERS, deadline_s=2.0)
    assert slow == prefix_chances((16e3, 32e3), layer_bytes=LAYERS, deadline_s=1.0)


@pytest.mark.parametrize(
    ("rates_bps", "deadline_s", "message"),
    [
        ((1.0, 2.0), 1.0, "no rate carries even the first 1000 bytes in 1000 ms"),
        ((-1.0,), 1.0, "--bandwidth-kbps: found -0.001"),
        ((float("nan"),), 1.0, "--bandwidth-kbps: found nan"),
        ((1e6,), 0.0, "--deadline-ms: found 0"),
    ],
)
def test_a_link_that_carries_nothing_is_refused(
    rates_bps: tuple[float, ...], deadline_s: float, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        prefix_chances(rates_bps, layer_bytes=LAYERS, deadline_s=deadline_s)


def test_weights_are_made_for_the_maps_of_the_split(tmp_path: Path) -> None:
    config = tiny_config(
        write_pictures(tmp_path / "t.npz"),
        budgets=(),
        progressive=ProgressiveConfig(method="clio", order="natural", bottleneck=False),
    )
    alike = with_prefix_weights(config, rates_bps=(), deadline_s=1.0, value_bits=32)
    assert alike.progressive is not None
    assert alike.progressive.prefix_weights == pytest.approx((1 / 3,) * 3)
    # Two maps of 6 x 6 at 32 bits are 288 bytes.
    rates_bps = (8 * 288.0, 8 * 575.0, 8 * 576.0, 8 * 863.0)
    by_link = with_prefix_weights(config, rates_bps=rates_bps, deadline_s=1.0, value_bits=32)
    assert by_link.progressive is not None
    assert by_link.progressive.prefix_weights == (0.5, 0.5, 0.0)
