#!/usr/bin/env python3
"""Queries as audiences and as lists of people who are left out: real PostgreSQL, MariaDB and SQLite, by TLS and not, cut in the middle, with a million rows, and listmonk's own tables."""

import shutil
import sqlite3
import time

from parts import fleet as fleets
from parts import listmonk
from parts.cache import ROOT
from parts.certificates import Authority
from parts.databases import DATABASE, PASSWORD, Line, MariaDB, MySQLLogin, Postgres
from parts.place import Place
from parts.process import peak_memory_kib, wait_until
from parts.relayed import Relayed
from parts.report import Cases, Shared, require

WRITES = "the query writes, and the database refuses that: Cannot execute statement in a READ ONLY transaction"
URL = {"urlRef": {"name": "shop", "key": "url"}}
TABLE = """CREATE TABLE people (id INT PRIMARY KEY, mail VARCHAR(200), name VARCHAR(100), lang VARCHAR(5), price DECIMAL(10, 2), since TIMESTAMP, active BOOLEAN, note TEXT);
INSERT INTO people VALUES (1, 'ann@example.com', 'Änn', 'de', 12.50, '2026-01-02 03:04:05', TRUE, NULL),
(2, 'bob@example.com', 'Bob', 'en', 3, '2026-01-02 03:04:05', TRUE, 'x'), (3, 'cy@example.com', 'Cy', 'de', 7.25, '2026-01-02 03:04:05', FALSE, 'z'),
(4, 'not an address', 'Di', 'de', 1, '2026-01-02 03:04:05', TRUE, NULL), (5, 'eve@example.com', 'Eve', 'de', 1000000, '2026-01-02 03:04:05', TRUE, 'y')"""
# Each field as the template has it.
TEXT = "{{ name }}|{{ price }}|{{ since }}|{{ note is defined }}|{{ price + 1 }}\n"


class Sent(Relayed):
    """A fleet with one relay, whose campaign has a query."""

    def __init__(self, place, name: str, *options: str, **limits):
        super().__init__(place, name, *options, extensions=("PIPELINING", "CHUNKING", "8BITMIME"), **limits)

    def write(self, sql: dict, url: str = "", name: str = "spring", **spec):
        """Writes the campaign, and the Secret where there is a URL."""
        spec = {"content": {"text": TEXT}, "subject": "News", **spec}
        secrets = [fleets.secret("shop", url=url, **{"ca": self.ca} if hasattr(self, "ca") else {})] if url else []
        super().write({"sql": sql, **spec.pop("audience", {})}, *secrets, name=name, **spec)

    def completed(self, seconds: float = 60):
        self.fleet.wait_state("Campaign", "spring", "Completed", seconds)


def same_people(sent: Sent, process, mailed: set[str]):
    """The people were mailed, each once, and the row without an address is bad."""
    sent.completed()
    process.kill()
    require(set(sent.server.taken) == mailed and max(sent.server.taken.values()) == 1, f"{dict(sent.server.taken)}")
    counts = sent.fleet.status("Campaign", "spring")["recipients"]
    require((counts["total"], counts.get("badRows")) == (len(mailed), 1), f"{counts}")


def no_secret_is_kept(sent: Sent):
    """The password is in no file of the state folder, and in no output."""
    kept = [path for path in [*sent.fleet.state.rglob("*"), *sent.fleet.folder.glob("run-*.out")] if path.is_file()]
    told = [str(path) for path in kept if PASSWORD.encode() in path.read_bytes()]
    require(not told, f"the password is in {told}")


def refused_until_it_reads(sent: Sent, database, query: dict, cases: list[tuple[str, str]]):
    """Queries that cannot be an audience, each with what status says."""
    for text, words in cases:
        sent.write({**URL, **query, "query": text}, database.url(**sent.parameters), content={"text": "Hi"})
        sent.says(words)
    require(not sent.server.taken, f"mailed: {dict(sent.server.taken)}")


