import json

from conftest import write_jsonl
from made_ladder import log_lines, make_ladder, rollout, rollouts, rows_hash, write_run

from r1kit.data import embedded_file, read_problem_list
from r1kit.jsonl import read_records
from r1kit.lineage import embedded_hashes
from r1kit.records import content_hash
from r1kit.report_material import read_material


def lineage_of(out):
    return read_material([str(out)], 100, 0).lineage


def came(lineage, label):
    """Return what a model or data came from: {label: what it has from there}."""
    [node] = [node for node in lineage.nodes.values() if node.label == label]
    return {lineage.nodes[key].label: link for key, link in node.came}


def test_a_model_comes_from_its_parent_and_its_data_by_their_hash(tmp_path):
    lineage = lineage_of(make_ladder(tmp_path / "out"))
    assert came(lineage, "01-zero") == {"base": "weights", "00-problems": "data"}
    assert came(lineage, "04-sft") == {"base": "weights", "03-examples": "data"}


def test_examples_come_from_the_rollouts_that_hold_them_and_these_from_their_model(tmp_path):
    lineage = lineage_of(make_ladder(tmp_path / "out"))
    assert came(lineage, "03-examples") == {"02-scored": "data"}
    assert came(lineage, "02-scored") == {"01-zero": "data"}


def test_a_mixture_comes_from_all_that_it_was_mixed_of_and_steps_from_their_chains(tmp_path):
    out = make_ladder(tmp_path / "out")
    general = [{**row, "id": f"g{row['id']}", "kind": "general"} for row in rollouts(3, model="base")]
    write_jsonl(out / "02-general.jsonl", general)
    chosen = [{"prompt": "?", **{k: row[k] for k in ("completion", "id", "sample", "kind")}} for row in general[:9]]
    mixed = [*chosen, {**chosen[0], "kind": "math", "id": "p1", "completion": rollout(1, 0, True)["completion"]}]
    write_jsonl(out / "03-mixed.jsonl", mixed)
    write_run(out / "05-sft", {"command": "sft", "parent": "base", "data_hash": rows_hash(mixed)}, log_lines(2))
    steps = [
        {"prompt": "?", "completions": general[5]["completion"].split(), "labels": [1] * 5, "id": "gp1", "sample": 1}
    ]
    write_jsonl(out / "03-steps.jsonl", steps)
    hashed = rows_hash([["?", steps[0]["completions"], steps[0]["labels"]]])
    write_run(out / "06-prm", {"command": "reward-model", "parent": "base", "data_hash": hashed}, log_lines(2))
    lineage = lineage_of(out)
    assert came(lineage, "03-mixed") == {"02-general": "data", "02-scored": "data"}
    assert came(lineage, "02-general") == {"base": "data"}
    assert came(lineage, "03-steps") == {"02-general": "data"}


def test_a_copy_of_data_is_not_what_it_came_from(tmp_path):
    out = make_ladder(tmp_path / "out")
    (out / "05-traces").mkdir()
    (out / "05-traces" / "03-examples.jsonl").write_bytes((out / "03-examples.jsonl").read_bytes())
    assert came(lineage_of(out), "04-sft") == {"base": "weights", "03-examples": "data"}


def test_each_stands_after_what_it_came_from(tmp_path):
    lineage = lineage_of(make_ladder(tmp_path / "out"))
    order = [node.label for node in lineage.ordered()]
    assert order == ["base", "00-problems", "01-zero", "02-scored", "03-examples", "04-sft"]


def test_a_teacher_and_a_reward_model_are_part_of_it(tmp_path):
    part = {"name": "model:runs/rm", "weight": 1.0, "kind": "general"}
    write_run(tmp_path / "rm", {"command": "reward-model", "parent": "base"}, log_lines(2))
    final = {"command": "grpo", "parent": "runs/rl/checkpoints/checkpoint-9", "rewards": [part]}
    write_run(tmp_path / "final", final, log_lines(2))
    write_run(tmp_path / "rl", {"command": "grpo", "parent": "base"}, log_lines(2))
    write_run(tmp_path / "small", {"command": "distill", "parent": "student", "teacher": "runs/final"}, log_lines(2))
    traced = {"command": "distill", "parent": "student", "teacher": "runs/04-examples.jsonl"}
    write_run(tmp_path / "traced", traced, log_lines(2))
    lineage = lineage_of(tmp_path)
    assert came(lineage, "traced") == {"student": "weights"}
    assert came(lineage, "final") == {"rl": "weights", "rm": "reward"}
    assert came(lineage, "small") == {"student": "weights", "final": "data"}
    assert lineage.name_of("elsewhere/rl/checkpoints/checkpoint-9") == "rl checkpoint-9"


def test_a_name_of_an_embedded_model_is_never_a_folder(tmp_path):
    write_run(tmp_path / "base", {"command": "sft", "parent": "base"}, log_lines(2))
    assert lineage_of(tmp_path).name_of("base") == "base"


def test_a_ring_of_parents_does_not_hang(tmp_path):
    for one, other in (("a", "b"), ("b", "a")):
        write_run(tmp_path / one, {"command": "sft", "parent": f"x/{other}"}, log_lines(2))
    assert {node.label for node in lineage_of(tmp_path).ordered()} == {"a", "b"}


def test_embedded_sets_are_known_by_the_hashes_that_training_gives_them():
    hashes = embedded_hashes()
    assert hashes[content_hash(read_problem_list("arith", "train"))] == ("arith (train)", 4000)
    pairs = list(read_records(str(embedded_file("preferences", "test"))))
    assert ("preferences (test)", len(pairs)) in hashes.values()


def test_data_that_is_not_there_is_named_by_its_hash(tmp_path):
    write_run(tmp_path / "a", {"command": "sft", "parent": "base", "data_hash": "0123456789abcdef"}, log_lines(2))
    assert came(lineage_of(tmp_path), "a") == {"base": "weights", "data 01234567": "data"}


def test_measurements_stand_in_the_order_of_the_ladder_and_are_compared_with_its_first(tmp_path):
    write_run(tmp_path / "zero", {"command": "grpo", "parent": "first"}, log_lines(2))
    write_run(tmp_path / "first", {"command": "sft", "parent": "base"}, log_lines(2))
    for model, right in (("zero", 3), ("first", 2), ("base", 1)):
        (tmp_path / "eval" / model).mkdir(parents=True)
        write_jsonl(tmp_path / "eval" / model / "x.jsonl", rollouts(right))
        card = {"model": model, "benchmark": "x", "data_hash": "0"}
        (tmp_path / "eval" / model / "x.json").write_text(json.dumps(card))
    rows = read_material([str(tmp_path)], 100, 0).rows
    assert [row["model"] for row in rows] == ["base", "first", "zero"]
    assert [row.get("against", {}).get("model") for row in rows] == [None, "base", "base"]
