"""Claims about files that leave out what the plain network's holds."""

import torch

from headgate.train.folder.weights import with_shared, without_shared

PLAIN = {
    "normalise.mean": torch.tensor([0.5]),
    "network.a.weight": torch.tensor([1.0, 2.0]),
    "network.b.weight": torch.tensor([3.0]),
    "network.b.count": torch.tensor(7),
}
MEMBER = {
    "normalise.mean": torch.tensor([0.5]),
    "head.a.weight": torch.tensor([1.0, 2.0]),
    "tail.b.weight": torch.tensor([3.5]),
    "tail.b.count": torch.tensor(7.0),
    "bottleneck.f_hat": torch.tensor([9.0]),
}


def test_only_what_is_the_same_bit_for_bit_is_left_out() -> None:
    own = without_shared(MEMBER, PLAIN)
    assert set(own) == {"tail.b.weight", "tail.b.count", "bottleneck.f_hat"}


def test_what_was_left_out_comes_back() -> None:
    own = without_shared(MEMBER, PLAIN)
    again = with_shared(own, PLAIN, names=MEMBER)
    assert again.keys() == MEMBER.keys()
    assert all(torch.equal(again[name], MEMBER[name]) for name in MEMBER)


def test_what_is_nowhere_stays_missing() -> None:
    assert "head.z" not in with_shared({}, PLAIN, names=["head.z", "head.a.weight"])
