"""HTTP servers on loopback, played by the tests."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """The client may be gone, killed by a test; any other error is reported."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Loopback:
    """An HTTP server on a port of its own, while a `with` lasts."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]):
        self.server = _Server(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.base = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class JsonServer(Loopback):
    """One that answers with JSON: `handle` gets method, path, headers with lower-case names and body, and returns status and value."""

    def __init__(self):
        json_server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def answer(self):
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length)
                if len(body) < length:
                    raise ConnectionResetError("half a request")
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, value = json_server.handle(self.command, self.path, headers, body)
                text = b"" if value is None else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                for name, more in json_server.fields(status).items():
                    self.send_header(name, more)
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = answer

        super().__init__(Handler)

    def handle(self, method: str, path: str, headers: dict, body: bytes) -> tuple[int, object]:
        """The answer."""
        raise NotImplementedError

    def fields(self, status: int) -> dict[str, str]:
        """More headers of the response."""
        return {}
