import json

import pytest
from conftest import write_jsonl
from made_ladder import log_lines, make_ladder, rollout, write_run

from r1kit.errors import UserError
from r1kit.report_files import find_files, form_of
from r1kit.report_sources import Reader


@pytest.mark.parametrize(
    ("fields", "form"),
    [
        ({"step": 1, "loss": 0.1, "learning_rate": 0.1}, "log"),
        ({"model": "m", "problems": 3, "samples": 1, "pass@1": None}, "metrics"),
        ({"difficulty": 1, "method": "m", "budget": 1, "accuracy": {}, "generated_tokens": 1}, "policy"),
        ({"id": "a", "votes": {}, "prediction": None, "method": "majority"}, "votes"),
        ({"step": 1, **rollout(1, 0, True)}, "scored"),
        ({"sample": 0, "finish_reason": "error", "prompt": "a"}, "rollouts"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "pairs"),
        ({"prompt": "a", "completions": [], "labels": []}, "steps"),
        ({"messages": []}, "examples"),
        ({"prompt": "a", "completion": "b", "reward": 1.0}, "examples"),
        ({"problem": "a"}, "problems"),
        ({"x": 1}, None),
    ],
)
def test_a_record_is_known_by_its_fields(fields, form):
    assert form_of(fields) == form


def test_files_are_named_by_their_place_in_the_folder_that_is_searched(tmp_path):
    out = make_ladder(tmp_path / "out")
    labels = [found.label for found in find_files([str(out)]).files]
    assert labels[:3] == ["00-problems", "02-rollouts", "02-scored"]
    assert "08-eval/base/arith" in labels
    write_jsonl(tmp_path / "one.jsonl", [rollout(1, 0, True)])
    labels = [found.label for found in find_files([str(out), str(tmp_path / "one.jsonl")]).files]
    assert (labels[0], labels[-1]) == ("out/00-problems", "one")


def test_checkpoints_and_hidden_folders_are_not_entered(tmp_path):
    for name in ("checkpoints/checkpoint-1", ".cache"):
        (tmp_path / name).mkdir(parents=True)
        write_jsonl(tmp_path / name / "file.jsonl", [rollout(1, 0, True)])
    with pytest.raises(UserError, match="nothing to show; name folders"):
        find_files([str(tmp_path)])


def test_a_run_that_has_not_ended_is_found_by_its_settings(tmp_path):
    write_run(tmp_path / "run", {}, log_lines(2))
    (tmp_path / "run" / "r1kit.json").unlink()
    (tmp_path / "run" / "run.json").write_text(json.dumps({"command": "grpo", "model": "base"}))
    [folder] = find_files([str(tmp_path)]).folders
    assert (folder.label, folder.card, folder.settings["model"]) == ("run", {}, "base")


def test_what_is_nothing_of_ours_is_passed_over_with_the_reason(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", [rollout(1, 0, True)])
    write_jsonl(tmp_path / "b.jsonl", [{"x": 1}])
    (tmp_path / "c.jsonl").write_text("no JSON\n")
    (tmp_path / "r1kit.json").write_text("[]")
    found = find_files([str(tmp_path)])
    assert [one.label for one in found.files] == ["a"]
    reasons = {path.rpartition("/")[2]: why for path, why in found.passed.items()}
    assert reasons["b.jsonl"] == "records of no known form"
    assert reasons["c.jsonl"].endswith(
        "c.jsonl:1: not JSON (Expecting value, column 1); each line must be one JSON object"
    )
    assert reasons["r1kit.json"] == "no JSON object"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "holds no records; give problems, rollouts, votes, examples, metrics or a log"),
        ('{"x": 1}\n', r"records of no known form \(x\); give problems, rollouts, votes, examples, metrics or a log"),
        ("{\n", "1: not JSON"),
        (None, "no such file or folder; name folders of runs, or JSON Lines files"),
    ],
)
def test_a_named_file_that_cannot_be_shown_is_an_error(text, what, tmp_path):
    if text is not None:
        (tmp_path / "file.jsonl").write_text(text)
    with pytest.raises(UserError, match=f"file.jsonl:(?: |){what}"):
        find_files([str(tmp_path / "file.jsonl")])


def test_rollouts_are_left_out_only_where_all_of_them_stand_graded(tmp_path):
    scored = [rollout(p, s, True) for p in range(3) for s in range(2)]
    plain = [{name: value for name, value in row.items() if name not in ("rewards", "reward")} for row in scored]
    write_jsonl(tmp_path / "scored.jsonl", scored)
    write_jsonl(tmp_path / "same.jsonl", plain)
    write_jsonl(tmp_path / "other.jsonl", [*plain[:-1], {**plain[-1], "completion": "another"}])
    findings = find_files([str(tmp_path)])
    Reader(findings, 10, 0, set())
    assert [found.label for found in findings.files] == ["other", "scored"]