def preview(sent: Sent, who: str) -> str:
    """The text of one person's message."""
    code, text = sent.fleet.command("preview", "spring", sent.fleet.config, "--state", sent.fleet.state, "--recipient", who, "--output", "text")
    require(code == 0, f"preview: exit {code}: {text}")
    return text


def postgresql_over_tls(place) -> str:
    """An own authority, SCRAM, parameters, renamed columns, every type; a wrong password is fixed in the Secret; the database refuses what writes."""
    authority = Authority(place.new("authority"))
    sent = Sent(place, "postgres")
    with Postgres(place.new("database"), authority.issue("localhost")) as database:
        database.run(TABLE + "; CREATE SEQUENCE counter; CREATE FUNCTION add_one() RETURNS int LANGUAGE sql AS 'INSERT INTO people (id) VALUES (99) RETURNING id'")
        database.run("GRANT ALL ON ALL TABLES IN SCHEMA public TO news; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO news")
        sent.ca, sent.parameters = authority.certificate.read_text(), {"sslmode": "require"}
        rest = {"columns": {"email": "mail"}, "caRef": {"name": "shop", "key": "ca"}}
        process = sent.fleet.start(once=False)
        select = "SELECT mail, name, price, since, note FROM people WHERE active AND id < $1 AND lang = ANY(ARRAY[$2, 'en']) -- people; all of them"
        good = {**URL, **rest, "query": select, "parameters": ["10", "de"]}
        skips = {"audience": {"whenRowIsBad": "Skip", "maxBadRows": 5}}
        sent.write(good, database.url(password="wrong", sslmode="require"), **skips)
        sent.says("the database refuses the login: password authentication failed for user")
        refused_until_it_reads(sent, database, rest, [
            ("SELECT name FROM people", "of the query, there is no column `mail`, which `columns.email` names"),
            ("SELECT mail FROM poeple", 'relation "poeple" does not exist'),
            ("SELECT mail FROM people WHERE id = $1", "the query has 1 parameter, and `parameters` has 0"),
            ("DELETE FROM people", "the query returns no rows; write a SELECT"),
            ("DELETE FROM people RETURNING mail", "the query is not a SELECT"),
            ("WITH gone AS (DELETE FROM people RETURNING mail) SELECT mail FROM gone", "the database refuses the query"),
            ("SELECT mail, nextval('counter') FROM people", "the query writes, and the database refuses that: cannot execute nextval() in a read-only transaction"),
            ("SELECT mail, add_one() FROM people", "the query writes, and the database refuses that: cannot execute INSERT in a read-only transaction"),
            ("SELECT mail FROM people; DELETE FROM people", "cannot insert multiple commands into a prepared statement"),
        ])  # fmt: skip
        sent.write({**URL, **rest, "query": "SELECT mail, pg_sleep(5) FROM people", "timeout": "1s"}, database.url(**sent.parameters), content={"text": "Hi"})
        sent.says("the query took longer than 1s")
        require(database.run("SELECT count(*) FROM people").stdout.split()[2] == "5", "the database was changed")
        sent.write(good, database.url(**sent.parameters), **skips)
        same_people(sent, process, {"ann@example.com", "bob@example.com", "eve@example.com"})
        text = preview(sent, "ann@example.com")
        require("Änn|12.5|2026-01-02T03:04:05|False|13.5" in text, text)
    no_secret_is_kept(sent)
    return "10 queries refused, 3 mailed"


