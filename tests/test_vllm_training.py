"""What vLLM cannot do beside a trainer is one line before anything is loaded."""

import json
import os
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from accelerate import Accelerator
from test_grpo_plan import PLAN

from r1kit.engines.vllm_training import check_server, level, prepare_vllm
from r1kit.errors import UsageError, UserError

READY = {"/health": {}, "/server_info?config_format=json": {"vllm_config": {"weight_transfer_config": {}}}}
NO_TRANSFER = {"/health": {}, "/server_info?config_format=json": {"vllm_config": {"weight_transfer_config": None}}}


class Replies(BaseHTTPRequestHandler):
    """Answers a path with JSON, all others with 404."""

    def do_GET(self):
        known = self.path in self.server.replies
        body = json.dumps(self.server.replies.get(self.path)).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def server(replies):
    """Run a server with these replies; yield its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Replies) as running:
        running.replies = replies
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    """Be on a machine without a GPU, where nothing is said of vLLM, and leave the environment as it was."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if not k.startswith("VLLM_")})


def prepare(**changes):
    prepare_vllm(replace(PLAN, **{"engine": "vllm", **changes}))


def test_the_environment_is_set_where_vllm_draws_and_the_users_word_stands():
    before = dict(os.environ)
    prepare(engine="transformers")
    assert os.environ == before
    os.environ["VLLM_LOGGING_LEVEL"] = "INFO"
    prepare()
    assert (os.environ["VLLM_CPU_KVCACHE_SPACE"], os.environ["VLLM_LOGGING_LEVEL"]) == ("2", "INFO")


def test_a_share_of_memory_takes_the_place_of_the_cache_of_fixed_size():
    os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)
    prepare(gpu_memory_utilization=0.2)
    assert "VLLM_CPU_KVCACHE_SPACE" not in os.environ


def test_there_is_no_sleep_on_a_cpu_and_none_of_a_servers():
    with pytest.raises(UsageError, match="--sleep: vLLM has no sleep mode on a CPU; leave it out"):
        prepare(sleep=True)
    with pytest.raises(UsageError, match="--sleep: a server's memory is not this command's"):
        prepare(sleep=True, server="http://127.0.0.1:9")
    with pytest.raises(UsageError, match="--gpu-memory-utilization: a server's memory"):
        prepare(gpu_memory_utilization=0.5, server="http://127.0.0.1:9")


def test_weights_are_sent_to_a_server_from_a_gpu():
    with server(READY) as url, pytest.raises(UserError, match="by NCCL, and there is no GPU here; leave it out"):
        prepare(server=url)


@pytest.mark.parametrize("url", ["localhost:8000", "http://localhost:8000/", "http://localhost:8000/v1"])
def test_an_address_of_another_form_is_refused(url):
    with pytest.raises(UsageError, match="is not the root of a server; say --server http://HOST:PORT"):
        check_server(url)


def test_a_server_that_is_not_there_or_takes_no_weights_is_named():
    with pytest.raises(UserError, match=r"no vLLM server answers at http://127.0.0.1:9 .*start it: VLLM_SERVER_DEV"):
        check_server("http://127.0.0.1:9")
    with server({}) as url, pytest.raises(UserError, match=r"no vLLM server answers .*Not Found"):
        check_server(url)
    for replies in ({"/health": {}}, NO_TRANSFER):  # without the development endpoints; without a way for weights
        with server(replies) as url, pytest.raises(UserError, match="takes no weights; start it anew: VLLM_SERVER_DEV"):
            check_server(url)
    with server(READY) as url:
        check_server(url)


def test_the_importance_of_samples_is_corrected_in_both_modes(tmp_path):
    from trl import GRPOConfig

    for changes in ({}, {"server": "http://localhost:8000"}, {"gpu_memory_utilization": 0.4, "sleep": False}):
        plan = replace(PLAN, engine="vllm", **changes)
        config = GRPOConfig(output_dir=str(tmp_path), **plan.trl_settings(1_000_000, 1, False, 20))
        assert config.vllm_importance_sampling_correction
        assert config.vllm_mode == ("server" if plan.server else "colocate")


def test_one_process_levels_nothing():
    assert level([[5, 6], [7]], Accelerator(cpu=True), 0) == [[5, 6], [7]]
