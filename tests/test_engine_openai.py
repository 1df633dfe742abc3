"""The openai engine against a real HTTP server on a real socket; against vLLM's: test_engine_openai_vllm.py."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from scripted_server import chat, completion, serving

from r1kit.engines import Request, Sampling
from r1kit.engines.openai import OpenAIEngine, completion_of, request_seed
from r1kit.errors import UserError

SAMPLING = Sampling(max_tokens=16)


def in_turn(*replies):
    """Return a reply function that says one after another, the last one for ever."""
    rest = list(replies)
    return lambda body: rest.pop(0) if len(rest) > 1 else rest[0]


def engine_of(server, **options):
    return OpenAIEngine(server.url, **{"backoff": 0.01, **options})


def requests(*prompts):
    return [Request(str(prompt), prompt) for prompt in prompts]


def texts(engine, *prompts):
    return [drawn.text for _, drawn in engine.complete(requests(*prompts), SAMPLING)]


def drain(stream, into):
    """Put all that a stream yields into a list."""
    for _, drawn in stream:
        into.append(drawn.text)


# what is sent


def test_a_text_and_token_ids_go_to_completions_and_messages_to_chat():
    messages = [{"role": "user", "content": "Hi"}]
    with serving(lambda body: chat(content="Yes?") if "messages" in body else "two") as server:
        assert sorted(texts(engine_of(server), "one", [5, 6, 7], messages)) == ["Yes?", "two", "two"]
        sent = {json.dumps(body.get("prompt", body.get("messages"))): path for path, body in server.posts}
        assert sent == {
            '"one"': "/v1/completions",
            "[5, 6, 7]": "/v1/completions",
            json.dumps(messages): "/v1/chat/completions",
        }


def test_the_sampling_is_sent_and_what_says_nothing_is_left_out():
    with serving() as server:
        engine = engine_of(server)
        list(engine.complete([Request("p/0", "a")], SAMPLING))
        sampling = Sampling(temperature=0.6, top_p=0.95, max_tokens=99, seed=3, top_k=20, stop=("\n\n",))
        list(engine.complete([Request("p/0", "a", max_tokens=7)], sampling))
        (_, plain), (_, full) = server.posts
    always = {"model": "tiny", "prompt": "a"}
    assert plain == {**always, "temperature": 1, "top_p": 1, "max_tokens": 16, "seed": request_seed(0, "p/0")}
    set_ones = {"temperature": 0.6, "top_p": 0.95, "max_tokens": 7, "seed": request_seed(3, "p/0")}
    assert full == {**always, **set_ones, "top_k": 20, "stop": ["\n\n"]}


def test_a_seed_depends_on_the_runs_seed_and_the_key_and_fits_31_bits():
    seeds = [request_seed(seed, f"p/{sample}") for seed in range(10) for sample in range(100)]
    assert len(set(seeds)) == 1000
    assert 0 <= min(seeds) < 2**24
    assert 2**30 < max(seeds) < 2**31
    assert request_seed(0, "p/0") == request_seed(0, "p/0")


def test_a_prefill_is_continued():
    asked, begun = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "<think>\n"}
    with serving(lambda body: chat(content="Yes")) as server:
        texts(engine_of(server, concurrency=1), [asked], [asked, begun])
        bodies = [body for _, body in server.posts]
    assert "continue_final_message" not in bodies[0]
    assert bodies[1]["continue_final_message"] is True
    assert bodies[1]["add_generation_prompt"] is False


def test_extra_fields_win_and_none_leaves_a_field_out():
    extra = {"chat_template_kwargs": {"thinking": False}, "top_p": 0.5, "seed": None}
    with serving() as server:
        texts(engine_of(server, extra=extra), "a")
        ((_, body),) = server.posts
    assert body["chat_template_kwargs"] == {"thinking": False}
    assert body["top_p"] == 0.5
    assert "seed" not in body


def test_log_probabilities_are_asked_for_where_they_are_wanted():
    messages = [{"role": "user", "content": "Hi"}]
    with serving(lambda body: chat(content="Yes") if "messages" in body else "two") as server:
        texts(engine_of(server, with_logprobs=True, concurrency=1), "a", messages)
        bodies = [body for _, body in server.posts]
    assert [body["logprobs"] for body in bodies] == [1, True]
    assert [body["return_token_ids"] for body in bodies] == [True, True]


def test_the_only_model_is_taken_and_several_are_listed():
    with serving(models=("a", "b")) as server:
        with pytest.raises(UserError, match=r"serves 2 models \(a, b\); say which: --model NAME"):
            OpenAIEngine(server.url)
        assert engine_of(server, model="b").model == "b"
    with serving() as server:
        assert engine_of(server).model == "tiny"


# what streams


def test_completions_leave_before_a_slow_one_that_was_asked_first():
    gate = threading.Event()
    with serving(lambda body: "slow" if body["prompt"] == "slow" and gate.wait() else body["prompt"]) as server:
        stream = engine_of(server).complete(requests("slow", "a", "b"), SAMPLING)
        assert {next(stream)[0].key, next(stream)[0].key} == {"a", "b"}
        gate.set()
        assert [request.key for request, _ in stream] == ["slow"]


def test_as_many_requests_as_allowed_are_in_flight_and_no_more():
    lock, full, counts, running = threading.Lock(), threading.Event(), [], set()

    def reply(body):
        with lock:
            running.add(body["prompt"])
            counts.append(len(running))
            if len(running) == 4:
                full.set()
        full.wait()
        time.sleep(0.02)  # a fifth would come now
        with lock:
            running.remove(body["prompt"])
        return body["prompt"]

    with serving(reply) as server:
        prompts = list(map(str, range(30)))
        assert sorted(texts(engine_of(server, concurrency=4), *prompts)) == sorted(prompts)
    assert max(counts) == 4


def test_an_input_that_waits_stalls_nothing_in_flight():
    gate = threading.Event()

    def source():
        yield from requests("a", "b")
        gate.wait()
        yield from requests("c")

    with serving() as server:
        stream = engine_of(server).complete(source(), SAMPLING)
        assert {next(stream)[1].text, next(stream)[1].text} == {"to a", "to b"}
        gate.set()
        assert [drawn.text for _, drawn in stream] == ["to c"]


def test_a_bad_last_request_raises_after_those_before_it_are_done():
    def source():
        yield from requests("a", "b", "c")
        raise UserError("problems.jsonl:4", "not JSON")

    done = []
    with serving(lambda body: time.sleep(0.05) or body["prompt"]) as server, pytest.raises(UserError, match="not JSON"):
        drain(engine_of(server).complete(source(), SAMPLING), done)
    assert sorted(done) == ["a", "b", "c"]


def test_no_requests_give_no_completions():
    with serving() as server:
        assert texts(engine_of(server)) == []


def test_a_reader_that_leaves_cancels_what_runs():
    gate = threading.Event()
    with serving(lambda body: body["prompt"] if body["prompt"] == "a" else gate.wait() and None) as server:
        stream = engine_of(server).complete(requests("a", *"bcdefgh"), SAMPLING)
        assert next(stream)[1].text == "a"
        assert "openai engine" in {thread.name for thread in threading.enumerate()}
        stream.close()
        assert "openai engine" not in {thread.name for thread in threading.enumerate()}
        gate.set()


def test_nothing_new_is_asked_while_nobody_reads():
    with serving() as server:
        stream = engine_of(server, concurrency=2).complete(requests(*map(str, range(500))), SAMPLING)
        next(stream)
        time.sleep(0.3)
        assert len(server.posts) <= 6
        assert len(list(stream)) == 499


def test_a_stream_that_is_left_open_does_not_keep_python_from_ending():
    code = """
