"""An HTTP proxy on loopback that opens tunnels (CONNECT) to loopback only, and records their targets. It may play other hosts there."""

import contextlib
import socket
import threading


class ConnectProxy:
    """Each connection is a thread; all end with the listening socket."""

    def __init__(self, hosts: dict[str, int] | None = None):
        # From `host:port` to the port on loopback that plays it.
        self.hosts = hosts or {}
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.targets: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                line, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket):
        with line, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and len(head) < 8192:
                part = line.recv(1024)
                if not part:
                    return
                head += part
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            self.targets.append(target)
            host, _, port = target.rpartition(":")
            if target in self.hosts:
                host, port = "127.0.0.1", self.hosts[target]
            if method != "CONNECT" or host != "127.0.0.1":
                line.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                return
            with socket.create_connection((host, int(port)), timeout=10) as other:
                other.settimeout(None)
                line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=_pump, args=(other, line), daemon=True)
                back.start()
                _pump(line, other)
                back.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def _pump(source: socket.socket, drain: socket.socket):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            drain.sendall(data)
        drain.shutdown(socket.SHUT_WR)
