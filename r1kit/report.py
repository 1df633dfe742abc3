"""The report: what a ladder of runs, its measurements and its rollouts came to, on one page to look at."""

from collections.abc import Sequence
from pathlib import Path

from r1kit.errors import UserError
from r1kit.jsonl import open_output
from r1kit.live import say
from r1kit.plotting import Plot, plotting
from r1kit.report_material import Material, read_material
from r1kit.report_page import write_page
from r1kit.report_sections import browser_data, sections_of

DPI = 160  # of pictures


def write_report(outs: list[str], output: str, pictures: str | None, count: int, seed: int) -> None:
    """Write the page of folders and files; with `pictures` its plots as PNG, too, into that folder.

    Args:
        count: records to browse, of all files together.
        seed: of their choice.

    Raises:
        UserError: there is nothing to show, a file that is named cannot be read, or the page cannot be written.
    """
    material = read_material(outs, count, seed)
    with plotting():
        sections = list(sections_of(material))
        if pictures is not None:
            save_pictures([plot for section in sections for plot in section.plots], Path(pictures))
    page = write_page(_title(outs), _lead(material), sections, browser_data(material))
    with open_output(output) as file:
        file.write(page)
    say(*(f"passed over {path}: {why}" for path, why in material.findings.passed.items()))
    say(f"{_lead(material)} {output}")


def save_pictures(plots: Sequence[Plot], folder: Path) -> None:
    """Save plots as NAME.png.

    Raises:
        UserError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(str(folder), f"cannot be made ({error.strerror})", "name another folder by --png") from None
    for plot in plots:
        plot.figure.savefig(folder / f"{plot.name}.png", dpi=DPI)


def _title(outs: list[str]) -> str:
    names = [Path(out).resolve().name for out in outs]
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _lead(material: Material) -> str:
    """Return in a line what there is."""
    counts = {
        "model": sum(bool(folder.card) for folder in material.findings.folders),
        "run": len(material.logs),
        "measurement": len(material.rows),
        "record": sum(source.count for source in material.sources),
    }
    words = [f"{count:,} {what}{'s' * (count != 1)}" for what, count in counts.items() if count]
    return f"{', '.join(words)}." if words else ""
