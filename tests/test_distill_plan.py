"""What `r1kit distill` refuses before a model is loaded, each in one line that says what to do instead."""

import copy
import json

import pytest
from conftest import refused

from r1kit.distill_plan import DISTILL_FLAGS, DistillPlan, check_distill_plan, vocabulary_difference
from r1kit.engines.opening import EngineOptions
from r1kit.errors import UsageError, UserError
from r1kit.grpo_plan import parse_settings
from r1kit.model import load_tokenizer, save_model
from r1kit.sft_plan import SftPlan


def refusal(method, teacher="base", student="student", temperature=1.0, **more):
    """Return the line of a plan that is refused, and its exit code."""
    with pytest.raises(UserError) as error:
        check_distill_plan(DistillPlan(method, str(teacher), SftPlan(str(student), temperature=temperature), **more))
    return str(error.value), error.value.exit_code


def is_accepted(method, teacher="base", student="student", **more):
    check_distill_plan(DistillPlan(method, str(teacher), SftPlan(str(student)), **more))
    return True


@pytest.fixture(scope="module")
def longer(tiny_model, tmp_path_factory):
    """Return a model whose vocabulary has a token more."""
    tokenizer = load_tokenizer("base")
    tokenizer.add_tokens(["<more>"])
    return saved(tiny_model[0], tokenizer, tmp_path_factory.mktemp("longer"))


@pytest.fixture(scope="module")
def reordered(tiny_folder, tmp_path_factory):
    """Return a model whose tokens 500 and 501 have changed places."""
    folder = tmp_path_factory.mktemp("reordered")
    for path in tiny_folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    said = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = said["model"]["vocab"]
    one, two = sorted(vocabulary, key=vocabulary.get)[500:502]
    vocabulary[one], vocabulary[two] = vocabulary[two], vocabulary[one]
    (folder / "tokenizer.json").write_text(json.dumps(said), encoding="utf-8")
    return folder


def saved(model, tokenizer, folder):
    save_model(model, tokenizer, folder, {"command": "test", "prompt_style": "r1-zero"})
    return folder


@pytest.mark.parametrize("method", ["logits", "on-policy"])
def test_vocabularies_of_two_lengths_are_refused(longer, method):
    count = len(load_tokenizer("base"))
    assert refusal(method, teacher=longer) == (
        f"--student: teacher and student have different vocabularies ({count + 1:,} and {count:,} tokens), and "
        f"{method} compares the two; say --method traces, which works with any",
        1,
    )
    assert is_accepted("traces", teacher=longer)


@pytest.mark.parametrize("method", ["logits", "on-policy"])
def test_vocabularies_in_another_order_are_refused(reordered, method):
    text = load_tokenizer("base").convert_ids_to_tokens(501)
    assert load_tokenizer(str(reordered)).convert_tokens_to_ids(text) == 500
    line, code = refusal(method, student=reordered)
    assert code == 1
    assert "different vocabularies ('" in line
    assert " is token 50" in line
    assert line.endswith(f"and {method} compares the two; say --method traces, which works with any")
    assert is_accepted("traces", student=reordered)


def test_the_first_token_that_differs_is_named(reordered):
    base, other = load_tokenizer("base"), load_tokenizer(str(reordered))
    texts = base.convert_ids_to_tokens([500, 501])
    assert vocabulary_difference(base, other) in (
        f"{texts[0]!r} is token 500 and 501",
        f"{texts[1]!r} is token 501 and 500",
    )
    assert vocabulary_difference(base, load_tokenizer("student")) == ""


def test_models_of_one_vocabulary_and_two_widths_are_refused(tiny_model, tmp_path):
    """As Qwen2.5's models of 1.5B and 7B are, whose embeddings are padded to different sizes."""
    model = copy.deepcopy(tiny_model[0])
    model.resize_token_embeddings(1088, mean_resizing=False)
    assert refusal("logits", teacher=saved(model, tiny_model[1], tmp_path / "wide")) == (
        "--student: teacher and student have different vocabularies (1,088 and 1,024 logits), and logits compares the "
        "two; say --method traces, which works with any",
        1,
    )