from scripted_server import ScriptedServer
from test_engine_openai import *
def source():
    yield from requests("a")
    threading.Event().wait()
server = ScriptedServer(lambda body: "x", ["tiny"])
threading.Thread(target=server.serve_forever, daemon=True).start()
stream = engine_of(server).complete(source(), SAMPLING)
print(next(stream)[1].text)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=os.path.dirname(__file__))
    assert (run.returncode, run.stdout, run.stderr) == (0, "x\n", "")


# what fails in passing


def test_a_busy_server_is_asked_again_not_before_it_says():
    times = []

    def reply(body):
        times.append(time.monotonic())
        return (429, "slow down", {"Retry-After": "1"}) if len(times) == 1 else "done"

    with serving(reply) as server:
        assert texts(engine_of(server), "a") == ["done"]
    assert times[1] - times[0] >= 1


def test_a_wait_of_more_than_five_minutes_ends_the_run():
    with serving(lambda body: (429, "", {"Retry-After": "301"})) as server:
        with pytest.raises(UserError, match="answers 429 and asks to wait 301 s; come back then"):
            texts(engine_of(server), "a")
        assert len(server.posts) == 1


def test_a_server_that_keeps_failing_ends_the_run_with_its_words():
    with serving(lambda body: (500, {"error": {"message": "out of\nmemory"}})) as server:
        with pytest.raises(UserError) as caught:
            texts(engine_of(server, retries=2), "a")
        assert len(server.posts) == 3
        what = "answers 500 (out of memory), 3 times in a row; see to the server, then run again"
        assert str(caught.value) == f"server {server.url}: {what}"


