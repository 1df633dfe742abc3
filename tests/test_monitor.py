"""What the monitor says of runs that go wrong in one known way each, and that it is silent on one that goes well."""

import pytest

from r1kit.monitor import FAR, IN_A_ROW, MISMATCH, Monitor, note_on_loss
from r1kit.reward_spec import parse_rewards

# a run of the embedded base: rewards accuracy,format:0.2, 80 steps of 16 groups of 8
ACCURACY = """
.195 .211 .219 .227 .453 .516 .602 .641 .805 .812 .906 .805 .875 .914 .930 .922 .875 .930 .953 .953 .930 .922 .984 .961
.992 .953 .984 .969 .914 .984 .914 .977 1 .992 .953 .992 .984 .984 .969 .930 .953 .961 .969 .984 .953 .938 .938 .938
.992 .938 .953 .992 .969 .961 .953 .961 .992 .953 .977 .977 .977 .992 .977 .945 .984 .984 .977 .969 .992 .977 .984 .992
.953 .930 .984 .992 .922 .992 .984 .984
"""
FORMAT = """
.023 .039 .039 .055 .086 .109 .141 .148 .109 .148 .164 .188 .250 .266 .273 .289 .328 .289 .344 .484 .477 .461 .539 .688
.648 .648 .742 .680 .711 .758 .828 .852 .875 .875 .867 .867 .914 .906 .914 .906 .938 .953 .930 .969 .984 .969 .922 .945
.984 .945 .992 .961 .984 .953 .969 .977 1 .961 .977 .977 1 .992 .984 .977 .992 .977 .984 .984 .992 1 .977 1 .977 .977 1
.977 .984 .992 .984 .984
"""
ENTROPY = """
.436 .449 .410 .392 .274 .234 .222 .173 .164 .149 .142 .144 .117 .129 .113 .132 .123 .114 .111 .110 .103 .105 .096 .100
.094 .096 .088 .092 .085 .080 .076 .073 .078 .076 .075 .074 .069 .071 .071 .067 .071 .061 .065 .062 .065 .062 .061 .064
.061 .063 .062 .060 .057 .056 .059 .057 .057 .055 .059 .061 .052 .053 .058 .055 .059 .054 .055 .052 .055 .055 .055 .055
.059 .055 .050 .059 .059 .055 .061 .054
"""
ZERO_SIGNAL = """
.125 .312 .125 .188 0 0 0 .062 .062 .062 .062 0 0 0 .125 0 0 .062 0 0 0 0 0 0 0 0 .062 0 .062 .188 .188 .312 .438 .438
.188 .375 .312 .438 .375 .375 .500 .500 .688 .688 .625 .562 .250 .438 .812 .500 .562 .688 .688 .562 .625 .625 .938 .562
.688 .750 .812 .875 .688 .688 .812 .688 .750 .688 .875 .812 .750 .938 .688 .750 .875 .750 .812 .875 .750 .812
"""


def log(steps=40, **readings):
    """Return the log of a run that neither gains nor loses, but for readings: values, or functions of the step."""
    plain = {
        "accuracy": 0.4, "format": 0.2, "length": 30.0, "truncated": 0.0, "entropy": 0.4, "zero_signal": 0.3,
        "loss": -0.1, "grad_norm": 0.1, "kl": 0.05, "logprob_difference": 0.004,
    }  # fmt: skip
    lines = []
    for step in range(1, steps + 1):
        line = {k: v(step) if callable(v) else v for k, v in {**plain, **readings}.items()}
        accuracy, form = line["accuracy"], line.pop("format")
        reward = (accuracy or 0) + 0.2 * form
        lines.append({"step": step, "reward": reward, "rewards": {"accuracy": accuracy, "format": form}, **line})
    return lines


def heard(lines, rewards="accuracy,format:0.2"):
    """Return the warnings on a log, each with its step."""
    monitor = Monitor(parse_rewards(rewards))
    return [(line["step"], warning) for line in lines for warning in monitor.read(line)]


def only(lines, rewards="accuracy,format:0.2"):
    """Return step and text of the one warning on a log."""
    [warning] = heard(lines, rewards)
    return warning


def rising(low, high, steps=40):
    return lambda step: low + (high - low) * (step - 1) / (steps - 1)


def test_a_healthy_run_is_not_warned_of():
    columns = [[float(word) for word in text.split()] for text in (ACCURACY, FORMAT, ENTROPY, ZERO_SIGNAL)]
    assert [len(column) for column in columns] == [80] * 4
    names = ("accuracy", "format", "entropy", "zero_signal")
    readings = {n: lambda step, c=c: c[step - 1] for n, c in zip(names, columns, strict=True)}
    assert heard(log(80, **readings)) == []


def test_a_run_that_stands_still_is_not_warned_of():
    assert heard(log(200)) == []


