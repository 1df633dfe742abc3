"""The settings of a run, in a file beside what it makes: a run goes on with the same ones alone."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from r1kit.errors import UserError


def write_settings(path: Path, settings: dict[str, Any]) -> None:
    """Write the settings of a run."""
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def refuse_changes(path: Path, place: Path, settings: dict[str, Any], may_change: Collection[str] = ()) -> None:
    """Hold settings to those of an earlier start, compared as JSON; an error names `place`.

    Raises:
        UserError: one has changed that may not.
    """
    before, now = json.loads(path.read_text(encoding="utf-8")), json.loads(json.dumps(settings))
    for key in sorted((before.keys() | now.keys()) - set(may_change)):
        if before.get(key) != now.get(key):
            what = f"the run has {key} {before.get(key)!r}, not {now.get(key)!r}"
            raise UserError(str(place), what, "resume with the same settings, or say --overwrite")
