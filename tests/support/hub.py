"""A local stand-in for the API of the Hugging Face Hub: one server in this process, its repositories in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

TOKEN = "hf_right"


class Hub:
    """`commits` holds the files of each commit by repository, `requests` what was asked."""

    def __init__(self):
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.private: dict[str, bool] = {}
        self.requests: list[str] = []
        self.address = ""

    def commit(self, repository, files):
        earlier = self.commits[repository]
        whole = {**next(reversed(earlier.values()), {}), **files}
        name = hashlib.sha1(repr(sorted(whole.items())).encode()).hexdigest()
        earlier[name] = whole
        return name

    def find(self, repository, revision):
        """Commit and files of a revision: (None, None) without the repository, (None, {}) without the revision."""
        commits = self.commits.get(repository)
        if commits is None:
            return None, None
        name = next(reversed(commits), None) if revision == "main" else revision
        return (name, commits[name]) if name in commits else (None, {})


def handler(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self, status, body=b"", **headers):
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self):
            hub.requests.append(f"{self.command} {self.path}")
            match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
            if not match:
                return self.answer(404)
            commit, files = hub.find(match[1], match[2])
            if files is None:
                return self.answer(401, X_Error_Code="RepoNotFound")
            if commit is None:
                return self.answer(404, X_Error_Code="RevisionNotFound")
            if match[3] not in files:
                return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
            content = files[match[3]]
            self.answer(200, content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=commit)

        do_HEAD = do_GET

        def do_POST(self):
            hub.requests.append(f"{self.command} {self.path}")
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or self.chunks()
            if self.path == "/api/validate-yaml":
                return self.answer(200, {"errors": [], "warnings": []})
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.answer(403, {"error": "no"}, X_Error_Message="You don't have the rights")
            if self.path == "/api/repos/create":
                asked = json.loads(content)
                name = f"{asked['organization']}/{asked['name']}"
                if name in hub.commits:
                    return self.answer(409, {"url": f"{hub.address}/{name}"})
                hub.commits[name], hub.private[name] = {}, asked.get("private", asked.get("visibility") == "private")
                return self.answer(200, {"url": f"{hub.address}/{name}", "name": name})
            repository, what = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(\w+)/main.*", self.path).groups()
            if what == "preupload":
                paths = [file["path"] for file in json.loads(content)["files"]]
                files = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]
                return self.answer(200, {"files": files})
            rows = [json.loads(line) for line in content.splitlines()]
            files = {
                row["value"]["path"]: base64.b64decode(row["value"]["content"]) for row in rows if row["key"] == "file"
            }
            name = hub.commit(repository, files)
            self.answer(200, {"commitUrl": f"{hub.address}/{repository}/commit/{name}", "commitOid": name})

        def chunks(self):
            parts = []
            while self.headers.get("Transfer-Encoding") == "chunked" and (size := int(self.rfile.readline(), 16)):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            return b"".join(parts)

    return Handler


@contextmanager
def serving():
    """A hub at its `address`."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub))
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