def mariadb_over_tls(place) -> str:
    """The same of MariaDB."""
    authority = Authority(place.new("authority"))
    sent = Sent(place, "mariadb")
    with MariaDB(place.new("database"), TABLE, authority.issue("localhost")) as database:
        sent.ca, sent.parameters = authority.certificate.read_text(), {"ssl-mode": "REQUIRED"}
        rest = {"columns": {"email": "mail"}, "caRef": {"name": "shop", "key": "ca"}}
        process = sent.fleet.start(once=False)
        select = "SELECT mail, name, price, since, note FROM people WHERE active AND id < ? AND lang IN (?, 'en') -- people"
        good = {**URL, **rest, "query": select, "parameters": ["10", "de"]}
        skips = {"audience": {"whenRowIsBad": "Skip", "maxBadRows": 5}}
        sent.write(good, database.url(password="wrong", **sent.parameters), **skips)
        sent.says("the database refuses the login: Access denied for user")
        refused_until_it_reads(sent, database, rest, [
            ("SELECT name FROM people", "of the query, there is no column `mail`"),
            ("SELECT mail FROM poeple", "poeple' doesn't exist"),
            ("SELECT mail FROM people WHERE id = ?", "the query has 1 parameter, and `parameters` has 0"),
            ("DROP TABLE people", "the query returns no rows; write a SELECT"),
            ("SELECT mail FROM people; DELETE FROM people", "You have an error in your SQL syntax"),
            ("DELETE FROM people RETURNING mail", WRITES),
        ])  # fmt: skip
        sent.write({**URL, **rest, "query": "SELECT mail, sleep(5) FROM people", "timeout": "1s"}, database.url(**sent.parameters), content={"text": "Hi"})
        sent.says("the query took longer than 1s")
        sent.write(good, database.url(**sent.parameters), **skips)
        same_people(sent, process, {"ann@example.com", "bob@example.com", "eve@example.com"})
        text = preview(sent, "ann@example.com")
        require("Änn|12.5|2026-01-02 03:04:05|False|13.5" in text, text)
    no_secret_is_kept(sent)
    return "7 queries refused, 3 mailed"


def login_of_mysql_8(place) -> str:
    """The login that MySQL has from version 8 on: the password itself over TLS alone, and its hash once the server knows it."""
    authority = Authority(place.new("authority"))
    certificate = authority.issue("localhost")
    sent = Sent(place, "mysql")
    with MariaDB(place.new("database"), TABLE) as behind, MySQLLogin(place.new("front"), behind, certificate) as database:
        sent.ca = authority.certificate.read_text()
        process = sent.fleet.start(once=False)
        good = {**URL, "caRef": {"name": "shop", "key": "ca"}, "columns": {"email": "mail"}, "query": "SELECT mail, name, price, since, note FROM people WHERE active AND id < ?", "parameters": ["10"]}
        skips = {"audience": {"whenRowIsBad": "Skip", "maxBadRows": 5}}
        encrypted = {"ssl-mode": "REQUIRED"}
        sent.write(good, database.url(**{"ssl-mode": "DISABLED"}), **skips)
        sent.says("the database asks for the password itself, which is sent over TLS only; require TLS in the URL")
        sent.write(good, database.url(password="wrong", **encrypted), **skips)
        sent.says("the database refuses the login: Access denied for user")
        require(set(database.logins()) == {"refused"}, f"{database.logins()}")
        sent.write(good, database.url(**encrypted), **skips)
        same_people(sent, process, {"ann@example.com", "bob@example.com", "eve@example.com"})
        # The same account without TLS, now that the server knows its hash.
        sent.write(good, database.url(**{"ssl-mode": "DISABLED"}), **skips)
        text = preview(sent, "ann@example.com")
        require("Änn|12.5|" in text, text)
        kinds = [kind for kind in database.logins() if kind != "refused"]
        require(kinds[0] == "full" and set(kinds[1:]) == {"cached"}, f"{kinds}")
    no_secret_is_kept(sent)
    return f"2 refused, then {', '.join(kinds)}"


