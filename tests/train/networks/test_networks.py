from headgate.train.networks.backbones import build_backbone
from headgate.train.networks.networks import scaled


def test_the_width_multiplier_scales_channels_to_multiples_of_four() -> None:
    assert scaled(64, 0.25) == 16
    assert scaled(16, 0.1) == 4
    assert scaled(6, 1.0) == 6
    narrow = build_backbone("vgg11", num_classes=10, input_px=32, width=0.25)
    wide = build_backbone("vgg11", num_classes=10, input_px=32)
    assert sum(p.numel() for p in narrow.parameters()) * 12 < sum(
        p.numel() for p in wide.parameters()
    )
