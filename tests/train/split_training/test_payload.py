"""Claims about what crosses: how near it is, that zero stays zero, and that no sum is lost."""

import pytest
import torch

from headgate.train.split_training.payload import Packer

CPU = torch.device("cpu")
ALL = torch.arange(4)


def packer(bits: int, *, centred: bool = False) -> Packer:
    return Packer(4, bits=bits, centred=centred, device=CPU)


def codes(seed: int = 0) -> torch.Tensor:
    return torch.rand(8, 4, 5, 5, generator=torch.Generator().manual_seed(seed))


def test_float32_crosses_as_it_is() -> None:
    x_BCHW = codes()
    assert torch.equal(packer(32).pack(x_BCHW, selected_C=ALL).open(), x_BCHW)


@pytest.mark.parametrize(("bits", "error"), [(16, 5e-4), (8, 2.1e-3), (4, 0.034), (2, 0.17)])
def test_values_are_at_most_half_a_step_off(bits: int, error: float) -> None:
    parcel = packer(bits).pack(codes(), selected_C=ALL)
    assert float((parcel.open() - codes()).abs().max()) <= error


@pytest.mark.parametrize(("bits", "each_side"), [(8, 127), (5, 15), (3, 3), (2, 1)])
def test_gradients_are_at_most_half_a_step_off_and_reach_the_ends_of_their_grid(
    bits: int, each_side: int
) -> None:
    x_BCHW = codes() - 0.7
    parcel = packer(bits, centred=True).pack(x_BCHW, selected_C=ALL)
    reach_C = x_BCHW.abs().amax(dim=(0, 2, 3))
    half_step_C11 = (reach_C / each_side / 2).view(-1, 1, 1)
    assert bool(((parcel.open() - x_BCHW).abs() <= 1.001 * half_step_C11).all())
    assert int(parcel.values.min()) == 0


@pytest.mark.parametrize("bits", [8, 6, 4, 3, 2])
def test_integers_fit_their_bits_and_use_the_ends_of_their_range(bits: int) -> None:
    values = packer(bits).pack(codes(), selected_C=ALL).values
    assert values.dtype == torch.uint8
    assert (int(values.min()), int(values.max())) == (0, 2**bits - 1)


@pytest.mark.parametrize("bits", [16, 8, 4, 2])
def test_a_gradient_of_zero_stays_zero(bits: int) -> None:
    x_BCHW = codes() - 0.3
    x_BCHW[:, :, ::2] = 0.0
    opened = packer(bits, centred=True).pack(x_BCHW, selected_C=ALL).open()
    assert bool((opened[:, :, ::2] == 0).all())


def test_a_map_that_is_constant_crosses() -> None:
    parcel = packer(8).pack(torch.full((2, 4, 3, 3), 0.25), selected_C=ALL)
    torch.testing.assert_close(parcel.open(), torch.full((2, 4, 3, 3), 0.25))


@pytest.mark.parametrize("centred", [False, True])
def test_over_many_batches_the_mean_of_each_map_is_right(centred: bool) -> None:
    sender = packer(2, centred=centred)
    sent, opened = torch.zeros(4), torch.zeros(4)
    for seed in range(50):
        x_BCHW = codes(seed) ** 3 - (0.1 if centred else 0.0)
        sent += x_BCHW.mean(dim=(0, 2, 3))
        opened += sender.pack(x_BCHW, selected_C=ALL).open().mean(dim=(0, 2, 3))
    torch.testing.assert_close(opened + sender.carried_P, sent, atol=1e-4, rtol=0)
    assert float(sender.carried_P.abs().max()) < 0.5


def test_what_is_owed_belongs_to_the_map_and_not_to_its_place() -> None:
    sender = packer(2)
    sender.pack(codes()[:, :2], selected_C=torch.tensor([1, 3]))
    assert bool((sender.carried_P[[0, 2]] == 0).all())
    assert bool((sender.carried_P[[1, 3]] != 0).all())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("bits", [16, 8, 2])
def test_a_number_that_is_not_finite_crosses_as_it_is_and_owes_nothing(
    bits: int, centred: bool, bad: float
) -> None:
    sender = packer(bits, centred=centred)
    sender.pack(codes(), selected_C=ALL)
    owed = sender.carried_P.clone()
    x_BCHW = codes(1)
    x_BCHW[3, 1, 2, 2] = bad
    parcel = sender.pack(x_BCHW, selected_C=ALL)
    assert torch.equal(parcel.open(), x_BCHW) or bool(parcel.open()[3, 1, 2, 2].isnan())
    assert (parcel.bits, parcel.low_C) == (0, None)
    assert torch.equal(sender.carried_P, owed)


def test_what_float16_cannot_reach_crosses_as_float32() -> None:
    sender = packer(16, centred=True)
    x_BCHW = 1e6 * codes()
    parcel = sender.pack(x_BCHW, selected_C=ALL)
    assert torch.equal(parcel.open(), x_BCHW)
    assert sender.pack(codes(), selected_C=ALL).values.dtype == torch.float16
