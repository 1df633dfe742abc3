import pytest

from r1kit.errors import UserError
from r1kit.jsonl import Record, read_records, write_records


def read(tmp_path, text):
    path = tmp_path / "in.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_records(str(path))


def test_a_record_knows_its_file_and_line(tmp_path):
    records = list(read(tmp_path, '{"a": 1}\n\n{"a": 2}\n'))
    assert [r.place for r in records] == [f"{tmp_path}/in.jsonl:1", f"{tmp_path}/in.jsonl:3"]


def test_a_line_separator_inside_a_string_does_not_cut_the_record(tmp_path):
    assert list(read(tmp_path, '{"a": "x\u2028y\u0085z"}\n')) == [{"a": "x\u2028y\u0085z"}]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b'{"a": 1', "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "nested too deep"),
    ],
)
def test_a_bad_line_is_named_and_the_records_before_it_survive(tmp_path, line, what):
    stream = read(tmp_path, b'{"a": 1}\n' + line + b"\n")
    assert next(stream) == {"a": 1}
    with pytest.raises(UserError, match=rf"in\.jsonl:2: .*{what}"):
        next(stream)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.jsonl: cannot be read"):
        list(read_records(str(tmp_path / "none.jsonl")))


def test_a_missing_or_null_field_is_named_with_its_remedy():
    with pytest.raises(UserError, match='f:3: no "reward"; run r1kit reward first'):
        Record({"reward": None}, "f:3").need("reward", "run r1kit reward first")


def test_a_failed_write_keeps_the_old_file_and_what_was_done(tmp_path, capsys):
    output = tmp_path / "out.jsonl"
    output.write_text("old\n")

    def records():
        yield {"a": 1}
        raise UserError("place", "what")

    with pytest.raises(UserError):
        write_records(records(), str(output))
    assert output.read_text() == "old\n"
    assert (tmp_path / "out.jsonl.part").read_text() == '{"a": 1}\n'
    assert "out.jsonl.part" in capsys.readouterr().err


def test_a_finished_write_leaves_no_part_file(tmp_path):
    assert write_records([{"a": "é"}], str(tmp_path / "out.jsonl")) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8") == '{"a": "é"}\n'


def test_infinity_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_records([{"a": float("inf")}], str(tmp_path / "out.jsonl"))


def test_an_output_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(UserError, match="make its folder first"):
        write_records([], str(tmp_path / "no" / "out.jsonl"))
    with pytest.raises(UserError, match="is a folder"):
        write_records([], str(tmp_path))
