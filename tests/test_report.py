import json
import re

import pytest
from conftest import invoke, r1kit, write_jsonl
from made_ladder import HOSTILE, log_lines, make_ladder, rollout, rollouts

from r1kit.errors import UserError
from r1kit.report import write_report
from r1kit.report_page import csp_hash


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    return make_ladder(tmp_path_factory.mktemp("report") / "out")


@pytest.fixture(scope="module")
def written(ladder):
    """Return the page of a ladder, what was said, and the folder of its pictures."""
    page, pictures = ladder.parent / "page.html", ladder.parent / "plots"
    said = invoke("report", ladder, "-o", page, "--png", pictures)
    return page.read_text(encoding="utf-8"), said, pictures


def report_of(tmp_path, *records):
    """Return the page of one file, and its data."""
    path = write_jsonl(tmp_path / "file.jsonl", list(records))
    invoke("report", path, "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    return page, data_of(page)


def data_of(page):
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def sections_of(page):
    return re.findall(r'<section id="(\w+)"', page)


def test_a_ladder_has_all_sections(written):
    page, _, _ = written
    assert sections_of(page) == [
        "stages", "results", "scaling", "learning", "reflection", "lengths", "rollouts", "files"
    ]  # fmt: skip
    assert re.findall(r'<li><a href="#(\w+)">', page) == sections_of(page)


def test_the_page_is_whole_in_itself(written):
    page, _, _ = written
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#|data:,")""", page)
    assert not re.search(r"url\((?!#)|@import", page)
    assert " style=" not in page  # a content security policy would not apply them
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}


def test_the_policy_names_the_style_and_the_script_that_are_there(written):
    page, _, _ = written
    [style], [script] = (
        re.findall(r"<style>(.*?)</style>", page, re.S),
        re.findall(r"<script>(.*?)</script>", page, re.S),
    )
    assert f"script-src '{csp_hash(script)}'" in page
    assert f"style-src '{csp_hash(style)}'" in page
    assert "default-src 'none'" in page


def test_what_a_model_wrote_is_data_and_ends_no_script(written):
    page, _, _ = written
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "\u2028" not in page
    assert any(HOSTILE in record["text"] for record in data_of(page)["records"] if "text" in record)


def test_ids_are_unique(written):
    ids = re.findall(r'\sid="([^"]+)"', written[0])
    assert len(ids) == len(set(ids))


def test_the_plots_are_pictures_too(written):
    page, _, pictures = written
    names = {path.stem for path in pictures.glob("*.png")}
    assert {"ladder", "pass1-arith", "samples-Samples-arith", "cost-09-policy", "reflection"} <= names
    assert {"01-zero--log-accuracy", "01-zero--log-length", "04-sft--log-loss", "lengths-02-scored"} <= names
    assert len(names) == page.count("<figure")
    assert all((pictures / f"{name}.png").read_bytes()[:4] == b"\x89PNG" for name in names)


def test_what_is_passed_over_is_said_with_the_reason(written, ladder):
    _, said, _ = written
    assert f"passed over {ladder}/02-rollouts.jsonl: its rollouts stand graded in 02-scored\n" in said
    assert said.endswith(f"2 models, 2 runs, 3 measurements, 174 records. {ladder.parent}/page.html\n")


def test_the_tables_name_models_as_the_ladder_does(written):
    page, _, _ = written
    [table] = re.findall(r"<table><caption>Accuracy, with.*?</table>", page)
    assert re.findall(r'<th scope="row">(.*?)</th>', table) == ["base", "01-zero"]
    assert re.findall(r"<td>([\d.]+) % <small>\[", table) == ["25.0", "75.0"]
    [models] = re.findall(r"<table><caption>Models.*?</table>", page)
    assert re.findall(r"<td>(.*?)</td>", models)[:4] == ["grpo", "base", "00-problems", "0"]
    assert "03-examples" in models
    assert "<td>+50.0 points" in page  # of the two, on the same problems


def test_the_same_files_give_the_same_page(written, ladder, tmp_path):
    run = r1kit("report", ladder, "-o", "-", cwd=tmp_path, env={"PYTHONHASHSEED": "7"})
    assert run.returncode == 0, run.stderr
    assert run.stdout == written[0]
    assert list(tmp_path.iterdir()) == []


def test_rollouts_are_sampled_by_whole_problems_and_the_page_says_so(ladder, tmp_path):
    invoke("report", ladder / "08-eval", "-o", tmp_path / "page.html", "--rollouts", 24)
    page = (tmp_path / "page.html").read_text()
    data = data_of(page)
    of_sources = [{(r["problem"], r["sample"]) for r in data["records"] if r["source"] == s} for s in (0, 1)]
    assert of_sources[0] == of_sources[1]  # the same problems of both models, all four samples of each
    assert len(of_sources[0]) == 12
    assert "24 of 96 records, drawn by seed" in page


