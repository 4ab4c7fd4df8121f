#!/usr/bin/env python3
"""Servers that echo the credentials they were given: no secret is in any output, status, log or ledger.

Covers every type of server and every form of the secret, in the probe and in the delivery.
"""

import json
import os
import time
import urllib.request

from parts import fleet as fleets
from parts import ledgerfile
from parts.echoes import FORMS, EchoApi, EchoSmtp, dense, traces
from parts.process import Process, folder, free_port, wait_until
from parts.report import Cases, require
from parts.vendors import MORE, SPEC, VENDORS

PASSWORD = 's3cr3t/P"ss+w\\rd&<4271>%x'
KEY = "SG.k3y-Va1ue_0123+/=zQx.mNo7"
TOKEN = "ya29.t0ken-Va1ue_9876~aBcD"
REFRESH = "1//refresh-Va1ue_5432-xYz"
CLIENT_SECRET = "GOCSPX-client-Va1ue_8642"
# The vendor's published example; its documentation has the password that it yields for eu-west-1.
AWS_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
AWS_PASSWORD = "BMW5RDrXmmVs0lV7GpI4oLkHXpZ4stDsk6q91z1g38Pk"
SECRETS = [PASSWORD, KEY, TOKEN, REFRESH, CLIENT_SECRET, AWS_SECRET, AWS_PASSWORD]

MECHANISMS = ["PLAIN", "LOGIN", "SCRAM-SHA-256", "XOAUTH2", "Ses"]
PROBES = ["greeting", "ehlo", "auth", "auth 454", "auth 421"]
DELIVERIES = ["mail", "mail 421", "rcpt", "rcpt 450", "content", "taken"]

PROBE = {"interval": "744h", "retryAfter": "24h", "failureThreshold": 1}