@pytest.mark.parametrize(
    ("accuracy", "said", "flags"),
    [
        (0.0, "no completion was right", ("--pass-rate", "-n")),
        (1.0, "every completion was right", ("harder problems",)),
        (0.5, "all rewards were the same", ("--pass-rate", "-n", "--reward")),
        (None, "all rewards were the same", ("--pass-rate", "-n", "--reward")),
    ],
)
def test_no_signal_for_some_steps_is_said_once_with_its_cause(accuracy, said, flags):
    step, text = only(log(accuracy=accuracy, zero_signal=lambda step: 1.0 if step >= 4 else 0.5))
    assert step == 4 + IN_A_ROW - 1
    assert said in text
    assert all(flag in text for flag in flags)


def test_a_run_that_fell_to_nothing_is_not_told_to_take_easier_problems():
    lines = log(accuracy=lambda step: 0.4 if step < 20 else 0.0, zero_signal=lambda step: 0.3 if step < 20 else 1.0)
    step, text = only(lines)
    assert step == 20 + IN_A_ROW - 1
    assert "easier" not in text
    assert "--learning-rate" in text


def test_a_step_with_signal_breaks_the_row():
    assert heard(log(accuracy=0.0, zero_signal=lambda step: 0.9 if step % IN_A_ROW == 0 else 1.0)) == []


def test_no_signal_of_another_cause_is_said_too():
    wrong_then_right = log(steps=60, zero_signal=1.0, accuracy=lambda step: 0.0 if step <= 30 else 1.0)
    said = [text for _, text in heard(wrong_then_right)]
    assert len(said) == 3
    assert "no completion was right" in said[0]
    assert "all rewards were the same" in said[1]  # the steps in which the one gave way to the other
    assert "every completion was right" in said[2]


def test_completions_that_are_all_cut_ask_for_more_tokens():
    step, text = only(log(truncated=0.97, length=256.0))
    assert step == IN_A_ROW
    assert "at 256 tokens" in text
    assert "--max-tokens" in text
    assert heard(log(truncated=0.9)) == []


def fallen(step):
    return 0.4 * 0.9**step


def test_an_entropy_that_collapses_while_the_reward_stands_still_is_warned_of():
    step, text = only(log(entropy=fallen))
    assert step == 30  # the first ten steps whose mean is below a tenth of that of the first five
    assert "--temperature" in text
    assert "epsilon_high" in text


@pytest.mark.parametrize("accuracy", [rising(0.1, 0.89), 0.97])
def test_an_entropy_that_falls_while_the_reward_rises_or_is_near_its_best_is_no_collapse(accuracy):
    assert heard(log(entropy=fallen, accuracy=accuracy)) == []


def test_an_entropy_collapse_is_seen_without_an_accuracy_too():
    assert "entropy" in only(log(entropy=fallen, accuracy=None), "format")[1]


def test_format_that_is_climbed_alone_is_warned_of():
    step, text = only(log(format=lambda step: min(1.0, step / 20)))
    assert step == 24  # the first ten steps whose mean is 0.9: 15/20 to 20/20, and four of 1
    assert "format has climbed to 0.93" in text
    assert "accuracy stays at 0.40" in text
    assert "--reward" in text


@pytest.mark.parametrize(
    ("readings", "rewards"),
    [
        ({"accuracy": rising(0.4, 0.6)}, "accuracy,format:0.2"),  # accuracy rises with it
        ({"accuracy": 0.95}, "accuracy,format:0.2"),  # and has nowhere to rise to
        ({"accuracy": None}, "accuracy,format:0.2"),  # and is not known
        ({}, "accuracy,format:0"),  # and is only looked at
        ({"format": 0.97}, "accuracy,format:0.2"),  # it was high from the start
    ],
)
def test_format_that_is_high_for_another_reason_is_not_warned_of(readings, rewards):
    assert heard(log(**{"format": lambda step: min(1.0, step / 20), **readings}), rewards) == []


PREFERENCE = "math=accuracy general=model:rm"


def preferred(score, general, overall=0.4, steps=40):
    """Return a log in which a model grades general problems, whose own accuracy is known, or None."""
    lines = log(steps, accuracy=overall)
    for line in lines:
        values = [value(line["step"]) if callable(value) else value for value in (score, general)]
        line["rewards"] = {"math=accuracy": line["accuracy"], "general=model:rm": values[0]}
        line["accuracies"] = {"math": line["accuracy"], "general": values[1]}
    return lines


def wavering(low, high, steps=40):
    """Return what goes from low to high, with noise as of a batch."""
    return lambda step: rising(low, high, steps)(step) + 0.05 * (step % 3 - 1)


def test_a_model_that_is_pleased_while_the_answers_get_worse_is_warned_of_once_with_both_numbers():
    step, text = only(preferred(wavering(-2, 6), wavering(0.8, 0.3)), PREFERENCE)
    assert step == 20  # ten steps at first, and ten after them
    assert "general=model:rm has climbed to 0.98 from -1.08 while accuracy has fallen to 0.62 from 0.74" in text
    assert "--last-steps" in text
    assert "--reward" in text


