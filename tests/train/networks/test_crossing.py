"""Claims about the plain cut: what crosses as it is, and what stays behind."""

import pytest
import torch

from headgate.profiles.errors import UsageError
from headgate.train.networks.crossing import PlainCut


def test_a_plain_cut_with_all_maps_changes_nothing() -> None:
    made = PlainCut(4, size_px=(3, 5))
    x_BPHW = torch.randn(2, 4, 3, 5)
    assert torch.equal(made(x_BPHW), x_BPHW)
    assert made.code_shape == (4, 3, 5)
    assert list(made.parameters()) == []
    assert made.state_dict() == {}


def test_maps_that_are_not_selected_are_zero_and_the_others_in_their_own_places() -> None:
    made = PlainCut(4, size_px=(2, 2), budget=2)
    made.freeze_selection((3, 1))
    x_BPHW = torch.randn(2, 4, 2, 2)
    code_BCHW = made.encode(x_BPHW)
    assert torch.equal(code_BCHW, x_BPHW[:, [1, 3]])
    expected_BPHW = x_BPHW.clone()
    expected_BPHW[:, [0, 2]] = 0.0
    assert torch.equal(made.decode(code_BCHW), expected_BPHW)
    assert made.code_shape == (2, 2, 2)


@pytest.mark.parametrize("indices", [(0,), (0, 0), (0, 4)])
def test_a_selection_that_does_not_fit_is_refused(indices: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="expected 2 different maps out of 0 to 3"):
        PlainCut(4, size_px=(2, 2), budget=2).freeze_selection(indices)