def sqlite_beside_the_campaign(place) -> str:
    """A file of SQLite: the same people, and neither another file nor a write."""
    sent = Sent(place, "sqlite")
    path = sent.fleet.config / "shop.sqlite"
    with sqlite3.connect(path) as database:
        database.executescript(TABLE)
    database.close()
    with sqlite3.connect(place.root / "other.sqlite") as other:
        other.executescript("CREATE TABLE t (email TEXT)")
    other.close()
    process = sent.fleet.start(once=False)
    skips = {"audience": {"whenRowIsBad": "Skip", "maxBadRows": 5}}
    cases = [
        ("SELECT name FROM people", "of the query, there is no column `email`; the columns are `name`"),
        ("DELETE FROM people RETURNING mail AS email", "the query writes"),
        (f"ATTACH '{place.root}/other.sqlite' AS other", "the query returns no rows"),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 'x' AS email FROM n WHERE i < 0", "the query took longer than 1s"),
        ("SELECT mail AS email, zeroblob(100000000) AS name FROM people", "string or blob too big"),
    ]
    for text, words in cases:
        sent.write({"path": "shop.sqlite", "query": text, "timeout": "1s"}, content={"text": "Hi"})
        sent.says(words)
    sent.write({"path": "../shop.sqlite", "query": "SELECT 1"}, **skips)
    sent.says("is outside")
    select = "SELECT mail AS email, name, price, since, note FROM people WHERE active AND id < ? AND lang IN (?, 'en')"
    sent.write({"path": "shop.sqlite", "query": select, "parameters": ["10", "de"]}, **skips)
    code, text = sent.fleet.command("validate", sent.fleet.config)
    require(code == 0 and "nobody is mailed for this row" in text, f"validate: exit {code}: {text}")
    same_people(sent, process, {"ann@example.com", "bob@example.com", "eve@example.com"})
    return "6 queries refused, 3 mailed"


def cut_in_the_middle(place) -> str:
    """The connection is cut in the middle of the rows, twice: what came is mailed, the rest once the database can be reached; nobody twice."""
    told = []
    rows = 20_000
    people = {f"person{number}@example.com" for number in range(1, rows + 1)}
    series = "CREATE TABLE crowd AS SELECT concat('person', {0}, '@example.com') AS email, concat('Person ', {0}) AS name FROM {1}"
    makers = {
        "PostgreSQL": lambda: Postgres(place.new("database")),
        "MariaDB": lambda: MariaDB(place.new("database"), series.format("seq", f"seq_1_to_{rows}")),
    }
    for name, make in makers.items():
        sent = Sent(place, "cut")
        with make() as database, Line(database.port, 400_000) as line:
            if name == "PostgreSQL":
                database.run(series.format("i", f"generate_series(1, {rows}) AS i") + "; GRANT ALL ON crowd TO news")
            sent.write({**URL, "query": "SELECT email, name FROM crowd"}, database.url(line.port), content={"text": "Dear {{ name }}"})
            process = sent.fleet.start("-q")
            wait_until(lambda: line.was_cut >= 2, 120, "the line is cut")
            some = len(sent.server.taken)
            line.cuts = False
            process.wait(240)
            require(process.code == 0, f"{name}: exit {process.code}: {process.tail()}")
        require(set(sent.server.taken) == people, f"{name}: left out {len(people - set(sent.server.taken))}, too many {len(set(sent.server.taken) - people)}")
        require(max(sent.server.taken.values()) == 1, f"{name}: somebody got two")
        require(0 < some < rows, f"{name}: {some} were mailed before the line was fixed")
        told.append(f"{name}: {line.was_cut} cuts, {some} mailed meanwhile, {rows} in the end")
    return "; ".join(told)


