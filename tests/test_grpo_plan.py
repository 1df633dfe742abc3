"""What the flags of a run come to, and what is refused before a model is loaded."""

from dataclasses import replace

import pytest

from r1kit.errors import UsageError, UserError
from r1kit.grpo_plan import GrpoPlan, check_batch, check_plan, parse_parts, parse_settings
from r1kit.reward_spec import RewardPart

PLAN = GrpoPlan(
    model="base",
    rewards=[RewardPart("accuracy"), RewardPart("format", weight=0.2)],
    steps=10,
    n=8,
    batch_size=64,
    micro_batch_size=16,
    learning_rate=None,
    temperature=1.0,
    max_tokens=32,
    seed=3,
    dtype="float32",
    style=None,
    eval_samples=1,
    save_every=5,
    samples_every=5,
)


def settings_of(parameters=1_000_000, processes=1, gpu=False, longest_prompt=20, **changes):
    return replace(PLAN, **changes).trl_settings(parameters, processes, gpu, longest_prompt)


def test_set_beats_flags_beat_the_table_beats_the_default():
    assert settings_of()["epsilon"] == 0.2
    assert settings_of(algorithm="dapo")["epsilon_high"] == 0.28
    assert settings_of(algorithm="dapo", settings={"epsilon_high": 0.5})["epsilon_high"] == 0.5
    assert settings_of(algorithm="r1")["sync_ref_model"] is True
    assert replace(PLAN, algorithm="dapo").rounds == 10
    assert replace(PLAN, algorithm="dapo", dynamic_sampling=0).rounds == 0
    assert PLAN.rounds == 0


def test_the_learning_rate_is_by_size_and_an_adapters_ten_times_that():
    assert settings_of()["learning_rate"] == 5e-4
    assert settings_of(parameters=500_000_000)["learning_rate"] == 3e-6
    assert settings_of(parameters=500_000_000, lora_rank=8)["learning_rate"] == pytest.approx(3e-5)
    assert settings_of(learning_rate=1e-5, lora_rank=8)["learning_rate"] == 1e-5


def test_processes_share_a_batch():
    assert check_batch(64, 8, None, 2) == 32
    assert settings_of(processes=2)["gradient_accumulation_steps"] == 2
    assert settings_of(processes=1)["gradient_accumulation_steps"] == 4


def test_vllm_is_asked_for_where_it_is_to_draw():
    assert "use_vllm" not in settings_of()
    colocated = settings_of(gpu=True, engine="vllm", gpu_memory_utilization=0.4)
    assert (colocated["vllm_mode"], colocated["vllm_enable_sleep_mode"]) == ("colocate", True)
    assert (colocated["vllm_gpu_memory_utilization"], colocated["vllm_max_model_length"]) == (0.4, 52)
    served = settings_of(gpu=True, engine="vllm", server="http://localhost:8000")
    assert (served["vllm_mode"], served["vllm_server_base_url"]) == ("server", "http://localhost:8000")
    assert served["vllm_enable_sleep_mode"] is False


def test_the_settings_are_ones_that_trl_takes(tmp_path):
    from trl import GRPOConfig

    for changes in ({}, {"algorithm": "r1"}, {"settings": {"optim": "adamw_bnb_8bit"}}, {"dtype": "bfloat16"}):
        GRPOConfig(output_dir=str(tmp_path), **settings_of(**changes))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((128, 1, None), "a group of one has no advantage"),
        ((100, 8, None), "100 is no multiple of -n 8; the nearest is 96"),
        ((3, 8, None), "the nearest is 8"),
        ((128, 8, 50), "50 does not divide 128; the nearest is 64"),
    ],
)
def test_batch_sizes_that_do_not_fit_name_the_nearest_that_do(sizes, message):
    with pytest.raises(UsageError, match=message):
        check_batch(*sizes)


def test_settings_reach_trl_and_unknown_ones_are_named(tmp_path):
    assert parse_settings(["beta=0.001", "loss_type=dr_grpo", "bf16=true"]) == {
        "beta": 0.001,
        "loss_type": "dr_grpo",
        "bf16": True,
    }
    with pytest.raises(UsageError, match='"beta" is not KEY=VALUE'):
        parse_settings(["beta"])
    with pytest.raises(UsageError, match="num_generations has a flag of its own; say --n"):
        parse_settings(["num_generations=4"])
    with pytest.raises(UsageError, match='TRL has no setting "betta"; the nearest is beta'):
        parse_settings(["betta=1"])


def test_a_batch_that_processes_cannot_share_names_the_nearest():
    with pytest.raises(UsageError, match="24 cannot be shared by 16 processes; the nearest is 32"):
        check_batch(24, 8, None, 16)
    with pytest.raises(UsageError, match="100 is no multiple of -n 8; the nearest is 96"):
        check_batch(100, 8, None, 3)


def test_parts_are_named_and_unknown_ones_refused():
    assert parse_parts("") == []
    assert parse_parts("share, drop") == ["share", "drop"]
    with pytest.raises(UsageError, match='unknown part "sharing"; the known ones are drop, budget, head, share'):
        parse_parts("sharing")


def test_flags_that_do_not_fit_together_are_refused():
    with pytest.raises(UsageError, match="a process has 4 completions, no whole groups of 8; say --batch-size 128"):
        check_plan(replace(PLAN, dynamic_sampling=2), 16)
    with pytest.raises(UsageError, match="--algo r1 replaces its reference model, which an adapter does not have"):
        check_plan(replace(PLAN, algorithm="r1", lora_rank=8), 1)
    check_plan(replace(PLAN, algorithm="r1", lora_rank=8, settings={"sync_ref_model": False}), 1)


def test_a_tracker_that_is_not_installed_is_named():
    from importlib.util import find_spec

    missing = next(name for name in ("trackio", "wandb", "tensorboard") if find_spec(name) is None)
    with pytest.raises(UserError, match=f"--report-to: {missing} is not installed; pip install {missing}"):
        check_plan(replace(PLAN, report_to=[missing]), 1)
