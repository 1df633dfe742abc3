import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from conftest import lines, r1kit, write_jsonl

from r1kit.errors import UserError
from r1kit.replay import open_replayed, write_replayed

ROWS = [{"id": str(i), "text": "é" * (i % 5)} for i in range(12)]
SETTINGS = {"source": "x.jsonl", "n": (1, 2)}


def write_both(folder, rows=ROWS, settings=SETTINGS, resume=False, overwrite=False):
    """Write rows to one file and every third to another, as one run."""
    outputs = [str(folder / "main.jsonl"), str(folder / "side.jsonl")]
    with open_replayed(outputs, settings, resume, overwrite) as [main, side]:
        for number, row in enumerate(rows):
            main.write(row)
            if number % 3 == 0:
                side.write(row)


def failing(rows):
    yield from rows
    raise UserError("x.jsonl:9", "no more")


def begin(folder, rows, **how):
    with pytest.raises(UserError, match="no more"):
        write_both(folder, failing(rows), **how)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def whole(tmp_path):
    """Return what is in the files of a run that nothing stopped."""
    folder = tmp_path / "whole"
    folder.mkdir()
    write_both(folder)
    files = contents(folder)
    assert files.keys() == {"main.jsonl", "side.jsonl"}
    assert files["main.jsonl"].decode() == "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    return files


def test_a_run_cut_off_at_any_byte_goes_on_to_the_same_files(whole, tmp_path):
    main, side = whole["main.jsonl"], whole["side.jsonl"]
    card = json.dumps(SETTINGS)
    for cut in range(len(main) + 1):
        (tmp_path / "main.jsonl.part").write_bytes(main[:cut])
        (tmp_path / "side.jsonl.part").write_bytes(side[: cut * 7 % (len(side) + 1)])
        for name in ("main", "side"):
            (tmp_path / f"{name}.jsonl.part.json").write_text(card)
        write_both(tmp_path, resume=True)
        assert contents(tmp_path) == whole
        for name in whole:
            (tmp_path / name).unlink()


@pytest.mark.parametrize("renamed", [("side",), ("side", "main")])
def test_a_run_killed_while_its_files_get_their_names_goes_on(whole, tmp_path, renamed):
    for name in ("main", "side"):
        path = tmp_path / f"{name}.jsonl"
        (tmp_path / f"{name}.jsonl.part.json").write_text(json.dumps(SETTINGS))
        (path if name in renamed else tmp_path / f"{name}.jsonl.part").write_bytes(whole[path.name])
    write_both(tmp_path, resume=True)
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("count", [1, 2, 3, 7, 12])
def test_a_run_that_failed_keeps_what_was_done_and_goes_on(whole, tmp_path, count, capsys):
    begin(tmp_path, ROWS[:count])
    main, side = tmp_path / "main.jsonl.part", tmp_path / "side.jsonl.part"
    assert capsys.readouterr().err == f"r1kit: what was done is kept in {main} and {side}; --resume goes on with it\n"
    assert whole["main.jsonl"].startswith(main.read_bytes())
    write_both(tmp_path, resume=True)
    assert contents(tmp_path) == whole


def test_a_run_that_failed_before_its_first_line_leaves_nothing(tmp_path, capsys):
    begin(tmp_path, [])
    assert contents(tmp_path) == {}
    assert capsys.readouterr().err == ""


def refusal(folder, **how):
    with pytest.raises(UserError) as error:
        write_both(folder, **how)
    return str(error.value).replace(f"{folder}/", "")


def test_what_is_there_is_never_lost_unless_told_so(whole, tmp_path):
    write_both(tmp_path)
    there = "main.jsonl: is there; say --overwrite, or name another file with -o"
    assert refusal(tmp_path, rows=ROWS[:2]) == refusal(tmp_path, rows=ROWS[:2], resume=True) == there
    assert contents(tmp_path) == whole
    begin(tmp_path, ROWS[:2], overwrite=True)
    assert whole.items() <= contents(tmp_path).items()
    write_both(tmp_path, rows=ROWS[:1], overwrite=True)
    line = whole["main.jsonl"].splitlines(keepends=True)[0]
    assert contents(tmp_path) == {"main.jsonl": line, "side.jsonl": line}


def test_one_file_that_is_there_leaves_no_trace_of_the_others(tmp_path):
    (tmp_path / "side.jsonl").write_text("old\n")
    assert refusal(tmp_path) == "side.jsonl: is there; say --overwrite, or name another file with -o"
    assert contents(tmp_path) == {"side.jsonl": b"old\n"}