@pytest.mark.parametrize(
    ("score", "general"),
    [
        (wavering(-2, 6), wavering(0.3, 0.8)),  # both rise
        (wavering(6, -2), wavering(0.8, 0.3)),  # both fall
        (wavering(-2, 6), wavering(0.5, 0.5)),  # the answers stay as they are
        (wavering(-2, 6), lambda step: 0.6 if step % 2 else 0.4 - step / 1000),  # or differ by chance
        (lambda step: step % 7, wavering(0.8, 0.3)),  # the model goes to and fro
    ],
)
def test_a_model_that_is_pleased_for_good_reason_is_not_warned_of(score, general):
    assert heard(preferred(score, general), PREFERENCE) == []


HACKED = """
    1.41:0.75 0.49:0.96 -1.75:0.12 -0.5:1 3.17:1 0.71:1 -1.33:0.75 0.45:0.95 1.57:0.92 0.44:0.81
    0.35:1 0.73:0.69 2.16:1 2.16:1 -0.17:1 2.07:0.56 1.46:0.81 1.46:1 1.33:0.62 1.47:0.38
    -0.35:0.79 0.77:0.38 0.99:0.62 2.51:0.94 3.03:0.77 3.11:0.69 1.62:0.31 1.64:0.5 0.93:0.81 2.44:0.66
    0.85:0.72 -0.34:0.67 2.16:0.81 2.1:0.72 0.19:0.38 1.71:0.5 0.24:0.75 1.57:0.31 1.8:0.54 2.39:0.62
    1.54:0.38 2.15:0.38 0.8:0.88 1.06:0.94 0.92:0.25 2.45:0.34 -0.15:1 2.83:1 0.56:0.66 1.15:0.81
    2.82:0.52 2.32:0.96 3.44:0.94 1.45:0.54 0.92:0.25 1.81:0.88 2.45:0.12 1.9:0.81 3.01:0.42 1.54:0.38
    2.44:0.56 0.29:0.75 2.72:0.69 0.52:0.56 1.72:0.75 1.69:0.88 1.19:0.75 3.33:0.65 2.32:0.44 1.6:0.08
    0.41:0.75 2.47:0.62 4.35:1 1.93:0.5
"""  # score and accuracy of the general answers in the last 80 steps of a final RL run of the embedded base, whose
# preference model was trained for 3 epochs: held-out facts fell from 93 to 43 %, "8" being an answer that it liked


def test_a_run_in_which_the_preference_model_was_hacked_is_warned_of():
    read = [tuple(map(float, pair.split(":"))) for pair in HACKED.split()]
    log = preferred(lambda step: read[step - 1][0], lambda step: read[step - 1][1], steps=len(read))
    step, text = only(log, PREFERENCE)
    assert step == 36
    assert "has climbed to 1.62 from 0.48 while accuracy has fallen to 0.63 from 0.83" in text


def test_a_model_that_comes_late_is_held_to_its_own_first_steps():
    """With --last-steps: before them there are no such completions, and their accuracy is another one."""
    late = preferred(lambda step: None if step <= 15 else step, lambda step: None if step <= 15 else 1 - step / 100)
    step, text = only(late, PREFERENCE)
    assert step == 35
    assert "climbed to 30.50 from 20.50 while accuracy has fallen to 0.69 from 0.80" in text


def test_where_no_rule_judges_what_the_model_grades_the_other_answers_are_looked_at():
    _, text = only(preferred(wavering(-2, 6), None, wavering(0.8, 0.3)), PREFERENCE)
    assert "accuracy has fallen to 0.62 from 0.74" in text
    assert heard(preferred(wavering(-2, 6), None, 0.4), PREFERENCE) == []


def test_an_engine_that_disagrees_with_the_trainer_is_warned_of():
    _, text = only(log(logprob_difference=0.12))
    assert "0.12 nats" in text
    assert "--dtype" in text
    assert "vllm_importance_sampling_correction=true" in text
    assert heard(log(logprob_difference=lambda step: MISMATCH + 0.1 if step % 3 else None)) == []


@pytest.mark.parametrize("name", ["loss", "grad_norm"])
def test_what_is_not_finite_is_warned_of_at_once(name):
    step, text = only(log(**{name: lambda step: None if step >= 9 else 0.1}))
    assert step == 9
    assert name in text
    assert "--learning-rate" in text
    assert "max_grad_norm" in text


def test_a_kl_that_explodes_is_warned_of():
    step, text = only(log(kl=lambda step: 0.01 * 2.0**step))
    assert 0.01 * 2.0 ** (step - 2) > FAR >= 0.01 * 2.0 ** (step - 3)
    assert "beta" in text


def test_a_log_without_kl_and_without_an_engine_of_its_own_is_read_too():
    lines = [{k: v for k, v in line.items() if k not in ("kl", "logprob_difference")} for line in log()]
    assert heard(lines) == []


def test_two_faults_are_both_told():
    assert len(heard(log(truncated=1.0, accuracy=0.0, zero_signal=1.0))) == 2


def test_a_first_loss_near_0_is_explained():
    assert "the loss is -2.0e-08 at first" in note_on_loss(log(loss=-2e-8)[0])
    assert note_on_loss(log(loss=-0.3)[0]) is None
    assert note_on_loss(log(loss=None)[0]) is None
    assert note_on_loss(log(loss=0.0)[1]) is None
