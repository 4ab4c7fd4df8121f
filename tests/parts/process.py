"""Processes and ports on loopback: started, waited for, stopped by process id. Nothing here knows of mail."""

import atexit
import contextlib
import ctypes
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import TextIO

_processes = weakref.WeakSet()
_folders: list[Path] = []
_kept = False


# Below the ports that Linux gives out of its own accord (`ip_local_port_range`, from 32768 on), and above those of known services.
PORTS = range(15_000, 30_000)
# Held until this process ends.
_reservations: list[TextIO] = []


def free_port() -> int:
    """A port of loopback for a server that cannot report the port it chose, or for one that is absent.

    Nothing listens there, and no other suite that runs meanwhile is given it: each port that was given out has a locked file.
    """
    place = Path(tempfile.gettempdir()) / f".mailfleet-ports-{os.getuid()}"
    place.mkdir(exist_ok=True)
    # No suite's seed makes two of them ask for the same ones.
    first = random.SystemRandom().randrange(len(PORTS))
    for offset in range(len(PORTS)):
        port = PORTS[(first + offset) % len(PORTS)]
        reservation = open(place / str(port), "w", encoding="ascii")  # noqa: SIM115
        try:
            fcntl.flock(reservation, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            reservation.close()
            continue
        _reservations.append(reservation)
        return port
    raise RuntimeError(f"no port from {PORTS.start} to {PORTS.stop - 1} is free")


def wait_until(condition, seconds: float, what: str, every: float = 0.02):
    """The first true value of `condition`; a TimeoutError with `what` after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(every)


def answers(port: int) -> bool:
    """Whether something accepts connections on the port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def listens(pid: int, port: int) -> bool:
    """Whether this process itself listens on the port, and not one that was there first: by its sockets in `/proc`."""
    # It may end or close a descriptor meanwhile.
    with contextlib.suppress(OSError):
        lines = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]]
        listening = {f"socket:[{fields[9]}]" for fields in lines if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port}
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(descriptor) in listening:
                    return True
    return False


def folder(name: str) -> Path:
    """A new temporary folder that other users may enter (Postfix runs as one)."""
    path = Path(tempfile.mkdtemp(prefix=f"mailfleet-{name}-"))
    path.chmod(0o755)
    _folders.append(path)
    return path


def keep_folders():
    """Something failed: keeps the folders for inspection."""
    global _kept
    _kept = True


@atexit.register
def _clean_up():
    for process in list(_processes):
        with contextlib.suppress(OSError, TimeoutError):
            process.kill()
    for path in _folders:
        if _kept:
            print(f"kept: {path}", flush=True)
        else:
            shutil.rmtree(path, ignore_errors=True)


PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _end_with_parent():
    """In a new child: the kernel kills it when the suite dies, however that happens (`prctl(2)`)."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


# The heap as the image has it: one for all threads, given back early. With glibc's defaults each thread may keep one of its own.
HEAP_OF_IMAGE = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "131072"}


class Process:
    """A child whose output goes to a file. It does not outlive the thread that started it."""

    def __init__(self, command, output: Path, *, group: bool = False, **options):
        self.command = [str(word) for word in command]
        self.output = output
        with open(output, "ab") as file:
            self.child = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=group,
                preexec_fn=_end_with_parent,
                **options,
            )
        self.pid = self.child.pid
        self.code = None
        self.usage = None
        _processes.add(self)

    def text(self) -> str:
        """Its output so far."""
        return self.output.read_text(errors="replace")

    def tail(self, lines: int = 12) -> str:
        """The last lines of its output, for an error."""
        return "\n".join(self.text().splitlines()[-lines:])

    def running(self) -> bool:
        """Whether it still runs; records its exit code and resource usage when it has ended."""
        if self.code is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                self.usage = usage
                # From now on the pid may belong to another process: Popen must not signal it.
                self.child.returncode = self.code
        return self.code is None

    def wait(self, seconds: float) -> int:
        """Its exit code; negative for a signal."""
        wait_until(lambda: not self.running(), seconds, f"the end of {' '.join(self.command[:2])}", every=0.005)
        return self.code

    def cpu_seconds(self) -> float:
        """User and system time, once it has ended."""
        return self.usage.ru_utime + self.usage.ru_stime

    def cpu_seconds_so_far(self) -> float:
        """User and system time of a process that runs."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number: int):
        """Signals it while it runs."""
        if self.running():
            os.kill(self.pid, number)

    def kill(self, *, group: bool = False):
        """kill -9, of its whole group with `group`."""
        if self.running():
            (os.killpg if group else os.kill)(self.pid, signal.SIGKILL)
            self.wait(10)

    def stop(self, seconds: float = 10):
        """SIGTERM, and SIGKILL when it does not end in time."""
        self.signal(signal.SIGTERM)
        try:
            self.wait(seconds)
        except TimeoutError:
            self.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def peak_memory_kib(pid: int) -> int:
    """The high-water mark of resident memory of a running process; 0 once it is gone."""
    return _status_kib(pid, "VmHWM")


def own_memory_kib(pid: int) -> int:
    """Resident memory beside what is mapped from files, such as the program, which is far larger without optimisation; 0 once it is gone."""
    return _status_kib(pid, "RssAnon")


def _status_kib(pid: int, field: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
    return 0


class OwnMemory(threading.Thread):
    """The peak of a process's own memory, sampled while the block runs: the system keeps a high-water mark of the total only."""

    SAMPLE_SECONDS = 0.05

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.pid, self.peak_kib, self._over = pid, 0, threading.Event()

    def run(self):
        while not self._over.wait(self.SAMPLE_SECONDS):
            self.peak_kib = max(self.peak_kib, own_memory_kib(self.pid))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join()
