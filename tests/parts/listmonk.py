"""listmonk: its tables, its own query for whom a campaign mails, as its source has them, and the program itself."""

import json
import re
import shutil
import subprocess
from pathlib import Path

from .cache import part
from .databases import DATABASE, PASSWORD
from .process import Process, answers, free_port, wait_until

# A campaign of listmonk to the lists with these names.
CAMPAIGN = """
INSERT INTO campaigns (uuid, name, subject, from_email, body, messenger, status, last_subscriber_id, max_subscriber_id)
  VALUES (gen_random_uuid(), 'x', 'x', 'a@example.com', 'x', 'email', 'running', 0, 1000000);
INSERT INTO campaign_lists (campaign_id, list_id, list_name) SELECT (SELECT max(id) FROM campaigns), id, name FROM lists WHERE name = ANY ('{names}')
"""


def missing() -> str:
    """What is missing; empty when nothing is."""
    return "" if (part("listmonk") / "listmonk").exists() else "listmonk (scripts/setup listmonk)"


def schema() -> str:
    """The statements that make its tables, with a template that campaigns refer to."""
    return (part("listmonk") / "schema.sql").read_text() + "\nINSERT INTO templates (name, body, is_default) VALUES ('x', 'x', true);"


def mailed(database, names: str) -> set[str]:
    """Whom it mails with a campaign to the lists of an array of PostgreSQL."""
    database.run(CAMPAIGN.format(names=names))
    queries = (part("listmonk") / "queries.sql").read_text()
    query = re.split(r"^-- name: ", queries.split("-- name: next-campaign-subscribers\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    query = query.replace("$1", "(SELECT max(id) FROM campaigns)").replace("$2", "1000000")
    query, count = re.subn(r"SELECT \* FROM subs;", "SELECT email FROM subs;", query)
    assert count == 1, query
    return {line.strip() for line in database.run(query).stdout.splitlines() if "@" in line}


class Listmonk:
    """The program itself, installed into a database; it sends campaigns that are `running`."""

    def __init__(self, folder: Path, database, relay: int):
        self.folder, self.database, self.port = folder, database, free_port()
        self.root = f"http://127.0.0.1:{self.port}"
        # It walks through folders, and not through links to them.
        for name in ("i18n", "static", "frontend"):
            shutil.copytree(part("listmonk") / name, folder / name)
        for name in ("schema.sql", "queries.sql", "config.toml.sample"):
            shutil.copy(part("listmonk") / name, folder)
        self.config = folder / "config.toml"
        self.config.write_text(
            f'[app]\naddress = "127.0.0.1:{self.port}"\nadmin_username = ""\nadmin_password = ""\n\n'
            f'[db]\nhost = "127.0.0.1"\nport = {database.port}\nuser = "owner"\npassword = "{PASSWORD}"\ndatabase = "{DATABASE}"\n'
            'ssl_mode = "disable"\nmax_open = 10\nmax_idle = 10\nmax_lifetime = "300s"\n'
        )
        install = [part("listmonk") / "listmonk", "--config", self.config, "--install", "--yes"]
        done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"listmonk --install: {done.stdout[-500:]} {done.stderr[-500:]}")
        smtp = {"enabled": True, "host": "127.0.0.1", "port": relay, "auth_protocol": "none", "username": "", "password": "", "hello_hostname": "", "max_conns": 5}
        smtp |= {"idle_timeout": "15s", "wait_timeout": "5s", "max_msg_retries": 2, "tls_enabled": False, "tls_skip_verify": False, "email_headers": []}
        # It asks nobody beyond this machine, and tells nobody that a campaign has ended.
        self.set(**{"smtp": [smtp], "app.check_updates": False, "app.notify_emails": [], "app.root_url": self.root})
        self.process = None

    def set(self, **settings):
        """Changes settings in its database."""
        for key, value in settings.items():
            self.database.run(f"UPDATE settings SET value = '{json.dumps(value)}' WHERE key = '{key}'")

    def send(self, campaign: str, seconds: float = 60):
        """Has it send a campaign, and waits until that has ended."""
        if not self.process:
            self.process = Process([part("listmonk") / "listmonk", "--config", self.config], self.folder / "listmonk.out", cwd=self.folder)
            wait_until(lambda: answers(self.port) or not self.process.running(), 30, "listmonk's start")
        self.database.run(f"UPDATE campaigns SET status = 'running' WHERE name = '{campaign}'")
        ended = f"SELECT status FROM campaigns WHERE name = '{campaign}'"
        wait_until(lambda: "finished" in self.database.run(ended).stdout, seconds, f"the end of {campaign}: {self.process.tail()}")

    def links(self) -> dict[str, str]:
        """What its tracked links lead to."""
        rows = self.database.run("COPY (SELECT uuid, url FROM links) TO STDOUT").stdout.splitlines()
        return dict(row.split("\t") for row in rows)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.stop()
