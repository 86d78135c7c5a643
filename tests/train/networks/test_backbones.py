import importlib
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from headgate.profiles.errors import UsageError
from headgate.train.networks.backbones import Normalise, PlainModel, build_backbone

BUILT_IN = ["vgg11", "mobilenet_v2", "resnet18", "lenet"]


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("input_px", [32, 48, 96])
def test_a_built_in_network_yields_logits_at_any_input_size(name: str, input_px: int) -> None:
    network = build_backbone(name, num_classes=7, input_px=input_px, width=0.25).eval()
    assert network(torch.rand(2, 3, input_px, input_px)).shape == (2, 7)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_network_takes_pictures_that_are_not_square(name: str) -> None:
    network = build_backbone(name, num_classes=3, input_px=(40, 64), width=0.25).eval()
    assert network(torch.rand(1, 3, 40, 64)).shape == (1, 3)


def test_vgg11_has_128_maps_of_8_by_8_behind_its_second_pooling_at_32_px() -> None:
    network = build_backbone("vgg11", num_classes=10, input_px=32).eval()
    features = network.get_submodule("features")
    assert isinstance(features, nn.Sequential)
    assert isinstance(features[7], nn.MaxPool2d)
    assert features[:8](torch.rand(1, 3, 32, 32)).shape == (1, 128, 8, 8)


@pytest.mark.parametrize(
    ("name", "stem", "small", "large"),
    [("resnet18", "stem", 32, 24), ("mobilenet_v2", "features.0", 32, 48)],
)
def test_stems_keep_the_size_of_small_pictures_only(
    name: str, stem: str, small: int, large: int
) -> None:
    for input_px, expected_px in ((32, small), (96, large)):
        network = build_backbone(name, num_classes=10, input_px=input_px, width=0.25).eval()
        stemmed = network.get_submodule(stem)(torch.rand(1, 3, input_px, input_px))
        assert stemmed.shape[2:] == (expected_px, expected_px)


def test_a_plain_model_normalises_by_mean_and_deviation() -> None:
    model = PlainModel(Normalise([0.5, 0.25, 0.0], [0.5, 0.25, 2.0]), nn.Identity())
    picture_BCHW = torch.ones(1, 3, 1, 1)
    assert model(picture_BCHW).flatten().tolist() == [1.0, 3.0, 0.5]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("vgg12", "use one of vgg11, mobilenet_v2, resnet18, lenet"),
        ("no_such_package_anywhere:build", "cannot be imported"),
        ("nets/mine.py:build", "names a file, expected package.module:callable; .* mine:build$"),
        ("headgate.train.networks.backbones:nothing", "has no callable 'nothing'"),
        ("headgate.train.networks.backbones:", "has no callable"),
        (":build", "cannot be imported"),
        ("builtins:dict", "expected a Python function or class"),
        ("fractions:Fraction", "returned Fraction, expected a torch.nn.Module"),
        ("train.own_networks:double", "some of its weights are torch.float64, expected torch.f"),
        ("train.own_networks:lazy", "some of its layers are lazy, expected weights"),
        ("torch.nn:Linear", "it must work with no arguments but"),
    ],
)
def test_a_model_that_cannot_be_built_is_a_usage_error(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_backbone(spec, num_classes=10, input_px=32)


def test_pictures_too_small_for_a_network_are_refused() -> None:
    with pytest.raises(UsageError, match="expected at least 32 px"):
        build_backbone("vgg11", num_classes=10, input_px=28)


@pytest.mark.parametrize("width", [0.0, 0.001, -1.0, 5.0, float("nan")])
def test_a_width_out_of_range_is_refused(width: float) -> None:
    with pytest.raises(UsageError, match="--width"):
        build_backbone("lenet", num_classes=10, input_px=32, width=width)


def test_a_users_own_callable_is_found_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from torch import nn\ndef build(num_classes):\n    return nn.Linear(2, num_classes)\n"
    (tmp_path / "my_own_network.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    path_before = list(sys.path)
    network = build_backbone("my_own_network:build", num_classes=5, input_px=32)
    assert isinstance(network, nn.Linear)
    assert network.out_features == 5
    assert sys.path == path_before
    with pytest.raises(UsageError, match="takes no `width`"):
        build_backbone("my_own_network:build", num_classes=5, input_px=32, width=0.5)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def build(:", "its code raises SyntaxError: invalid syntax"),
        ("raise RuntimeError('no\\nweights')", "its code raises RuntimeError: no; run it"),
        ("import sys; sys.exit(3)", "its code raises SystemExit: 3"),
        ("def build(): raise KeyError('depth')", "failed: 'depth'; it must work with"),
    ],
)
def test_whatever_a_users_own_code_raises_becomes_one_sentence(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_network.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_network", raising=False)
    importlib.invalidate_caches()
    with pytest.raises(UsageError) as caught:
        build_backbone("broken_network:build", num_classes=5, input_px=32)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
