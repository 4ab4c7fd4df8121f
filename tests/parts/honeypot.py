"""HTTP servers that must not be reached: they would serve a good audience, and record each visit."""

import contextlib
import http.server
import socket
import threading


class Honeypot:
    """One port on 127.0.0.1 and, where there is IPv6, on ::1. `visits` are the requests."""

    def __init__(self, body: str):
        self.visits: list[str] = []
        visits = self.visits

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                visits.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        class SixServer(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6

        self.servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)]
        self.port = self.servers[0].server_address[1]
        with contextlib.suppress(OSError):
            self.servers.append(SixServer(("::1", self.port), Handler))
        for server in self.servers:
            # A connection that sends nothing is a visit too.
            accept = server.get_request
            server.get_request = lambda accept=accept: (visits.append("a connection"), accept())[1]
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.shutdown()
            server.server_close()