def a_million_rows(place) -> str:
    """A million rows take no more memory than ten thousand: a rollout's first step, which passes over all of them."""
    peaks = {}
    with Postgres(place.new("database")) as database:
        database.run("CREATE TABLE crowd AS SELECT 'person' || i || '@example.com' AS email, repeat('x', 100) AS name, i FROM generate_series(1, 1000000) AS i; GRANT ALL ON crowd TO news")
        for rows in (10_000, 1_000_000):
            sent = Sent(place, "million")
            query = {**URL, "query": "SELECT email, name FROM crowd WHERE i <= $1", "parameters": [str(rows)]}
            rollout = {"steps": [{"percent": "0.1", "pause": {}}, {"percent": 50, "pause": {}}]}
            sent.write(query, database.url(), content={"text": "Dear {{ name }}"}, rollout=rollout)
            process = sent.fleet.start("-q", once=False)
            begin = time.monotonic()
            wait_until(lambda sent=sent: sent.fleet.condition("Campaign", "spring", "AudienceRead").get("status"), 500, "the audience is read", every=0.2)
            seconds = time.monotonic() - begin
            peaks[rows] = peak_memory_kib(process.pid) / 1024
            counts = sent.fleet.status("Campaign", "spring")["recipients"]
            process.kill()
            require(counts["total"] == rows, f"{counts}")
            mailed = len(sent.server.taken)
            require(0 < mailed < rows / 100, f"{mailed} were mailed in the first step")
    few, many = peaks.values()
    # The rows alone are 150 MiB.
    require(many - few < 60, f"{few:.0f} MiB with 10,000 rows, {many:.0f} MiB with a million")
    return f"{few:.0f} MiB with 10,000 rows, {many:.0f} MiB with a million, read in {seconds:.0f} s"


# Everybody whom listmonk could be asked to mail: each state, and each membership of a list with double opt-in and of one without.
PEOPLE = """
INSERT INTO lists (uuid, name, type, optin) VALUES (gen_random_uuid(), 'News, weekly', 'public', 'double'), (gen_random_uuid(), 'Offers', 'private', 'single'), (gen_random_uuid(), 'Empty', 'public', 'single');
INSERT INTO subscribers (uuid, email, name, attribs, status)
  SELECT gen_random_uuid(), concat_ws('-', state, news, offers) || '@example.com', initcap(state), jsonb_build_object('city', 'Köln', 'tags', jsonb_build_array(news)), state::subscriber_status
  FROM unnest(ARRAY['enabled', 'disabled', 'blocklisted']) AS state, unnest(ARRAY['unconfirmed', 'confirmed', 'unsubscribed', 'no']) AS news, unnest(ARRAY['unconfirmed', 'confirmed', 'unsubscribed', 'no']) AS offers;
INSERT INTO subscriber_lists (subscriber_id, list_id, status)
  SELECT s.id, l.id, split_part(split_part(s.email, '@', 1), '-', l.id + 1)::subscription_status FROM subscribers s, lists l WHERE l.id < 3 AND split_part(split_part(s.email, '@', 1), '-', l.id + 1) <> 'no';
"""


def documented_query() -> str:
    """The query of docs/campaigns.md for those who come from listmonk."""
    text = (ROOT / "docs" / "campaigns.md").read_text().split("##### From listmonk")[1]
    return text.split("```sql\n")[1].split("```")[0]


def people_of_listmonk(place) -> str:
    """listmonk's own tables: the documented query mails whom listmonk's own query would, of lists with double opt-in and without, and of several at once."""
    told = []
    with Postgres(place.new("database")) as database:
        database.run(listmonk.schema())
        database.run(PEOPLE + "GRANT SELECT ON ALL TABLES IN SCHEMA public TO news")
        for names in ('{"News, weekly"}', "{Offers}", '{Offers,"News, weekly"}', "{Offers,Empty}"):
            wanted = listmonk.mailed(database, names)
            sent = Sent(place, "listmonk")
            sent.write({**URL, "query": documented_query(), "parameters": [names]}, database.url(), content={"text": "{{ name }} {{ attribs.city }} {{ attribs.tags[0] }}"})
            code, text = sent.fleet.run_once("-q")
            require(code == 0, f"{names}: exit {code}: {text}")
            mailed = set(sent.server.taken)
            require(mailed == wanted, f"{names}: too many {sorted(mailed - wanted)}, left out {sorted(wanted - mailed)}")
            require(max(sent.server.taken.values()) == 1 and 0 < len(wanted) < 48, f"{names}: {dict(sent.server.taken)}")
            told.append(str(len(wanted)))
        who = min(wanted)
        require("Köln" in preview(sent, who), "attributes")
    return f"{', '.join(told)} of 48 subscribers"


