"""The engine that is a server: completions from anything that speaks OpenAI's protocol (vLLM, SGLang, llama.cpp, …).

An event loop in a thread of its own keeps up to `concurrency` requests in flight, each for one completion, so that an
answer leaves as soon as it is there, whatever the others, the input and the reader of the output do.
"""

import asyncio
import json
import queue
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Literal, TypeGuard

import aiohttp

from r1kit.engines import Completion, Prompt, Request, Sampling, seed_of
from r1kit.engines.feed import Feed
from r1kit.records import Message
from r1kit.server import Flags, InPassing, Server, TooLong, message_of

FLAGS = Flags(url="--url", model="--model", set_url="--url URL", set_model="--model NAME")
CONNECT = 30.0  # seconds to wait for a connection
KEEP_ALIVE = 4.0  # seconds; uvicorn, under vLLM and SGLang, closes after 5, and a request could meet that
POLL = 0.01  # seconds between looks at an input, or a reader, that was not ready
_NOT_OPTIONAL = ("model", "prompt", "messages")  # fields of a request's body

_Drawn = tuple[Request, Completion]


class OpenAIEngine:
    """Completions by an OpenAI-compatible server; the key is OPENAI_API_KEY in the environment."""

    window = None

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        concurrency: int = 64,
        retries: int = 5,
        backoff: float = 1.0,
        timeout: float = 600.0,
        with_logprobs: bool = False,
        extra: dict[str, Any] | None = None,
    ):
        """Find the server's model: the one it has, where none is named.

        Args:
            concurrency: the most requests in flight.
            retries, backoff, timeout: as `Server` has them; backoff and timeout in seconds.
            with_logprobs: ask for the tokens' log-probabilities, and for their ids, which vLLM gives. They are those
                that the server states; most state them of temperature 1, whatever the sampling's.
            extra: fields of each request's body, over the engine's own; one that is None is left out.

        Raises:
            UserError: the server cannot be used.
        """
        self._server = Server("server", url, FLAGS, retries=retries, backoff=backoff, timeout=timeout)
        self.concurrency, self.with_logprobs, self.extra = concurrency, with_logprobs, extra or {}
        self.model = model or self._server.only_model()
        self._completed = 0

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[_Drawn]:
        """Yield completions as they finish. Requests are read while others run, as there is room for them.

        A prompt that is too long for the server, or a completion that its content filter holds back, is a completion
        with finish_reason "error". What reading a request raises is raised once those before it are done.

        Raises:
            UserError: the server refuses a request, or fails more often in a row than it is tried again.
        """
        feed: Feed[Request] = Feed(requests, self.concurrency)
        drawn: queue.Queue[_Drawn | Exception | None] = queue.Queue()
        loop = asyncio.new_event_loop()
        task = loop.create_task(self._draw_all(feed, sampling, drawn))
        thread = threading.Thread(target=_run, args=(loop, task, drawn), name="openai engine", daemon=True)
        thread.start()
        try:
            while (item := drawn.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
            feed.close()
        finally:
            with suppress(RuntimeError):  # the loop is closed: all is done
                loop.call_soon_threadsafe(task.cancel)
            thread.join()
            with suppress(BaseException):  # what reading raised was raised above, or something before it was
                feed.close()

    def close(self) -> None:
        """Do nothing: the server goes on."""

    async def _draw_all(self, feed: Feed[Request], sampling: Sampling, drawn: queue.Queue) -> None:
        """Put each completion, or what ends the run, into `drawn`."""
        slots = asyncio.Semaphore(self.concurrency)

        async def draw(request: Request) -> None:
            try:
                drawn.put((request, await self._draw(session, request, sampling)))
            except Exception as error:
                drawn.put(error)
            finally:
                slots.release()

        async with self._session() as session, asyncio.TaskGroup() as running:
            while not feed.ended:
                await slots.acquire()
                ready = feed.take(1, wait=False) if drawn.qsize() < self.concurrency else []
                for request in ready:
                    running.create_task(draw(request))
                if not ready:
                    slots.release()
                    await asyncio.sleep(POLL)

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers=self._server.headers,
            timeout=aiohttp.ClientTimeout(total=self._server.timeout, sock_connect=CONNECT),
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
        )

    async def _draw(self, session: aiohttp.ClientSession, request: Request, sampling: Sampling) -> Completion:
        """Return one completion; what may pass is tried again."""
        path = "/chat/completions" if _is_chat(request.prompt) else "/completions"
        body = self.body(request, sampling)
        attempt = 0
        while True:
            before = self._completed
            try:
                reply = await self._exchange(session, path, body)
                completion = self._read(reply, request, sampling)
                self._completed += 1
                return completion
            except TooLong as why:
                return Completion("", "error", [], [], 0, 0, error=str(why))
            except InPassing as trouble:
                if trouble.busy and self._completed > before:  # it serves others: this one's turn comes
                    attempt = max(0, min(attempt, self._server.retries - 1))
                await asyncio.sleep(self._server.pause(trouble, attempt))
            attempt += 1

    async def _exchange(self, session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> Any:
        try:
            async with session.post(self._server.url + path, json=body, allow_redirects=False) as response:
                text = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise self._server.silence(_plain(error)) from None
        if not 200 <= response.status < 300:
            raise self._refusal(response.status, response.headers.get("Retry-After"), text, body)
        return self._server.parse(text)

    def body(self, request: Request, sampling: Sampling) -> dict[str, Any]:
        """Return the body of the HTTP request for one completion."""
        prompt, max_tokens = request.prompt, request.max_tokens
        body: dict[str, Any] = {
            "model": self.model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens if max_tokens is None else max_tokens,
            "seed": request_seed(sampling.seed, request.key),
        }
        if sampling.top_k:
            body["top_k"] = sampling.top_k
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if _is_chat(prompt):
            body["messages"] = prompt
            if _prefill(prompt):
                body |= {"add_generation_prompt": False, "continue_final_message": True}
        else:
            body["prompt"] = prompt
        if self.with_logprobs:  # SGLang and llama.cpp take 0 for none
            body |= {"logprobs": True if _is_chat(prompt) else 1, "return_token_ids": True}
        return {field: value for field, value in (body | self.extra).items() if value is not None}

    def _refusal(self, status: int, retry_after: str | None, text: bytes, body: dict[str, Any]) -> Exception:
        """Return what a status that is no success means; a field that the server names can be changed or left out."""
        message = message_of(text)
        named = [field for field in body if field not in _NOT_OPTIONAL and re.search(rf"\b{field}\b", message)]
        remedy = f"change {named[0]}, or leave it out: --engine-arg {named[0]}=null" if named else None
        return self._server.refusal(status, retry_after, text, remedy)

    def _read(self, reply: Any, request: Request, sampling: Sampling) -> Completion:
        """Return the completion that a reply holds."""
        try:
            if (
                "choices" not in reply and "error" in reply
            ):  # some gateways answer 200 to say that what is behind failed
                raise self._server.refusal(int(reply["error"]["code"]), None, json.dumps(reply).encode())
            return completion_of(reply, request.prompt, sampling.stop)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError):
            raise self._server.error("its reply is no completion", "name an OpenAI-compatible server") from None


