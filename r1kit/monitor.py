"""What is known to go wrong in a run, in plain words, each with the flag to change.

Sources: groups without signal and the collapse of the entropy, DAPO (arXiv 2503.14476), sections 3.1 and 3.2, and
Cui et al. 2025 (arXiv 2505.22617); rewards that are climbed for their own sake, DeepSeek-R1 (arXiv 2501.12948),
section 2.2.2, and Gao et al. 2022 (arXiv 2210.10760); engines that disagree with the trainer, Qi et al. 2025
(arXiv 2510.26788).
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import fmean, variance

from r1kit.reward_spec import RewardPart
from r1kit.rewards import JUDGED, MODELS
from r1kit.step_log import Line, column_name, mean_of_known

START = 5  # steps that say how the run began
SPAN = 10  # steps that a trend is read from, against the same number before them
IN_A_ROW = 5  # steps before something that one batch may well show is said
ALMOST_ALL, ALMOST_NONE = 0.95, 0.05
GOOD = 0.9  # accuracy, or a part of the sum of rewards, near its full value
COLLAPSED = 0.1  # entropy, as a share of the first steps'; healthy runs of the embedded base end at 0.12
CLEAR = 2.3  # standard errors that two means are apart which are not the same: by chance one in a hundred
NOISE = 0.02  # what a mean over steps must gain to have risen
MISMATCH = 0.05  # nats a token between the sampling and the training log-probability of the same policy
FAR = 2.0  # nats a token of KL; healthy runs of the embedded base end at 0.1
NEAR_ZERO = 1e-3  # of a loss


@dataclass
class ModelReward:
    """What a model says of a run's completions, step by step, and what the rules say of them.

    Attributes:
        part: of the sum of rewards.
        read_so_far: (model reward, accuracy) of the steps that have both.
    """

    part: RewardPart
    read_so_far: list[tuple[float, float]] = field(default_factory=list)

    def read(self, line: Line) -> None:
        """Take the next line.

        The accuracy is that of the completions that the model grades, where any of them is judged by a rule; else that
        of all others.
        """
        own = line.get("accuracies", {}).get(self.part.kind)
        score, accuracy = line["rewards"].get(column_name(self.part)), line["accuracy"] if own is None else own
        if score is not None and accuracy is not None:
            self.read_so_far.append((score, accuracy))

    def changes(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """Return model reward and accuracy, each at first and at last, where the one rose while the other fell.

        At first and at last are thirds of the run, as a step has few completions of a kind, and they vary.
        """
        if len(self.read_so_far) < 2 * SPAN:
            return None
        span = max(SPAN, len(self.read_so_far) // 3)
        (score, accuracy), (score_now, accuracy_now) = (
            zip(*part, strict=True) for part in (self.read_so_far[:span], self.read_so_far[-span:])
        )
        rose, fell = differ(score, score_now), differ(accuracy_now, accuracy)
        if not (rose and fell and fmean(accuracy_now) < fmean(accuracy) - NOISE):
            return None
        return (fmean(score), fmean(score_now)), (fmean(accuracy), fmean(accuracy_now))


def differ(low: Sequence[float], high: Sequence[float]) -> bool:
    """Tell whether the mean of the second is clearly above that of the first."""
    error = sqrt(variance(low) / len(low) + variance(high) / len(high))
    return fmean(high) - fmean(low) > CLEAR * error


class Monitor:
    """Reads the lines of log.jsonl as they come, and warns of each thing once.

    Args:
        parts: of the sum of rewards.
    """

    def __init__(self, parts: Sequence[RewardPart]):
        # a reward model's scale is its own, so that no value of it is near the best
        self.side_rewards = [column_name(p) for p in parts if p.weight > 0 and p.reward not in {*JUDGED, "model"}]
        self.models = [ModelReward(p) for p in parts if p.weight > 0 and p.reward in MODELS]
        self.first: list[Line] = []
        self.recent: deque[Line] = deque(maxlen=2 * SPAN)
        self.said: set[Callable[[Monitor], str | None]] = set()

    def read(self, line: Line) -> list[str]:
        """Take the next line; return what is to be warned of now."""
        if len(self.first) < START:
            self.first.append(line)
        self.recent.append(line)
        for model in self.models:
            model.read(line)
        found = {check: text for check in CHECKS if check not in self.said and (text := check(self))}
        self.said |= found.keys()
        return list(found.values())

    def lasts(self, holds: Callable[[Line], bool], steps: int = IN_A_ROW) -> bool:
        """Tell whether something holds in each of the last steps."""
        lines = list(self.recent)[-steps:]
        return len(lines) == steps and all(map(holds, lines))

    def trend(self, read: Callable[[Line], float | None]) -> tuple[float, float, float] | None:
        """Return the mean of a reading over the first steps, over a span, and over the span of the last steps.

        None where the run is too short for it, or where there is no such reading.
        """
        lines = list(self.recent)
        start, before, now = (mean_of_known(map(read, span)) for span in (self.first, lines[:-SPAN], lines[-SPAN:]))
        if len(lines) < 2 * SPAN or start is None or before is None or now is None:
            return None
        return start, before, now

    def idles(self, low: float, high: float) -> bool:
        """Tell whether the last steps were without signal, at an accuracy in a range."""
        accuracy = mean_of_known(line["accuracy"] for line in list(self.recent)[-IN_A_ROW:])
        idle = self.lasts(lambda line: line["zero_signal"] >= ALMOST_ALL)
        return idle and accuracy is not None and low <= accuracy <= high


def note_on_loss(line: Line) -> str | None:
    """Return a word on a first loss near 0, which looks like a fault and is none."""
    if line["step"] != 1 or line["loss"] is None or abs(line["loss"]) > NEAR_ZERO:
        return None
    return (
        f"the loss is {line['loss']:.1e} at first, as it should be: before the first update advantages sum to 0 within "
        "each group; watch the reward"
    )


def _never_right(monitor: Monitor) -> str | None:
    if not monitor.idles(0, ALMOST_NONE):
        return None
    start = mean_of_known(line["accuracy"] for line in monitor.first)
    if start is not None and start > ALMOST_NONE:
        return (
            f"(almost) no completion was right for {IN_A_ROW} steps, where {start:.0%} were at the start: the model "
            "has come apart; start anew with a lower --learning-rate, or --set max_grad_norm=0.1"
        )
    return (
        f"(almost) no completion was right for {IN_A_ROW} steps, so that nothing is learned; give easier problems, "
        "choose those that are sometimes solved by --pass-rate 0.1:0.9, or draw more completions of each with -n"
    )


def _always_right(monitor: Monitor) -> str | None:
    if not monitor.idles(ALMOST_ALL, 1):
        return None
    return (
        f"(almost) every completion was right for {IN_A_ROW} steps, so that nothing more is learned; give harder "
        "problems, or stop here"
    )


def _all_equal(monitor: Monitor) -> str | None:
    idle = monitor.lasts(lambda line: line["zero_signal"] >= ALMOST_ALL)
    if not idle or monitor.idles(0, ALMOST_NONE) or monitor.idles(ALMOST_ALL, 1):
        return None
    return (
        f"in (almost) every group all rewards were the same for {IN_A_ROW} steps, so that nothing is learned; "
        "choose problems that are sometimes solved by --pass-rate 0.1:0.9, raise -n, or add a finer part to --reward"
    )


def _cut(monitor: Monitor) -> str | None:
    if not monitor.lasts(lambda line: line["truncated"] >= ALMOST_ALL):
        return None
    return (
        f"(almost) every completion was cut before its end for {IN_A_ROW} steps, at {monitor.recent[-1]['length']:.0f} "
        "tokens on average; raise --max-tokens"
    )


def _collapsed(monitor: Monitor) -> str | None:
    """Entropy falls in every run that learns: it is a fault where the reward has stopped short of its best."""
    entropy, reward = monitor.trend(lambda line: line["entropy"]), monitor.trend(lambda line: line["reward"])
    accuracy = monitor.trend(lambda line: line["accuracy"])
    if entropy is None or reward is None or (accuracy is not None and accuracy[-1] >= GOOD):
        return None
    if entropy[-1] > COLLAPSED * entropy[0] or reward[-1] > reward[1] + NOISE:
        return None
    return (
        f"the entropy has fallen to {entropy[-1]:.3f} nats from {entropy[0]:.3f} and the reward no longer rises: the "
        "model hardly tries anything else; raise --temperature or --set epsilon_high=0.28, or lower --learning-rate"
    )


def _hacked(monitor: Monitor) -> str | None:
    accuracy = monitor.trend(lambda line: line["accuracy"])
    if accuracy is None or accuracy[0] >= GOOD or accuracy[-1] > accuracy[0] + NOISE:
        return None
    for name in monitor.side_rewards:
        part = monitor.trend(lambda line, name=name: line["rewards"][name])  # type: ignore[misc]
        if part is not None and part[0] < 0.5 and GOOD <= part[-1] <= 1:
            return (
                f"{name} has climbed to {part[-1]:.2f} while accuracy stays at {accuracy[-1]:.2f}: the model learns "
                f"the form and not the answers; lower the weight of {name} in --reward"
            )
    return None


def _pleased(monitor: Monitor) -> str | None:
    for model in monitor.models:
        changes = model.changes()
        if changes is not None:
            (score, score_now), (accuracy, accuracy_now) = changes
            name = column_name(model.part)
            return (
                f"{name} has climbed to {score_now:.2f} from {score:.2f} while accuracy has fallen to "
                f"{accuracy_now:.2f} from {accuracy:.2f}: what pleases the reward model is no longer what is right; "
                f"take an earlier checkpoint, and give {name} fewer steps by --last-steps, a lower weight in --reward, "
                "or raise --set beta"
            )
    return None


def _mismatched(monitor: Monitor) -> str | None:
    if not monitor.lasts(lambda line: (line.get("logprob_difference") or 0) > MISMATCH, 3):
        return None
    return (
        f"the engine's log-probabilities differ from the trainer's by {monitor.recent[-1]['logprob_difference']:.2f} "
        "nats a token: what is sampled is not the policy that is trained; say --dtype float32, keep --set "
        "vllm_importance_sampling_correction=true, and start vLLM anew, whose weights may be old"
    )


def _not_finite(monitor: Monitor) -> str | None:
    names = [name for name in ("loss", "grad_norm") if monitor.recent[-1][name] is None]
    if not names:
        return None
    return (
        f"{' and '.join(names)} of step {monitor.recent[-1]['step']} is not a finite number, and the weights may be "
        "spoilt; lower --learning-rate or --set max_grad_norm=0.1, or say --dtype float32"
    )


def _far_away(monitor: Monitor) -> str | None:
    if not monitor.lasts(lambda line: (line.get("kl") or 0) > FAR, 3):
        return None
    return (
        f"the KL from the reference model is {monitor.recent[-1]['kl']:.0f} nats a token; lower --learning-rate or "
        "--set max_grad_norm=0.1, or raise --set beta"
    )


CHECKS = (
    _never_right,
    _always_right,
    _all_equal,
    _cut,
    _collapsed,
    _hacked,
    _pleased,
    _mismatched,
    _not_finite,
    _far_away,
)
