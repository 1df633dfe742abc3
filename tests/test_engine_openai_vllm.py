"""The openai engine against vLLM's server. One server for all: it takes about a minute to start."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec

import pytest
from conftest import lines

from r1kit.engines import Request, Sampling
from r1kit.engines.openai import OpenAIEngine
from r1kit.errors import UserError
from r1kit.model import BASE_FOLDER

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed"),
]


def requests(*prompts):
    return [Request(str(prompt), prompt) for prompt in prompts]


class VllmServer:
    """vLLM's server for the embedded base model, in a process group of its own."""

    def __init__(self, log):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url, self.log = f"http://127.0.0.1:{port}/v1", log
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(BASE_FOLDER)]
        command += ["--dtype", "float32", "--max-model-len", "512", "--enforce-eager"]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"}
        with log.open("w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)

    def wait(self):
        """Return once it serves."""
        while self.process.poll() is None:
            try:
                return urllib.request.urlopen(self.url.removesuffix("/v1") + "/health").close()
            except OSError:
                time.sleep(0.5)
        raise AssertionError(self.log.read_text()[-3000:])

    def kill(self):
        """End it and its engine's process."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="module")
def vllm_server(tmp_path_factory):
    server = VllmServer(tmp_path_factory.mktemp("vllm") / "log")
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def base():
    from r1kit.model import load_model

    return load_model("base")


@pytest.fixture(scope="module")
def problems():
    """Return the prompts of some embedded problems, as they stand."""
    path = BASE_FOLDER.parent / "problems" / "arith.test.jsonl"
    return [problem["prompt"] for problem in lines(path.read_text(encoding="utf-8"))[:12]]


def greedy_text(base, text, max_tokens=32):
    """Return what the model itself says after a text."""
    model, tokenizer = base
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    output = model.generate(ids, do_sample=False, max_new_tokens=max_tokens)
    return tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)


def forward_logprobs(base, text, token_ids):
    """Return the log-probabilities of tokens after a text, by one plain forward pass."""
    import torch

    model, tokenizer = base
    ids = tokenizer(text)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids + token_ids])).logits[0, len(ids) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(token_ids)[:, None])[:, 0].tolist()


def test_vllm_greedy_text_is_the_models_own(vllm_server, base, problems):
    engine = OpenAIEngine(vllm_server.url)
    drawn = {r.key: c for r, c in engine.complete(requests(*problems), Sampling(temperature=0, max_tokens=32))}
    assert {key: c.text for key, c in drawn.items()} == {text: greedy_text(base, text) for text in problems}
    assert {len(base[1](text)["input_ids"]) == drawn[text].prompt_tokens for text in problems} == {True}


def test_vllm_log_probabilities_are_those_of_a_forward_pass(vllm_server, base, problems):
    engine = OpenAIEngine(vllm_server.url, with_logprobs=True)
    drawn = list(engine.complete(requests(*problems), Sampling(max_tokens=32, seed=1)))
    assert len(drawn) == len(problems)
    for request, c in drawn:
        assert len(c.token_ids) == len(c.logprobs) == c.completion_tokens > 0
        assert c.logprobs == pytest.approx(forward_logprobs(base, request.prompt, c.token_ids), abs=1e-3)
        assert base[1].decode(c.token_ids, skip_special_tokens=True) == c.text


def test_vllm_draws_the_same_for_the_same_key_and_seed_in_any_order(vllm_server, problems):
    engine = OpenAIEngine(vllm_server.url)
    asked = [Request(f"{sample}", problems[0]) for sample in range(16)]

    def drawn(requests, seed):
        return {r.key: c.text for r, c in engine.complete(requests, Sampling(max_tokens=16, seed=seed))}

    first = drawn(asked, seed=1)
    assert drawn(asked[::-1], seed=1) == first
    assert drawn(asked, seed=2) != first
    assert len(set(first.values())) > 1


def test_vllm_continues_a_prefill(vllm_server, base, problems):
    _, tokenizer = base
    chats = [[{"role": "user", "content": text}, {"role": "assistant", "content": "<think>"}] for text in problems[:4]]
    engine = OpenAIEngine(vllm_server.url, with_logprobs=True)
    for request, c in engine.complete(requests(*chats), Sampling(temperature=0, max_tokens=16)):
        text = tokenizer.apply_chat_template(request.prompt, tokenize=False, continue_final_message=True)
        assert text.endswith("<think>")
        assert c.text == greedy_text(base, text, 16)
        assert c.logprobs == pytest.approx(forward_logprobs(base, text, c.token_ids), abs=1e-3)


def test_vllm_names_the_stop_text_and_it_is_kept(vllm_server, base, problems):
    whole = greedy_text(base, problems[0])
    stop = whole[2:4]
    engine = OpenAIEngine(vllm_server.url)
    ((_, drawn),) = engine.complete(requests(problems[0]), Sampling(temperature=0, max_tokens=32, stop=(stop,)))
    assert drawn.text == whole[: whole.index(stop) + len(stop)]
    assert drawn.finish_reason == "stop"


def test_vllm_refuses_a_prompt_past_its_window_and_the_others_are_right(vllm_server, base, problems):
    engine = OpenAIEngine(vllm_server.url)
    asked = requests(problems[0], "1 + " * 600, problems[1])
    drawn = {r.prompt: c for r, c in engine.complete(asked, Sampling(temperature=0, max_tokens=32))}
    assert [drawn[text].text for text in problems[:2]] == [greedy_text(base, text) for text in problems[:2]]
    assert drawn[asked[1].prompt].finish_reason == "error"
    assert "maximum context length is 512 tokens" in drawn[asked[1].prompt].error


def test_vllm_that_is_killed_half_way_loses_nothing_that_was_done(vllm_server, problems):  # the last one to use it
    extra = {"ignore_eos": True}
    engine = OpenAIEngine(vllm_server.url, concurrency=4, retries=2, backoff=0.1, extra=extra)
    asked = [Request(f"{sample}", problems[0], max_tokens=20 + sample) for sample in range(200)]
    done = []

    def read():
        for _, drawn in engine.complete(asked, Sampling()):
            done.append(drawn)
            if len(done) == 10:
                vllm_server.kill()

    with pytest.raises(UserError, match=r"(cannot be reached any more|breaks the connection off).*3 times in a row"):
        read()
    assert 10 <= len(done) < 200
    assert all(drawn.completion_tokens >= 20 for drawn in done)