@pytest.mark.parametrize("method", ["logits", "on-policy"])
def test_a_file_of_traces_has_no_distribution(tmp_path, method):
    file = tmp_path / "traces.jsonl"
    file.write_text("{}\n")
    assert refusal(method, teacher=file) == (
        f"--teacher: {method} needs a teacher that is a model, and {file} is a file; name its folder, and the file by "
        "--traces",
        2,
    )
    assert is_accepted(method, traces=str(file))
    assert is_accepted("traces", teacher=file)


@pytest.mark.parametrize("method", ["logits", "on-policy"])
def test_a_server_gives_no_distribution(method):
    options = EngineOptions("openai", "auto", None, "http://localhost:1/v1", {})
    line = f"--engine: {method} needs the teacher's weights here; say --method traces"
    assert refusal(method, options=options) == (line, 2)
    assert is_accepted("traces", teacher="any-name", options=options)


@pytest.mark.parametrize("method", ["logits", "on-policy"])
def test_a_temperature_of_0_leaves_nothing_to_compare(method):
    line = (
        f"--temperature: {method} compares distributions, and at 0 there are none; say one above 0, or --method traces"
    )
    assert refusal(method, temperature=0.0) == (line, 2)
    check_distill_plan(DistillPlan("traces", "base", SftPlan("student", temperature=0.0)))


@pytest.mark.parametrize("method", ["traces", "logits", "on-policy"])
@pytest.mark.parametrize("part", ["teacher", "student"])
def test_a_model_that_is_not_there_is_named(method, part):
    line = "nowhere: no such model folder; name a folder, a hub name (ORGANISATION/NAME), or base"
    assert refusal(method, **{part: "nowhere"}) == (line, 1)


def test_traces_that_are_not_there_are_named():
    line = "nowhere.jsonl: no such file; name one of rollouts, scored or not, or of examples"
    assert refusal("traces", traces="nowhere.jsonl") == (line, 1)


def test_beta_is_the_methods_own_unless_it_is_said():
    said = {method: DistillPlan(method, "base", SftPlan("student")).divergence for method in ("logits", "on-policy")}
    assert said == {"logits": 0.0, "on-policy": 1.0}
    assert DistillPlan("logits", "base", SftPlan("student"), beta=0.5).divergence == 0.5
    assert DistillPlan("on-policy", "base", SftPlan("student"), beta=0.0).divergence == 0.0


def test_settings_that_are_flags_are_refused():
    with pytest.raises(UsageError, match=r"^--set: beta has a flag of its own; say --beta$"):
        parse_settings(["beta=0.5"], "DistillationConfig", DISTILL_FLAGS)


@pytest.mark.parametrize(
    ("flags", "code", "line"),
    [
        (("--student", "student"), 2, "--teacher: is not said; say --teacher MODEL --student MODEL"),
        (("--teacher", "base"), 2, "--student: is not said; say --teacher MODEL --student MODEL"),
        (
            ("--teacher", "{longer}", "--student", "student", "--method", "logits"),
            1,
            "--student: teacher and student have different vocabularies (1,025 and 1,024 tokens), and logits compares "
            "the two; say --method traces, which works with any",
        ),
        (
            ("--teacher", "{empty}", "--student", "student"),
            1,
            "{empty}: holds no traces; give another file",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_in_the_way(longer, tmp_path, flags, code, line):
    (tmp_path / "empty.jsonl").write_text("")
    names = {"longer": longer, "empty": tmp_path / "empty.jsonl"}
    words = (flag.format(**names) for flag in flags)
    assert refused("distill", *words, "-o", tmp_path / "run") == (code, line.format(**names))
    assert {path.name for path in (tmp_path / "run").glob("*")} <= {"run.json"}
