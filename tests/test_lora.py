"""An adapter is merged at the end: its run leaves a model like any other."""

import subprocess
import sys

import pytest
import torch
from conftest import invoke, write_jsonl
from safetensors.torch import load_file

FLAGS = ("--model", "base", "--batch-size", 16, "-n", 4, "--max-tokens", 16, "--lora-rank", 4)
MORE = ("--save-every", 2, "--eval-samples", 1, "--learning-rate", 1e-2, "--algo", "grpo")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("lora")
    rows = [{"id": str(i), "prompt": f"What is {i} + 2?", "answer": str(i + 2)} for i in range(8)]
    problems = write_jsonl(tmp_path / "problems.jsonl", rows)
    invoke("grpo", problems, *FLAGS, *MORE, "--steps", 3, "--eval", problems, "-o", tmp_path / "run")
    return tmp_path / "run"


def test_the_folder_opens_without_peft(folder):
    program = (
        "import sys; sys.modules['peft'] = None\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        f"model, info = AutoModelForCausalLM.from_pretrained({str(folder)!r}, output_loading_info=True)\n"
        f"tokenizer = AutoTokenizer.from_pretrained({str(folder)!r})\n"
        "print(not info['missing_keys'] and not info['unexpected_keys'], type(model).__name__)\n"
        "ids = tokenizer('1 + 1 = ', return_tensors='pt')\n"
        "print(model.generate(**ids, max_new_tokens=2, do_sample=False).shape[1] > ids['input_ids'].shape[1])\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["True LlamaForCausalLM", "True"]
    assert not list(folder.glob("adapter*"))


def test_the_adapter_is_in_the_weights(folder):
    from r1kit.model import resolve_model

    base, trained = (load_file(f"{place}/model.safetensors") for place in (resolve_model("base"), folder))
    assert base.keys() == trained.keys()
    changed = {name for name in base if not torch.equal(base[name], trained[name])}
    assert changed == {name for name in base if "_proj" in name}
    name = next(iter(changed))
    assert torch.linalg.matrix_rank(trained[name] - base[name], rtol=1e-3) <= 4


def test_a_run_is_made_longer_from_its_adapter(folder):
    problems = folder.parent / "problems.jsonl"
    invoke("grpo", problems, *FLAGS, *MORE, "--steps", 5, "--eval", problems, "-o", folder, "--resume")
    assert (folder / "log.jsonl").read_text().count("\n") == 5