def test_a_run_that_is_begun_goes_on_only_when_told_so_and_as_it_was_begun(tmp_path):
    begin(tmp_path, ROWS[:4])
    before = contents(tmp_path)
    begun = "main.jsonl.part: holds what was done of a run that did not end"
    assert refusal(tmp_path) == f"{begun}; say --resume to go on with it, or --overwrite to begin anew"
    other = "main.jsonl.part: the run has n [1, 2], not [1, 3]; resume with the same settings, or say --overwrite"
    assert refusal(tmp_path, settings={**SETTINGS, "n": (1, 3)}, resume=True) == other
    again = "main.jsonl.part: was made of another input: what it holds does not come again"
    changed = [*ROWS[:2], {"id": "other"}]
    assert refusal(tmp_path, rows=changed, resume=True) == f"{again}; give the same input, or say --overwrite"
    more = "main.jsonl.part: was made of another input: it holds more"
    assert refusal(tmp_path, rows=ROWS[:2], resume=True) == f"{more}; give the same input, or say --overwrite"
    assert contents(tmp_path) == before
    write_both(tmp_path, rows=ROWS[:1], resume=True, overwrite=True)
    assert len(contents(tmp_path)["main.jsonl"].splitlines()) == 1


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none/x\.jsonl: cannot be written \(No such file.*; make its folder first"):
        write_replayed(iter(ROWS), str(tmp_path / "none" / "x.jsonl"), {}, False, False)
    with pytest.raises(UserError, match="is a folder; name a file, or - for stdout"):
        write_replayed(iter(ROWS), str(tmp_path), {}, False, False)
    with pytest.raises(UserError, match="--resume: a stream cannot be gone on with; name a file with -o"):
        write_replayed(iter(ROWS), "-", {}, True, False)


def problems(count):
    """Return problems of which every fourth is a copy of one before, some in other words."""
    words = "apples books candles coins dolls eggs flowers hats jars keys lamps marbles"
    chance, rows = random.Random(0), []
    for i in range(count):
        text = f"Ann has {i} of the {' and '.join(chance.choices(words.split(), k=8))}. How many has she?"
        if i % 4 == 3:
            text = (
                chance.choice(rows)["prompt"].replace(" has she", chance.choice([" has she", " has she now"])).upper()
            )
        rows.append({"id": f"{i}", "prompt": text})
    return rows


def outputs(folder):
    """Return the two files of a run, and the flags that make a run write them."""
    folder.mkdir()
    return [folder / "out.jsonl", folder / "out.removed.jsonl"], [
        "data",
        "-",
        "--dedup",
        "near",
        "-o",
        folder / "out.jsonl",
    ]


def start(command, stdin=subprocess.PIPE):
    return subprocess.Popen([sys.executable, "-m", "r1kit", *map(str, command)], stdin=stdin, text=True)


def size(path):
    return path.stat().st_size if path.exists() else 0


def test_a_command_killed_between_lines_and_amid_them_gives_the_same_files(tmp_path):
    rows = problems(400)
    text = write_jsonl(tmp_path / "in.jsonl", rows).read_text()
    files, command = outputs(tmp_path / "killed")
    parts = [path.with_name(path.name + ".part") for path in files]
    for count, torn in ((1, 0), (90, 0), (91, 17), (240, 1)):  # torn: bytes that are lost at the end of both files
        with start([*command, *(["--resume"] if count > 1 else [])]) as run:
            run.stdin.writelines(json.dumps(row) + "\n" for row in rows[:count])
            run.stdin.flush()
            while sum(part.read_bytes().count(b"\n") for part in parts if part.exists()) < count:
                assert run.poll() is None
                time.sleep(0.01)
            run.send_signal(signal.SIGKILL)
        for part in parts if torn else []:
            os.truncate(part, size(part) - torn)
    refused = r1kit(*command, stdin=text)
    assert f"{parts[0]}: holds what was done of a run that did not end" in refused.stderr
    resumed = r1kit(*command, "--resume", stdin=text)
    assert resumed.returncode == 0, resumed.stderr
    whole, command = outputs(tmp_path / "whole")
    assert r1kit(*command, stdin=text).stderr == resumed.stderr
    assert len(lines(whole[1].read_text())) == 100
    assert contents(files[0].parent) == contents(whole[0].parent)


def test_a_command_killed_at_random_moments_gives_the_same_files(tmp_path):
    path = write_jsonl(tmp_path / "in.jsonl", problems(6000))
    files, command = outputs(tmp_path / "killed")
    part, chance = tmp_path / "killed" / "out.jsonl.part", random.Random(0)
    for _ in range(3):
        before = size(part)
        with subprocess.Popen(["cat", path, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as feeder:
            with start([*command, *(["--resume"] if before else [])], feeder.stdout) as run:
                while size(part) <= before:
                    assert run.poll() is None
                    time.sleep(0.001)
                time.sleep(chance.random() * 0.1)
                run.send_signal(signal.SIGKILL)
            feeder.stdin.close()  # only now would the run have come to its end
    assert not files[0].exists()
    assert r1kit(*command, "--resume", stdin=path.read_text()).returncode == 0
    whole, command = outputs(tmp_path / "whole")
    assert r1kit(*command, stdin=path.read_text()).returncode == 0
    assert contents(files[0].parent) == contents(whole[0].parent)
