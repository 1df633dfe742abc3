import pytest

from r1kit.curves import LONG, draw_png, rl_panels, smoothed
from r1kit.inline_svg import COLOURS
from r1kit.plotting import SERIES

HIGH, WIDE = 420, 480  # pixels of a panel


def log(steps, **fields):
    line = {
        "reward": 0.5, "rewards": {"accuracy": 0.4, "format": 0.5}, "accuracy": 0.4, "length": 20.0,
        "length_right": 18.0, "length_wrong": 21.0, "entropy": 0.3, "trained": 0.8, "zero_signal": 0.2,
        "reflection": 0.1, "truncated": 0.0, "seconds": {"generate": 1.0, "grade": 0.1, "score": 0.0, "train": 2.0},
    }  # fmt: skip
    return [{"step": step, **line, **fields} for step in range(1, steps + 1)]


def picture(lines, path):
    """Return the pixels (height, width, 4) of a picture of a log."""
    from matplotlib.image import imread

    draw_png(lines, path)
    return imread(path)


def panel(pixels, number):
    """Return the pixels of one of the panels."""
    row, column = divmod(number, 4)
    return pixels[row * HIGH : (row + 1) * HIGH, column * WIDE : (column + 1) * WIDE]


def coloured(pixels, name):
    """Tell how many pixels have a colour."""
    wanted = [int(COLOURS[name][place : place + 2], 16) for place in (1, 3, 5)]
    return ((pixels[..., :3] * 255).round() == wanted).all(-1).sum()


@pytest.mark.parametrize("steps", [2, 40, LONG])
def test_a_picture_has_the_curves_of_all_panels(tmp_path, steps):
    pixels = picture(log(steps), tmp_path / "curves.png")
    assert pixels.shape[:2] == (2 * HIGH, 4 * WIDE)
    colours = ["green", "blue", "green", "blue", "blue", "green", "blue"]
    assert len(colours) == len(list(rl_panels(log(1)[0])))
    for number, colour in enumerate(colours):
        assert coloured(panel(pixels, number), colour) > 100, number


def test_what_a_log_lacks_is_left_out_and_kl_is_drawn_where_it_is(tmp_path):
    lines = log(40, accuracy=None, length_right=None, length_wrong=None, rewards={"accuracy": None, "format": None})
    without = picture(lines, tmp_path / "without.png")
    assert sum(coloured(panel(without, number), "green") for number in range(4)) == 0
    assert coloured(panel(without, 3), "orange") == 0
    assert coloured(panel(picture([{**line, "kl": 0.1} for line in lines], tmp_path / "kl.png"), 3), "orange") > 100


def test_the_seconds_of_a_step_stand_one_upon_the_other(tmp_path):
    pixels = panel(picture(log(40), tmp_path / "curves.png"), 6)
    train, generate = coloured(pixels, SERIES[3]), coloured(pixels, SERIES[0])
    assert train == pytest.approx(2 * generate, rel=0.1)


def test_one_step_is_no_curve(tmp_path):
    draw_png(log(1), tmp_path / "curves.png")
    assert list(tmp_path.iterdir()) == []


def test_a_smoothed_curve_is_the_mean_of_neighbours():
    assert smoothed([0, 3, 6, 0, 9], 1) == [1.5, 3, 3, 5, 4.5]
    assert smoothed([0, 3, 6], 0) == [0, 3, 6]
