"""A figure of matplotlib as SVG that stands in a page: in the page's font, and in colours that follow its theme.

A figure is drawn in the colours of the light theme, each of which becomes the variable of its name. What SVG says in
style attributes becomes attributes of its own, which a content security policy without inline styles allows.
"""

from io import BytesIO
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# the name of a variable in page.css: its colour in the light theme
COLOURS = {
    "ink": "#23272e", "muted": "#68707c", "line": "#dcdfe4", "paper": "#fdfdfc",
    "blue": "#2f66b0", "green": "#1b8459", "red": "#c4492c", "orange": "#c07f12",
    "purple": "#7d57a8", "teal": "#1f8a9c", "pink": "#b04e80", "olive": "#7a7f1d",
}  # fmt: skip
_NAMES = {colour: name for name, colour in COLOURS.items()}
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_LEFT_OUT = ("font-family",)  # the page has one


def inline_svg(figure: "Figure", name: str) -> str:
    """Return a figure as an element of a page; `name` makes its ids its own."""
    written = BytesIO()
    figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None})
    ElementTree.register_namespace("", _SVG.strip("{}"))
    root = ElementTree.fromstring(written.getvalue())
    width, height = root.attrib["viewBox"].split()[2:]
    root.attrib.clear()
    root.attrib |= {"viewBox": f"0 0 {width} {height}", "class": "figure", "aria-hidden": "true", "focusable": "false"}
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style"):
                parent.remove(child)
        _own(parent, name)
    return ElementTree.tostring(root, encoding="unicode")


def _own(element: ElementTree.Element, name: str) -> None:
    """Rewrite the attributes of an element: its styles, colours and ids."""
    for style in element.attrib.pop("style", "").split(";"):
        key, _, value = (part.strip() for part in style.partition(":"))
        if key and key not in _LEFT_OUT:
            element.set(key, f"var(--{_NAMES[value]})" if value in _NAMES else value)
    if "id" in element.attrib:
        element.set("id", f"{name}-{element.attrib['id']}")
    if _LINK in element.attrib:
        element.set("href", f"#{name}-{element.attrib.pop(_LINK)[1:]}")
    if element.get("clip-path", "").startswith("url(#"):
        element.set("clip-path", f"url(#{name}-{element.attrib['clip-path'][5:]}")
