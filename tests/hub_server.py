"""A Hugging Face hub on the loopback: the few addresses that streaming a data set asks for."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0" * 40


class Hub(ThreadingHTTPServer):
    """A hub of `repositories`, {name: {path: bytes}}; None: it is gated. `asked` are the paths of files."""

    daemon_threads = True

    def __init__(self, repositories):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories, self.asked = repositories, []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_):
        """Say nothing of a client that went away."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        api, kind, *rest = f"{unquote(urlsplit(self.path).path)}//".removeprefix("/").split("/")
        if api == "api" and kind == "datasets":
            self.describe("/".join(rest[:2]), rest[2])
        elif api == "datasets":
            self.give("/".join([kind, rest[0]]), "/".join(rest[3:]).strip("/"))
        else:
            self.answer(404)

    do_HEAD = do_GET

    def describe(self, name, what):
        if name not in self.server.repositories:
            self.answer(401, headers={"X-Error-Code": "RepoNotFound"})
            return
        files = self.server.repositories[name]
        if files is None:
            self.answer(403, headers={"X-Error-Code": "GatedRepo"})
        elif what == "tree":
            tree = [{"type": "file", "path": path, "size": len(c), "oid": COMMIT} for path, c in files.items()]
            self.answer(200, json.dumps(tree).encode())
        else:
            self.answer(200, json.dumps({"id": name, "sha": COMMIT, "siblings": [], "tags": []}).encode())

    def give(self, name, path):
        content = (self.server.repositories.get(name) or {}).get(path)
        if content is None:
            self.answer(404, headers={"X-Error-Code": "EntryNotFound"})
            return
        self.server.asked.append(path)
        headers = {"ETag": '"1"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        first, _, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        if not first:
            self.answer(200, content, headers)
            return
        end = min(int(last or len(content)), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{end}/{len(content)}"
        self.answer(206, content[int(first) : end + 1], headers)

    def answer(self, status, content=b"", headers=None):
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def running_hub(repositories):
    """Give a hub that serves until the block ends."""
    with Hub(repositories) as hub:
        threading.Thread(target=hub.serve_forever, args=(0.01,), daemon=True).start()
        yield hub
        hub.shutdown()
