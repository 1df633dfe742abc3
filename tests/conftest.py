"""What the tests share: the command line as a process, and a tiny model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")  # read when the libraries are imported
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # threads of several workers would wait for each other

REPO = Path(__file__).parent.parent
SHARED = REPO.parent / "shared"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is not on this machine")


def r1kit(*arguments: object, stdin: str = "", cwd: Path | None = None, env: dict[str, str] | None = None):
    """Run the command line in a process of its own, with `env` set in its environment; return how it ended."""
    command = [sys.executable, "-m", "r1kit", *map(str, arguments)]
    changed = {**os.environ, **(env or {})}
    return subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=cwd, env=changed, check=False)


def run_here(*arguments: object):
    """Run the command line in this process, which has the libraries; it says nothing on stdout: return how it ended."""
    from typer.testing import CliRunner

    from r1kit.cli import app, join_rewards

    run = CliRunner().invoke(app, join_rewards(list(map(str, arguments))))
    assert run.stdout == ""
    return run


def invoke(*arguments: object) -> str:
    """Run the command line in this process to a good end; return what it said on stderr."""
    run = run_here(*arguments)
    assert run.exit_code == 0, (run.stderr, run.exception)
    return run.stderr


def refused(*arguments: object) -> tuple[int, str]:
    """Run the command line in this process to an end that the user can mend; return the exit code and what is said."""
    from r1kit.errors import UserError

    run = run_here(*arguments)
    assert isinstance(run.exception, UserError), (run.stderr, run.exception)
    return run.exception.exit_code, str(run.exception)


def lines(text: str) -> list[dict]:
    """Parse JSON Lines."""
    return [json.loads(line) for line in text.split("\n") if line]


def write_jsonl(path: Path, records: list[dict]) -> Path:
    """Write records to a file."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_model():
    """Return a random two-layer Llama, its logits spread out so that no token is nearly certain, and a tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from r1kit.model import load_model

    _, tokenizer = load_model("base")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight *= 20
    return model, tokenizer


@pytest.fixture(scope="session")
def tiny_folder(tiny_model, tmp_path_factory) -> Path:
    """Return a folder that holds the tiny model."""
    from r1kit.model import save_model

    folder = tmp_path_factory.mktemp("tiny")
    save_model(*tiny_model, folder, {"command": "test", "prompt_style": "r1-zero"})
    return folder


def commands_are_known(words: list[str]) -> None:
    """Assert that a command line of documentation (without "r1kit") names a command and flags that exist."""
    from typer.main import get_command

    from r1kit.cli import app

    command = get_command(app)
    name, *rest = words
    if name.startswith("-"):
        return
    flags = {flag for parameter in command.commands[name].params for flag in parameter.opts}
    assert {word for word in rest if word.startswith("-") and word != "-"} <= flags | {"--help"}, words
