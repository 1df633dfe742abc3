"""An OpenAI-compatible HTTP server on the loopback whose replies a test writes."""

import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ScriptedServer(ThreadingHTTPServer):
    """A server whose replies the test writes.

    `reply(body)` is a text, a whole reply, (status, body[, headers]), or None (hang up).
    """

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, reply, models):
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply, self.models, self.posts, self.keys = reply, models, [], []
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def prompts(self):
        return [body["prompt"] for _, body in self.posts]

    def handle_error(self, *_):
        """Say nothing of a client that went away."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a reply is one write: in two, the second waits for the first to be acknowledged

    def do_GET(self):
        self.answer(200, {"data": [{"id": name} for name in self.server.models]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.keys.append(self.headers["Authorization"])
        self.server.posts.append((self.path, body))
        said = self.server.reply(body)
        if said is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif isinstance(said, str):
            self.answer(200, completion(said))
        elif isinstance(said, dict):
            self.answer(200, said)
        else:
            self.answer(*said)

    def answer(self, status, body, headers=()):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def completion(text, finish_reason="stop", **choice):
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    return {"choices": [{"text": text, "finish_reason": finish_reason, **choice}], "usage": usage}


def chat(finish_reason="stop", **message):
    return {"choices": [{"message": {"role": "assistant", **message}, "finish_reason": finish_reason}]}


@contextmanager
def serving(reply=lambda body: f"to {body['prompt']}", models=("tiny",)):
    server = ScriptedServer(reply, models)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
