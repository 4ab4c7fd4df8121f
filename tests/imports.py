#!/usr/bin/env python3
"""Moving in: listmonk's own program and Mailfleet, by what it imported, send the same campaign to the same people; Mautic's and AcelleMail's tables in a real MariaDB; KumoMTA's files; and sources that cannot be read."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

from parts import foreign, listmonk
from parts.databases import DATABASE, PASSWORD, QUOTED, USER, MariaDB, Postgres
from parts.mailpit import Mailpit
from parts.place import Place
from parts.process import free_port
from parts.report import Cases, Shared, require
from parts.scripted import Scripted

PUBLIC = "https://news.example.com"
# Each state of a subscriber, each membership of a list with double opt-in and of one without, and names that HTML and templates could trip over.
PEOPLE = """
INSERT INTO lists (uuid, name, type, optin, tags) VALUES (gen_random_uuid(), 'Offers', 'public', 'single', '{}'), (gen_random_uuid(), 'News, weekly', 'public', 'double', '{}');
INSERT INTO subscribers (uuid, email, name, attribs, status) SELECT gen_random_uuid(), s || '-' || m || '-' || l || '@example.com',
    (ARRAY['Ann O''Hara', 'Bo Möller & Söhne', 'Cy <b>', 'Al', '{{ name }} {% x %}'])[1 + (row_number() OVER ()) % 5],
    CASE WHEN (row_number() OVER ()) % 3 = 0 THEN '{}'::jsonb ELSE '{"city": "Köln & <Porz>", "tags": ["a", "b<c"], "n": 3, "none": null, "site": "https://x.example/?a=1&b=2", "vip": true}'::jsonb END, s::subscriber_status
    FROM unnest(ARRAY['enabled', 'disabled', 'blocklisted']) s, unnest(ARRAY['unconfirmed', 'confirmed', 'unsubscribed']) m, unnest(ARRAY['Offers', 'News', 'both']) l;
UPDATE subscribers SET email = lower(email);
INSERT INTO subscriber_lists (subscriber_id, list_id, status) SELECT s.id, l.id, split_part(s.email, '-', 2)::subscription_status FROM subscribers s, lists l
    WHERE split_part(s.email, '-', 2) IN ('unconfirmed', 'confirmed', 'unsubscribed') AND ((l.name = 'Offers' AND s.email LIKE '%-offers@%') OR (l.name = 'News, weekly' AND s.email LIKE '%-news@%') OR (l.name IN ('Offers', 'News, weekly') AND s.email LIKE '%-both@%'));
