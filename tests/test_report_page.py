import json
import re
from collections import Counter

import pytest
from made_ladder import ESTIMATE, log_lines

from r1kit.browsing import LONGEST, shortened
from r1kit.curves import POINTS
from r1kit.inline_svg import COLOURS, inline_svg
from r1kit.measured_plots import plot_calibration, plot_cost, plot_forest, plot_lengths, plot_samples
from r1kit.plotting import plotting
from r1kit.report_page import FOLDER, Section, embedded_json, write_page
from r1kit.report_tables import html_table
from r1kit.run_plots import imitation_plots, plot_reflection, rl_plots


@pytest.fixture
def style():
    with plotting():
        yield


def test_data_in_a_script_holds_nothing_that_ends_it_and_reads_back_the_same():
    data = {"a": "</script><!-- & \u2028\u2029 \ud800 等等 \x00", "b": [1, None, 0.5]}
    text = embedded_json(data)
    assert not re.search("[<>&\u2028\u2029\ud800-\udfff\x00]", text)
    assert "等等" in text
    assert json.loads(text) == data


def test_names_from_files_are_escaped_everywhere():
    name = '<img src=x onerror="alert(1)">$script'
    page = write_page(name, name, [Section("a", name, html_table(name, [name], [[name, (name, name)]]))], {"a": name})
    assert "<img" not in page
    assert page.count("&lt;img src=x onerror=&quot;alert(1)&quot;&gt;$script") >= 8


def test_the_colours_of_plots_are_those_of_the_light_theme():
    css = (FOLDER / "page.css").read_text()
    assert dict(re.findall(r"--(\w+): light-dark\((#\w+), #\w+\)", css)).items() >= COLOURS.items()


def test_a_plot_in_the_page_follows_its_theme_and_font_and_has_no_inline_style(style):
    [plot, *_] = rl_plots("a.run", log_lines(5), {})
    svg = inline_svg(plot.figure, plot.name)
    assert not re.search(r"#[0-9a-f]{6}\b", svg)
    assert 'stroke="var(--green)"' in svg
    assert "style" not in svg
    assert "font-family" not in svg
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert all(one.startswith("a.run-") for one in ids)
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', svg)) <= set(ids)
    assert "share of completions" in svg  # text as text


def plots():
    """Return a plot of each kind."""
    spans = {True: Counter({3: 5, 900: 1}), False: Counter({4: 2}), None: Counter({9: 1})}
    row = {"pass@1": ESTIMATE, "pass@2": ESTIMATE, "pass@4": ESTIMATE, "cons@2": ESTIMATE, "cons@4": ESTIMATE}
    sft = [{"step": s, "loss": 1.0, "held_out_loss": 2.0, "accuracy": 0.5, "margin": 1.0} for s in (1, 2)]
    return [
        *rl_plots("rl", log_lines(40, kl=0.1), {"before": {"pass@1": ESTIMATE}, "after": {"pass@1": ESTIMATE}}),
        *imitation_plots("sft", sft),
        plot_reflection({"_one": log_lines(30)}),
        plot_forest("f", "t", [("$x$ & _y", ESTIMATE), ("z", {"value": 0.1, "low": None, "high": None})], "pass@1"),
        plot_samples("s", "t", [("one", row)]),
        plot_cost("c", "t", {"majority": [(1.0, ESTIMATE), (16.0, ESTIMATE)], "beam": [(3.0, ESTIMATE)]}),
        plot_cost("c", "t" * 80, {"majority": [(30.0, ESTIMATE), (3000.0, ESTIMATE)]}),
        plot_lengths("l", "t", spans),
        plot_lengths("l", "t", {True: Counter({3: 5, 9: 1})}),
        plot_calibration("b", [{"predicted": 0.6, "observed": 0.5}, {"predicted": 0.9, "observed": 1.0}]),
    ]


def test_every_plot_has_labelled_axes_and_a_legend_of_all_its_curves(style):
    drawn = plots()
    assert len(drawn) == 6 + 3 + 8
    for plot in drawn:
        [axes], [legend] = plot.figure.axes, plot.figure.legends
        assert axes.get_title("left")
        assert axes.get_xlabel()
        assert "$" not in "".join(tick.get_text() for tick in axes.get_xticklabels())
        assert axes.get_ylabel() or [tick.get_text() for tick in axes.get_yticklabels()]
        assert [text.get_text() for text in legend.texts] == axes.get_legend_handles_labels()[1] != []


def test_no_text_of_a_plot_runs_out_of_it(style):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for plot in plots():
        renderer = FigureCanvasAgg(plot.figure).get_renderer()
        plot.figure.draw(renderer)
        [axes] = plot.figure.axes
        for box in (axes.get_tightbbox(renderer), plot.figure.legends[0].get_tightbbox(renderer)):
            assert box.x0 >= -1, plot.name
            assert box.y0 >= -1, plot.name
            assert box.x1 <= plot.figure.bbox.width + 3, plot.name
            assert box.y1 <= plot.figure.bbox.height + 1, plot.name


def test_a_long_run_is_drawn_with_few_points(style):
    [plot, *_] = rl_plots("a", log_lines(5000), {})
    assert max(len(line.get_xdata()) for line in plot.figure.axes[0].lines) <= POINTS


def test_a_long_text_keeps_its_ends():
    text = shortened("a" * LONGEST + "b" * LONGEST)
    assert text.startswith("a" * 100)
    assert text.endswith("b" * 100)
    assert f"[… {LONGEST:,} characters are left out here …]" in text
    assert shortened("a" * LONGEST) == "a" * LONGEST
