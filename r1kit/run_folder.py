"""The folder of a training run: whose it is, what can be resumed, and its logs.

OUT/run.json          the settings, written first
OUT/log.jsonl         a line a step
OUT/samples.jsonl     scored rollouts of some steps
OUT/checkpoints/      checkpoint-STEP: model folders with the trainer's state
OUT/config.json …     the trained model, at the end
"""

import json
import shutil
from pathlib import Path
from typing import Any

from r1kit.errors import UserError
from r1kit.jsonl import read_records, to_line
from r1kit.run_settings import refuse_changes, write_settings

SETTINGS, LOG, SAMPLES, CHECKPOINTS = "run.json", "log.jsonl", "samples.jsonl", "checkpoints"


def claim_folder(folder: Path, settings: dict[str, Any], resume: bool, overwrite: bool) -> Path | None:
    """Make or take a run folder for a run with `settings`; return the checkpoint to go on from, None at the start.

    Raises:
        UserError: the folder holds something and neither flag says what to do with it, the run to resume had other
            settings, or the folder to overwrite is no run's.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(str(folder), "is a file", "name a folder with -o")
    held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if held <= {SETTINGS}:  # a run that never began leaves its settings alone
        folder.mkdir(parents=True, exist_ok=True)
    elif not (folder / SETTINGS).is_file():
        raise UserError(str(folder), "holds files that are no run of r1kit", "name another folder with -o")
    elif resume:
        refuse_changes(folder / SETTINGS, folder, settings, ("steps",))  # a finished run may be made longer
        write_settings(folder / SETTINGS, settings)
        checkpoint = latest_checkpoint(folder)
        _cut_logs(folder, 0 if checkpoint is None else checkpoint_step(checkpoint))
        return checkpoint
    elif overwrite:
        shutil.rmtree(folder)
        folder.mkdir()
    else:
        raise UserError(str(folder), "holds another run", "say --resume, --overwrite, or another folder with -o")
    write_settings(folder / SETTINGS, settings)
    return None


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that is whole: trainer_state.json is the last file that is written."""
    whole = [p.parent for p in (folder / CHECKPOINTS).glob("checkpoint-*/trainer_state.json") if _is_json(p)]
    return max(whole, key=checkpoint_step, default=None)


def checkpoint_step(checkpoint: Path) -> int:
    """Return the step that a checkpoint was saved at."""
    return int(checkpoint.name.rpartition("-")[2])


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def _cut_logs(folder: Path, step: int) -> None:
    """Drop the lines of steps after `step`, which will be made again, and a torn last line."""
    for path in (folder / LOG, folder / SAMPLES):
        if not path.exists():
            continue
        *lines, _torn = path.read_text(encoding="utf-8").split("\n")  # not splitlines: it cuts at U+2028
        kept = [line + "\n" for line in lines if json.loads(line)["step"] <= step]
        path.write_text("".join(kept), encoding="utf-8")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of log.jsonl."""
    return list(read_records(str(folder / LOG)))


def append_records(path: Path, records: list[dict[str, Any]]) -> None:
    """Append records to a log of the run."""
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.writelines(map(to_line, records))
