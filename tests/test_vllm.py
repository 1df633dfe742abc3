"""vLLM opens what r1kit trains. One engine for all: it takes about a minute to start."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from conftest import lines, r1kit

from r1kit.model import BASE_FOLDER

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed"),
]

PROMPTS = ["User: What is 3 + 9 + 6?\nAssistant:", "Q: 7 + 8 - 2 = ?\nA:"]
PROGRAM = """
import json, sys
from vllm import LLM, SamplingParams

llm = LLM(model=sys.argv[1], dtype="float32", max_model_len=256, enforce_eager=True)
prompts = json.loads(sys.argv[2])
greedy = llm.generate(prompts, SamplingParams(temperature=0, max_tokens=32))
sampled = llm.generate(prompts, SamplingParams(temperature=1, max_tokens=32, n=8, seed=0))
found = {"greedy": [o.outputs[0].text for o in greedy], "sampled": [[c.text for c in o.outputs] for o in sampled]}
print("FOUND" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    run = r1kit(
        "grpo",
        "--model",
        "base",
        "--steps",
        2,
        "--batch-size",
        16,
        "--max-tokens",
        32,
        "--eval-samples",
        1,
        "-o",
        folder,
    )
    assert run.returncode == 0, run.stderr
    return folder


@pytest.mark.parametrize("model", ["base", "trained"])
def test_vllm_opens_a_model_says_the_same_greedily_and_samples(model, request):
    folder = BASE_FOLDER if model == "base" else request.getfixturevalue("trained")
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), json.dumps(PROMPTS)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.partition("FOUND")[2].splitlines()[0])
    problems = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS)
    ours = r1kit(
        "rollout", "--model", folder, "--prompt-style", "raw", "--temperature", 0, "--max-tokens", 32, stdin=problems
    )
    assert found["greedy"] == [r["completion"] for r in lines(ours.stdout)]
    assert all(len(set(texts)) > 1 for texts in found["sampled"])