"""
SUBJECT = "{{ .Subscriber.FirstName }}, {{ if .Subscriber.Attribs.vip }}first for you{{ else }}spring is here{{ end }}"
LAYOUT = """<!doctype html><html><head><style>a{color:#111} /* note */ @media screen{#x a{padding:0}}</style></head><body>
<!-- a comment that is not sent -->
<h1>{{ .Campaign.Name | upper }}</h1>{{ template "content" . }}
<p>{{ L.T "email.unsubHelp" }} <a href="{{ UnsubscribeURL }}">{{ L.T "email.unsub" }}</a> <a href="{{ MessageURL }}">view</a></p>{{ TrackView }}
</body></html>"""
BODY = """<p title="{{ .Subscriber.Name }}">Dear {{ .Subscriber.Name }} ({{ .Subscriber.Email }}), {{ .Subscriber.LastName }}!</p>
{{- with .Subscriber.Attribs.city }}<p>In {{ . }}.</p>{{ else }}<p>Nowhere.</p>{{ end }}
<ul>{{ range $i, $tag := .Subscriber.Attribs.tags }}<li>{{ $i }}: {{ $tag }}</li>{{ else }}<li>none</li>{{ end }}</ul>
{{ $n := .Subscriber.Attribs.n }}{{ if and $n (gt $n 2.0) }}<p>many: {{ $n }}</p>{{ end }}
<p>{{ .Subscriber.Attribs.gone }}|{{ .Subscriber.Attribs.none }}|{{ .Subscriber.Attribs.city | default "no city" | upper }}|{{ printf "%s of %s" .Subscriber.Name "us" }}</p>
{{/* a note */}}<p>{% raw %} {# hash #} { single }</p>
<a href="{{ TrackLink "https://shop.example.com/?a=1&b=2" }}">Shop</a> <a href="https://q.example.com/?q={{ .Subscriber.Name }}">Ask</a>"""
ALTBODY = "Hi {{ .Subscriber.FirstName }}, spring is here: https://shop.example.com/"


def quoted(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def campaign(name: str, lists: str, body: str, *, subject: str = SUBJECT, template: str = "Layout", altbody: str = "NULL", kind: str = "html", status: str = "draft", last: int = 0) -> str:
    """A campaign of listmonk in SQL."""
    return (
        "INSERT INTO campaigns (uuid, name, subject, from_email, body, altbody, content_type, messenger, template_id, status, last_subscriber_id) VALUES "
        f"(gen_random_uuid(), {quoted(name)}, {quoted(subject)}, 'Example News <news@news.example.com>', {quoted(body)}, {altbody}, '{kind}', 'email', "
        f"(SELECT id FROM templates WHERE name = {quoted(template)}), '{status}', {last});"
        f"INSERT INTO campaign_lists (campaign_id, list_id, list_name) SELECT (SELECT max(id) FROM campaigns), id, name FROM lists WHERE name = ANY ({quoted(lists)});"
    )


def run_import(place, *words, environment: dict | None = None) -> tuple[int, str, str]:
    """`mailfleet import`: its exit code and both outputs."""
    command = [str(word) for word in (place.program, "import", *words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, env=environment)
    return done.returncode, done.stdout, done.stderr


def accepted(fleet, *options: str):
    """`mailfleet validate` accepts what was written."""
    code, text = fleet.command("validate", fleet.config, *options)
    require(code == 0, f"validate: exit {code}: {text}")


def holds_no_secret(folder: Path, *secrets: str):
    """None of these is in a file of the folder."""
    paths = [folder] if folder.is_file() else folder.rglob("*")
    told = [str(path) for path in paths if path.is_file() for secret in secrets if secret in path.read_text()]
    require(not told, f"a secret is in {told}")


def seen(mailpit) -> dict[str, dict]:
    """Each person's message, by address."""
    return {summary["To"][0]["Address"]: mailpit.message(summary["ID"]) for summary in mailpit.messages()}


def with_listmonk(place):
    """A database with listmonk's tables, its program, and a mailpit that takes what it sends."""
    folder = place.new("listmonk")
    database = place.stack.enter_context(Postgres(place.new("database")))
    mailpit = place.stack.enter_context(Mailpit(folder))
    program = place.stack.enter_context(listmonk.Listmonk(folder, database, mailpit.port))
    database.run(PEOPLE)
    database.run(f"INSERT INTO templates (name, body) VALUES ('Layout', {quoted(LAYOUT)})")
    return database, mailpit, program


def start(fleet, *names: str):
    """A person removes `suspend` of these campaigns; the others stay suspended."""
    path = fleet.config / "campaigns.yaml"
    documents = path.read_text().split("---\n")
    changed = [text.replace("suspend: true", "suspend: false") if re.search(rf"^  name: ({'|'.join(names)})$", text, re.MULTILINE) else text for text in documents]
    path.write_text("---\n".join(changed))


def same_mail_as_listmonk(place) -> str:
    """listmonk sends a campaign; Mailfleet sends what it imported of it before: the same people get the same subject, HTML and text."""
    database, theirs, program = with_listmonk(place)
    database.run(campaign("Spring sale", '{Offers,"News, weekly"}', BODY, altbody=quoted(ALTBODY)))
    fleet = place.fleet("moved", "--public-url", PUBLIC, "--public-address", f"127.0.0.1:{free_port()}")
    code, out, error = run_import(place, "listmonk", "--config", program.config, "--output", fleet.config, "--secrets", fleet.config / "secrets.yaml")
    require(code in (0, 1), f"import: exit {code}: {out} {error}")
    require((fleet.config / "secrets.yaml").stat().st_mode & 0o777 == 0o600, "the Secrets are for everybody")
    accepted(fleet)
    holds_no_secret(fleet.config / "REPORT.md", PASSWORD, QUOTED)
    require(PASSWORD not in out + error and QUOTED not in out + error, "the password is told")
    # Nothing is sent before a person says so.
    with Mailpit(place.new("ours")) as ours:
        servers = fleet.config / "servers.yaml"
        servers.write_text(servers.read_text().replace(f"port: {theirs.port}", f"port: {ours.port}"))
        fleet.run_once("--quiet", seconds=60)
        require(not ours.messages(), "a suspended campaign was sent")
        start(fleet, "spring-sale", "test-campaign")
        code, text = fleet.run_once("--quiet")
        require(code == 0, f"exit {code}: {text}")
        mailed = seen(ours)
        program.send("Spring sale")
        program.send("Test campaign")
        wanted = seen(theirs)
        require(set(mailed) == set(wanted), f"too many: {sorted(set(mailed) - set(wanted))}, left out: {sorted(set(wanted) - set(mailed))}; {text[-2000:]}")
        require(len(mailed) > 10 and len(theirs.messages()) == len(ours.messages()), f"{len(mailed)}")
        links = program.links()
        for address, message in wanted.items():
            own = mailed[address]
            for part in ("Subject", "HTML", "Text"):
                if part == "Text" and address in ("john@example.com", "anon@example.com"):
                    # listmonk sends this campaign as HTML alone, and mailpit makes a text of it.
                    continue
                one, other = normal(message[part], program.root, links), normal(own[part], program.root, links)
                require(one == other, f"{address}, {part}:\nlistmonk  {one!r}\nMailfleet {other!r}")
            require(own["From"] == message["From"], f"{own['From']} {message['From']}")
    return f"{len(mailed)} people"


def normal(text: str, root: str, links: dict[str, str]) -> str:
    """A text without what must differ: listmonk's tracking of clicks and opens, the pages for unsubscribing, and how a value is escaped."""
    text = re.sub(rf"{re.escape(root)}/link/([-0-9a-f]+)/[-0-9a-f]+/[-0-9a-f]+", lambda found: links[found[1]].replace("&", "&amp;"), text)
    text = re.sub(rf'<img src="{re.escape(root)}/campaign/[^"]*/px.png"[^>]*>', "", text)
    text = re.sub(rf"{re.escape(root)}/subscription/[-0-9a-f]+/[-0-9a-f]+", "UNSUBSCRIBE", text)
    text = re.sub(rf"{re.escape(PUBLIC)}/u/v1/[-_0-9A-Za-z=.]+", "UNSUBSCRIBE", text)
    # The same bytes of a query, in either case of their digits; a plus is a blank to no server alone.
    text = re.sub(r"%[0-9a-f]{2}", lambda found: found[0].upper(), text)
    return html.unescape(text).replace("\r\n", "\n").strip()


def trouble_of_listmonk(place) -> str:
    """What cannot be carried over does not start; logins become Secrets; what newer versions have is read, and what older ones lack is not missed; one that has begun goes on where listmonk is."""
    database = place.stack.enter_context(Postgres(place.new("newer")))
    database.run(listmonk.schema().replace("INSERT INTO templates (name, body, is_default) VALUES ('x', 'x', true);", ""))
    database.run(PEOPLE)
    database.run(f"INSERT INTO templates (name, body, is_default) VALUES ('Layout', {quoted(LAYOUT)}, true)")
    # As newer versions have it.
    database.run("ALTER TABLE campaigns ADD COLUMN headers JSONB NOT NULL DEFAULT '[]', ADD COLUMN attribs JSONB NOT NULL DEFAULT '{}'; ALTER TABLE campaigns DROP COLUMN altbody")
    database.run("CREATE TABLE bounces (id SERIAL PRIMARY KEY, subscriber_id INTEGER NOT NULL, type TEXT NOT NULL); INSERT INTO bounces (subscriber_id, type) SELECT id, 'complaint' FROM subscribers WHERE email = 'blocklisted-confirmed-both@example.com'")
    base = {"enabled": True, "max_conns": 7, "hello_hostname": "me.example.com", "tls_skip_verify": True, "email_headers": [{"Return-Path": "bounce@example.com"}]}
    relays = [
        {**base, "name": "email-eu", "host": "eu.example.com", "port": 587, "auth_protocol": "login", "username": "news", "password": "hunter2-eu", "tls_type": "STARTTLS", "from_addresses": []},
        {**base, "host": "us.example.com", "port": 465, "auth_protocol": "cram", "username": "news", "password": "hunter2-us", "tls_type": "TLS", "from_addresses": ["other.example.com"]},
        {**base, "enabled": False, "host": "old.example.com", "port": 25, "auth_protocol": "plain", "username": "x", "password": "hunter2-old", "tls_type": "none"},
    ]
    for key, value in {"smtp": relays, "app.message_rate": 5, "app.concurrency": 4, "app.message_sliding_window": True, "app.message_sliding_window_duration": "1h", "messengers": [{"name": "sms", "enabled": True}]}.items():
        database.run(f"UPDATE settings SET value = '{json.dumps(value)}' WHERE key = '{key}'")
    lost = {
        "hash": "<p>{{ sha256sum .Subscriber.Email }}</p>", "script": "<script>var a = {{ .Subscriber.Name }}</script>", "broken": "<p>{{ if }}</p>{{ end",
        "date": "{{ Date \"2006\" }}",
    }  # fmt: skip
    for name, body in lost.items():
        database.run(campaign(name, "{Offers}", body).replace(", altbody", "").replace(", NULL", "", 1))
    others = (("mark", "{Offers}", {"kind": "markdown"}), ("begun", "{Offers}", {"status": "paused", "last": 30}), ("done", "{Offers}", {"status": "finished"}), ("subject", "{Offers}", {"subject": "{{ .Subscriber.Gone }}"}))
    for name, lists, more in others:
        database.run(campaign(name, lists, "<p>x</p>", **more).replace(", altbody", "").replace(", NULL", "", 1))
    database.run("UPDATE campaigns SET messenger = 'email-eu', headers = '[{\"X-Note\": \"{{ .Subscriber.Name }}\"}, {\"Reply-To\": \"Us <us@news.example.com>\"}, {\"Bcc\": \"all@example.com\"}]' WHERE name = 'begun'")
    database.run("UPDATE campaigns SET from_email = 'x@other.example.com' WHERE name = 'mark'; UPDATE campaigns SET messenger = 'sms' WHERE name = 'date'")
    fleet = place.fleet("trouble", "--public-url", PUBLIC, "--public-address", f"127.0.0.1:{free_port()}")
    url = f"postgres://owner:{QUOTED}@127.0.0.1:{database.port}/{DATABASE}"
    code, out, error = run_import(place, "listmonk", "--output", fleet.config, "--secrets", fleet.folder / "secrets.yaml", "-o", "json", environment={"MAILFLEET_IMPORT_DATABASE": url, "PATH": "/usr/bin:/bin"})
    require(code == 1, f"exit {code}: {error}")
    report = json.loads(out)
    require(report["faults"] == [], f"{report['faults']}")
    accepted(fleet)
    secrets = ("hunter2-eu", "hunter2-us", "hunter2-old", QUOTED)
    holds_no_secret(fleet.config, *secrets)
    require(not any(secret in out + error for secret in secrets), "a secret is told")
    require(all(secret in (fleet.folder / "secrets.yaml").read_text() for secret in secrets), "the file of Secrets is incomplete")
    told = {(finding["outcome"], finding["place"]): finding["what"] for finding in report["report"]["findings"]}
    wanted = [
        ("notCarriedOver", 'campaign 1 "hash", body, line 1', "sha256sum"), ("notCarriedOver", 'campaign 2 "script", body, line 1', "in a script"),
        ("notCarriedOver", 'campaign 3 "broken", body, line 1', "no template of Go"), ("notCarriedOver", 'campaign 5 "mark", body', "Markdown"),
        ("notCarriedOver", 'campaign 4 "date"', 'messenger "sms"'), ("check", 'campaign 6 "begun"', "up to number 30"), ("notCarriedOver", "campaigns that are finished", "1, since"),
        ("notCarriedOver", 'campaign 8 "subject", subject, line 1', "`.Subscriber.Gone`"), ("notCarriedOver", 'campaign 6 "begun"', "Bcc"),
    ]  # fmt: skip
    for outcome, where, words in wanted:
        require(words in told.get((outcome, where), "") or any(words in finding["what"] for finding in report["report"]["findings"] if (finding["outcome"], finding["place"]) == (outcome, where)), f"{outcome} {where}: {words}: {out}")
    servers, campaigns, plans = ((fleet.config / f"{name}.yaml").read_text() for name in ("servers", "campaigns", "plans"))
    for words in ("name: email-eu", "mechanism: Login", "encryption: Tls", "heloName: me.example.com", "connections: 7", "enabled: false"):
        require(words in servers, f"{words}: {servers}")
    for words in ("messages: 20\n      per: 1s", "messages: 10000\n      per: 1h"):
        require(words in plans, f"{words!r}: {plans}")
    for words in ("s.id > 30", "name: X-Note", "address: us@news.example.com", "- name: email-eu", "- name: us-example-com"):
        require(words in campaigns, f"{words}: {campaigns}")
    require("all@example.com" not in campaigns, "a Bcc")
    suppressed = (fleet.config / "suppressions.csv").read_text()
    require(suppressed.count("@example.com") == 9 and ",Complaint," in suppressed, suppressed)
    # The first run makes the ledger; all campaigns are suspended.
    fleet.run_once("--quiet")
    code, text = fleet.command("suppressions", "import", fleet.config / "suppressions.csv", "--state", fleet.state)
    require(code == 0 and "9 entries added" in text, text)
    code, text = fleet.command("suppressions", "import", fleet.config / "unsubscribed.csv", "--state", fleet.state)
    require(code == 0 and "6 entries added" not in text and "added" in text, text)
    # Nobody is mailed a wrong text, though a person lets them go and all servers answer.
    server = Scripted(extensions=("PIPELINING",))
    smtp = {"host": "127.0.0.1", "port": server.port, "encryption": "None"}
    names = ["email-eu", "us-example-com", "old-example-com"]
    (fleet.config / "servers.yaml").write_text("---\n".join(json.dumps({"apiVersion": "mailfleet.dev/v1alpha1", "kind": "SendingServer", "metadata": {"name": name}, "spec": {"provider": {"smtp": smtp}}}) + "\n" for name in names))
    shutil.copy(fleet.folder / "secrets.yaml", fleet.config)
    start(fleet, "hash", "script", "broken", "mark", "subject")
    code, text = fleet.run_once("--quiet", seconds=120)
    require(code == 1 and not server.taken, f"exit {code}, {dict(server.taken)}: {text}")
    for name in ("hash", "script", "broken", "mark", "subject"):
        messages = [condition["message"] for condition in fleet.status("Campaign", name)["conditions"]]
        require(any("not_carried_over" in message for message in messages), f"{name}: {messages}")
    return f"{len(wanted)} findings, 5 campaigns that do not start"


def sources_that_cannot_be_read(place) -> str:
    """A wrong password, an empty database, another program's, broken TOML, missing parts, files in the way: an error each, exit code 2, and nothing is written."""
    database = place.stack.enter_context(Postgres(place.new("empty")))
    folder = place.new("sources")
    good = f"postgres://owner:{QUOTED}@127.0.0.1:{database.port}/{DATABASE}"
    files = {
        "broken.toml": '[db]\nhost = "localhost"\nport = = 5\n', "half.toml": '[db]\nhost = "localhost"\nuser = "x"\n', "socket.toml": '[db]\nhost = "/run/pg"\nuser = "x"\ndatabase = "x"\n',
        "code.php": "<?php\n$parameters = array(\n  'db_host' => getenv('HOST'),\n);\n", "other.php": "<?php echo 1;", "half.php": "<?php\n$parameters = ['db_host' => 'localhost', 'db_user' => 'x'];\n",
        "shaping.toml": '["gmail.com"]\nmax_message_rate = "100/s\n', "shaping.json": "{", "init.lua": "x",
    }  # fmt: skip
    for name, text in files.items():
        (folder / name).write_text(text)
    output = folder / "out"
    cases = [
        (("listmonk",), "name listmonk's config.toml"),
        (("listmonk", "--database", good.replace(QUOTED, "hunter2")), "the database refuses the login: password authentication failed"),
        (("listmonk", "--database", good), "the database has no tables that this user may see: it is not that of listmonk"),
        (("listmonk", "--database", good.replace("postgres:", "mysql:")), "listmonk keeps its data in another kind of database"),
        (("listmonk", "--database", "hunter2"), "the URL of the database is not one"),
        (("listmonk", "--database", "postgres://x:hunter2@127.0.0.1:9/x"), "nothing listens there (connection refused) (127.0.0.1:9)"),
        (("listmonk", "--config", folder / "broken.toml"), "broken.toml: line 3"),
        (("listmonk", "--config", folder / "half.toml"), "`database` is missing in the section `[db]`"),
        (("listmonk", "--config", folder / "socket.toml"), "the folder of a socket"),
        (("listmonk", "--config", folder / "gone.toml"), "gone.toml: the file cannot be read"),
        (("mautic", "--config", folder / "code.php"), "code.php: line 3: what stands here is no text, number or array, and code is not run"),
        (("mautic", "--config", folder / "other.php"), "there is no `$parameters`"),
        (("mautic", "--config", folder / "half.php"), "`db_name` is missing in local.php"),
        (("mautic", "--database", good), "Mautic keeps its data in another kind of database"),
        (("acellemail",), "name AcelleMail's database"),
        (("kumomta", folder / "shaping.toml", "--host", "x"), "shaping.toml, line 2"),
        (("kumomta", folder / "shaping.json", "--host", "x"), "shaping.json, line 1"),
        (("kumomta", folder / "init.lua", "--host", "x"), "which file of KumoMTA this is cannot be told by its name"),
        (("kumomta", place.new("nothing"), "--host", "x"), "there is no sources.toml"),
    ]  # fmt: skip
    for words, said in cases:
        code, out, error = run_import(place, *words, "--output", output)
        require(code == 2 and said in error, f"{words}: exit {code}: {out} {error}")
        require("hunter2" not in out + error, f"{words}: a secret is told: {error}")
    require(not output.exists(), "something was written")
    database.run("CREATE TABLE emails (id INT)")
    code, out, error = run_import(place, "listmonk", "--database", good, "--output", output)
    require(code == 2 and "the database has no table `settings`, `subscribers`" in error, error)
    (folder / "shaping.toml").write_text('["gmail.com"]\nmax_message_rate = "100/s"\n')
    words = ("kumomta", folder / "shaping.toml", "--host", "mta.example.com", "--output", output)
    code, out, error = run_import(place, *words)
    require(code == 1, error)
    code, out, error = run_import(place, *words)
    require(code == 2 and "servers.yaml" in error and "--force" in error, error)
    code, out, error = run_import(place, *words, "--force")
    require(code == 1, error)
    return f"{len(cases) + 2} errors"


LOCAL_PHP = """<?php
// Written by Mautic.
$parameters = array(
    'db_driver' => 'pdo_mysql',
    'db_host' => '127.0.0.1', 'db_port' => PORT,
    'db_name' => 'DATABASE', 'db_user' => 'USER', 'db_password' => 'PASSWORD',
    'db_table_prefix' => 'mt_', /* of all tables */
    'mailer_from_name' => 'Example', 'mailer_from_email' => 'default@news.example.com',
    'mailer_dsn' => 'smtp://127.0.0.1:RELAY',
    'mailer_custom_headers' => array('X-Own' => 'x'),
    'unsubscribe_text' => null,
    'trusted_hosts' => [],
);
"""


def mautic_in_mariadb(place) -> str:
    """Segments, emails and do-not-contact entries of Mautic's tables: whom Mautic would mail is mailed, with the same words."""
    server = Scripted(extensions=("PIPELINING",))
    database = place.stack.enter_context(MariaDB(place.new("mautic"), foreign.MAUTIC))
    config = place.new("mautic-config") / "local.php"
    text = LOCAL_PHP.replace("PORT", str(database.port), 1).replace("DATABASE", DATABASE).replace("USER", USER).replace("PASSWORD", PASSWORD).replace("RELAY", str(server.port))
    config.write_text(text)
    fleet = place.fleet("mautic-moved", "--public-url", PUBLIC, "--public-address", f"127.0.0.1:{free_port()}")
    code, out, error = run_import(place, "mautic", "--config", config, "--output", fleet.config, "--secrets", fleet.config / "secrets.yaml", "-n", "shop")
    require(code == 1, f"exit {code}: {out} {error}")
    accepted(fleet)
    holds_no_secret(fleet.config / "mails", PASSWORD)
    for words in ('email 3 "Welcome"', "A/B test", "made of a theme (`goldstar`)", '`{dynamiccontent="Hero"}`', "`{webview_text}`", "contacts have no field `gone`", "mailer_custom_headers"):
        require(words in out, f"{words}: {out}")
    suppressed = (fleet.config / "suppressions.csv").read_text().splitlines()[1:]
    wanted = ['shop,di@example.com,,Unsubscribed,2026-02-03T04:05:06Z,import,"Mautic: unsubscribed clicked, ""bye"""', "shop,ed@example.com,,HardBounce,2026-02-03T04:05:06Z,import,Mautic: bounced", "shop,lee@example.com,,Listed,2026-02-03T04:05:06Z,import,Mautic: marked by a person"]
    require(sorted(suppressed) == wanted, f"{suppressed}")
    fleet.run_once("--quiet")
    require(not server.taken, f"{dict(server.taken)}")
    code, told = fleet.command("suppressions", "import", fleet.config / "suppressions.csv", "--state", fleet.state)
    require(code == 0 and "3 entries added" in told, told)
    start(fleet, "spring", "dynamic", "themed")
    code, told = fleet.run_once("--quiet")
    # Contacts 3 to 8, 10 and 12 to 14 are removed, suppressed, mailed (one of them its variant), about to be mailed, excluded,
    # unsubscribed from the category, or without an address.
    require(set(server.taken) == {"ann@example.com", "bob@example.com", "kim@example.com"}, f"{dict(server.taken)}: {told}")
    with Mailpit(place.new("mautic-mailpit")) as mailpit:
        servers = fleet.config / "servers.yaml"
        servers.write_text(servers.read_text().replace(str(server.port), str(mailpit.port)))
        campaigns = fleet.config / "campaigns.yaml"
        campaigns.write_text(campaigns.read_text().replace("spec:\n", "spec:\n  run: second\n"))
        fleet.run_once("--quiet")
        mailed = seen(mailpit)
        require(set(mailed) == {"ann@example.com", "bob@example.com", "kim@example.com"}, f"{sorted(mailed)}")
        ann, bob = mailed["ann@example.com"], mailed["bob@example.com"]
        require((ann["Subject"], bob["Subject"]) == ("Hello Änn", "Hello friend"), f"{ann['Subject']} {bob['Subject']}")
        for message, words in ((ann, "Dear Änn, in Köln &amp; &lt;Porz&gt;. Hello Änn</p>"), (ann, "?q=x%20y"), (bob, "Dear friend, in your town. Hello friend</p>"), (ann, "<style>a{color:red}</style>"), (ann, f"<a href='{PUBLIC}/u/v1/"), (ann, "Roses for Änn")):
            require(words in message["HTML"], f"{words}: {message['HTML']}")
        require(ann["Text"].startswith(f"Hi Änn, bye: {PUBLIC}/u/v1/"), ann["Text"])
        require(ann["ReplyTo"][0]["Address"] == "reply@news.example.com" and ann["From"]["Name"] == "Example News", f"{ann['ReplyTo']} {ann['From']}")
    return "3 of 14 contacts"


def acellemail_in_mariadb(place) -> str:
    """Servers with quotas, plans with exact weights; secrets that are encrypted stay unread; what is not known is told."""
    database = place.stack.enter_context(MariaDB(place.new("acellemail"), foreign.ACELLEMAIL))
    fleet = place.fleet("acellemail-moved")
    code, out, error = run_import(place, "acellemail", "--database", database.url(), "--output", fleet.config, "--secrets", fleet.folder / "secrets.yaml")
    require(code == 1, f"exit {code}: {out} {error}")
    accepted(fleet)
    holds_no_secret(fleet.config, "hunter2-clear", QUOTED, "eyJpdiI6")
    kept = (fleet.folder / "secrets.yaml").read_text()
    require("hunter2-clear" in kept and "AKIAEXAMPLE" in kept and "eyJpdiI6" not in kept, kept)
    plan = (fleet.config / "plans.yaml").read_text()
    shares = dict(re.findall(r"- name: (\S+)\n\s+weight: (\d+)", plan))
    require(shares == {"relay-a": "70", "relay-b": "25", "ses": "5"}, plan)
    servers = (fleet.config / "servers.yaml").read_text()
    for words in ("messages: 1000\n      per: 1h", "messages: 14\n      per: 1s", "enabled: false", "region: eu-west-1", "encryption: StartTls"):
        require(words in servers, f"{words!r}: {servers}")
    for words in ("its type `carrier-pigeon` is not known here", "not known here and were not read: moon_phase", "encrypted with AcelleMail's own key", 'plans 2 "Empty": it has no server', "columns that were read: fitness, is_primary"):
        require(words in out, f"{words}: {out}")
    suppressed = (fleet.config / "suppressions.csv").read_text()
    require("cy@example.com,,Complaint," in suppressed and "eve@example.com,,Listed," in suppressed, suppressed)
    require("s.mail_list_id = 1 AND s.status = 'subscribed'" in (fleet.config / "lists" / "news.sql").read_text(), "the list")
    return "weights 70, 25 and 5"


KUMOMTA = {
    "sources.toml": '[source."ip-1"]\nsource_address = "203.0.113.5"\nehlo_domain = "mta1.example.com"\n[source."ip-2"]\nsource_address = "203.0.113.6"\n[pool."pool-1"]\n[pool."pool-1"."ip-1"]\nweight = 2\n[pool."pool-1"."ip-2"]\nweight = 1\n',
    "shaping_custom.toml": '["default"]\nconnection_limit = 10\nmax_message_rate = "100/s"\n["gmail.com"]\nmax_message_rate = "1,000/hr,max_burst=1"\nmax_deliveries_per_connection = 20\n["example.org"]\nmax_message_rate = "5/min"\n["odd.example"]\nmax_message_rate = "lots"\n[provider."yahoo"]\nmatch=[{MXSuffix=".yahoodns.net"}]\n',
    "queues.toml": 'tenant_header = "X-Tenant"\n[tenant.\'shop\']\negress_pool = "pool-1"\nmax_message_rate = "1/s"\n[queue.default]\nmax_age = "24 hours"\n',
    "listener_domains.toml": '["bounces.example.com"]\nlog_oob = true\n',
    "dkim_data.toml": '[base]\nselector = "s1"\n[domain."example.com"]\nfilename = "/opt/kumomta/etc/dkim/example.com.key"\n[domain."example.net"]\nselector = "s2"\n',
}


def files_of_kumomta(place) -> str:
    """Addresses, limits for domains and DKIM keys; pools by the header of a tenant; the rest is told."""
    folder = place.new("policy")
    for name, text in KUMOMTA.items():
        (folder / name).write_text(text)
    (folder / "init.lua").write_text("kumo.start_esmtp_listener {}\n")
    fleet = place.fleet("kumomta-moved")
    code, out, error = run_import(place, "kumomta", folder, "--host", "mta.example.com", "--port", "2525", "--output", fleet.config, "-o", "markdown")
    require(code == 1, f"exit {code}: {out} {error}")
    accepted(fleet)
    servers = (fleet.config / "servers.yaml").read_text()
    for words in ("host: mta.example.com", "port: 2525", "203.0.113.5", "203.0.113.6", "gmail.com", "messages: 1000\n        per: 1h", "messages: 5\n        per: 1m", "selector: s1", "selector: s2", "name: dkim-example-net"):
        require(words in servers, f"{words!r}: {servers}")
    for words in ("ip-1 2, ip-2 1", "name: X-Tenant, value: shop", "cannot be read", "| dkim-example-com | private.pem |", "bounces.example.com", "provider.yahoo"):
        require(words in out, f"{words}: {out}")
    require(out == (fleet.config / "REPORT.md").read_text(), "the report differs from its file")
    return f"{len(KUMOMTA)} files"


def main():
    cases = Cases(__doc__)
    cases.parse()
    place = Shared(lambda: Place("imports"))
    cases.add_all((same_mail_as_listmonk,), place, needs=lambda: Postgres.missing() or Mailpit.missing() or listmonk.missing())
    cases.add_all((trouble_of_listmonk, sources_that_cannot_be_read), place, needs=lambda: Postgres.missing() or listmonk.missing())
    cases.add_all((mautic_in_mariadb,), place, needs=lambda: MariaDB.missing() or Mailpit.missing())
    cases.add_all((acellemail_in_mariadb,), place, needs=MariaDB.missing)
    cases.add_all((files_of_kumomta,), place)
    cases.end()


if __name__ == "__main__":
    main()
