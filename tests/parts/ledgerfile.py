"""The ledger's database itself. Everything else asks `mailfleet get`; another backend means changing this module alone.

Here is what no command can or should do: fix the seed, read which claims a killed process left, list the events of all people,
see what limits were charged and every byte that is kept, hold a lock, and make a ledger of an older version.
"""

import contextlib
import sqlite3
from pathlib import Path

APPLICATION_ID = 1296460916


def _path(state: Path) -> Path:
    return state / "ledger.db"


@contextlib.contextmanager
def _connected(state: Path, mode: str):
    with contextlib.closing(sqlite3.connect(f"file:{_path(state)}?mode={mode}", uri=True, timeout=10)) as connection:
        yield connection


def set_seed(state: Path, seed: int):
    """Sets the seed from which servers are picked, in a ledger that is not in use."""
    with _connected(state, "rw") as ledger:
        changed = ledger.execute("update meta set value = ? where key = 'seed'", (seed,)).rowcount
        ledger.commit()
    if changed != 1:
        raise RuntimeError(f"{_path(state)} has no seed")


def set_complaints(state: Path, campaign: str, count: int):
    """Sets how many recipients of a campaign reported it as spam, in a ledger that is not in use."""
    with _connected(state, "rw") as ledger:
        changed = ledger.execute("update runs set complained = ? where campaign = ?", (count, campaign)).rowcount
        ledger.commit()
    if changed != 1:
        raise RuntimeError(f"{_path(state)} has {changed} runs of {campaign}")


def open_claims(state: Path) -> int:
    """Claims without an outcome of the last process; with Resend, those of earlier ones wait to be sent again."""
    if not _path(state).exists():
        return 0
    with _connected(state, "ro") as ledger:
        columns = {name for _, name, *_ in ledger.execute("pragma table_info(messages)")}
        # Before schema 3 the column had another name.
        claimed_by = "epoch" if "epoch" in columns else "boot"
        sql = f"select count(*) from messages where state = 0 and {claimed_by} = (select value from meta where key = 'epoch')"
        return ledger.execute(sql).fetchone()[0]


def feedback_events(state: Path) -> list[tuple[str, str]]:
    """What came back, as the documented view has it: a recipient and what happened, for each event."""
    return _query(state, "SELECT recipient, event FROM feedback_events")


def hard_bounces(state: Path) -> tuple[int, int]:
    """How many are recorded, and what counts of all events say that came back."""
    ((recorded,),), ((counted,),) = (_query(state, sql) for sql in ("SELECT count(*) FROM events WHERE kind = 2", "SELECT sum(count) FROM feedback"))
    return recorded, counted


def charged(state: Path, server: str) -> int:
    """The messages that the limits of a server were charged."""
    return _query(state, "SELECT coalesce(sum(count), 0) FROM usage WHERE key = ?", server)[0][0]


def is_whole(state: Path) -> bool:
    """Whether SQLite finds nothing wrong with the file."""
    return _query(state, "PRAGMA integrity_check") == [("ok",)]


def _query(state: Path, sql: str, *values) -> list[tuple]:
    # Nothing while the ledger is being made.
    if not _path(state).exists():
        return []
    try:
        with _connected(state, "ro") as ledger:
            return ledger.execute(sql, values).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise


def dump(state: Path) -> dict[str, str]:
    """Every row of every table and view, as text."""
    with _connected(state, "ro") as ledger:
        tables = [name for (name,) in ledger.execute("select name from sqlite_master where type in ('table', 'view')")]
        return {name: "\n".join(map(str, ledger.execute(f'select * from "{name}"').fetchall())) for name in tables}


@contextlib.contextmanager
def locked(state: Path):
    """Holds another program's write transaction while the `with` lasts."""
    with contextlib.closing(sqlite3.connect(_path(state), timeout=10, isolation_level=None)) as other:
        other.execute("begin immediate")
        yield
        other.execute("rollback")


def restore(state: Path, dumped: str, *statements: tuple):
    """A ledger of an older version from its dump, with further statements and their values."""
    state.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(_path(state))) as ledger:
        ledger.executescript(dumped)
        for sql, *values in statements:
            ledger.execute(sql, values)
        ledger.commit()
        ledger.execute(f"pragma application_id = {APPLICATION_ID}")
