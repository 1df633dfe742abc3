"""How the plots of a report look: figures of matplotlib with labelled axes and a legend, all of one kind."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from r1kit.inline_svg import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, INSIDE = 4.2, 1.75  # inches of a plot, so that 8.5 points are about the page's small print; of its axes' height
LEFT, RIGHT, ABOVE, BELOW, LINE = 0.66, 0.08, 0.3, 0.5, 0.165  # inches beside the axes, and of a line of the legend
TITLE = 46  # letters that there is room for
SERIES = ("blue", "orange", "purple", "teal", "pink", "olive", "green", "red")
STYLE: Any = {  # of matplotlib
    "svg.fonttype": "none", "svg.hashsalt": "r1kit", "text.parse_math": False, "font.size": 8.5,
    "axes.titlesize": 9.5, "axes.titleweight": 600, "axes.titlelocation": "left", "axes.titlepad": 8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"], "axes.titlecolor": COLOURS["ink"], "axes.grid": True, "axes.axisbelow": True,
    "grid.color": COLOURS["line"], "grid.linewidth": 0.6, "text.color": COLOURS["ink"], "xtick.color": COLOURS["line"],
    "ytick.color": COLOURS["line"], "xtick.labelcolor": COLOURS["muted"], "ytick.labelcolor": COLOURS["muted"],
    "xtick.major.size": 3, "ytick.major.size": 0, "legend.frameon": False, "legend.fontsize": 8, "lines.linewidth": 1.5,
    "savefig.facecolor": COLOURS["paper"], "axes.unicode_minus": True,
}  # fmt: skip


class Plot(NamedTuple):
    """A figure with its name (of its file, and of its ids) and what it says, for those who do not see it.

    Attributes:
        left: inches for what stands on the left of the axes.
        inside: inches that the axes are high.
    """

    name: str
    title: str
    figure: "Figure"
    left: float = LEFT
    inside: float = INSIDE


@contextmanager
def plotting() -> Iterator[None]:
    """Set how figures look while they are drawn and saved."""
    import logging
    import warnings

    from matplotlib import rc_context

    with rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that a picture's font lacks
        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
        yield


def new_plot(name: str, title: str, x: str, y: str, left: float = LEFT, inside: float = INSIDE) -> tuple[Plot, "Axes"]:
    """Return an empty plot and its axes; `add_legend` puts them in their place."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, BELOW + inside + ABOVE))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(title=label_text(title, TITLE), xlabel=x, ylabel=y)
    return Plot(name, title, figure, left, inside), axes


def add_legend(plot: Plot) -> None:
    """Put the axes in their place, and the legend below them, in as many columns as its labels leave room for."""
    figure, [axes] = plot.figure, plot.figure.axes
    handles, labels = axes.get_legend_handles_labels()
    columns = max(1, min(3, int(WIDTH / (0.45 + 0.068 * max(map(len, labels), default=1)))))
    below = BELOW + LINE * -(-len(labels) // columns)
    height = below + plot.inside + ABOVE
    figure.set_size_inches(WIDTH, height)
    wide = WIDTH - plot.left - RIGHT
    axes.set_position((plot.left / WIDTH, below / height, wide / WIDTH, plot.inside / height))
    axes.yaxis.set_label_coords(0.17 / wide - plot.left / wide, 0.5)
    for legend in figure.legends:
        legend.remove()
    figure.legend(handles, labels, loc="lower left", ncols=columns, handlelength=1.6, columnspacing=1.2, borderpad=0.1)


def label_text(text: str, longest: int = 36) -> str:
    """Return a label as a plot takes it: on one line, without its beginning where it is long.

    A blank stands before "_", with which matplotlib's labels are hidden.
    """
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    shown = plain if len(plain) <= longest else f"…{plain[1 - longest :]}"
    return f" {shown}" if shown.startswith("_") else shown


def draw_estimate(axes: "Axes", x: float, estimate: dict[str, Any], colour: str, label: str | None = None) -> None:
    """Draw an estimate as a point with its interval."""
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    spread = None if low is None or high is None else [[max(0, value - low)], [max(0, high - value)]]
    axes.errorbar(
        [x], [value], yerr=spread, fmt="o", markersize=4, color=COLOURS[colour], capsize=2.5, elinewidth=1, label=label
    )
