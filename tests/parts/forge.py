"""A forge on loopback, as GitHub, GitLab and Forgejo document their APIs: comments page by page, statuses, and refusals.

It knows one repository, one pull request, and one token; `fail` has the next requests refused.
"""

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

TOKEN = "forge-token-4711"
REPOSITORY, PROJECT, NUMBER = "shop/mail", "42", 7
# What GitHub says of a longer one.
CHARACTERS_MAX = 65_536


class FakeForge:
    """The forge; `comments` are dicts with id, body and author, oldest first, and `statuses` what was set of commits."""

    def __init__(self, kind: str, page: int = 100):
        self.kind, self.page = kind, page
        self.comments: list[dict] = []
        self.statuses: list[tuple[str, dict]] = []
        self.requests: list[tuple[str, str]] = []
        # (code, headers, body, whether it is done nevertheless) of the next requests.
        self.failures: deque = deque()
        # Whose token may not write.
        self.reads_only = False
        self.next_id = 1000
        forge = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do(self):
                length = int(self.headers.get("Content-Length") or 0)
                forge.answer(self, json.loads(self.rfile.read(length)) if length else None)

            do_GET = do_POST = do_PATCH = do_PUT = do

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self.server.server_port}" + {"github": "", "forgejo": "/api/v1", "gitlab": "/api/v4"}[kind]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def fail(self, code: int, headers: dict | None = None, body: str = '{"message": "no"}', is_done: bool = False):
        """The next request that nothing else is planned for is answered like this."""
        self.failures.append((code, headers or {}, body, is_done))

    def say(self, body: str, author: str = "ann"):
        """A comment of somebody."""
        self.next_id += 1
        self.comments.append({"id": self.next_id, "body": body, "author": author})

    def variables(self, event: str | None = None, commit: str = "c0ffee" * 6 + "abcd") -> dict:
        """What a job is given; `event` is the file of the event."""
        if self.kind == "gitlab":
            return {
                "CI_API_V4_URL": self.base,
                "CI_PROJECT_ID": PROJECT,
                "CI_MERGE_REQUEST_PROJECT_ID": PROJECT,
                "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": PROJECT,
                "CI_MERGE_REQUEST_IID": str(NUMBER),
                "CI_COMMIT_SHA": commit,
                "GITLAB_TOKEN": TOKEN,
            }
        given = {"GITHUB_API_URL": self.base, "GITHUB_REPOSITORY": REPOSITORY, "GITHUB_SHA": commit, "GITHUB_TOKEN": TOKEN}
        return given | ({"GITHUB_EVENT_PATH": event} if event else {})

    def bodies(self) -> list[str]:
        return [comment["body"] for comment in self.comments]

    # The API

    def answer(self, request: BaseHTTPRequestHandler, body):
        url = urlparse(request.path)
        self.requests.append((request.command, request.path))
        given = {"github": f"Bearer {TOKEN}", "forgejo": f"token {TOKEN}"}.get(self.kind)
        is_known = request.headers.get("PRIVATE-TOKEN") == TOKEN if self.kind == "gitlab" else request.headers.get("Authorization") == given
        planned = self.failures.popleft() if self.failures else None
        if planned and not planned[3]:
            return self.send(request, planned[0], planned[2], planned[1])
        if not is_known:
            return self.send(request, 401, json.dumps({"message": f"Bad credentials: {request.headers.get('Authorization')}"}))
        if self.reads_only and request.command != "GET":
            return self.send(request, 403, '{"message": "Resource not accessible by integration"}')
        code, answer, headers = self.route(request.command, url.path, parse_qs(url.query), body)
        if planned:
            return self.send(request, planned[0], planned[2], planned[1])
        return self.send(request, code, json.dumps(answer), headers)

    def send(self, request, code: int, text: str, headers: dict | None = None):
        data = text.encode()
        request.send_response(code)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def route(self, method: str, path: str, query: dict, body) -> tuple[int, object, dict]:
        path = path.removeprefix("/api/v1").removeprefix("/api/v4")
        listed = f"/projects/{PROJECT}/merge_requests/{NUMBER}/notes" if self.kind == "gitlab" else f"/repos/{REPOSITORY}/issues/{NUMBER}/comments"
        single = listed if self.kind == "gitlab" else f"/repos/{REPOSITORY}/issues/comments"
        statuses = f"/projects/{PROJECT}/statuses/" if self.kind == "gitlab" else f"/repos/{REPOSITORY}/statuses/"
        edits = "PUT" if self.kind == "gitlab" else "PATCH"
        if method == "GET" and path == listed:
            return self.list(path, query)
        if method == "POST" and path == listed:
            if len(body["body"]) > CHARACTERS_MAX:
                return 422, {"message": "Validation Failed: body is too long (maximum is 65536 characters)"}, {}
            self.say(body["body"], "mailfleet")
            return 201, self.comments[-1], {}
        if method == edits and path.startswith(single + "/"):
            found = [comment for comment in self.comments if str(comment["id"]) == path.rpartition("/")[2]]
            if not found:
                return 404, {"message": "Not Found"}, {}
            if found[0]["author"] != "mailfleet":
                return 403, {"message": "you are not its author"}, {}
            found[0]["body"] = body["body"]
            return 200, found[0], {}
        if method == "POST" and path.startswith(statuses):
            name = body["name"] if self.kind == "gitlab" else body["context"]
            states = ("pending", "running", "success", "failed", "canceled") if self.kind == "gitlab" else ("pending", "success", "failure", "error")
            if body["state"] not in states or len(body["description"]) > 140:
                return 422, {"message": "Validation Failed"}, {}
            self.statuses.append((path.rpartition("/")[2], {"state": body["state"], "name": name, "description": body["description"]}))
            return 201, {}, {}
        return 404, {"message": "Not Found"}, {}

    def list(self, path: str, query: dict) -> tuple[int, object, dict]:
        # Forgejo lists all of them at once.
        size = len(self.comments) + 1 if self.kind == "forgejo" else min(self.page, int(query.get("per_page", ["30"])[0]))
        page = int(query.get("page", ["1"])[0])
        part = self.comments[(page - 1) * size : page * size]
        headers = {}
        if page * size < len(self.comments):
            next_page = f"{self.base}{path.removeprefix('/api/v4')}?per_page={size}&page={page + 1}"
            headers["Link"] = f'<{next_page}>; rel="next", <{self.base}{path}?page=99>; rel="last"'
        return 200, [{"id": comment["id"], "body": comment["body"]} for comment in part], headers