def told(program, fleet, names: list[str]) -> dict[str, str]:
    """Everything that Mailfleet writes anywhere, by place."""
    texts = {"output and log": "".join(path.read_text(errors="replace") for path in fleet.folder.glob("run-*.out"))}
    for path in (path for path in fleet.state.rglob("*") if path.is_file()):
        texts[str(path)] = path.read_bytes().decode("utf-8", "replace") + path.read_bytes().decode("latin-1")
    texts |= {f"table {name}": rows for name, rows in ledgerfile.dump(fleet.state).items()}
    for words in (["servers", "-o", "yaml"], ["campaigns", "-o", "yaml"], ["servers", "-o", "wide"], ["campaigns", "-o", "markdown"]):
        code, texts[" ".join(words)] = fleet.command("get", *words, "--state", fleet.state, seconds=120)
        require(code == 0, f"get {words}: {texts[' '.join(words)][:300]}")
    texts["validate"] = fleet.command("validate", fleet.config, "--state", fleet.state, seconds=400)[1]
    for name in names:
        # The server and the Secrets only: the whole folder takes seconds to read.
        alone = fleet.folder / "alone" / f"{name}.yaml"
        alone.parent.mkdir(exist_ok=True)
        objects = [json.loads(text) for text in (fleet.config / "fleet.yaml").read_text().split("---\n") if text]
        needed = [obj for obj in objects if obj["kind"] == "Secret" or obj["kind"] == "SendingServer" and obj["metadata"]["name"] == name]
        alone.write_text("".join(f"---\n{json.dumps(obj)}\n" for obj in needed))
        words = ["test", alone, "--send-to", "bob@example.com", "--state", fleet.state]
        texts[f"test {name}"] = fleet.command(*words, environment=loud(), seconds=60)[1]
    silent = [name for name in names if "you sent ***" not in texts[f"test {name}"]]
    require(len(silent) <= len(names) // 2, f"`mailfleet test` tells nothing of {silent}: {texts.get(f'test {silent[0]}', '')[-300:] if silent else ''}")
    return texts


def loud() -> dict[str, str]:
    """The environment with the most verbose log."""
    return {**os.environ, "MAILFLEET_LOG": "trace", "RUST_BACKTRACE": "1"}


def require_silence(texts: dict[str, str]):
    """None of the secrets is in one of the texts, in any form."""
    looked_for = {trace: secret for secret in SECRETS for trace in traces(secret)}
    for where, text in texts.items():
        found = dense(text)
        for trace, secret in looked_for.items():
            at = found.find(trace)
            require(at < 0, f"{where} shows `{secret}` as `{trace}`: …{found[max(0, at - 200) : at + len(trace) + 40]}…")


def echoes(fleet) -> int:
    """How many echoes statuses and ledger show, with the secret struck out."""
    texts = [path.read_text(encoding="utf-8") for path in fleet.state.glob("status/*/SendingServer/[!.]*.yaml")]
    return sum(text.count("you sent ***") for text in (*texts, *ledgerfile.dump(fleet.state).values()))


def page(port: int, target: str) -> str:
    """A page of the dashboard."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{target}", timeout=60) as answer:
        return answer.read().decode()


def run(fleet, ready, seconds: float, least: int = 0):
    """Runs until `ready`, and until statuses and ledger show so many echoes, with the most verbose log."""
    output = fleet.folder / "run-1.out"
    os.environ["MAILFLEET_LOG"] = "trace"
    try:
        port = free_port()
        admin = [f"--admin-address=127.0.0.1:{port}", "--dashboard-recipients"]
        process = Process([fleet.program, "run", fleet.config, "--state", fleet.state, *admin, *fleet.options], output)
    finally:
        del os.environ["MAILFLEET_LOG"]
    end = time.monotonic() + seconds
    try:
        while missing := ready():
            require(time.monotonic() < end and process.code is None, f"after {seconds} s: {missing}: {output.read_text()[-400:]}")
            time.sleep(0.5)
        # What the last ones said is written soon.
        time.sleep(1)
        wait_until(lambda: echoes(fleet) >= least, 60, f"{least} echoes in statuses and ledger", every=1)
        objects = [json.loads(text) for text in (fleet.config / "fleet.yaml").read_text().split("---\n") if text]
        shown = [fleet.status_path(obj["kind"], obj["metadata"]["name"]) for obj in objects if obj["kind"] in ("SendingServer", "Campaign")]
        wait_until(lambda: all(path.exists() for path in shown), 120, "a status of every object", every=1)
        paths = {"SendingServer": "servers", "Campaign": "campaigns", "Plan": "plans"}
        targets = [f"/{paths[obj['kind']]}/default/{obj['metadata']['name']}" for obj in objects if obj["kind"] in paths]
        pages = [page(port, target) for target in ["/", "/servers", "/campaigns", "/plans", "/audit", *targets]]
        require(any("you sent ***" in text for text in pages) or not least, "the dashboard shows no echo")
        # What Mailfleet put out is looked through by this name.
        (fleet.folder / "run-pages.out").write_text("\n".join(pages), encoding="utf-8")
    finally:
        process.kill()


def login(mechanism: str) -> tuple[dict, str, str]:
    """The spec beside host and port, the Secret's name, and what of it the server sees."""
    match mechanism:
        case "XOAUTH2":
            return {"auth": {"mechanism": "XOAuth2", "secretRef": {"name": "token"}}}, "XOAUTH2", TOKEN
        case "Ses":
            return {"preset": "Ses", "region": "eu-west-1", "auth": {"secretRef": {"name": "aws"}}}, "PLAIN LOGIN", AWS_PASSWORD
        case _:
            named = {"PLAIN": "Plain", "LOGIN": "Login", "SCRAM-SHA-256": "ScramSha256"}[mechanism]
            return {"auth": {"mechanism": named, "secretRef": {"name": "password"}}}, mechanism, PASSWORD


def secrets() -> list[dict]:
    return [
        fleets.secret("password", username="ann@shop.example", password=PASSWORD),
        fleets.secret("token", username="ann@shop.example", token=TOKEN),
        fleets.secret("aws", accessKeyId="AKIAIOSFODNN7EXAMPLE", secretAccessKey=AWS_SECRET),
    ]


def one_campaign(name: str) -> dict:
    """A campaign to one person over the server of the same name."""
    who = {"inline": [{"email": "bob@example.com", "name": "Bob"}]}
    return fleets.campaign(name, "all", who, servers=[{"name": name}], retry={"attempts": 1})


ALL = fleets.resource("Plan", "all", {"serverSelector": {}})


def by_smtp(program) -> str:
    """Each form at each stage, over the mechanisms in turn; the second half pairs them differently."""
    fleet = fleets.Fleet(folder("echo-smtp"), program)
    objects, servers, count = secrets(), {}, 0
    for number, (form, make) in enumerate(FORMS.items()):
        for at, stage in enumerate(PROBES + DELIVERIES):
            mechanism = MECHANISMS[(number + at) % len(MECHANISMS)]
            spec, offered, secret = login(mechanism)
            name = f"smtp-{number}-{at}"
            servers[name] = (EchoSmtp(stage, make(secret), offered, secret), stage, form)
            objects.append(fleets.smtp_server(name, servers[name][0].port, spec, probe=PROBE))
            objects += [one_campaign(name)] if stage in DELIVERIES else []
            count += 1
    fleet.write("fleet.yaml", *objects, ALL)
    try:
        run(fleet, lambda: [f"{stage}, {form}" for server, stage, form in servers.values() if not server.said][:5], 240)
        stages = len(PROBES + DELIVERIES)
        one_of_each = [f"smtp-{number}-{number % stages}" for number in range(0, len(FORMS), 2)]
        texts = told(program, fleet, one_of_each)
        require_silence(texts)
        # The other words are shown: an echo that is dropped for another reason proves nothing.
        shown = texts["servers -o yaml"] + texts["output and log"] + "".join(text for where, text in texts.items() if where.startswith("table"))
        require(shown.count("you sent ***") >= count // 2, f"{shown.count('you sent ***')} of {count} echoes are shown at all")
    finally:
        for server, *_ in servers.values():
            server.close()
    return f"{count} servers, {len(FORMS)} forms, {len(PROBES + DELIVERIES)} stages, {len(MECHANISMS)} ways to log in"


# How a vendor reports an error, with a text of its own.
ERRORS = {
    "sendgrid": lambda words: {"errors": [{"message": words, "field": None}]},
    "mailgun": lambda words: {"message": words},
    "sparkpost": lambda words: {"errors": [{"message": words, "description": words, "code": "1901"}]},
    "elasticEmail": lambda words: {"Error": words},
    "postmark": lambda words: {"ErrorCode": 701, "Message": words},
    "brevo": lambda words: {"code": "invalid_parameter", "message": words},
    "ses": lambda words: {"message": words, "__type": "BadRequestException"},
    "gmail": lambda words: {"error": {"code": 400, "message": words, "errors": [{"reason": "badRequest"}]}},
    "plugin": lambda words: {"error": {"message": words}},
}
# Where each puts a message's ID, in an answer with a text of its own.
IDS = {
    "sendgrid": lambda words: (202, {"X-Message-Id": words.encode("ascii", "replace").decode()}, None),
    "mailgun": lambda words: (200, {}, {"id": words, "message": "Queued. Thank you."}),
    "sparkpost": lambda words: (200, {}, {"results": {"total_rejected_recipients": 0, "total_accepted_recipients": 1, "id": words}}),
    "elasticEmail": lambda words: (200, {}, {"TransactionID": words, "MessageID": words}),
    "postmark": lambda words: (200, {}, {"To": "bob@example.com", "MessageID": words, "ErrorCode": 0, "Message": "OK"}),
    "brevo": lambda words: (201, {}, {"messageId": words}),
    "ses": lambda words: (200, {}, {"MessageId": words}),
    "gmail": lambda words: (200, {}, {"id": words, "threadId": "1"}),
}


def answers(kind: str, case: str, words: str):
    """The answers of one server: the usual ones, except for its case."""
    usual = (VENDORS | MORE)[kind][2]

    def as_json(status, value, headers=None):
        return status, {"Content-Type": "application/json", **(headers or {})}, b"" if value is None else json.dumps(value).encode()

    def answer(method, path, body):
        if path == "/token":
            if case == "token":
                return as_json(400, {"error": "invalid_grant", "error_description": f"you sent {words}"})
            return as_json(200, {"access_token": TOKEN, "expires_in": 3600})
        is_probe = method == "GET" or path == "/probe"
        if is_probe != case.startswith("probe"):
            if kind == "ses" and is_probe:
                path = "/v2/email/account"
            status, value, _ = usual(path, {"content-type": ""} | content_type(body), body)
            return as_json(status, value)
        match case.split(" ")[1]:
            case "error":
                return as_json(401 if is_probe else 400, ERRORS[kind](f"you sent {words}"))
            case "page":
                return 500, {"Content-Type": "text/plain"}, f"you sent {words}".encode()
            case "id" if kind == "plugin":
                outcomes = [{"id": one["id"], "outcome": "rejected", "reply": f"you sent {words}"} for one in json.loads(body)["messages"]]
                return as_json(200, {"outcomes": outcomes})
            case "id":
                # On one line: for one of them it is a header.
                status, headers, value = IDS[kind](" ".join(f"you sent {words}".split()).replace("\x07", "")[:900])
                return as_json(status, value, headers)

    return answer


def content_type(body: bytes) -> dict:
    """The type of a form, whose boundary is its first line."""
    first = body.split(b"\r\n", 1)[0]
    return {"content-type": f"multipart/form-data; boundary={first[2:].decode()}"} if first.startswith(b"--") else {}


def by_api(program) -> str:
    """Each vendor's API with each form, in an answer to the probe and in one to a message."""
    fleet = fleets.Fleet(folder("echo-api"), program)
    cases, objects, count = {}, [], 0
    ways = [("probe error", "deliver error"), ("probe page", "deliver page"), ("probe error", "deliver id")]
    for kind in VENDORS | MORE:
        # SES receives no secret but a session token: the key itself only signs.
        keys = {"ses": KEY, "gmail": TOKEN}
        values = {name: keys.get(kind, KEY) for name in (VENDORS | MORE)[kind][3].split()}
        values |= {"ses": {"secretAccessKey": AWS_SECRET, "accessKeyId": "AKIAIOSFODNN7EXAMPLE", "sessionToken": KEY}}.get(kind, {})
        values |= {"gmail": {"clientId": "client", "clientSecret": CLIENT_SECRET, "refreshToken": REFRESH}}.get(kind, {})
        objects.append(fleets.secret(kind.lower(), **values))
        for number, make in enumerate(FORMS.values()):
            chosen = [*ways[number % len(ways)], *(["token"] if kind == "gmail" else [])]
            for at, case in enumerate(chosen):
                name = f"{kind.lower()}-{number}-{at}"
                secret = (REFRESH if number % 2 else CLIENT_SECRET) if case == "token" else keys.get(kind, KEY)
                cases[name] = answers(kind, case, make(secret))
                objects.append((kind, name, case))
                count += 1
    with EchoApi(cases) as api:
        made = []
        for one in objects:
            if isinstance(one, dict):
                made.append(one)
                continue
            kind, name, case = one
            base = f"{api.base}/{name}"
            address = {"url": base} if kind == "plugin" else {"endpoint": base}
            address |= {"tokenUrl": f"{base}/token"} if kind == "gmail" else {}
            spec = {kind: {"secretRef": {"name": kind.lower()}, **address, **SPEC.get(kind, {})}}
            made.append(fleets.resource("SendingServer", name, {"provider": spec, "probe": PROBE}))
            made += [one_campaign(name)] if case.startswith("deliver") else []
        fleet.write("fleet.yaml", *made, ALL)

        def missing() -> list[str]:
            wanted = {name: 1 if case.startswith("probe") or case == "token" else 2 for _, name, case in (o for o in objects if isinstance(o, tuple))}
            return [name for name, least in wanted.items() if api.asked.get(name, 0) < least][:5]

        run(fleet, missing, 240, count // 3)
        token = fleet.folder / "token"
        token.write_text(KEY + "\n")
        checks = [fleet.command("plugin", "check", f"{api.base}/plugin-{number}-1", "--token-file", token)[1] for number in range(2, len(FORMS), 3)]
        texts = told(program, fleet, [f"{kind.lower()}-{number}-{at}" for kind in VENDORS | MORE for number in (0, 22) for at in (0, 1)])
    require_silence(texts | {"plugin check": "\n".join(checks)})
    shown = texts["servers -o yaml"] + "".join(text for where, text in texts.items() if where.startswith("table"))
    require(shown.count("you sent ***") >= count // 3, f"{shown.count('you sent ***')} of {count} echoes are shown at all")
    return f"{count} servers of {len(VENDORS | MORE)} types"


def gmail_by_smtp(program) -> str:
    """Gmail's access token over SMTP, which the server sees and no Secret holds."""
    fleet = fleets.Fleet(folder("echo-gmail"), program)
    objects = [fleets.secret("gmail", clientId="client", clientSecret=CLIENT_SECRET, refreshToken=REFRESH)]
    servers = []
    with EchoApi({"gmail": answers("gmail", "none", "")}) as api:
        for number, make in enumerate(FORMS.values()):
            stage = (PROBES + DELIVERIES)[number % len(PROBES + DELIVERIES)]
            server = EchoSmtp(stage, make(TOKEN), "XOAUTH2")
            servers.append(server)
            spec = {"user": "ann@shop.example", "secretRef": {"name": "gmail"}, "host": "127.0.0.1", "port": server.port}
            spec |= {"encryption": "None", "tokenUrl": f"{api.base}/gmail/token"}
            objects.append(fleets.resource("SendingServer", f"gmail-{number}", {"provider": {"gmail": spec}, "probe": PROBE}))
            objects += [one_campaign(f"gmail-{number}")] if stage in DELIVERIES else []
        fleet.write("fleet.yaml", *objects, ALL)
        run(fleet, lambda: [number for number, server in enumerate(servers) if not server.said], 120)
        require_silence(told(program, fleet, ["gmail-2", "gmail-24"]))
    return f"{len(servers)} servers"


def by_a_program(program) -> str:
    """A program gets nothing of our environment, which may hold Secrets, as it shows itself."""
    fleet = fleets.Fleet(folder("echo-program"), program)
    relay = fleet.folder / "sendmail"
    relay.write_text("#!/bin/sh\ncat >/dev/null\n{ env; cat /proc/self/environ; } | tr '\\n\\0' '  ' >&2\nexit 65\n")
    relay.chmod(0o755)
    fleet.options = ("--allow-sendmail", str(relay))
    server = fleets.resource("SendingServer", "program", {"provider": {"sendmail": {"path": str(relay)}}})
    fleet.write("fleet.yaml", server, one_campaign("program"), ALL)
    os.environ["MAILFLEET_SECRET__DEFAULT__PASSWORD__PASSWORD"] = PASSWORD
    try:
        run(fleet, lambda: set(fleet.recipients_so_far("program").values()) != {"Rejected"}, 60)
    finally:
        del os.environ["MAILFLEET_SECRET__DEFAULT__PASSWORD__PASSWORD"]
    texts = told(program, fleet, [])
    require_silence(texts)
    require("PATH=/usr/sbin" in texts["table recipients"], "the program's words are kept")
    return ""


def main():
    cases = Cases(__doc__)
    cases.parse()
    program = fleets.binary()
    cases.add("over SMTP", by_smtp, program)
    cases.add("over the vendors' APIs", by_api, program)
    cases.add("over Gmail's SMTP", gmail_by_smtp, program)
    cases.add("by a program", by_a_program, program)
    cases.end()


if __name__ == "__main__":
    main()
