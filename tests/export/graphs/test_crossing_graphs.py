"""Claims about `crossing_graphs`: maps in their order, and back in their places."""

import torch

from headgate.export.graphs.crossing_graphs import Picked, Placed, crossing_graphs
from headgate.train.networks.bottleneck import CentredBottleneck
from headgate.train.networks.crossing import PlainCut

FEATURES = torch.arange(1, 49, dtype=torch.float32).reshape(1, 3, 4, 4)


def test_picked_maps_come_in_the_order_of_sending_and_go_back_to_their_places() -> None:
    sent = Picked((2, 0, 1))(FEATURES)
    assert torch.equal(sent, FEATURES[:, [2, 0, 1]])
    assert torch.equal(Placed((2, 0, 1), num_features=3)(sent), FEATURES)


def test_maps_that_are_never_sent_are_zeros() -> None:
    sent = Picked((2, 0))(FEATURES)
    restored = Placed((2, 0), num_features=3)(sent)
    assert torch.equal(restored[:, [0, 2]], FEATURES[:, [0, 2]])
    assert torch.equal(restored[:, 1], torch.zeros(1, 4, 4))


def test_a_plain_cut_with_fewer_maps_does_what_was_trained() -> None:
    cut = PlainCut(3, size_px=(4, 4), budget=2)
    cut.freeze_selection((0, 2))
    encoder, decoder = crossing_graphs(cut, (2, 0))
    code = encoder(FEATURES)
    assert torch.equal(code[:, [1, 0]], cut.encode(FEATURES))
    assert torch.equal(decoder(code), cut.decode(cut.encode(FEATURES)))


def test_a_map_that_did_not_come_counts_as_its_mean_to_the_border() -> None:
    torch.manual_seed(0)
    bottleneck = CentredBottleneck(3, size_px=(4, 4), budget=2).eval()
    bottleneck.freeze_selection((0, 2))
    bottleneck.centre_on(FEATURES / 48)
    encoder, decoder = crossing_graphs(bottleneck, (2, 0))
    trained = bottleneck.encode(FEATURES / 48)
    torch.testing.assert_close(encoder(FEATURES / 48)[:, [1, 0]], trained)
    trained[:, 0] = 0.0
    torch.testing.assert_close(decoder(trained[:, [1, 0]]), bottleneck.decode(trained))