@pytest.mark.parametrize(
    "trouble",
    [
        None,
        (408, ""),
        (502, "<html>"),
        {"error": {"message": "upstream", "code": 502}},
        completion("ha", finish_reason="abort"),
    ],
)
def test_what_may_pass_is_tried_again(trouble):
    with serving(in_turn(trouble, trouble, "done")) as server:
        assert texts(engine_of(server), "a") == ["done"]
        assert len({json.dumps(body) for _, body in server.posts}) == 1


def test_a_request_that_waits_its_turn_at_a_busy_server_ends_no_run():
    done, refused = [], []

    def reply(body):
        if body["prompt"] != "poor":
            return body["prompt"]
        if len(refused) == 4:
            return "rich"
        refused.append(len(done))
        while len(done) < refused[-1] + 10:  # ten that were read: one at least has come since this was asked
            time.sleep(0.001)
        return (429, "busy")

    def source():
        yield Request("poor", "poor")
        while "rich" not in done:
            yield Request("other", "other")

    with serving(reply) as server:
        drain(engine_of(server, concurrency=2, retries=1).complete(source(), SAMPLING), done)
    assert len(refused) == 4
    assert done.count("rich") == 1


def test_a_server_that_dies_half_way_loses_nothing_that_was_done():
    done, alive = [], iter(range(5))
    with serving(lambda body: body["prompt"] if next(alive, None) is not None else None) as server:
        engine = engine_of(server, retries=2, concurrency=2)
        with pytest.raises(UserError, match="breaks the connection off, 3 times in a row; see to the server"):
            drain(engine.complete(requests(*map(str, range(20))), SAMPLING), done)
    assert len(done) == 5


def test_a_server_that_went_away_is_waited_for_and_one_that_never_was_is_not():
    with serving() as server:
        engine = engine_of(server, retries=1, backoff=0.2)
        texts(engine, "a")
    with pytest.raises(UserError, match=r"cannot be reached any more \(connection refused\), 2 times in a row"):
        texts(engine, "a")
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        texts(engine_of(server, model="tiny", backoff=60), "a", "b")
    what = "cannot be reached (connection refused); start the server, or say --url URL"
    assert str(caught.value) == f"server {server.url}: {what}"
    with pytest.raises(UserError, match=r"cannot be reached \(connection refused\); start"):
        engine_of(server, backoff=60)
    assert time.monotonic() - start < 30


def test_a_server_that_hangs_is_given_up():
    gate = threading.Event()
    with serving(lambda body: gate.wait() and None) as server:
        with pytest.raises(UserError, match=r"gives no answer within 0.2 s, 2 times in a row"):
            texts(engine_of(server, retries=1, timeout=0.2), "a")
        gate.set()


# what no waiting mends


