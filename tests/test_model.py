import json

import pytest

from r1kit.errors import UserError
from r1kit.model import BASE_FOLDER, load_model, read_card, resolve_model, save_model


def test_names_lead_to_folders(tiny_folder):
    assert resolve_model("base") == str(BASE_FOLDER)
    assert resolve_model(str(tiny_folder)) == str(tiny_folder)
    assert resolve_model("Qwen/Qwen3-0.6B-Base") == "Qwen/Qwen3-0.6B-Base"


@pytest.mark.parametrize("name", ["bsae", "./nowhere", "/no/where", "a/b/c"])
def test_names_that_lead_nowhere_are_refused(name):
    with pytest.raises(UserError, match="no such model folder; name a folder, a hub name"):
        resolve_model(name)


def test_weights_that_are_not_safetensors_are_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match="r1kit loads safetensors only"):
        resolve_model(str(tmp_path))


def test_a_folder_that_is_broken_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(str(tmp_path))


def test_a_hub_name_that_cannot_be_reached_is_named():
    with pytest.raises(UserError, match="nobody/nothing: cannot be loaded"):
        load_model("nobody/nothing")


def test_a_saved_model_opens_again_with_its_card(tiny_model, tiny_folder):
    import torch

    model, _ = load_model(str(tiny_folder))
    for name, weights in tiny_model[0].state_dict().items():
        assert torch.equal(model.state_dict()[name], weights)
    assert read_card(str(tiny_folder))["versions"]["r1kit"]
    assert not (tiny_folder / "model.part").exists()


def test_a_torn_save_is_no_whole_model(tiny_model, tmp_path, monkeypatch):
    """The old config.json goes before the new weights come, the new one comes last."""
    model, tokenizer = tiny_model
    save_model(model, tokenizer, tmp_path, {})
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_model(model, tokenizer, tmp_path, {})
    with pytest.raises(UserError, match="no whole model"):
        resolve_model(str(tmp_path))


def test_the_base_card_says_what_made_it():
    card = json.loads((BASE_FOLDER / "r1kit.json").read_text())
    assert card["command"].startswith("python -m r1kit.embedded.pretrain")
    assert card["prompt_style"] == "r1-zero"
    assert card["metrics"]["step"] == 2500
