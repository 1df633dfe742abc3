"""The reward model, held to a plain twin that scores one text at a time straight through transformers."""

import pytest

from r1kit.errors import Ungradable, UsageError, UserError
from r1kit.model import save_model
from r1kit.rewards.model import RewardModel, batches, final_text

# a template that does what DeepSeek-R1's does to the assistant's turns
STRIPS_REASONING = "{% for m in messages %}{{ m.role }}: {{ m.content.split('</think>')[-1] }}\n{% endfor %}"


def rollout(completion, **fields):
    return {"prompt": "What is 2 + 3?", "completion": completion, **fields}


ROLLOUTS = [
    rollout("<think>2 + 3 = 5</think> It is 5."),
    rollout("5"),
    rollout("<think>" + "I add one more. " * 12 + "</think><answer>five</answer>", system="Be brief."),
    rollout("", prompt=[{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]),
    rollout("It is 6, since 2 times 3 is 6."),
]


def classifier(tiny_model, folder, labels=1, card=None, template=True, **config):
    """Save a random reward model; return it and its tokenizer."""
    import copy

    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    model, tokenizer = tiny_model
    torch.manual_seed(0)
    made = LlamaForSequenceClassification(
        LlamaConfig(**{**model.config.to_diff_dict(), **config, "num_labels": labels})
    )
    with torch.no_grad():
        made.score.weight *= 20
    tokenizer = copy.deepcopy(tokenizer)
    if template is not True:
        tokenizer.chat_template = template
    save_model(made.eval(), tokenizer, folder, card or {})
    return made, tokenizer


def twin_score(model, ids):
    """Return the score of token ids, alone and unpadded."""
    import torch

    with torch.no_grad():
        return model(torch.tensor([ids])).logits.item()


def twin_chat(model, tokenizer, record):
    prompt = record["prompt"]
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    if "system" in record:
        messages = [{"role": "system", "content": record["system"]}, *messages]
    messages = [*messages, {"role": "assistant", "content": record["completion"]}]
    return twin_score(model, tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"])


@pytest.fixture(scope="module")
def trained(tiny_model, tmp_path_factory):
    """Return (folder, model, tokenizer) of a random reward model."""
    folder = tmp_path_factory.mktemp("reward")
    return str(folder), *classifier(tiny_model, folder)


@pytest.mark.parametrize("batch_tokens", [1, 100, 8192])
def test_scores_are_those_of_one_at_a_time_in_the_order_of_the_input(trained, batch_tokens):
    folder, model, tokenizer = trained
    scores = RewardModel(folder, batch_tokens=batch_tokens).scores(ROLLOUTS)
    assert scores == pytest.approx([twin_chat(model, tokenizer, record) for record in ROLLOUTS], abs=1e-5)
    assert max(scores) - min(scores) > 0.01  # else any order would do


def test_scores_are_the_same_each_time(trained):
    reward = RewardModel(trained[0])
    assert reward.scores(ROLLOUTS) == reward.scores(ROLLOUTS)


def test_the_company_of_a_text_changes_its_score_in_no_bit(trained):
    """Else a run that is resumed, or graded while it draws, would be another one."""
    folder = trained[0]
    together = RewardModel(folder).scores(ROLLOUTS)
    assert [RewardModel(folder).scores([record])[0] for record in ROLLOUTS] == together
    assert RewardModel(folder).scores([rollout("6"), rollout("not five"), *ROLLOUTS])[2:] == together


def test_a_text_is_read_once_in_a_run(trained, monkeypatch):
    reward, read = RewardModel(trained[0]), []
    forward = reward._forward
    monkeypatch.setattr(reward, "_forward", lambda rows, width: read.extend(rows) or forward(rows, width))
    first = reward.scores([*ROLLOUTS, *ROLLOUTS])
    assert first == reward.scores(ROLLOUTS) * 2
    assert len(read) == len(ROLLOUTS)
    reward.scores([rollout("5", prompt="What is 2 + 4?"), rollout("5", system="Be brief.")])
    assert len(read) == len(ROLLOUTS) + 2


def test_final_texts_that_are_the_same_are_one(trained, monkeypatch):
    reward, read = RewardModel(trained[0], text="final"), []
    forward = reward._forward
    monkeypatch.setattr(reward, "_forward", lambda rows, width: read.extend(rows) or forward(rows, width))
    scores = reward.scores([rollout(f"<think>{thought}</think>It is 5.") for thought in ("a", "b")])
    assert scores[0] == scores[1]
    assert len(read) == 1


def test_no_rollouts_have_no_scores(trained):
    assert RewardModel(trained[0]).scores([]) == []


def test_final_scores_only_what_follows_the_reasoning(trained):
    folder = trained[0]
    whole, final = RewardModel(folder), RewardModel(folder, text="final")
    record = rollout("<think>I hate this.</think>\n<answer>It is 5.</answer>")
    assert final.scores([record]) == whole.scores([rollout("It is 5.")])
    assert whole.scores([record]) != final.scores([record])


@pytest.mark.parametrize(
    ("completion", "final"),
    [
        ("It is 5.", "It is 5."),
        ("<think>a</think> It is 5.", "It is 5."),
        ("prefilled</think>It is 5.", "It is 5."),
        ("<think>a</think>b</think>c", "c"),
        ("<think>a</think>\n<answer>5</answer>", "5"),
        ("So: <answer>5</answer> (apples)", "So: 5 (apples)"),
        ("<think>never done", ""),
        ("<think>a</think>b<think>never done", "b"),
        ("<think>a</think>", ""),
        ("", ""),
    ],
)
def test_the_final_text_is_what_follows_the_reasoning(completion, final):
    assert final_text(completion) == final


def test_without_a_chat_template_the_text_is_prompt_completion_and_the_end_token(tiny_model, tmp_path):
    """As TRL's RewardTrainer makes it of standard data: prompt + chosen + eos, tokenized in one piece."""
    from trl import RewardConfig, RewardTrainer

    model, tokenizer = classifier(tiny_model, tmp_path, template=None)
    from datasets import Dataset

    data = Dataset.from_list([{"prompt": "2 + 3 = ", "chosen": "5", "rejected": "6"}])
    config = RewardConfig(output_dir=str(tmp_path / "out"), use_cpu=True, report_to="none", bf16=False)
    made = RewardTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)
    row = made.train_dataset[0]
    reward = RewardModel(str(tmp_path))
    records = [rollout("5", prompt="2 + 3 = "), rollout("6", prompt=[{"role": "user", "content": "2 + 3 = "}])]
    assert [reward.encode(record) for record in records] == [row["chosen_ids"], row["rejected_ids"]]
    expected = [twin_score(model.eval(), row[name]) for name in ("chosen_ids", "rejected_ids")]
    assert reward.scores(records) == pytest.approx(expected, abs=1e-5)


def test_a_conversation_is_encoded_as_trl_encodes_it(trained):
    from trl.data_utils import _tokenize

    folder, _, tokenizer = trained
    messages = [{"role": "user", "content": "What is 2 + 3?"}, {"role": "assistant", "content": "5"}]
    assert RewardModel(folder).encode(rollout("5")) == _tokenize(tokenizer, messages)["input_ids"]


def test_the_card_may_say_that_the_text_is_plain(tiny_model, tmp_path):
    _, tokenizer = classifier(tiny_model, tmp_path, card={"prompt_style": "raw"})
    ids = tokenizer("What is 2 + 3?5" + tokenizer.eos_token)["input_ids"]
    assert RewardModel(str(tmp_path)).encode(rollout("5")) == ids


def test_a_plain_text_takes_no_conversation(tiny_model, tmp_path):
    classifier(tiny_model, tmp_path, template=None)
    (why,) = RewardModel(str(tmp_path)).scores([ROLLOUTS[3]])
    assert str(why) == "a prompt of 2 messages, and a model without a chat template"


def test_a_template_that_drops_the_reasoning_is_not_believed(tiny_model, tmp_path):
    classifier(tiny_model, tmp_path, template=STRIPS_REASONING)
    record = rollout("<think>mind</think>It is 5.")
    with pytest.raises(UserError, match="its chat template drops a part of the completion; say --reward-arg model"):
        RewardModel(str(tmp_path)).scores([record])
    assert isinstance(RewardModel(str(tmp_path), text="final").scores([record])[0], float)


def test_a_template_that_refuses_a_conversation_grades_it_not(tiny_model, tmp_path):
    classifier(tiny_model, tmp_path, template="{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}")  # fmt: skip # noqa: E501
    why, score = RewardModel(str(tmp_path)).scores([rollout("5", system="Be brief."), rollout("5")])
    assert str(why) == "the chat template refuses the conversation (no system)"
    assert isinstance(score, float)


def test_a_text_that_is_too_long_is_not_cut_and_the_others_are_scored(trained):
    folder, model, tokenizer = trained
    scores = RewardModel(folder).scores([rollout("one " * 400), rollout("5")])
    assert isinstance(scores[0], Ungradable)
    assert str(scores[0]) == f"longer than the 256 tokens that {folder} reads"
    assert scores[1] == pytest.approx(twin_chat(model, tokenizer, rollout("5")), abs=1e-5)


def test_a_score_that_is_no_number_is_none(tiny_model, tmp_path):
    import torch

    model, tokenizer = classifier(tiny_model, tmp_path)
    with torch.no_grad():
        model.score.weight.fill_(float("nan"))
    save_model(model, tokenizer, tmp_path, {})
    (why,) = RewardModel(str(tmp_path)).scores([rollout("5")])
    assert str(why) == "the reward model's score is nan"


def test_a_model_that_names_no_pad_token_is_exact_too(tiny_model, tmp_path):
    model, tokenizer = classifier(tiny_model, tmp_path, pad_token_id=None)
    expected = [twin_chat(model, tokenizer, record) for record in ROLLOUTS]
    assert RewardModel(str(tmp_path)).scores(ROLLOUTS) == pytest.approx(expected, abs=1e-5)


def test_batches_hold_each_row_once_within_the_budget():
    lengths = {3: 5, 0: 1, 7: 9, 2: 30, 4: 9, 1: 2}
    made = list(batches(lengths, 18))
    assert made == [[2], [4, 7], [3, 1, 0]]  # 1 x 30 (alone), 2 x 9, 3 x 5
    assert list(batches({}, 18)) == []


# what is refused


def test_a_language_model_is_refused(tiny_folder):
    for name in ("base", str(tiny_folder)):
        with pytest.raises(UserError) as caught:
            RewardModel(name)
        what = "has no sequence-classification head (it is a LlamaForCausalLM)"
        assert str(caught.value) == f"{name}: {what}; name a reward model; r1kit reward-model makes one"


def test_a_head_that_the_weights_lack_is_not_made_up(tiny_model, tmp_path):
    from safetensors.torch import load_file, save_file

    classifier(tiny_model, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["score.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"its weights lack score.weight; name a reward model"):
        RewardModel(str(tmp_path))


def test_more_labels_than_one_are_refused(tiny_model, tmp_path):
    classifier(tiny_model, tmp_path, labels=2)
    with pytest.raises(UserError, match="has 2 labels, not 1; name a reward model"):
        RewardModel(str(tmp_path))


def test_a_folder_that_is_missing_is_refused():
    with pytest.raises(UserError, match="no such model folder"):
        RewardModel("./nowhere")


def test_weights_that_are_not_safetensors_are_refused(tiny_model, tmp_path):
    import torch

    model, _ = classifier(tiny_model, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="r1kit loads safetensors only"):
        RewardModel(str(tmp_path))


def test_a_folder_that_is_broken_is_named(tiny_model, tmp_path):
    classifier(tiny_model, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        RewardModel(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_part_or_a_dtype_that_is_none_is_refused(trained):
    with pytest.raises(UsageError, match="say whole or final"):
        RewardModel(trained[0], text="summary")
    with pytest.raises(UsageError, match="say float32, bfloat16 or float16"):
        RewardModel(trained[0], dtype="double_cream")
