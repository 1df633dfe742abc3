"""The page of a report: one HTML file that asks nothing of the network, and runs no script but its own."""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from r1kit.inline_svg import inline_svg
from r1kit.plotting import Plot

FOLDER = Path(__file__).parent / "page"
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")  # what may end a script, or is no character
_LONE = re.compile("[\ud800-\udfff]")


class Section(NamedTuple):
    """A part of the page."""

    key: str
    title: str
    html: str
    plots: tuple[Plot, ...] = ()


def write_page(title: str, lead: str, sections: Sequence[Section], data: dict[str, Any]) -> str:
    """Return the page."""
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    page = Template((FOLDER / "page.html").read_text(encoding="utf-8"))
    links = "".join(f'<li><a href="#{one.key}">{escape(one.title)}</a></li>' for one in sections)
    body = "\n".join(
        f'<section id="{one.key}" aria-labelledby="{one.key}-title">'
        f'<h2 id="{one.key}-title">{escape(one.title)}</h2>\n{one.html}\n</section>'
        for one in sections
    )
    text = page.substitute(
        title=escape(title),
        lead=escape(lead),
        links=links,
        sections=body,
        style=style,
        script=script,
        style_hash=csp_hash(style),
        script_hash=csp_hash(script),
        data=embedded_json(data),
    )
    return _LONE.sub("\ufffd", text)


def embedded_json(data: Any) -> str:
    """Return data as JSON that may stand in a script element whatever its texts hold."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def csp_hash(text: str) -> str:
    """Return what a content security policy knows an inline style or script by."""
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()


def note(text: str) -> str:
    """Return a paragraph of explanation."""
    return f'<p class="note">{escape(text)}</p>'


def heading(text: str) -> str:
    """Return a heading within a section."""
    return f"<h3>{escape(text)}</h3>"


def figures(plots: Iterable[Plot]) -> str:
    """Return plots side by side, as many as the page is wide for; "" of none."""
    drawn = "".join(figure(plot) for plot in plots)
    return f'<div class="figures">{drawn}</div>' if drawn else ""


def figure(plot: Plot, kind: str = "") -> str:
    """Return a plot, with its title for those who do not see it."""
    name = f' class="{kind}"' if kind else ""
    return f'<figure{name} role="img" aria-label="{escape(plot.title)}">{inline_svg(plot.figure, plot.name)}</figure>'


BROWSER = """
<div id="browser">
<div class="filters" role="search">
<label>Stage <select id="stage"></select></label>
<label>Compare with <select id="against"></select></label>
<label>Kind <select id="kind"></select></label>
<label>Verdict <select id="verdict"></select></label>
<label>Language <select id="language"></select></label>
<label class="wide">Text
<input type="search" id="query" placeholder="in prompts, answers and reasoning" autocomplete="off"></label>
<label class="check"><input type="checkbox" id="unfolded"> Reasoning unfolded</label>
</div>
<p class="status" id="status" role="status"></p>
<div id="list"></div>
<div class="pager" hidden><button type="button">Previous</button><span></span><button type="button">Next</button></div>
</div>
"""
