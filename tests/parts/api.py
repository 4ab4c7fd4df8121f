"""An API of people as CRMs and list managers have them: JSON over HTTP, page by page, in each of the usual ways."""

import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# How `next` of an audience says where the next page is, for each way that an Api pages.
NEXT = {
    "link": {"link": {}},
    "url": {"url": "/links/next"},
    "cursor": {"cursor": {"pointer": "/paging/next/after", "parameter": "after"}},
    "page": {"page": {"parameter": "page"}},
    "offset": {"offset": {"parameter": "offset"}},
}


class Api:
    """People on pages of `size`, for whoever knows `token`; `seen` has the query and the header fields of each request."""

    def __init__(self, people: list[str], way: str, size: int = 100, token: str | None = None):
        self.people, self.way, self.size, self.token = people, way, size, token
        self.seen: list[tuple[dict, dict]] = []
        # Answers that come before the page that begins with this person: (code, header fields).
        self.failures: dict[int, list[tuple[int, dict]]] = {}
        # Where links lead; to itself when empty.
        self.elsewhere = ""
        # A server that does not know its own parameters gives the first page for ever.
        self.is_stuck = False
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
                fields = {name.lower(): value for name, value in self.headers.items()}
                api.seen.append((query, fields))
                code, extra, answer = api.answer(query, fields)
                body = json.dumps(answer).encode()
                self.send_response(code)
                for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **extra}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v3/contacts?limit={size}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def begins_with(self, query: dict) -> int:
        """The person with whom a page begins."""
        if self.is_stuck:
            return 0
        if self.way == "page":
            return (int(query.get("page", 1)) - 1) * self.size
        return int(query.get("offset", query.get("after", "at-0").removeprefix("at-")))

    def answer(self, query: dict, fields: dict) -> tuple[int, dict, object]:
        """Code, header fields and body."""
        if self.token and fields.get("authorization") != f"Bearer {self.token}":
            return 401, {}, {"message": "who are you?"}
        begin = self.begins_with(query)
        if self.failures.get(begin):
            code, extra = self.failures[begin].pop(0)
            return code, extra, {"message": "not now"}
        end = begin + self.size
        items = [{"id": who.partition("@")[0], "properties": {"email": who, "firstname": f"Name of {who}"}} for who in self.people[begin:end]]
        has_more = self.is_stuck or end < len(self.people)
        after = f"{self.elsewhere or self.url}&after=at-{end}"
        if self.way == "link":
            return 200, ({"Link": f'<{after}>; rel="next", <{self.url}>; rel="first"'} if has_more else {}), items
        body = {"total": len(self.people), "results": items}
        if self.way == "url":
            body["links"] = {"self": self.url, "next": after if has_more else None}
        if self.way == "cursor":
            body["paging"] = {"next": {"after": f"at-{end}"}} if has_more else {}
        return 200, {}, body

    def audience(self, **more) -> dict:
        """The audience of a campaign."""
        items = {} if self.way == "link" else {"items": "/results"}
        auth = {"auth": {"bearer": {"tokenRef": {"name": "crm", "key": "token"}}}} if self.token else {}
        columns = {"email": "/properties/email", "name": "/properties/firstname"}
        return {"json": {"url": self.url, "next": NEXT[self.way], "columns": columns, **items, **auth, **more}}
