"""The ladder of stages as a picture: models and data one below the other, and arcs from what each was made of."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from r1kit.inline_svg import COLOURS
from r1kit.lineage import Link, Node
from r1kit.plotting import Plot, label_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW, WIDTH, LEFT = 0.52, 5.6, 1.15  # inches: the height of a row, and of the picture its width and where names begin
LOOKS: dict[Link, tuple[str, Literal["-", "--", ":"], str]] = {  # colour, line, and what the legend calls it
    "weights": ("blue", "-", "weights"),
    "data": ("orange", "--", "data"),
    "reward": ("purple", ":", "reward model"),
}


def plot_ladder(nodes: Sequence[Node]) -> Plot:
    """Draw nodes in their order, each after those that it came from."""
    from matplotlib.figure import Figure

    height = ROW * len(nodes) + 0.5
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(-0.5 * ROW - 0.45, ROW * (len(nodes) - 0.5)))
    axes.set_axis_off()
    rows = {node.key: ROW * (len(nodes) - 1 - place) for place, node in enumerate(nodes)}
    for node in nodes:
        for key, link in node.came:
            _draw_arc(axes, rows[key], rows[node.key], link, len(nodes))
    for node in nodes:
        _draw_node(axes, node, rows[node.key])
    used = {link for node in nodes for _, link in node.came}
    _draw_legend(axes, [link for link in LOOKS if link in used])
    return Plot("ladder", "Which model was made from which data and from which model", figure)


def _draw_arc(axes: "Axes", start: float, end: float, link: Link, rows: int) -> None:
    """Draw from one row down to another; the further apart they are, the wider the arc."""
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path

    colour, line, _ = LOOKS[link]
    span = abs(start - end) / ROW
    reach = min(LEFT - 0.2, 0.24 + 0.12 * (span - 1) * min(1.0, 8 / max(8, rows)) + {"reward": 0.09}.get(link, 0.0))
    x, tip = LEFT - 0.02, LEFT - 0.14
    bend = [(x, start), (x - 1.33 * reach, start), (tip - 1.33 * reach, end), (tip, end)]
    path = Path(bend, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
    axes.add_patch(PathPatch(path, fill=False, edgecolor=COLOURS[colour], linestyle=line, linewidth=1.4, zorder=1))
    head = [(tip - 0.09, end - 0.045), (tip - 0.09, end + 0.045), (tip + 0.01, end)]
    axes.add_patch(Polygon(head, facecolor=COLOURS[colour], edgecolor="none", zorder=1))


def _draw_node(axes: "Axes", node: Node, y: float) -> None:
    marker, colour = ("o", "ink") if node.is_model else ("s", "orange")
    face = COLOURS[colour] if node.is_model else COLOURS["paper"]
    axes.plot(
        [LEFT], [y], marker, markersize=6.5, color=COLOURS[colour], markerfacecolor=face, markeredgewidth=1.4, zorder=3
    )
    weight = 600 if node.is_model else 400
    text: dict[str, Any] = {"va": "center", "clip_on": False}
    axes.text(LEFT + 0.2, y + 0.085, label_text(node.label), fontsize=9.5, weight=weight, color=COLOURS["ink"], **text)
    note = " · ".join(filter(None, [node.note, node.result]))
    axes.text(LEFT + 0.2, y - 0.1, note, fontsize=8, color=COLOURS["muted"], **text)


def _draw_legend(axes: "Axes", links: Sequence[Link]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=COLOURS[LOOKS[link][0]], linestyle=LOOKS[link][1], label=LOOKS[link][2], linewidth=1.4)
        for link in links
    ]
    marks = (("model", "o", "ink", COLOURS["ink"]), ("data", "s", "orange", COLOURS["paper"]))
    handles += [
        Line2D([], [], marker=marker, linestyle="", color=COLOURS[colour], markerfacecolor=face, label=label)
        for label, marker, colour, face in marks
    ]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, 0.0), ncols=5, columnspacing=1.2)
