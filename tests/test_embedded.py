import json
import re
from itertools import islice
from random import Random

import pytest

from r1kit.answer import answer_part, equal_answers
from r1kit.data import EMBEDDED, read_problems
from r1kit.embedded.arith import make_problem
from r1kit.embedded.corpus import answer_arith, documents
from r1kit.embedded.problems import FOLDER, held_out_prompts, make_files
from r1kit.model import BASE_FOLDER, EMBEDDED_MODELS, load_model, load_tokenizer
from r1kit.prompts import STEP_BY_STEP


def test_the_program_makes_the_shipped_problems(tmp_path):
    make_files(tmp_path)
    for path in FOLDER.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def questions(text):
    """Return the pieces of a document, the questions that it asks among them."""
    steps = "|".join(re.escape(ask) for ask in STEP_BY_STEP.values())
    return set(re.split(rf"User: | Assistant: |\nAssistant: |Q(?:uestion)?: |\nA(?:nswer)?: |\n|{steps}", text))


def test_the_corpus_holds_no_held_out_problem():
    held_out = held_out_prompts()
    assert len(held_out) == 200
    assert not any(questions(text) & held_out for text in islice(documents(0, held_out), 20_000))
    # what the stream asks when it is not told to leave it out, it leaves out when it is
    problems = [make_problem(Random(i)).prompt for i in range(20_000)]
    asked = frozenset().union(*map(questions, islice(documents(0, frozenset()), 3000))) & frozenset(problems)
    assert asked
    assert not any(questions(text) & asked for text in islice(documents(0, asked), 20_000))


def test_an_answer_that_is_worked_out_is_right():
    random = Random(1)
    for _ in range(500):
        problem = make_problem(random)
        assert equal_answers(str(problem.answer), answer_part(answer_arith(random, problem, works=True)))


def test_every_problem_answers_itself():
    for problem in read_problems("arith", "test"):
        assert equal_answers(problem["answer"], problem["answer"])


def test_every_function_problem_has_tests_that_its_solution_passes():
    from r1kit.embedded.functions import all_functions

    shipped = {p["prompt"]: p["tests"] for split in ("train", "test") for p in read_problems("functions", split)}
    for function in all_functions():
        scope: dict = {}
        exec(function.solution, scope)
        tests = shipped[function.prompt]
        assert [scope[tests["fn_name"]](*args) for args in tests["inputs"]] == tests["outputs"]
        wrong: dict = {}
        exec(function.mistake, wrong)
        assert wrong.keys() == scope.keys()


@pytest.mark.parametrize("name", EMBEDDED)
def test_shipped_problems_are_problems(name):
    for problem in read_problems(name, "train"):
        assert problem["kind"] in ("math", "code", "general")
        assert problem["language"] in ("en", "zh")
        assert ("tests" in problem) == (name == "functions")


def test_the_base_is_small_and_its_heads_fit_vllm():
    assert (BASE_FOLDER / "model.safetensors").stat().st_size <= 8_000_000
    model, tokenizer = load_model("base")
    assert model.num_parameters() <= 3_000_000
    assert (model.config.model_type, model.config.head_dim) == ("llama", 64)
    assert tokenizer.is_fast


def test_the_student_is_smaller_and_shares_the_bases_vocabulary():
    (base, tokens), (student, others) = load_model("base"), load_model("student")
    assert student.num_parameters() < base.num_parameters() / 5
    assert student.config.head_dim == 64
    assert others.get_vocab() == tokens.get_vocab()


def test_the_students_log_is_of_the_program():
    """The first line of its log, made again: same corpus, same tokenizer, same seed, same loss."""
    from r1kit.embedded import pretrain

    folder = EMBEDDED_MODELS["student"]
    log = [json.loads(line) for line in (folder / "pretrain.jsonl").open()]
    assert (
        "--layers 2 --width 64 --tokenizer base --steps 1200"
        in json.loads((folder / "r1kit.json").read_text())["command"]
    )
    tokenizer = load_tokenizer("base")
    data = pretrain.batches(documents(2, held_out_prompts()), tokenizer)
    steps = pretrain.train(pretrain.new_model(2, tokenizer, layers=2, width=64), data, steps=1200, decay=0.4)
    again = list(islice(steps, int(log[0]["step"])))[-1]
    assert again["tokens"] == log[0]["tokens"]
    assert again["loss"] == pytest.approx(log[0]["loss"], rel=1e-2)


@pytest.mark.parametrize(
    "text", ["2024", "a  b\n\n c\t", "你好，世界", "🙂\u2028\x00é", "<think> x </think>", "  12 + 3*4"]
)
def test_any_text_round_trips(text):
    tokenizer = load_model("base")[1]
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_digits_are_tokens_of_their_own():
    tokenizer = load_model("base")[1]
    assert [tokenizer.decode([i]) for i in tokenizer("2024")["input_ids"]] == ["2", "0", "2", "4"]


def test_the_chat_template_marks_what_the_assistant_says():
    tokenizer = load_model("base")[1]
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]
    encoded = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    marked = [t for t, mask in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if mask]
    assert tokenizer.decode(marked) == " Yes<|endoftext|>"


@pytest.mark.slow
def test_the_first_steps_of_pretraining_run_and_repeat(tmp_path):
    from r1kit.embedded import pretrain

    logs = []
    for name in ("one", "two"):
        pretrain.main(tmp_path / name, steps=6, seed=0, save_every=6)
        logs.append([json.loads(line) for line in (tmp_path / name / "pretrain.jsonl").open()])
    assert logs[0][-1]["loss"] < 6.9  # from ln(1024) = 6.93
    assert (tmp_path / "one" / "model.safetensors").read_bytes() == (
        tmp_path / "two" / "model.safetensors"
    ).read_bytes()
    load_model(str(tmp_path / "one"))
    pretrain.main(tmp_path / "three", steps=2, decay=1, start=tmp_path / "one", seed=1)
    log = [json.loads(line) for line in (tmp_path / "three" / "pretrain.jsonl").open()]
    assert [line["step"] for line in log] == [6, 8]
    assert log[1]["tokens"] > log[0]["tokens"]


@pytest.mark.slow
def test_the_shipped_log_is_of_the_shipped_program():
    """The first line of the log, made again: same corpus, same tokenizer, same seed, same loss."""
    from r1kit.embedded import pretrain

    held_out = held_out_prompts()
    tokenizer = pretrain.train_tokenizer(islice(documents(1000, held_out), 20_000))
    assert json.loads(tokenizer.backend_tokenizer.to_str()) == json.loads((BASE_FOLDER / "tokenizer.json").read_text())
    log = [json.loads(line) for line in (BASE_FOLDER / "pretrain.jsonl").open()]
    data = pretrain.batches(documents(0, held_out), tokenizer)
    steps = pretrain.train(pretrain.new_model(0, tokenizer), data, steps=1800, decay=0)
    again = list(islice(steps, int(log[0]["step"])))[-1]
    assert again["tokens"] == log[0]["tokens"]
    assert again["loss"] == pytest.approx(log[0]["loss"], rel=1e-2)
