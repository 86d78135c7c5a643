"""Claims about what is refused of a user's network before its training begins."""

from pathlib import Path

import pytest

from headgate.profiles.errors import UsageError
from headgate.train.folder.run_folder import Run
from headgate.train.run.prune import train_prune
from train.tiny_runs import tiny_config, write_pictures


def train_own(folder: Path, network: str) -> Run:
    """Train a network of `own_networks` in two stages of an epoch."""
    config = tiny_config(
        write_pictures(folder / "pictures.npz"),
        model=f"train.own_networks:{network}",
        split="first",
        budgets=(4,),
        epochs=1,
    )
    return train_prune(config, folder / "run")


def test_dropout_and_batch_norm_are_not_taken_for_noise(tmp_path: Path) -> None:
    assert train_own(tmp_path, "Dropping").member_ids == ("b4r1",)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("OfTheBatch", r"differ by 0\.\d+ when another picture is in the batch"),
        ("Noisy", r"differ by 0\.\d+ when .* or from run to run; in eval mode they must not"),
        ("Drawn", "built a second time, it answers otherwise .* buffers that are saved"),
        ("PerMap", r"a tensor of shape \(2, 4, 12, 12\), expected \(2, 2\)"),
        ("OneByOne", r"a tensor of shape \(1, 4\), expected \(2, 2\); it must return one logit"),
        ("TooMany", r"a tensor of shape \(2, 3\), expected \(2, 2\)"),
        ("Softmax", "it returns probabilities, expected logits; leave the softmax"),
        ("Frozen", "it cannot be trained: .*; it needs weights that require a gradient"),
        ("Unwritable", "torch cannot write it as an ONNX graph, .*digamma"),
        ("InPlace", "it cannot be trained: .* modified by an inplace operation.*; it needs"),
    ],
)
def test_a_network_that_a_run_would_fail_with_is_refused_before_anything_is_written(
    network: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=rf"^model train\.own_networks:{network}: .*{message}"):
        train_own(tmp_path, network)
    assert [path.name for path in tmp_path.iterdir()] == ["pictures.npz"]
