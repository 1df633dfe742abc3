"""GRPO with vLLM's engine in the trainer's process: it draws from the weights that are trained, or the run ends."""

import gc
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from conftest import lines, r1kit, write_jsonl

from r1kit.errors import UserError
from r1kit.model import load_model

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed"),
]

SPACE = {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}
SMALL = ("--model", "base", "--engine", "vllm", "-n", 4, "--max-tokens", 32, "--eval-samples", 1)
PROMPTS = [f"User: What is {i} + 9 + {j}?\nAssistant:" for i in range(4) for j in range(4)]


@pytest.fixture(scope="module")
def new_trainer(tmp_path_factory):
    """Return a function that makes trainers of the base, each with an engine, and leaves the environment as it was."""
    trainers = []

    def make(dtype="float32", **settings):
        from datasets import Dataset
        from trl import GRPOConfig

        from r1kit.trainer import ReasoningTrainer

        config = {
            "output_dir": str(tmp_path_factory.mktemp("run")),
            "per_device_train_batch_size": 32,
            "num_generations": 4,
            "max_completion_length": 24,
            "lr_scheduler_type": "constant",
            "use_cpu": True,
            "bf16": dtype == "bfloat16",
            "gradient_checkpointing": False,
            "report_to": "none",
            "disable_tqdm": True,
            "save_strategy": "no",
            "logging_steps": 1,
            "use_vllm": True,
            "vllm_max_model_length": 64,
        }
        model, tokenizer = load_model("base", dtype)
        before = os.environ.copy()
        os.environ.update(SPACE, VLLM_LOGGING_LEVEL="ERROR")
        trainer = ReasoningTrainer(
            model=model,
            reward_funcs=lambda completions, completion_ids, **_: [float(sum(ids) % 5) for ids in completion_ids],
            args=GRPOConfig(**{**config, **settings}),
            train_dataset=Dataset.from_dict({"prompt": PROMPTS}),
            processing_class=tokenizer,
        )
        os.environ.clear()  # TRL says there who the process is, which processes of later tests would believe
        os.environ.update(before)
        trainers.append(trainer)  # an engine that is collected takes the process group along that the others use
        return trainer

    yield make
    trainers.clear()
    gc.collect()


def greedy_tokens(trainer, monkeypatch):
    """Return what vLLM and transformers say greedily."""
    ids = trainer.processing_class(PROMPTS)["input_ids"]
    with monkeypatch.context() as patch:
        patch.setattr(trainer.vllm_generation, "temperature", 0.0)
        _, served, _, _ = trainer.vllm_generation.generate(ids, None, 1)
    padded = trainer.processing_class(PROMPTS, return_tensors="pt", padding=True)
    trainer.model.eval()
    said = trainer.model.generate(**padded, do_sample=False, max_new_tokens=24)[:, padded["input_ids"].shape[1] :]
    trainer.model.train()
    return [list(row) for row in served], [
        row[: len(tokens)].tolist() for row, tokens in zip(said, served, strict=True)
    ]


def test_after_each_transfer_vllm_says_greedily_what_transformers_says(new_trainer, monkeypatch):
    trainer = new_trainer(max_steps=6, learning_rate=3e-3)
    transfer, answers = trainer.vllm_generation.sync_weights, []

    def transfer_and_ask():
        transfer()
        answers.append(greedy_tokens(trainer, monkeypatch))

    trainer.vllm_generation.sync_weights = transfer_and_ask
    trainer.train()
    assert len(answers) == 6
    for served, said in answers:
        assert served == said
    assert len({str(served) for served, _ in answers}) == 6  # each update changed them
    assert trainer._served.concluded
    log = [line for line in trainer.state.log_history if "loss" in line]
    assert all(0 < line["logprob_difference"] < 1e-5 for line in log)
    assert all(line["sampling/importance_sampling_ratio/mean"] == pytest.approx(1, abs=1e-4) for line in log)
    assert all(line["seconds/sync"] > 0 for line in log)


@pytest.mark.parametrize(("rate", "why"), [(1e-2, "the model prefers its own"), (1e-6, "nats a token off the model's")])
def test_an_engine_that_keeps_its_first_weights_ends_the_run_at_the_first_update(new_trainer, rate, why):
    trainer = new_trainer(max_steps=3, learning_rate=rate)
    trainer.vllm_generation.sync_weights = lambda: None
    with pytest.raises(UserError, match=f"^step 2: vLLM does not serve the trained weights: .*{why}.*--resume"):
        trainer.train()
    assert trainer.state.global_step == 1


@pytest.mark.parametrize(
    "part", ["norm", *(pytest.param(p, marks=pytest.mark.slow) for p in ("embed_tokens", "layers.0."))]
)
def test_a_part_of_the_weights_that_is_old_ends_the_run(new_trainer, part):
    trainer = new_trainer(max_steps=3, learning_rate=1e-4)
    generation = trainer.vllm_generation
    parameters = generation._iter_named_params
    generation._iter_named_params = lambda: (named for named in parameters() if part not in named[0])
    with pytest.raises(UserError, match=r"^step 2: vLLM does not serve the trained weights"):
        trainer.train()