def completion_of(reply: dict[str, Any], prompt: Prompt, stop: tuple[str, ...]) -> Completion:
    """Return the completion that the reply to a prompt holds, the stop text included where the server names it.

    Raises:
        InPassing: the server broke the completion off.
        KeyError, IndexError, TypeError, AttributeError, ValueError: the reply is no completion.
    """
    choice, usage = reply["choices"][0], reply.get("usage") or {}
    reason = choice.get("finish_reason")
    if reason in ("abort", "error"):
        raise InPassing("breaks a completion off")
    ended_by = choice.get("stop_reason", choice.get("matched_stop"))  # vLLM; SGLang
    ended_by = ended_by if ended_by in stop else ""
    ended: Literal["stop", "length"] = "length" if reason in ("length", "max_tokens") else "stop"
    if "message" in choice:
        whole = ended == "stop" and not ended_by
        text = _chat_text(choice["message"], opened=_prefill(prompt).rstrip().endswith("<think>"), whole=whole)
    else:
        text = choice["text"] or ""
    token_ids = list(map(int, choice.get("token_ids") or []))
    logprobs = _logprobs(choice.get("logprobs") or {})
    return Completion(
        text=text if text.endswith(ended_by) else text + ended_by,
        finish_reason="error" if reason == "content_filter" else ended,
        token_ids=token_ids,
        logprobs=logprobs,
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        completion_tokens=int(usage.get("completion_tokens") or len(token_ids or logprobs)),
        error="the server's content filter held it back" if reason == "content_filter" else "",
    )


def _chat_text(message: dict[str, Any], opened: bool, whole: bool) -> str:
    """Return what a chat message says, the reasoning that a server returns apart in its tags again.

    Args:
        opened: the prompt has written <think> already.
        whole: it ended by itself, so that reasoning without an answer has ended too.
    """
    content = message.get("content") or ""
    reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
    if not reasoning:
        return content
    end = "\n</think>\n\n" if content or whole else ""
    return ("" if opened else "<think>\n") + reasoning.strip("\n") + end + content.lstrip("\n")


def _logprobs(said: dict[str, Any]) -> list[float]:
    """Return the tokens' log-probabilities (T,), as /completions or as /chat/completions gives them; [] without."""
    values = said.get("token_logprobs") or [token["logprob"] for token in said.get("content") or []]
    return [] if None in values else list(map(float, values))


def request_seed(seed: int, key: str) -> int:
    """Return the seed, of 31 bits, that a request's key has under the sampling's seed."""
    return seed_of(seed, key, 4) >> 1


def _is_chat(prompt: Prompt) -> TypeGuard[list[Message]]:
    return isinstance(prompt, list) and bool(prompt) and isinstance(prompt[0], dict)


def _prefill(prompt: Prompt) -> str:
    """Return the beginning of the answer that chat messages end with, "" where there is none."""
    return prompt[-1]["content"] if _is_chat(prompt) and prompt[-1]["role"] == "assistant" else ""


def _plain(error: Exception) -> Exception:
    """Return aiohttp's error as one of Python's own."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return OSError(f"no connection within {CONNECT:g} s")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return OSError(str(error))
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error
    return error if isinstance(error, TimeoutError) else ConnectionError(str(error))


def _run(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[None]", drawn: queue.Queue) -> None:
    """Run a task to its end, and put None into `drawn`, or what it raised."""
    try:
        loop.run_until_complete(task)
        drawn.put(None)
    except asyncio.CancelledError:  # nobody reads any more
        pass
    except Exception as error:
        drawn.put(error)
    finally:
        loop.close()
