"""The process reward model, held to a plain twin that scores one solution at a time straight through transformers."""

import pytest

from r1kit.errors import Ungradable, UsageError, UserError
from r1kit.model import save_model
from r1kit.rewards.process import ProcessRewardModel, aggregate, split_steps

PROMPT = "What is 2 + 3?"
SOLUTIONS = [
    (PROMPT, ["2 + 3 = 5", "So it is 5."]),
    (PROMPT, ["It is 6."]),
    ("Add 1 and 1.", ["1 + 1 = 2", "I check it\nonce more.", "2 - 1 = 1", "It is right."]),
    (PROMPT, ["I add one more. " * 6, "Done."]),
]


def process_model(tiny_model, folder, labels=2, card=None, bos=None, **config):
    """Save a random process reward model; return it and its tokenizer."""
    import copy

    import torch
    from transformers import LlamaConfig, LlamaForTokenClassification

    model, tokenizer = tiny_model
    torch.manual_seed(0)
    made = LlamaForTokenClassification(LlamaConfig(**{**model.config.to_diff_dict(), **config, "num_labels": labels}))
    with torch.no_grad():
        made.score.weight *= 20
    tokenizer = copy.deepcopy(tokenizer)
    if bos:
        tokenizer.bos_token = bos
    save_model(made.eval(), tokenizer, folder, card or {})
    return made, tokenizer


def twin_scores(model, tokenizer, prompt, steps, separator="\n"):
    """Return the probability of label 1 after each step, reading the solution up to there and no further."""
    import torch

    def ids(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    read = ([] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]) + ids(prompt)
    scores = []
    for step in steps:
        read = read + ids(step) + ids(separator)
        with torch.no_grad():
            scores.append(model(torch.tensor([read])).logits[0, -1].softmax(-1)[1].item())
    return scores


@pytest.fixture(scope="module")
def trained(tiny_model, tmp_path_factory):
    """Return (folder, model, tokenizer) of a random process reward model."""
    folder = tmp_path_factory.mktemp("process")
    return str(folder), *process_model(tiny_model, folder)


@pytest.mark.parametrize("batch_tokens", [1, 60, 8192])
def test_scores_are_those_of_each_prefix_read_alone(trained, batch_tokens):
    folder, model, tokenizer = trained
    made = ProcessRewardModel(folder, batch_tokens=batch_tokens).many_step_scores(SOLUTIONS)
    expected = [twin_scores(model, tokenizer, *solution) for solution in SOLUTIONS]
    assert [len(scores) for scores in made] == [2, 1, 4, 2]
    for scores, twin in zip(made, expected, strict=True):
        assert scores == pytest.approx(twin, abs=1e-5)
    flat = [score for scores in made for score in scores]
    assert max(flat) - min(flat) > 0.01  # else any order would do


def test_step_scores_are_those_of_one_solution(trained):
    folder, model, tokenizer = trained
    scores = ProcessRewardModel(folder).step_scores(*SOLUTIONS[0])
    assert scores == pytest.approx(twin_scores(model, tokenizer, *SOLUTIONS[0]), abs=1e-5)
    assert all(0 < score < 1 for score in scores)


def test_a_later_step_changes_no_earlier_score(trained):
    model = ProcessRewardModel(trained[0])
    prompt, steps = SOLUTIONS[2]
    assert model.step_scores(prompt, steps)[:2] == pytest.approx(model.step_scores(prompt, steps[:2]), abs=1e-5)


def test_the_encoding_is_that_of_trls_prm_trainer(tiny_model, tmp_path):
    """By hand from PRMTrainer.tokenize_row (TRL 1.13): bos, prompt, then step and separator, a label at its end."""
    _, tokenizer = process_model(tiny_model, tmp_path, bos="<|endoftext|>")
    ids, ends = ProcessRewardModel(str(tmp_path)).encode("Hi", ["a b", "c"])

    def of(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    pieces = [[tokenizer.bos_token_id], of("Hi"), of("a b"), of("\n"), of("c"), of("\n")]
    assert ids == [token for piece in pieces for token in piece]
    assert ends == [sum(map(len, pieces[:4])) - 1, sum(map(len, pieces)) - 1]


def test_the_separator_is_the_option_else_the_cards_else_a_line_end(trained, tiny_model, tmp_path):
    model, tokenizer = process_model(tiny_model, tmp_path, card={"step_separator": "\n\n"})
    said, card, default = (
        ProcessRewardModel(folder, separator=separator)
        for folder, separator in [(str(tmp_path), ";"), (str(tmp_path), None), (trained[0], None)]
    )
    assert [one.separator for one in (said, card, default)] == [";", "\n\n", "\n"]
    twin = twin_scores(model, tokenizer, *SOLUTIONS[0], separator=";")
    assert said.step_scores(*SOLUTIONS[0]) == pytest.approx(twin, abs=1e-5)


def test_a_separator_of_no_tokens_is_refused(trained):
    with pytest.raises(UserError, match="no token stands for the separator ''; say another"):
        ProcessRewardModel(trained[0], separator="")


def test_rollouts_are_scored_step_by_step(trained):
    folder, model, tokenizer = trained
    rollouts = [
        {"prompt": PROMPT, "completion": "<think>2 + 3 = 5\n\nSo it is 5.</think><answer>5</answer>"},
        {"prompt": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}], "completion": "a"},
        {"prompt": [{"role": "user", "content": PROMPT}], "completion": "It is 6."},
        {"prompt": PROMPT, "completion": "<think>\n</think>"},
        {"prompt": PROMPT, "completion": "one " * 400},
    ]
    first, chat, second, empty, long = ProcessRewardModel(folder).rollout_step_scores(rollouts)
    assert first == pytest.approx(twin_scores(model, tokenizer, *SOLUTIONS[0]), abs=1e-5)
    assert second == pytest.approx(twin_scores(model, tokenizer, *SOLUTIONS[1]), abs=1e-5)
    assert isinstance(chat, Ungradable)
    assert str(empty) == "no steps of reasoning"
    assert str(long) == f"longer than the 256 tokens that {folder} reads"


