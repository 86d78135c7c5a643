"""Claims about weights that a user brings, and how pictures are scaled for them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn

from headgate.profiles.errors import UsageError
from headgate.train.networks.backbones import Normalise, PlainModel
from headgate.train.networks.colours import Scaling
from headgate.train.run.given_backbone import choose_scaling, load_backbone, taken_note
from headgate.train.run.plan import make_plan
from train.own_networks import Dropping, Network
from train.tiny_runs import tiny_config, train_tiny, write_pictures

OF_DATA = Scaling((0.4, 0.5, 0.6), (0.2, 0.2, 0.3))


class Tied(Network):
    """Two layers of one weight, which a file of weights holds once."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.third = self.second


class Wrapped(nn.Module):
    """A user's own network whose weights are all called `network.*`."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Network(2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "tiny.npz")


@pytest.fixture
def own_weights(tmp_path: Path) -> Path:
    path = tmp_path / "own.safetensors"
    save_file(Network(2).state_dict(), path)
    return path


def test_own_weights_are_scaled_for_as_the_user_says_and_else_as_the_data_are(
    pictures: Path, own_weights: Path
) -> None:
    config = tiny_config(pictures, backbone=str(own_weights))
    assert choose_scaling(config, of_data=OF_DATA) == OF_DATA
    unit = choose_scaling(replace(config, normalise="unit"), of_data=OF_DATA)
    assert unit == Scaling((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_the_network_that_is_built_scales_pictures_as_asked(
    pictures: Path, own_weights: Path
) -> None:
    config = tiny_config(
        pictures,
        model="train.own_networks:Network",
        split="second",
        budgets=(2,),
        backbone=str(own_weights),
        normalise="0.5,0.5,0.5:0.25,0.25,0.25",
    )
    plain = make_plan(config).blueprint.build_backbone()
    load_backbone(plain, own_weights)
    own = Network(2)
    own.load_state_dict(plain.network.state_dict())
    picture_BCHW = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(plain(picture_BCHW), own(4 * picture_BCHW - 2))


def test_a_run_on_other_pictures_brings_the_scaling_that_its_weights_learnt_with(
    pictures: Path, tmp_path: Path
) -> None:
    run = train_tiny(pictures, tmp_path / "run", budgets=(2,), normalise="unit")
    config = tiny_config(pictures, backbone=str(run.path))
    assert choose_scaling(config, of_data=OF_DATA).std == (1.0, 1.0, 1.0)
    file = run.path / "weights" / "backbone.safetensors"
    assert choose_scaling(replace(config, backbone=str(file)), of_data=OF_DATA).std[0] == 1.0
    assert choose_scaling(replace(config, normalise="data"), of_data=OF_DATA) == OF_DATA


def test_only_a_file_that_tells_no_scaling_is_said_to_be_a_guess(
    pictures: Path, own_weights: Path, tmp_path: Path
) -> None:
    guessed = tiny_config(pictures, backbone=str(own_weights))
    assert "accuracy 39.4 %; the file does not say" in taken_note(guessed, accuracy=0.394)
    told = replace(guessed, normalise="unit")
    assert taken_note(told, accuracy=0.394).endswith("accuracy 39.4 %")
    whole = tmp_path / "whole.safetensors"
    save_file(PlainModel(Normalise((0, 0, 0), (1, 1, 1)), Network(2)).state_dict(), whole)
    assert taken_note(replace(guessed, backbone=str(whole)), accuracy=1.0).endswith("100.0 %")


def test_an_own_network_may_have_weights_that_are_called_network(tmp_path: Path) -> None:
    own = Wrapped()
    save_file(own.state_dict(), tmp_path / "own.safetensors")
    plain = PlainModel(Normalise((0, 0, 0), (1, 1, 1)), Wrapped())
    load_backbone(plain, tmp_path / "own.safetensors")
    for name, weight in own.state_dict().items():
        assert torch.equal(weight, plain.network.state_dict()[name])


def test_a_weight_under_two_names_may_be_given_under_one(tmp_path: Path) -> None:
    own = Tied(2)
    save_model(own, str(tmp_path / "own.safetensors"))
    plain = PlainModel(Normalise((0, 0, 0), (1, 1, 1)), Tied(2))
    load_backbone(plain, tmp_path / "own.safetensors")
    for name, weight in own.state_dict().items():
        assert torch.equal(weight, plain.network.state_dict()[name])


def test_names_that_a_wrapper_lengthened_are_told_from_those_of_another_network(
    tmp_path: Path,
) -> None:
    plain = PlainModel(Normalise((0, 0, 0), (1, 1, 1)), Network(2))
    weights, path = Network(2).state_dict(), tmp_path / "own.safetensors"
    for given, said in (
        ({f"module.{name}": each for name, each in weights.items()}, "begin with 'module.', as"),
        ({f"net.{n}": w for n, w in weights.items() if "last" not in n}, "4 that it does not hav"),
        ({n: w for n, w in weights.items() if "last" not in n}, ": 2 missing, such as 'last.bias'"),
        (weights | {"other.bias": torch.zeros(1)}, ": 1 that it does not have, such as 'other.bi"),
        (Network(5).state_dict(), ": 'last.weight' is 5 x 4, expected 2 x 4; give the same --mod"),
    ):
        save_file(given, path)
        with pytest.raises(UsageError) as refusal:
            load_backbone(plain, path)
        assert said in str(refusal.value)
        assert len(str(refusal.value)) < 320


def test_counters_of_batches_may_be_missing(tmp_path: Path) -> None:
    plain = PlainModel(Normalise((0, 0, 0), (1, 1, 1)), Dropping(2))
    weights = {n: w for n, w in Dropping(2).state_dict().items() if "num_batches" not in n}
    save_file(weights, tmp_path / "own.safetensors")
    load_backbone(plain, tmp_path / "own.safetensors")
    assert torch.equal(plain.network.state_dict()["norm.weight"], weights["norm.weight"])


def test_a_checkpoint_of_torch_is_refused_with_the_way_to_save_it(tmp_path: Path) -> None:
    plain = PlainModel(Normalise((0, 0, 0), (1, 1, 1)), Network(2))
    torch.save(Network(2).state_dict(), tmp_path / "own.pt")
    with pytest.raises(UsageError, match=r"own\.pt: is no safetensors file; .*save_file\("):
        load_backbone(plain, tmp_path / "own.pt")


def test_a_file_that_is_not_there_is_named(pictures: Path, tmp_path: Path) -> None:
    config = tiny_config(pictures, backbone=str(tmp_path / "none.safetensors"))
    with pytest.raises(UsageError, match=r"^--backbone: .*none\.safetensors"):
        choose_scaling(config, of_data=OF_DATA)
