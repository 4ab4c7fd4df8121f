"""What an audience's URL leads to: a list of people that another system exports over HTTP."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Export:
    """An HTTP server on loopback that gives an audience to whoever knows `token`, and remembers the header fields of each request, by their names in lowercase."""

    def __init__(self, token: str | None, rows: str = "", redirect: str = ""):
        self.token, self.rows, self.redirect, self.seen = token, rows, redirect, []
        # The code that everybody gets, whatever they ask for; none when 0.
        self.refusal = 0
        export = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                export.seen.append({name.lower(): value for name, value in self.headers.items()})
                given = self.headers.get("Authorization", "").removeprefix("Bearer ")
                code = export.refusal or (401 if export.token not in (None, given) else 302 if export.redirect else 200)
                body = export.rows.encode() if code == 200 else b""
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                if code == 302:
                    self.send_header("Location", export.redirect)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/people.csv"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