def test_a_rollouts_score_is_its_step_scores_aggregated(trained):
    folder = trained[0]
    rollouts = [{"prompt": PROMPT, "completion": "a\nb\nc"}, {"prompt": PROMPT, "completion": ""}]
    steps, _ = ProcessRewardModel(folder).rollout_step_scores(rollouts)
    weakest, why = ProcessRewardModel(folder).scores(rollouts)
    last, _ = ProcessRewardModel(folder, aggregate="last").scores(rollouts)
    assert (weakest, last) == (min(steps), steps[-1])
    assert isinstance(why, Ungradable)
    with pytest.raises(UsageError, match='"sum" is none'):
        ProcessRewardModel(folder, aggregate="sum")


def test_a_score_that_is_no_number_is_none(tiny_model, tmp_path):
    import torch

    model, tokenizer = process_model(tiny_model, tmp_path)
    with torch.no_grad():
        model.score.weight.fill_(float("nan"))
    save_model(model, tokenizer, tmp_path, {})
    with pytest.raises(Ungradable, match="a step's score is no number"):
        ProcessRewardModel(str(tmp_path)).step_scores(*SOLUTIONS[0])


def test_a_solution_without_steps_cannot_be_graded(trained):
    with pytest.raises(Ungradable, match="no steps"):
        ProcessRewardModel(trained[0]).step_scores(PROMPT, [])


@pytest.mark.parametrize(
    ("completion", "steps"),
    [
        ("<think>a\nb\n\nc</think>d", ["a\nb", "c"]),
        ("<think>a\nb\nc</think>d", ["a", "b", "c"]),
        ("prefilled\n\n \t\nb</think>d", ["prefilled", "b"]),
        ("<think>cut off\nhere", ["cut off", "here"]),
        ("no tags\nat all", ["no tags", "at all"]),
        ("<think>\n\n</think>only\na summary", ["only", "a summary"]),
        ("</think>only\na summary", ["only", "a summary"]),
        ("\n\n<think>\n\n one line \n\n</think>d", ["one line"]),
        ("windows\r\n\r\nlines", ["windows", "lines"]),
        ("<think></think>", []),
        ("", []),
    ],
)
def test_steps_are_paragraphs_of_the_reasoning_else_its_lines(completion, steps):
    assert split_steps(completion) == steps


def test_aggregates_by_hand():
    scores = [0.5, 0.2, 0.8]
    assert aggregate(scores) == aggregate(scores, "min") == 0.2
    assert aggregate(scores, "last") == 0.8
    assert aggregate(scores, "prod") == pytest.approx(0.08)
    assert aggregate(scores, "mean") == pytest.approx(0.5)
    with pytest.raises(UsageError, match='"max" is none; say min, last, prod, mean'):
        aggregate(scores, "max")


# what is refused


def test_a_language_model_is_refused():
    with pytest.raises(UserError) as caught:
        ProcessRewardModel("base")
    what = "has no token-classification head (it is a LlamaForCausalLM)"
    assert str(caught.value) == f"base: {what}; name a process reward model; r1kit reward-model makes one"


def test_a_head_that_the_weights_lack_is_not_made_up(tiny_model, tmp_path):
    from safetensors.torch import load_file, save_file

    process_model(tiny_model, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith("score")}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"its weights lack score.bias, score.weight; name a process reward model"):
        ProcessRewardModel(str(tmp_path))


def test_other_labels_than_two_are_refused(tiny_model, tmp_path):
    process_model(tiny_model, tmp_path, labels=3)
    with pytest.raises(UserError, match="has 3 labels, not 2"):
        ProcessRewardModel(str(tmp_path))


def test_a_folder_that_is_missing_is_refused():
    with pytest.raises(UserError, match="no such model folder"):
        ProcessRewardModel("./nowhere")
