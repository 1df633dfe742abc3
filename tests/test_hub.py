import json

import pytest
from conftest import lines, r1kit
from hub_server import running_hub

CARD = b"""---
configs:
- config_name: main
  data_files:
  - split: test
    path: main/test.jsonl
  - split: train
    path: main/train.jsonl
- config_name: other
  data_files:
  - split: test
    path: other/test.jsonl
  - split: dev
    path: other/dev.jsonl
---
"""


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


GSM8K = {
    "README.md": CARD,
    "main/test.jsonl": jsonl({"question": f"{i} + 1?", "answer": f"so\n#### {i + 1}"} for i in range(50)),
    "main/train.jsonl": jsonl([{"question": "t", "answer": "#### 2"}]),
    "other/test.jsonl": jsonl([{"question": "o", "answer": "#### 3"}]),
    "other/dev.jsonl": jsonl([{"question": "d", "answer": "#### 4"}]),
}
CASES = {"input": "1\n", "output": "2\n", "testtype": "stdin"}
PROBLEM = {"question_content": "q", "public_test_cases": json.dumps([CASES]), "metadata": "{}"}
LIVECODEBENCH = {
    "code_generation_lite.py": b"open('ran', 'w')",
    "test.jsonl": jsonl([{**PROBLEM, "question_id": "a"}]),
    "test2.jsonl": jsonl([{**PROBLEM, "question_id": "b"}]),
}


@pytest.fixture(scope="module")
def hub():
    repositories = {
        "openai/gsm8k": GSM8K,
        "livecodebench/code_generation_lite": LIVECODEBENCH,
        "Idavidrein/gpqa": None,
        "some/script": {"script.py": b"open('ran', 'w')"},
    }
    with running_hub(repositories) as server:
        yield server


@pytest.fixture
def ask(hub, tmp_path):
    """Return a function that runs `r1kit data` with the hub of the tests."""
    env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "HF_TOKEN": ""}
    return lambda *arguments: r1kit("data", *arguments, cwd=tmp_path, env=env)


def test_a_known_set_is_streamed_by_its_name_from_its_own_split(ask, hub):
    hub.asked.clear()
    run = ask("gsm8k", "--limit", 2)
    assert run.returncode == 0, run.stderr
    assert [(p["prompt"], p["answer"], p["kind"]) for p in lines(run.stdout)] == [
        ("0 + 1?", "1", "math"),
        ("1 + 1?", "2", "math"),
    ]
    assert set(hub.asked) == {"README.md", "main/test.jsonl"}
    assert "Retrying" not in run.stderr


def test_split_and_configuration_are_chosen_and_a_shuffle_loses_nothing(ask):
    assert [p["prompt"] for p in lines(ask("gsm8k", "--config", "other", "--split", "dev").stdout)] == ["d"]
    shuffled = [p["prompt"] for p in lines(ask("gsm8k", "--shuffle").stdout)]
    assert sorted(shuffled) == sorted(f"{i} + 1?" for i in range(50))
    assert shuffled[:3] != ["0 + 1?", "1 + 1?", "2 + 1?"]


def test_the_files_of_a_set_that_needs_a_script_are_read_without_it(ask, tmp_path):
    assert [p["id"] for p in lines(ask("livecodebench").stdout)] == ["a", "b"]
    [newest] = lines(ask("livecodebench", "--config", "test2").stdout)
    assert (newest["id"], newest["tests"]) == ("b", {"inputs": ["1\n"], "outputs": ["2\n"]})
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("nobody/nothing",),
            "nobody/nothing: {url} has no such data set, or it is private; look at its name, or log in",
        ),
        (
            ("gpqa-diamond",),
            "Idavidrein/gpqa: is gated; ask for access at {url}/datasets/Idavidrein/gpqa and `hf auth login`; with a "
            "local copy say gpqa-diamond=FILE",
        ),
        (("some/script",), "some/script: cannot be read (RuntimeError: Dataset scripts are no longer supported"),
        (("gsm8k", "--split", "dev"), 'openai/gsm8k: has no split "dev"; say --split test or train'),
        (("gsm8k", "--config", "none"), "openai/gsm8k: BuilderConfig 'none' not found. Available: ['main', 'other']"),
    ],
)
def test_what_the_hub_does_not_have_is_one_line(arguments, message, ask, hub, tmp_path):
    run = ask(*arguments)
    assert run.returncode == 1
    assert run.stderr.startswith(f"r1kit data: error: {message.format(url=hub.url)}")
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "ran").exists()


def test_a_hub_that_cannot_be_reached_is_one_line_with_the_remedy(tmp_path):
    env = {"HF_ENDPOINT": "http://127.0.0.1:1", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    run = r1kit("data", "math500", env=env)
    what = "the hub cannot be reached (tried http://127.0.0.1:1: ConnectError)"
    expected = f"HuggingFaceH4/MATH-500: {what}; with a local copy say math500=FILE"
    assert (run.returncode, run.stdout, run.stderr) == (1, "", f"r1kit data: error: {expected}\n")
    offline = r1kit("data", "nobody/nothing", env={**env, "HF_HUB_OFFLINE": "1"})
    assert "nobody/nothing: the hub cannot be reached (tried http://127.0.0.1:1: " in offline.stderr
    assert "; with a local copy say FILE\n" in offline.stderr