def of_people_who_are_left_out(place) -> str:
    """A query as a list of those who are not mailed: whoever is in it when the audience is read gets nothing; one that fails stops all."""
    sent = Sent(place, "exclude")
    path = sent.fleet.config / "shop.sqlite"
    with sqlite3.connect(path) as database:
        database.executescript(TABLE.replace("'not an address'", "'di@example.com'"))
    database.close()
    gone = {"path": "shop.sqlite", "query": "SELECT mail AS email FROM people WHERE lang = ? UNION SELECT 'BOB@example.com'", "parameters": ["xx"]}
    everybody = {"path": "shop.sqlite", "query": "SELECT mail AS email, name, price, since, note FROM people"}
    process = sent.fleet.start(once=False)
    sent.write(everybody, audience={"exclude": [{"sql": {**gone, "query": "SELECT mail AS email FROM poeple WHERE lang = ?"}}]})
    sent.says("spec.audience.exclude[0]: shop.sqlite: SQLite refuses the query: no such table: poeple")
    require(not sent.server.taken, f"{dict(sent.server.taken)}")
    sent.write(everybody, audience={"exclude": [{"sql": {**gone, "parameters": ["en"]}}, {"sql": {**gone, "query": "SELECT name AS email FROM people WHERE lang = ?"}, "maxBadRows": 1}]})
    sent.completed()
    process.kill()
    require(dict(sent.server.taken) == dict.fromkeys(("ann@example.com", "cy@example.com", "di@example.com", "eve@example.com"), 1), f"{dict(sent.server.taken)}")
    counts = sent.fleet.status("Campaign", "spring")["recipients"]
    require((counts["total"], counts["excluded"]) == (4, 1), f"{counts}")
    sent = Sent(place, "secret")
    shutil.copy(path, sent.fleet.config)
    sent.write(everybody, audience={"exclude": [{"sql": {**URL, "query": "SELECT 1"}}]})
    process = sent.fleet.start(once=False)
    sent.says("spec.audience.exclude[0].sql.urlRef: there is no Secret `shop`")
    process.kill()
    return "1 of 5 left out"


def customers_reach_no_database_of_this_network(place) -> str:
    """With --deny-private-networks a database on loopback is not contacted, whatever its port says."""
    sent = Sent(place, "denied", "--deny-private-networks")
    with Postgres(place.new("database")) as database, Line(database.port, 1 << 30) as line:
        process = sent.fleet.start(once=False)
        for host in ("127.0.0.1", "localhost"):
            sent.write({**URL, "query": f"SELECT 1 AS email -- {host}"}, database.url(line.port).replace("127.0.0.1", host))
            sent.says(f"{host}:{line.port}/{DATABASE}: the host has no public address")
            require(sent.fleet.condition("Campaign", "spring", "Ready").get("reason") == "AddressNotAllowed", "the reason")
        process.kill()
        require(not line.was_cut and not sent.server.taken, "something was reached")
    return "2 hosts refused"


def main():
    cases = Cases(__doc__)
    cases.parse()
    place = Shared(lambda: Place("databases"))
    cases.add_all((postgresql_over_tls, a_million_rows, customers_reach_no_database_of_this_network), place, needs=Postgres.missing)
    cases.add_all((mariadb_over_tls,), place, needs=MariaDB.missing)
    cases.add_all((login_of_mysql_8,), place, needs=MySQLLogin.missing)
    cases.add_all((people_of_listmonk,), place, needs=lambda: Postgres.missing() or listmonk.missing())
    cases.add_all((sqlite_beside_the_campaign, of_people_who_are_left_out), place)
    cases.add_all((cut_in_the_middle,), place, needs=lambda: Postgres.missing() or MariaDB.missing())
    cases.end()


if __name__ == "__main__":
    main()
