"""Classifiers made of language models, and each kind of model given where another is needed."""

import json

import pytest
import torch

from r1kit.classifier import open_classifier
from r1kit.errors import UserError
from r1kit.model import load_model, save_model


@pytest.fixture(scope="module")
def folders(tiny_folder, tmp_path_factory):
    """Return the folders of a language model, a reward model and a process reward model."""
    made = {"language": tiny_folder}
    for name, kind, labels in (("reward", "sequence", 1), ("process", "token", 2)):
        made[name] = tmp_path_factory.mktemp(name)
        save_model(*open_classifier(str(tiny_folder), kind, labels), made[name], {})
    return made


def test_the_body_is_the_language_models_and_the_seed_draws_the_head(tiny_model, tiny_folder):
    one, again, other = (open_classifier(str(tiny_folder), "sequence", 1, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(one.model.embed_tokens.weight, tiny_model[0].model.embed_tokens.weight)
    assert torch.equal(one.score.weight, again.score.weight)
    assert not torch.equal(one.score.weight, other.score.weight)
    assert one.score.weight.std().item() == pytest.approx(0.02, rel=0.3)


def test_the_last_token_of_a_row_is_found_by_the_pad_token(tiny_folder):
    model, tokenizer = open_classifier(str(tiny_folder), "sequence", 1)
    assert model.config.pad_token_id == tokenizer.pad_token_id == 1


def test_a_classifier_goes_on_with_its_own_head(folders):
    saved = open_classifier(str(folders["reward"]), "sequence", 1, seed=5)[0]
    assert json.loads((folders["reward"] / "config.json").read_text())["architectures"] == [
        "LlamaForSequenceClassification"
    ]
    assert torch.equal(saved.score.weight, open_classifier(str(folders["language"]), "sequence", 1)[0].score.weight)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (
            "process",
            "sequence",
            "is neither a causal language model nor a reward model (it is a LlamaForTokenClassification); "
            "name one of the two, or base",
        ),
        (
            "reward",
            "token",
            "is neither a causal language model nor a process reward model (it is a LlamaForSequenceClassification); "
            "name one of the two, or base",
        ),
    ],
)
def test_the_other_kind_of_classifier_is_refused(folders, given, kind, message):
    with pytest.raises(UserError) as raised:
        open_classifier(str(folders[given]), kind, 1)
    assert str(raised.value) == f"{folders[given]}: {message}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("reward", "is a reward model, which writes no text (LlamaForSequenceClassification)"),
        ("process", "is a process reward model, which writes no text (LlamaForTokenClassification)"),
    ],
)
def test_a_judge_is_refused_where_text_is_to_be_written(folders, given, message):
    with pytest.raises(UserError) as raised:
        load_model(str(folders[given]))
    assert str(raised.value) == f"{folders[given]}: {message}; name a causal language model, or base"


def test_a_classifier_of_several_labels_is_no_reward_model(tiny_folder, tmp_path):
    save_model(*open_classifier(str(tiny_folder), "sequence", 3), tmp_path, {})
    with pytest.raises(UserError) as raised:
        open_classifier(str(tmp_path), "sequence", 1)
    assert str(raised.value) == (f"{tmp_path}: has 3 labels, not 1; name a reward model; r1kit reward-model makes one")
