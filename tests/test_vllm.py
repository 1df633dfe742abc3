"""vLLM's engine is fed and drained as a stream, and opens what r1kit trains. It takes about a minute to start."""

import os
import threading
from importlib.util import find_spec
from itertools import islice

import pytest
from conftest import lines, r1kit

from r1kit.engines import Request, Sampling
from r1kit.model import BASE_FOLDER, load_model

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed"),
]

PROMPTS = ["User: What is 3 + 9 + 6?\nAssistant:", "Q: 7 + 8 - 2 = ?\nA:"]
SPACE = {"VLLM_CPU_KVCACHE_SPACE": "1"}
FLAGS = ("--engine", "vllm", "--dtype", "float32", "--max-model-len", 256, "--engine-arg", "enforce_eager=true")


@pytest.fixture(scope="module")
def base():
    return load_model("base")


@pytest.fixture(scope="module")
def engine(base):
    """Return the embedded base in vLLM."""
    from r1kit.engines.vllm import VllmEngine

    # spawned: a forked child would inherit this process's OpenMP threads, and hang
    os.environ.update(SPACE, VLLM_WORKER_MULTIPROCESSING_METHOD="spawn", VLLM_LOGGING_LEVEL="ERROR")
    return VllmEngine("base", base[1], "float32", {"max_model_len": 256, "enforce_eager": True}, with_logprobs=True)


def requests(tokenizer, samples, **fields):
    ids = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    return [Request(f"{i}/{j}", prompt, **fields) for i, prompt in enumerate(ids) for j in range(samples)]


def complete(engine, asked, sampling):
    return {request.key: completion for request, completion in engine.complete(asked, sampling)}


def test_it_says_greedily_what_the_transformers_engine_says(engine, base):
    from r1kit.engines.transformers import TransformersEngine

    asked = requests(base[1], 1)
    ours = complete(TransformersEngine(*base), asked, Sampling(0, max_tokens=32))
    theirs = complete(engine, asked, Sampling(0, max_tokens=32))
    for key, completion in ours.items():
        assert (theirs[key].text, theirs[key].token_ids) == (completion.text, completion.token_ids)
        assert theirs[key].finish_reason == completion.finish_reason
        assert (theirs[key].prompt_tokens, theirs[key].completion_tokens) == (
            completion.prompt_tokens,
            completion.completion_tokens,
        )


def test_log_probabilities_are_those_at_the_temperature(engine, base):
    import torch

    model, tokenizer = base
    asked = requests(tokenizer, 4)
    for request, completion in engine.complete(asked, Sampling(0.7, max_tokens=24)):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([request.prompt + completion.token_ids])).logits[0]
        logprobs = (logits / 0.7).log_softmax(-1)
        places = enumerate(completion.token_ids, start=len(request.prompt) - 1)
        assert completion.logprobs == pytest.approx([logprobs[i, token].item() for i, token in places], abs=1e-3)


def test_each_completion_has_a_seed_of_its_own(engine, base):
    asked = requests(base[1], 8)
    one = complete(engine, asked, Sampling(max_tokens=24))
    assert len({one[f"0/{sample}"].text for sample in range(8)}) > 2
    backwards = complete(engine, asked[::-1], Sampling(max_tokens=24))
    assert sum(backwards[key].token_ids == one[key].token_ids for key in one) >= 15  # of 16: rounding may flip a token
    other = complete(engine, asked, Sampling(max_tokens=24, seed=1))
    assert [other[key].token_ids for key in one] != [one[key].token_ids for key in one]


def test_more_prompts_than_one_step_reads(engine, base):
    """Prompts that do not fit into a step's tokens wait for the next one whole."""
    ids = base[1]("What is 1 + 2 + 3? " * 25)["input_ids"][:220]
    asked = [Request(str(i), [*ids, i], 3) for i in range(40)]
    assert len(complete(engine, asked, Sampling())) == 40


def test_limits_and_stop_texts_end_completions(engine, base):
    asked = requests(base[1], 8, max_tokens=5)
    assert {len(c.token_ids) for c in complete(engine, asked, Sampling()).values()} <= set(range(1, 6))
    stopped = 0
    for completion in complete(engine, requests(base[1], 16), Sampling(max_tokens=24, stop=("+",))).values():
        before = base[1].decode(completion.token_ids[:-1], skip_special_tokens=True)
        assert "+" not in before
        stopped += completion.finish_reason == "stop" and "+" in completion.text
    assert stopped > 0


