"""listmonk's tables, and its own query for whom a campaign mails, as its source has them."""

import re

from .cache import part

# A campaign of listmonk to the lists with these names.
CAMPAIGN = """
INSERT INTO campaigns (uuid, name, subject, from_email, body, messenger, status, last_subscriber_id, max_subscriber_id)
  VALUES (gen_random_uuid(), 'x', 'x', 'a@example.com', 'x', 'email', 'running', 0, 1000000);
INSERT INTO campaign_lists (campaign_id, list_id, list_name) SELECT (SELECT max(id) FROM campaigns), id, name FROM lists WHERE name = ANY ('{names}')
"""


def missing() -> str:
    """What is missing; empty when nothing is."""
    return "" if (part("listmonk") / "schema.sql").exists() else "listmonk's schema (scripts/setup listmonk)"


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