@pytest.mark.parametrize(
    ("records", "sections", "shown"),
    [
        ([{"question": "1 + 1?", "solution": "2"}], ["rollouts", "files"], {"problem": 0}),
        ([{"prompt": "a", "chosen": "b", "rejected": "c"}], ["rollouts", "files"], {"text": "b", "verdict": "chosen"}),
        (
            [{"prompt": "a", "completions": ["b", "c"], "labels": [True, 0.5]}],
            ["rollouts", "files"],
            {"steps": [["b", True], ["c", 0.5]]},
        ),
        (
            [{"id": "x", "prompt": "a", "prediction": "2", "votes": {"1": 1, "2": 3}, "method": "majority", "n": 4,
              "correct": True, "generated_tokens": 9}],
            ["scaling", "rollouts", "files"],
            {"votes": [["2", 3], ["1", 1]], "extracted": "2", "verdict": "correct"},
        ),
        ([rollout(1, 0, True)], ["results", "lengths", "rollouts", "files"], {"verdict": "correct", "reward": 1.2}),
        ([{"prompt": "a", "completion": "b"}], ["rollouts", "files"], {"text": "b"}),
        (
            [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}],
            ["rollouts", "files"],
            {"text": "b"},
        ),
    ],
    ids=["problems", "pairs", "steps", "votes", "scored", "completions", "messages"],
)  # fmt: skip
def test_a_single_file_of_any_form_is_shown(records, sections, shown, tmp_path):
    page, data = report_of(tmp_path, *records)
    assert sections_of(page) == sections
    assert shown.items() <= data["records"][0].items()


def test_a_log_and_metrics_alone_are_shown(tmp_path):
    page, data = report_of(tmp_path, *log_lines(3))
    assert sections_of(page) == ["learning", "reflection", "files"]
    assert data["records"] == []
    row = {
        "model": "m",
        "benchmark": "arith",
        "problems": 9,
        "samples": 1,
        "pass@1": {"value": 1, "low": None, "high": None},
    }
    assert sections_of(report_of(tmp_path, row)[0]) == ["results", "files"]


def test_a_model_that_two_files_measure_stands_under_two_names(tmp_path):
    row = {"benchmark": "arith", "problems": 9, "samples": 1, "mean_length": None}
    whole = {"value": 0.9, "low": 0.8, "high": 1.0}
    against = {"model": "m", "difference": {"value": -0.5, "low": -0.6, "high": -0.4}, "p": 0.0, "problems": 9}
    direct = {**row, "pass@1": {**whole, "value": 0.1, "low": 0.0}, "prompt_hash": "b"}
    write_jsonl(tmp_path / "08-metrics.jsonl", [{**row, "model": "m", "pass@1": whole, "prompt_hash": "a"}])
    other = {**direct, "model": "n", "against": {**against, "better": 0, "worse": 5}}
    write_jsonl(tmp_path / "09-direct.jsonl", [{**direct, "model": "m"}, other])
    invoke("report", tmp_path, "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    [table] = re.findall(r"<table><caption>Accuracy, with.*?</table>", page)
    assert re.findall(r'<th scope="row">(.*?)</th>', table) == ["m", "m · 09-direct", "n"]
    assert re.findall(r"<td>([\d.]+) %", table) == ["90.0", "10.0", "10.0"]
    [table] = re.findall(r"<table><caption>Differences.*?</table>", page)
    assert "<td>m · 09-direct</td>" in table


def test_a_file_that_was_measured_already_is_not_measured_again(tmp_path):
    write_jsonl(tmp_path / "judged.jsonl", rollouts(2, reward=2.0))
    invoke("eval", tmp_path / "judged.jsonl", "-o", tmp_path / "metrics.jsonl")
    invoke("report", tmp_path, "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    [table] = re.findall(r"<table><caption>Accuracy of files.*?</table>", page)
    assert re.findall(r'<th scope="row">(.*?)</th>', table) == ["judged"]
    [table] = re.findall(r"<table><caption>Format.*?</table>", page)
    assert "<td>2.00 <small>[2.00, 2.00]</small></td>" in table


def test_a_lone_step_and_rollouts_without_verdicts_are_no_reason_to_fail(tmp_path):
    page, _ = report_of(tmp_path, *log_lines(1))
    assert sections_of(page) == ["files"]
    bare = [{k: v for k, v in r.items() if k not in ("verdict", "rewards", "reward")} for r in rollouts(1, 2)]
    error = {"id": "e", "prompt": "p", "sample": 0, "finish_reason": "error", "error": "too long"}
    page, data = report_of(tmp_path, error, *bare)
    assert sections_of(page) == ["lengths", "rollouts", "files"]
    assert data["records"][0]["error"] == "too long"


def test_what_cannot_be_shown_is_one_clear_line_and_leaves_the_old_page(tmp_path):
    (tmp_path / "report.html").write_text("old")
    write_jsonl(tmp_path / "strange.jsonl", [{"x": 1}])
    run = r1kit("report", ".", cwd=tmp_path)
    assert (run.returncode, run.stdout) == (1, "")
    what = "nothing to show (1 files passed over); name folders or files that r1kit's commands wrote"
    assert run.stderr == f"r1kit report: error: .: {what}\n"
    assert (tmp_path / "report.html").read_text() == "old"


def test_a_page_is_replaced_and_a_torn_line_is_passed_over(tmp_path):
    page, path = tmp_path / "report.html", write_jsonl(tmp_path / "file.jsonl", [rollout(1, 0, True)])
    page.write_text("old")
    path.write_text(path.read_text() + '{"id": \n')  # a run may be writing it
    assert f"passed over {path}: read in part: {path}:2: not JSON" in invoke("report", path, "-o", page)
    assert page.read_text().startswith("<!doctype html>")


def test_a_folder_of_pictures_that_cannot_be_made_is_said(tmp_path):
    path = write_jsonl(tmp_path / "file.jsonl", [rollout(1, 0, True)])
    (tmp_path / "plots").write_text("")
    with pytest.raises(UserError, match=r"plots: cannot be made \(File exists\); name another folder by --png"):
        write_report([str(path)], str(tmp_path / "page.html"), str(tmp_path / "plots"), 10, 0)
    assert not (tmp_path / "page.html").exists()
