"""Tables for the codec "context", and when they are used."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from headgate.export.points.choose_codec import Codec, choose_codec, mean_bytes
from headgate.export.points.context_tables import contexts_of, fit_table, whole_frequencies
from headgate.profiles.context_table import table_fault
from headgate.runtime.codec.features import decode_features, encode_features


def smooth(
    num: int, *, levels: int, shape: tuple[int, int, int] = (6, 10, 10)
) -> NDArray[np.uint8]:
    """Return maps [N,C,h,w] whose neighbours are alike, with some noise."""
    rng = np.random.default_rng(levels)
    maps, height, width = shape
    coarse = rng.normal(size=(num, maps, height // 3 + 2, width // 3 + 2))
    fine = coarse.repeat(3, axis=2).repeat(3, axis=3)[:, :, :height, :width]
    values = (0.5 + 0.2 * fine + 0.05 * rng.normal(size=fine.shape)) * levels
    found: NDArray[np.uint8] = values.clip(0, levels - 1).astype(np.uint8)
    return found


@pytest.mark.parametrize("levels", [2, 3, 5, 16])
def test_a_fitted_table_saves_a_fifth_of_zstd_on_pictures_it_has_not_seen(levels: int) -> None:
    seen, others = smooth(80, levels=levels)[:64], smooth(80, levels=levels)[64:]
    table = fit_table(seen, levels=levels)
    assert table_fault(table, levels=levels) is None
    with_table = mean_bytes(others, Codec("context", table), levels=levels)
    assert with_table < 0.8 * mean_bytes(others, Codec("zstd"), levels=levels)
    data = encode_features(others[0], levels=levels, codec="context", table=table)
    found = decode_features(
        data, shape=others[0].shape, levels=levels, codec="context", table=table
    )
    np.testing.assert_array_equal(found, others[0])


def test_rows_that_were_moved_to_where_they_fit_save_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    q_NCHW = smooth(64, levels=5)
    moved = mean_bytes(q_NCHW, Codec("context", fit_table(q_NCHW, levels=5)), levels=5)
    monkeypatch.setattr("headgate.export.points.context_tables.ROUNDS", 0)
    unmoved = mean_bytes(q_NCHW, Codec("context", fit_table(q_NCHW, levels=5)), levels=5)
    assert moved < 0.99 * unmoved


@pytest.mark.parametrize(("levels", "bits"), [(16, 10), (17, 12)])
def test_many_levels_have_finer_frequencies(levels: int, bits: int) -> None:
    table = fit_table(smooth(2, levels=levels), levels=levels)
    assert all(sum(row) == 1 << bits for row in table.frequencies)


def test_few_pictures_give_few_rows() -> None:
    table = fit_table(smooth(1, levels=16, shape=(2, 8, 8)), levels=16)
    assert len(table.rows) == 1
    assert table_fault(table, levels=16) is None


def test_contexts_count_the_first_neighbour_highest_and_the_border_last() -> None:
    q_NCHW = np.array([[[[0, 1], [2, 3]]]], dtype=np.uint8)
    found = contexts_of(q_NCHW, levels=4, bins=4, neighbours=("left", "up", "corner"))
    border = 4
    expected = [
        [border * 25 + border * 5 + border, 0 * 25 + border * 5 + border],
        [border * 25 + 0 * 5 + border, 2 * 25 + 1 * 5 + 0],
    ]
    np.testing.assert_array_equal(found[0, 0], expected)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=64).filter(any), st.integers(8, 14))
def test_whole_frequencies_keep_the_sum_and_leave_nothing_out(counts: list[int], bits: int) -> None:
    found = whole_frequencies(np.array(counts, dtype=np.float64), total=1 << bits)
    assert sum(found) == 1 << bits
    assert min(found) >= 1
    assert found[int(np.argmax(counts))] == max(found)


def test_auto_takes_tables_where_they_pay() -> None:
    assert choose_codec(smooth(32, levels=5), levels=5, asked="auto").name == "context"
    blank = np.zeros((32, 6, 10, 10), dtype=np.uint8)
    assert choose_codec(blank, levels=5, asked="auto").name == "context"
    assert choose_codec(smooth(4, levels=100), levels=100, asked="auto").name == "zstd"
    assert choose_codec(smooth(1, levels=5), levels=5, asked="auto").name == "zstd"
    large = smooth(4, levels=5, shape=(21, 10, 10))
    assert choose_codec(large, levels=5, asked="auto").name == "zstd"
    assert choose_codec(large, levels=5, asked="context").table is not None
    assert choose_codec(large, levels=5, asked="raw") == Codec("raw")


def test_a_table_that_knows_its_own_pictures_by_heart_is_not_taken_to_pay() -> None:
    """On the pictures that it was fitted to it saves 17 % of zstd, on the others 7."""
    q_NCHW = smooth(6, levels=32)
    assert choose_codec(q_NCHW, levels=32, asked="auto") == Codec("zstd")


def test_tables_that_hardly_save_anything_are_not_worth_their_time() -> None:
    nothing_to_foretell = np.random.default_rng(1).integers(0, 5, (32, 6, 10, 10)).astype(np.uint8)
    table = fit_table(nothing_to_foretell, levels=5)
    saved = mean_bytes(nothing_to_foretell, Codec("context", table), levels=5)
    assert 0.95 < saved / mean_bytes(nothing_to_foretell, Codec("zstd"), levels=5) < 1
    assert choose_codec(nothing_to_foretell, levels=5, asked="auto") == Codec("zstd")


def test_a_table_is_fitted_to_all_pictures_in_the_end_and_only_up_to_64_levels() -> None:
    q_NCHW = smooth(64, levels=64)
    assert choose_codec(q_NCHW, levels=64, asked="auto").table == fit_table(q_NCHW, levels=64)
    assert choose_codec(smooth(64, levels=65), levels=65, asked="auto") == Codec("zstd")


def test_layers_are_counted_one_by_one_and_are_worth_more_time() -> None:
    q_NCHW = smooth(32, levels=5)
    bounds = (2, 4)
    layers = [np.split(q_CHW, bounds) for q_CHW in q_NCHW]
    sizes = [
        sum(len(encode_features(each, levels=5, codec="zstd")) for each in parts)
        for parts in layers
    ]
    assert mean_bytes(q_NCHW, Codec("zstd"), levels=5, bounds=bounds) == np.mean(sizes)
    assert np.mean(sizes) > mean_bytes(q_NCHW, Codec("zstd"), levels=5) + 4
    large = smooth(8, levels=5, shape=(6, 24, 24))
    assert choose_codec(large, levels=5, asked="auto").name == "zstd"
    assert choose_codec(large, levels=5, asked="auto", bounds=bounds).name == "context"
    larger = smooth(8, levels=5, shape=(15, 24, 24))
    assert choose_codec(larger, levels=5, asked="auto", bounds=bounds).name == "zstd"
