import pytest

from headgate.export.figures import bytes_text, log_ticks, new_figure, whole_ticks


def test_panels_share_their_x_axis_only_where_they_are_to() -> None:
    for one_x in (True, False):
        _, (first, second) = new_figure(4.0, height_in=4.0, rows=2, ratios=(1.0, 1.0), one_x=one_x)
        first.plot([1, 22], [0, 1])
        second.plot([1e8, 7e10], [0, 1])
        assert (first.get_xlim() == second.get_xlim()) == one_x


@pytest.mark.parametrize(
    ("width_in", "last", "labels"),
    [
        (4.6, 3.3e8, ["50 MB", "100 MB", "200 MB"]),
        (4.6, 7e10, ["100 MB", "1000 MB", "10000 MB", "100000 MB"]),
        (9.0, 1e9, ["50 MB", "100 MB", "200 MB", "500 MB", "1000 MB"]),
    ],
)
def test_a_logarithmic_axis_has_only_labels_in_its_unit_and_few_where_it_is_narrow(
    width_in: float, last: float, labels: list[str]
) -> None:
    figure, (axes,) = new_figure(width_in, height_in=4.0)
    axes.plot([2.6e7, last], [0, 1])
    log_ticks(axes, lambda value: f"{value / 1e6:g} MB")
    figure.draw_without_rendering()
    low, high = axes.get_xlim()
    ticks = [*axes.xaxis.get_major_ticks(), *axes.xaxis.get_minor_ticks()]
    shown = [t.label1.get_text() for t in ticks if low < t.get_loc() < high]
    assert [text for text in shown if text] == labels


def test_epochs_are_labelled_at_whole_numbers_only() -> None:
    figure, (axes,) = new_figure(9.0, height_in=4.0)
    axes.plot([1, 4], [0, 1])
    whole_ticks(axes)
    figure.draw_without_rendering()
    assert all(tick == int(tick) for tick in axes.get_xticks())


def test_a_size_is_written_with_the_unit_that_suits_it() -> None:
    assert [bytes_text(size) for size in (0, 999.4, 1000, 14_380)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "14.4 kB",
    ]