def test_completions_leave_before_the_last_request_is_read(engine, base):
    asked, come = requests(base[1], 3, max_tokens=5), threading.Event()

    def slowly():
        yield from asked[:2]
        come.wait()
        yield from asked[2:]

    stream = engine.complete(slowly(), Sampling())
    assert {request.key for request, _ in islice(stream, 2)} == {"0/0", "0/1"}
    come.set()
    assert len(list(stream)) == 4


def test_a_stream_that_is_left_leaves_nothing_behind(engine, base):
    stream = engine.complete(requests(base[1], 8), Sampling(max_tokens=60))
    next(stream)
    stream.close()
    assert len(complete(engine, requests(base[1], 1), Sampling(max_tokens=4))) == 2


def test_a_beam_is_searched_in_it(engine, base):
    from r1kit.candidates import SearchSummary
    from r1kit.jsonl import Record
    from r1kit.search import search_problems
    from r1kit.search_methods import SearchPlan

    asked = [(Record({"id": str(i), "prompt": p}, "f:1"), base[1](p)["input_ids"]) for i, p in enumerate(PROMPTS)]
    plan, summary = SearchPlan("beam", 8, width=4, separator=". "), SearchSummary()
    found = list(search_problems(asked, engine, base[1], Sampling(max_tokens=60), plan, None, summary))
    assert [f.problem["id"] for f in found] == ["0", "1"]
    assert all(f.candidates[0].score >= f.candidates[-1].score for f in found)
    assert all(f.generated_tokens >= sum(len(c.token_ids) for c in f.candidates[:1]) for f in found)


def test_weights_that_are_packed_are_not_loaded_over(engine, base):
    assert not engine.serve("base", base[1])  # float32 on a CPU
    assert not engine.serve("student", base[1])


@pytest.mark.slow
def test_an_engine_takes_another_model_of_the_same_configuration(base, tmp_path):
    import torch

    from r1kit.engines.vllm import VllmEngine
    from r1kit.model import save_model

    other, tokenizer = load_model("base")
    with torch.no_grad():
        for weight in other.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    save_model(other, tokenizer, tmp_path, {})
    asked, settings = requests(base[1], 1), {"max_model_len": 256, "enforce_eager": True}
    greedy = Sampling(0, max_tokens=32)
    os.environ.update(SPACE, VLLM_WORKER_MULTIPROCESSING_METHOD="spawn", VLLM_LOGGING_LEVEL="ERROR")
    reused = VllmEngine("base", base[1], "bfloat16", settings)
    before = complete(reused, asked, greedy)
    assert not reused.serve("student", tokenizer)
    assert reused.serve(str(tmp_path), tokenizer)
    after = complete(reused, asked, greedy)
    reused.close()
    fresh = VllmEngine(str(tmp_path), tokenizer, "bfloat16", settings)
    anew = complete(fresh, asked, greedy)
    fresh.close()
    assert [c.token_ids for c in after.values()] == [c.token_ids for c in anew.values()]
    assert [c.token_ids for c in after.values()] != [c.token_ids for c in before.values()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    flags = ("--steps", 2, "--batch-size", 16, "--max-tokens", 32, "--eval-samples", 1)
    run = r1kit("grpo", "--model", "base", *flags, "-o", folder)
    assert run.returncode == 0, run.stderr
    return folder


def test_it_opens_what_was_trained_and_stdout_holds_records_alone(trained):
    problems = "".join(f'{{"id": "{i}", "prompt": {prompt!r}}}\n'.replace("'", '"') for i, prompt in enumerate(PROMPTS))
    command = ("rollout", "--model", trained, "--prompt-style", "raw", "--temperature", 0, "--max-tokens", 32)
    theirs = r1kit(*command, *FLAGS, stdin=problems, env=SPACE)
    assert theirs.returncode == 0, theirs.stderr[-3000:]
    ours = r1kit(*command, "--engine", "transformers", stdin=problems)
    assert lines(theirs.stdout) == lines(ours.stdout)
    assert len(lines(ours.stdout)) == 2


def test_what_vllm_refuses_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "none"}')
    (tmp_path / "model.safetensors").write_bytes((BASE_FOLDER / "model.safetensors").read_bytes())
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((BASE_FOLDER / name).read_bytes())
    run = r1kit("rollout", "--model", tmp_path, *FLAGS, stdin='{"prompt": "1 + 1?"}\n', env=SPACE)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.rstrip().splitlines()[-1].startswith("r1kit rollout: error: ")
