"""Algorithms by name: tables of TRL's settings, each value with what its paper says.

Learning rate, batch and group size are flags of a run and stand in no table. Where a paper names no value, the comment
says so and whence the value is.

TRL clips ratios to [1 - epsilon, 1 + epsilon_high] (under cispo the weight to at most epsilon_high itself), and divides
advantages by the standard deviation of n - 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from r1kit.reward_spec import RewardPart

AlgorithmName = Literal["grpo", "r1", "dapo", "dr-grpo", "gspo", "cispo", "olmo3", "deepseek-v3.2"]


@dataclass(frozen=True)
class Algorithm:
    """How rollouts become a loss.

    Attributes:
        settings: fields of TRL's GRPOConfig.
        dynamic_sampling: how often groups without signal are replaced before an update; 0 leaves them.
        rewards: parts of the reward, as --reward has them.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    dynamic_sampling: int = 0
    rewards: str = ""

    def add_rewards(self, parts: Sequence["RewardPart"]) -> "list[RewardPart]":
        """Return `parts`, and after them those of the algorithm whose reward is not among them for any kind."""
        from r1kit.reward_spec import parse_rewards  # slow to import, and the command line needs the names alone

        own = parse_rewards(self.rewards) if self.rewards else []
        present = {part.reward for part in parts}
        return [*parts, *(part for part in own if part.reward not in present)]


# What a run has that names no algorithm. Without KL: Qwen3-0.6B-Base reaches 47.4 % of MATH-500 after 50 steps without
# it and 33.4 % with it (reasoning-from-scratch). By tokens: 41 % to 42 % of AIME 2024 in DAPO's table 1. The rest is
# GRPO's own. One update of each rollout clips nothing.
DEFAULT = Algorithm({"loss_type": "dapo", "beta": 0.0, "epsilon": 0.2, "scale_rewards": "group"})

ALGORITHMS: dict[AlgorithmName, Algorithm] = {
    # DeepSeekMath (arXiv 2402.03300)
    "grpo": Algorithm(
        {
            "loss_type": "grpo",  # equation 3: the mean over the tokens of each output, then over the group
            "scale_rewards": "group",  # section 4.1.2: minus the group's mean, divided by its standard deviation
            "epsilon": 0.2,  # no value in the paper, whose single update clips nothing; PPO's (arXiv 1707.06347, 6.1)
            "beta": 0.04,  # section 4.2: the KL coefficient
            "use_bias_correction_kl": False,  # equation 4: the estimator without a ratio
        }
    ),
    # DeepSeek-R1 (arXiv 2501.12948)
    "r1": Algorithm(
        {
            "loss_type": "grpo",  # section 2.1: DeepSeekMath's GRPO; equation 1 has the mean over the group
            "scale_rewards": "group",  # equation 3: minus the mean, divided by the standard deviation
            "epsilon": 10.0,  # details of the first RL stage: a lower one cuts off the gradients of many tokens
            "beta": 0.001,  # section 2.1: the KL coefficient
            "use_bias_correction_kl": False,  # equation 2: the estimator without a ratio
            "sync_ref_model": True,  # section 2.1: the reference is replaced …
            "ref_model_sync_steps": 400,  # … every 400 steps …
            "ref_model_mixup_alpha": 1.0,  # … by the newest policy, whole
        }
    ),
    # DAPO (arXiv 2503.14476). Overlong filtering (mask_truncated_completions) is left out: the authors' best run did
    # without it, since it overlaps with the overlong punishment (verl's page of DAPO).
    "dapo": Algorithm(
        {
            "loss_type": "dapo",  # section 3.3: all tokens of a batch count the same
            "scale_rewards": "group",  # equation 9: minus the mean, divided by the standard deviation
            "epsilon": 0.2,  # section 4.1
            "epsilon_high": 0.28,  # section 4.1: more room upwards, for tokens of low probability
            "beta": 0.0,  # section 2.3: no KL term, since the policy is meant to move far
        },
        dynamic_sampling=10,  # section 3.2: until the batch is full; 10 times at most, as in verl's recipe of DAPO
        rewards="overlong:0.5",  # equation 13, where right and wrong are 2 apart: half of it where they are 1 apart
    ),
    # Understanding R1-Zero-Like Training (arXiv 2503.20783)
    "dr-grpo": Algorithm(
        {
            "loss_type": "dr_grpo",  # section 3.2: no division by length, but by a constant: the longest completion
            "scale_rewards": "none",  # section 3.2: no division by the standard deviation, a bias by difficulty
            "epsilon": 0.2,  # PPO's, as in DEFAULT: what the paper changes is the two divisors
            "beta": 0.0,  # the authors' training script (sail-sg/understand-r1-zero)
        }
    ),
    # Group Sequence Policy Optimization (arXiv 2507.18071)
    "gspo": Algorithm(
        {
            "importance_sampling_level": "sequence",  # equation 7: the geometric mean of the tokens' ratios
            "loss_type": "grpo",  # equation 5: the mean over the outputs of a group
            "scale_rewards": "group",  # equation 6: minus the mean, divided by the standard deviation
            "epsilon": 3e-4,  # section 5.1
            "epsilon_high": 4e-4,  # section 5.1
            "beta": 0.0,  # section 2 leaves the KL term out; an author in verl#2775: there was none
        }
    ),
    # MiniMax-M1 (arXiv 2506.13585)
    "cispo": Algorithm(
        {
            "loss_type": "cispo",  # equation 4: the weight is clipped, and no token loses its gradient; by tokens
            "scale_rewards": "group",  # section 3.1: the advantage of GRPO
            "epsilon_high": 5.0,  # no value in the paper, which has no lower bound; ScaleRL's (arXiv 2510.13786)
            "beta": 0.0,  # section 3.1: no KL term
        },
        dynamic_sampling=10,  # section 3.1: DAPO's dynamic sampling …
        rewards="overlong:0.5",  # … and its length penalty
    ),
    # Olmo 3 (arXiv 2512.13961), OlmoRL
    "olmo3": Algorithm(
        {
            "loss_type": "dapo",  # equation 1: all tokens of a batch count the same
            "scale_rewards": "none",  # equation 2: minus the group's mean, no division
            "epsilon": 0.2,  # table of RL settings
            "epsilon_high": 0.272,  # table of RL settings: a little more room upwards
            "beta": 0.0,  # section 4.4: no KL term
            "vllm_importance_sampling_correction": True,  # equation 1: the policy's probability over vLLM's …
            "vllm_importance_sampling_mode": "token_truncate",  # … of each token, truncated …
            "vllm_importance_sampling_clip_max": 2.0,  # … at 2
        },
        dynamic_sampling=10,  # section 4.4: groups without signal are replaced until the batch is full
    ),
    # DeepSeek-V3.2 (arXiv 2512.02556), section 3.1. Its routing of experts and its sampling masks are not in TRL.
    "deepseek-v3.2": Algorithm(
        {
            "loss_type": "grpo",  # equation 5: the mean over the tokens of each output, then over the group
            "scale_rewards": "none",  # below equation 6: the reward minus the group's mean
            "epsilon": 0.2,  # no value in the paper; PPO's
            "beta": 0.001,  # no value in the paper, which calls for a weak one in mathematics; R1's
            "use_bias_correction_kl": True,  # equation 7: the estimator times the ratio has an unbiased gradient
            "off_policy_mask_threshold": 0.5,  # equation 9, without a value in the paper; what TRL starts from
        }
    ),
}


def algorithm_of(name: AlgorithmName | None) -> Algorithm:
    """Return the algorithm of a name; None: r1kit's default."""
    return DEFAULT if name is None else ALGORITHMS[name]
