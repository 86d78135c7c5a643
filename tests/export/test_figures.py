from headgate.export.figures import new_figure


def test_panels_share_their_x_axis_only_where_they_are_to() -> None:
    for one_x in (True, False):
        _, (first, second) = new_figure(4.0, height_in=4.0, rows=2, ratios=(1.0, 1.0), one_x=one_x)
        first.plot([1, 22], [0, 1])
        second.plot([1e8, 7e10], [0, 1])
        assert (first.get_xlim() == second.get_xlim()) == one_x