def test_an_engine_with_other_weights_ends_the_run_before_the_first_step(new_trainer):
    trainer = new_trainer(max_steps=3)
    transfer = trainer.vllm_generation.sync_weights

    def spoil():
        transfer()
        for name, weights in trainer.vllm_generation._iter_named_params():
            model = trainer.vllm_generation.llm.llm_engine.model_executor.driver_worker.model_runner.model
            model.load_weights([(name, weights.flip(-1))])

    trainer.vllm_generation.sync_weights = spoil
    with pytest.raises(UserError, match=r"^step 1: vLLM does not serve the trained weights: the model prefers"):
        trainer.train()


def test_half_precision_is_served_as_such_and_its_noise_is_no_stale_engine(new_trainer):
    trainer = new_trainer("bfloat16", max_steps=4, learning_rate=1e-3)
    assert str(trainer.vllm_generation.llm.llm_engine.model_config.dtype) == "torch.bfloat16"
    trainer.train()
    assert trainer._served.concluded
    log = [line for line in trainer.state.log_history if "loss" in line]
    assert all(1e-4 < line["logprob_difference"] < 0.03 for line in log)
    stale = new_trainer("bfloat16", max_steps=4, learning_rate=1e-3)
    stale.vllm_generation.sync_weights = lambda: None
    with pytest.raises(UserError, match="vLLM does not serve the trained weights"):
        stale.train()


@pytest.mark.slow
def test_small_updates_in_half_precision_conclude_nothing_and_stop_nothing(new_trainer):
    trainer = new_trainer("bfloat16", max_steps=8, learning_rate=1e-6)
    trainer.train()
    assert (trainer._served.transfers, trainer._served.concluded) == (8, False)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    rows = [{"id": str(i), "prompt": f"What is {i} + 2 + 3?", "answer": str(i + 5)} for i in range(4)]
    return write_jsonl(tmp_path_factory.mktemp("data") / "test.jsonl", rows)


def run_grpo(folder, held_out, steps, *flags):
    arguments = (*SMALL, "--eval", held_out, "--batch-size", 16, "--save-every", 2, "--steps", steps, *flags)
    run = r1kit("grpo", *arguments, "-o", folder, env=SPACE)
    assert (run.returncode, run.stdout) == (0, ""), run.stderr[-3000:]
    return [{k: v for k, v in line.items() if "second" not in k} for line in lines((folder / "log.jsonl").read_text())]


@pytest.mark.slow
def test_a_run_by_the_command_line_and_one_that_was_resumed_are_the_same(tmp_path, held_out):
    whole = run_grpo(tmp_path / "whole", held_out, 4)
    assert [line["step"] for line in whole] == [1, 2, 3, 4]
    for line in whole:
        assert 0 <= line["reward"] <= 1.2
        assert 0 < line["logprob_difference"] < 1e-5
        assert line["importance_ratio"] == pytest.approx(1, abs=1e-4)
        assert line["tokens"]["generate"] > 0
    assert any(line["reward"] > 0 for line in whole)
    run_grpo(tmp_path / "stopped", held_out, 2)
    resumed = run_grpo(tmp_path / "stopped", held_out, 4, "--resume")
    assert resumed == whole
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert weights[0] == weights[1]
    said = r1kit("rollout", "--model", tmp_path / "whole", "--max-tokens", 4, stdin='{"prompt": "1 + 1 = ?"}\n')
    assert len(lines(said.stdout)) == 1


@pytest.mark.slow
def test_an_adapter_is_merged_for_vllm_and_in_the_end_and_the_seed_changes_the_draws(tmp_path, held_out):
    from transformers import AutoModelForCausalLM

    logs = [run_grpo(tmp_path / seed, held_out, 3, "--lora-rank", 4, "--seed", seed) for seed in ("0", "1")]
    assert all(0 < line["logprob_difference"] < 1e-4 for log in logs for line in log)
    assert [line["length"] for line in logs[0]] != [line["length"] for line in logs[1]]
    assert not list((tmp_path / "0").glob("adapter*"))
    trained, base = AutoModelForCausalLM.from_pretrained(tmp_path / "0"), load_model("base")[0]
    assert {name: tuple(p.shape) for name, p in trained.named_parameters()} == {
        name: tuple(p.shape) for name, p in base.named_parameters()
    }
    assert any((p != q).any() for p, q in zip(trained.parameters(), base.parameters(), strict=True))


@pytest.mark.slow
def test_two_processes_with_an_engine_each_replace_groups_without_signal(tmp_path, held_out):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--standalone",
        "-m",
        "r1kit",
        "grpo",
    ]
    flags = ("--eval", held_out, "--batch-size", 32, "--steps", 3, "--dynamic-sampling", 2, "-o", tmp_path / "run")
    run = subprocess.run(
        list(map(str, [*command, *SMALL, *flags])),
        env={**os.environ, **SPACE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    log = lines((tmp_path / "run" / "log.jsonl").read_text())
    assert len(log) == 3
    assert sum(line["resampled"] for line in log) > 0
    assert all(0 < line["logprob_difference"] < 1e-5 for line in log)


def test_what_vllm_cannot_open_is_one_line(tmp_path, tiny_model):
    """Its CPU build knows no heads of 16."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from r1kit.model import save_model

    config = LlamaConfig(
        **{**tiny_model[0].config.to_dict(), "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16}
    )
    save_model(LlamaForCausalLM(config), tiny_model[1], tmp_path / "model", {"command": "test"})
    run = r1kit("grpo", "--model", tmp_path / "model", "--engine", "vllm", "-o", tmp_path / "run", env=SPACE)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.rstrip().splitlines()[-1].startswith("r1kit grpo: error: --engine: vLLM cannot open the model (")