@pytest.mark.parametrize(
    "refused",
    [
        (400, {"error": {"message": "This model's maximum context length is 8 tokens, not 9."}}),
        (400, {"object": "error", "message": "The input (9 tokens) is longer than the model's context length (8)."}),
        (500, {"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}}),
        (413, ""),
    ],
)
def test_a_prompt_that_is_too_long_fails_alone(refused):
    with serving(lambda body: refused if body["prompt"] == "long" else body["prompt"]) as server:
        drawn = {r.key: c for r, c in engine_of(server).complete(requests("a", "long", "b"), SAMPLING)}
        assert server.prompts.count("long") == 1
    assert drawn["a"].finish_reason == drawn["b"].finish_reason == "stop"
    assert drawn["long"].finish_reason == "error"
    said = refused[1] and (refused[1].get("error") or refused[1])["message"]
    assert drawn["long"].error == (said or "the server answers 413")


@pytest.mark.parametrize(
    ("status", "said", "what"),
    [
        (
            400,
            {"error": {"message": "bad"}},
            r"answers 400 \(bad\); check --url \(it usually ends in /v1\) and --model$",
        ),
        (404, {"error": {"message": "no model x"}}, r"answers 404 \(no model x\); check --url"),
        (401, "sk-secret is wrong", r"refuses the key \(401\); set OPENAI_API_KEY to one that it takes"),
        (403, "", r"refuses the key \(403\)"),
        (307, "", r"answers 307; check --url"),
        (200, "<html>", "its reply is no JSON; name an OpenAI-compatible server"),
        (200, {"choices": []}, "its reply is no completion; name an OpenAI-compatible server"),
        (200, {"choices": [{"text": 5}]}, "its reply is no completion"),
        (200, {"error": "?"}, "its reply is no completion"),
        (200, ["hello"], "its reply is no completion"),
        (200, "null", "its reply is no completion"),
    ],
)
def test_a_reply_that_no_waiting_mends_ends_the_run_at_once(status, said, what):
    with serving(lambda body: (status, said, {"Location": "http://127.0.0.1:9/"})) as server:
        with pytest.raises(UserError, match=what) as caught:
            texts(engine_of(server), "a")
        assert len(server.posts) == 1
        assert "\n" not in str(caught.value)


def test_a_field_that_the_server_does_not_take_is_named_with_what_leaves_it_out():
    said = {"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}
    with serving(lambda body: (400, said) if "max_tokens" in body else "done") as server:
        with pytest.raises(UserError, match="change max_tokens, or leave it out: --engine-arg max_tokens=null"):
            texts(engine_of(server), "a")
        assert texts(engine_of(server, extra={"max_tokens": None, "max_completion_tokens": 16}), "a") == ["done"]


def test_the_key_is_sent_and_never_told(monkeypatch, capfd):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with serving(in_turn("sk-secret says", (500, "sk-secret"), (404, "sk-secret"))) as server:
        engine = engine_of(server)
        assert texts(engine, "a") == ["sk-secret says"]  # a completion is left as it is
        with pytest.raises(UserError, match=r"answers 404 \(\[key\]\)") as caught:
            texts(engine, "a")
        assert server.keys == ["Bearer sk-secret"] * 3
    assert "cret" not in str(caught.value) + repr(engine) + "".join(capfd.readouterr())


def test_neither_a_redirect_nor_a_proxy_gets_the_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with serving() as thief:
        monkeypatch.setenv("http_proxy", thief.url)
        monkeypatch.delenv("no_proxy", raising=False)
        with serving(in_turn("done", (307, "", {"Location": thief.url + "/completions"}))) as server:
            engine = engine_of(server)
            assert texts(engine, "a") == ["done"]
            with pytest.raises(UserError, match="answers 307"):
                texts(engine, "a")
        assert thief.posts == []


# what a reply means


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("eos", "stop"),
        ("end_turn", "stop"),
        (None, "stop"),
        ("max_tokens", "length"),
    ],
)
def test_reasons_to_finish_are_ours(said, meant):
    assert completion_of(completion("x", finish_reason=said), "p", ()).finish_reason == meant


def test_what_a_content_filter_holds_back_is_an_error():
    drawn = completion_of(completion("x", finish_reason="content_filter"), "p", ())
    assert (drawn.finish_reason, drawn.error) == ("error", "the server's content filter held it back")


THOUGHT = "<think>\n1 + 1\n</think>\n\n2"


@pytest.mark.parametrize(
    ("message", "finish_reason", "text"),
    [
        ({"content": "2"}, "stop", "2"),
        ({"content": None}, "stop", ""),
        ({"content": "2", "reasoning": "1 + 1"}, "stop", THOUGHT),
        ({"content": "\n\n2", "reasoning_content": "\n1 + 1\n"}, "stop", THOUGHT),
        ({"content": "2", "reasoning": None, "reasoning_content": None}, "stop", "2"),
        ({"content": None, "reasoning": "1 +"}, "length", "<think>\n1 +"),
        ({"content": "", "reasoning": "1 + 1"}, "stop", "<think>\n1 + 1\n</think>\n\n"),
    ],
)
def test_reasoning_that_comes_apart_is_put_in_its_tags_again(message, finish_reason, text):
    assert completion_of(chat(finish_reason, **message), [{"role": "user", "content": "?"}], ()).text == text


def test_a_tag_that_the_prefill_opened_is_not_opened_again():
    prompt = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "<think>\n"}]
    drawn = completion_of(chat(reasoning="1 + 1", content="2"), prompt, ())
    assert "<think>\n" + drawn.text == THOUGHT


def test_log_probabilities_and_token_ids_are_read_in_both_forms():
    flat = completion("x", token_ids=[4, 2], logprobs={"token_logprobs": [-0.5, -1]})
    nested = completion("x", logprobs={"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1}]})
    for reply, token_ids in ((flat, [4, 2]), (nested, [])):
        drawn = completion_of(reply, "p", ())
        assert (drawn.token_ids, drawn.logprobs) == (token_ids, [-0.5, -1.0])
        assert (drawn.prompt_tokens, drawn.completion_tokens) == (3, 2)


def test_without_usage_the_tokens_that_came_are_counted():
    reply = completion("x", token_ids=[4, 2, 9])
    del reply["usage"]
    drawn = completion_of(reply, "p", ())
    assert (drawn.prompt_tokens, drawn.completion_tokens) == (0, 3)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (completion("a", stop_reason="\n\n"), "a\n\n"),  # vLLM
        (completion("a", matched_stop="\n\n"), "a\n\n"),  # SGLang
        (completion("a\n\n", stop_reason="\n\n"), "a\n\n"),
        (completion("a", stop_reason=151643), "a"),  # an end token
        (completion("a", stop_reason=None), "a"),
        (completion("a"), "a"),
    ],
)
def test_the_stop_text_is_kept_where_the_server_names_it(reply, text):
    assert completion_of(reply, "p", ("\n\n",)).text == text
