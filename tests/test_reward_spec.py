import pytest

from r1kit.cli import join_rewards
from r1kit.errors import UsageError
from r1kit.reward_spec import RewardPart, check_options, load_function, parse_options, parse_rewards, said_options


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("accuracy", [("accuracy", 1.0, None)]),
        ("accuracy, format:0.2".replace(" ", ""), [("accuracy", 1.0, None), ("format", 0.2, None)]),
        ("accuracy format:-0.2", [("accuracy", 1.0, None), ("format", -0.2, None)]),
        ("model:out/rm:0.5", [("model:out/rm", 0.5, None)]),
        ("model:out/rm", [("model:out/rm", 1.0, None)]),
        ("model:a,model:b", [("model:a", 1.0, None), ("model:b", 1.0, None)]),
        ("mine.py:my_reward:2", [("mine.py:my_reward", 2.0, None)]),
        (
            "math=accuracy,format:0.2 code=accuracy general=judge",
            [("accuracy", 1.0, "math"), ("format", 0.2, "math"), ("accuracy", 1.0, "code"), ("judge", 1.0, "general")],
        ),
    ],
)
def test_rewards_are_parsed(text, parts):
    assert parse_rewards(text) == [RewardPart(*part) for part in parts]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acuracy", 'unknown reward "acuracy"; the known ones are accuracy, format, boxed'),
        ("format,format", '"format" stands twice'),
        ("format math=format", '"format" stands twice'),
        ("math=format,format", '"format" stands twice'),
        ("format:x", '"x" is no weight; write format:0.5'),
        ("format:nan", '"nan" is no weight'),
        ("format:1:2", "too many colons"),
        ("model", "lacks what follows the colon"),
        ("model:", "lacks what follows the colon"),
        ("maths=accuracy", 'unknown kind "maths"; the known ones are math, code, general'),
        ("", "names no reward"),
        (",", "unknown reward"),
    ],
)
def test_bad_rewards_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_rewards(text)


def test_options_are_json_where_they_are():
    parts = parse_rewards("accuracy,overlong,judge")
    pairs = ["accuracy.partial=true", "overlong.max_tokens=100", "judge.url=http://x/v1?a=b"]
    assert parse_options(pairs, parts) == {
        "accuracy": {"partial": True},
        "overlong": {"max_tokens": 100},
        "judge": {"url": "http://x/v1?a=b"},
    }


def test_one_of_several_models_may_have_options_of_its_own():
    parts = parse_rewards("model:out/a,model:out/b.2:0.5")
    options = parse_options(["model:out/b.2.text=whole"], parts, score_text="final")
    assert [said_options(part, options) for part in parts] == [{"text": "final"}, {"text": "whole"}]
    with pytest.raises(UsageError, match='"model:out/c" is none of the rewards; name it in --reward too'):
        parse_options(["model:out/c.text=final"], parts)
    with pytest.raises(UsageError, match='model:out/a has no option "txt"; it has text, batch_tokens, dtype'):
        parse_options(["model:out/a.txt=final"], parts)


def test_a_run_says_its_longest_completion_to_the_rewards_that_ask():
    parts = parse_rewards("accuracy,overlong,length")
    options = parse_options(["length.max_tokens=7"], parts, max_tokens=100)
    assert options == {"length": {"max_tokens": 7}, "overlong": {"max_tokens": 100}}


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("partial=true", "is not REWARD.KEY=VALUE"),
        ("accuracy.partial", "is not REWARD.KEY=VALUE"),
        ("length.max_tokens=5", '"length" is none of the rewards; name it in --reward too'),
        ("accuracy.strict=1", 'accuracy has no option "strict"; it has partial'),
        ("format.x=1", 'format has no option "x"; it has none'),
    ],
)
def test_bad_options_are_refused(pair, message):
    with pytest.raises(UsageError, match=message):
        parse_options([pair], parse_rewards("accuracy,format"))


def test_a_reward_without_its_option_is_refused():
    parts = parse_rewards("accuracy,overlong")
    with pytest.raises(UsageError, match=r"overlong: needs max_tokens; say --reward-arg overlong.max_tokens=VALUE"):
        check_options(parts, {})
    check_options(parts, {"overlong": {"max_tokens": 5}})


def test_a_function_of_a_file_is_a_reward(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def shorter(completion, *, most=10):\n    return float(len(completion) < most)\n")
    assert load_function(str(file), "shorter")("abc") == 1.0
    assert parse_options([f"{file}.most=2"], parse_rewards(f"{file}:shorter")) == {str(file): {"most": 2}}


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (None, "f", "no such file"),
        ("x = 1", "f", "no such function in the file"),
        ("x = 1", "x", "no such function in the file"),
        ("1 / 0", "f", r"the file does not run \(ZeroDivisionError: division by zero\)"),
        ("def f(:", "f", r"the file does not run \(SyntaxError"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, content, name, message):
    file = tmp_path / "mine.py"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match=message):
        load_function(str(file), name)


def test_kinds_may_follow_the_flag_as_words():
    words = ["reward", "--reward", "math=accuracy", "code=accuracy:2", "file.jsonl", "general=x"]
    assert join_rewards(words) == ["reward", "--reward", "math=accuracy code=accuracy:2", "file.jsonl", "general=x"]
    assert join_rewards(["grpo", "--reward=math=accuracy", "code=accuracy"]) == [
        "grpo",
        "--reward=math=accuracy code=accuracy",
    ]
    assert join_rewards(["data", "x", "--map", "a=b"]) == ["data", "x", "--map", "a=b"]
