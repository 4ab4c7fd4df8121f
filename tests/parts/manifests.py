"""Manifests that are wrong in every way, made from good ones by a seed. Nothing here knows which of them are valid.

`Mutator(random, schemas)` changes a manifest by one named kind; `schemas` are the `openAPIV3Schema` of each kind, as the API
server has them, so that bounds are tried at and beside their edges.
"""

import copy
import json
from random import Random

API_VERSION = "mailfleet.dev/v1alpha1"
NAMESPACES = ["default", "shop", "acme", "zeta", "bakery", "mail-admin"]

# Every type of server with all its fields.
TYPES = {
    "ses": {
        "region": "eu-west-1", "secretRef": {"name": "ses"}, "configurationSet": "news_1", "allowSandbox": True,
        "identityArn": "arn:aws:ses:eu-west-1:123456789012:identity/shop.example", "endpoint": "https://api.example.com", "timeout": "30s",
    },
    "sendgrid": {
        "secretRef": {"name": "key"}, "region": "EU", "subuser": "shop", "categories": ["news", "spring 1"], "ipPool": "warm", "trackOpens": True,
        "trackClicks": False, "batchSize": 100, "endpoint": "https://api.example.com/x", "timeout": "30s",
    },
    "mailgun": {
        "secretRef": {"name": "key"}, "domain": "mg.example.com", "region": "US", "subaccount": "65e8", "tags": ["news"], "ipPool": "warm",
        "trackOpens": True, "trackClicks": False, "requireTls": True, "endpoint": "http://127.0.0.1:8080", "timeout": "10m",
    },
    "sparkpost": {
        "secretRef": {"name": "key"}, "region": "EU", "subaccount": 42, "ipPool": "warm", "transactional": True, "trackOpens": False,
        "trackClicks": False, "endpoint": "http://localhost", "timeout": "1s",
    },
    "elasticEmail": {
        "secretRef": {"name": "key"}, "channel": "news", "ipPool": "warm", "trackOpens": True, "trackClicks": True,
        "endpoint": "https://api.example.com", "timeout": "1m",
    },
    "postmark": {
        "secretRef": {"name": "key"}, "messageStream": "broadcasts", "trackOpens": True, "trackClicks": True, "allowSandbox": False,
        "batchSize": 500, "endpoint": "https://api.example.com", "timeout": "1m",
    },
    "plugin": {
        "url": "https://plugin.example.com/mail", "secretRef": {"name": "plugin"}, "caRef": {"name": "ca", "key": "ca.pem"},
        "config": {"relay": "mail.example.com:25", "x": ""}, "batchSize": 50, "timeout": "30s",
    },
    "gmail": {
        "user": "news@shop.example", "secretRef": {"name": "gmail"}, "via": "Api", "account": "Consumer", "tokenUrl": "https://t.example.com/token",
        "endpoint": "https://api.example.com", "host": "smtp.example.com", "port": 465, "encryption": "Tls", "caRef": {"name": "ca", "key": "ca.pem"},
        "timeout": "30s",
    },
    "sendmail": {"path": "/usr/sbin/sendmail", "timeout": "30s"},
    "brevo": {"secretRef": {"name": "key"}, "tags": ["news"], "batchSize": 50, "endpoint": "https://api.example.com", "timeout": "1m"},
}  # fmt: skip



def feedback_of(kind):
    """By what the calls of a type's vendor are checked, where it has any."""
    if kind in ("gmail", "sendmail"):
        return {}
    fields = {
        "ses": {"topicArn": "arn:aws:sns:eu-west-1:123456789012:feedback"},
        "sendgrid": {"publicKey": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEDr2LjtURuePQzplybdC+u4CwrqDqBaWjcMMsTbhdbcwHBcepxo7yAQGhHPTnlvFYPAZFceEu/1FwCM/QmGUhA=="},
    }
    return {"feedback": {"webhook": fields.get(kind, {"secretRef": {"name": "hooks", "key": "secret"}})}}


# Every field that there is; the verdict test counts them against the schemas.
FULL = [
    {
        "apiVersion": API_VERSION,
        "kind": "SendingServer",
        "metadata": {"name": "x", "namespace": "shop", "labels": {"pool": "eu", "example.com/tier": ""}, "annotations": {"a/b": "c"}},
        "spec": {
            "enabled": True,
            "provider": {
                "smtp": {
                    "host": "smtp.example.com",
                    "port": 587,
                    "encryption": "StartTls",
                    "auth": {"secretRef": {"name": "login"}, "mechanism": "Plain"},
                    "caRef": {"name": "ca", "key": "ca.pem"},
                    "tlsServerName": "mail.example.com",
                    "heloName": "me.example.com",
                    "replyTimeout": "5m",
                }
            },
            "limits": {
                "rates": [{"messages": 14, "per": "1s"}, {"messages": 10000, "per": "1h"}, {"messages": 50000, "per": "24h"}],
                "perDomain": [
                    {"domains": ["gmail.com", "bücher.example"], "rates": [{"messages": 10, "per": "1s"}, {"messages": 2000, "per": "1h"}]},
                    {"domains": ["outlook.com"], "rates": [{"messages": 500, "per": "1h"}]},
                ],
                "connections": 10,
                "inFlight": 40,
                "messagesPerConnection": 100,
            },
            "warmup": {"startDate": "2026-12-01", "exponential": {"firstDay": 50, "growthPercent": 30, "target": 50000}},
            "identity": {
                "domains": ["news.example.com", "bücher.example"],
                "dkim": [
                    {"domain": "example.com", "selector": "s1", "privateKeyRef": {"name": "dkim", "key": "private.pem"}},
                    {"domain": "example.com", "selector": "s2.mail", "privateKeyRef": {"name": "dkim", "key": "ed25519.pem"}},
                    {"domain": "bücher.example", "selector": "s1", "privateKeyRef": {"name": "dkim", "key": "private.pem"}},
                ],
                "returnPath": "bounces.example.com",
                "sendingAddresses": ["203.0.113.25", "2001:db8::25"],
                "requireDns": False,
            },
            "feedback": {
                "mailbox": {
                    "imap": {
                        "host": "imap.example.com",
                        "port": 993,
                        "encryption": "Tls",
                        "auth": {"secretRef": {"name": "mailbox"}},
                        "caRef": {"name": "ca", "key": "ca.pem"},
                        "folder": "INBOX",
                        "whenRead": "Move",
                        "moveTo": "INBOX.read",
                        "interval": "1m",
                    }
                },
                "pauseWhen": {"bouncePercent": "5", "complaintPercent": "0.3", "afterMessages": 1000, "window": "12h", "resumeAfter": "6h"},
            },
            "probe": {"interval": "5m", "timeout": "10s", "retryAfter": "10s", "failureThreshold": 3, "successThreshold": 1},
        },
    },
    {
        "apiVersion": API_VERSION,
        "kind": "SendingServer",
        "metadata": {"name": "x"},
        "spec": {
            "provider": {"outbox": {"path": "outbox/default/preview"}},
            "identity": {"returnPath": "bounces.example.com"},
            "feedback": {"bounces": "Listener"},
            "warmup": {"startDate": "2026-12-01", "linear": {"firstDay": 5, "dailyIncrease": 1, "target": 5}},
        },
    },
    {
        "apiVersion": API_VERSION,
        "kind": "SendingServer",
        "metadata": {"name": "x"},
        "spec": {
            "provider": {"smtp": {"host": "127.0.0.1", "encryption": "None", "auth": {"secretRef": {"name": "login"}}}},
            "warmup": {"startDate": "2028-02-29", "advance": "Daily", "schedule": [50, 100, 200]},
        },
    },
    {
        "apiVersion": API_VERSION,
        "kind": "SendingServer",
        "metadata": {"name": "x"},
        "spec": {"provider": {"outbox": {}}, "warmup": {"startDate": "2026-12-01", "advance": "WhenUsed", "preset": "Balanced"}},
    },
    {
        "apiVersion": API_VERSION,
        "kind": "SendingServer",
        "metadata": {"name": "x"},
        "spec": {"provider": {"smtp": {"preset": "Ses", "region": "eu-west-1", "auth": {"secretRef": {"name": "ses"}}}}},
    },
    {
        "apiVersion": API_VERSION,
        "kind": "SendingServer",
        "metadata": {"name": "x"},
        "spec": {"provider": {"smtp": {"preset": "Mailgun", "region": "EU", "auth": {"secretRef": {"name": "mailgun"}}}}},
    },
    *(
        {"apiVersion": API_VERSION, "kind": "SendingServer", "metadata": {"name": "x"}, "spec": {"provider": {kind: spec}, **feedback_of(kind)}}
        for kind, spec in TYPES.items()
    ),
    {
        "apiVersion": API_VERSION,
        "kind": "Plan",
        "metadata": {"name": "x", "namespace": "mail-admin"},
        "spec": {
            "servers": [{"name": "a", "weight": 3}, {"name": "b"}, {"name": "c", "weight": 0}],
            "serverSelector": {
                "matchLabels": {"pool": "eu"},
                "matchExpressions": [
                    {"key": "tier", "operator": "In", "values": ["pro", "free"]},
                    {"key": "old", "operator": "DoesNotExist"},
                ],
            },
            "allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"tier": "pro"}}},
            "ownServers": {"max": 2},
            "senderDomains": [
                {"domains": ["shop.example", "news.shop.example"], "namespaces": ["shop", "acme"]},
                {
                    "domains": ["zeta.example"],
                    "namespaceSelector": {"matchLabels": {"tier": "pro"}, "matchExpressions": [{"key": "team", "operator": "In", "values": ["a"]}]},
                },
            ],
            "narrowing": "Allowed",
            "weighting": "Strict",
            "limits": {"rates": [{"messages": 100000, "per": "24h"}]},
        },
    },
    {
        "apiVersion": API_VERSION,
        "kind": "Campaign",
        "metadata": {"name": "x", "namespace": "acme"},
        "spec": {
            "planRef": {"name": "pro", "namespace": "mail-admin"},
            "servers": [{"name": "a", "weight": 80}, {"name": "a", "namespace": "acme"}, {"name": "b", "weight": 0}],
            "limits": {"rates": [{"messages": 2000, "per": "1h"}]},
            "whenNoServerIsActive": "Wait",
            "from": {"name": "Example News", "address": "news@news.example.com"},
            "replyTo": {"address": "grüße@bücher.example"},
            "subject": "Hello {{ name }}",
            "content": {
                "html": "<p>Hello</p>",
                "textFrom": {"path": "mails/a.txt"},
                "preheader": "Roses for {{ name }}",
                "variantField": "language",
                "variants": {
                    "de": {"subject": "Hallo {{ name }}", "preheader": "Rosen", "html": "<p>Hallo</p>", "text": "Hallo"},
                    "pt-BR": {"subject": "Oi", "preheader": "Rosas", "htmlFrom": {"path": "mails/pt.html"}, "textFrom": {"configMapRef": {"name": "mails", "key": "pt.txt"}}},
                    "fr": {"subject": "Salut", "preheader": "Des roses", "mjml": "<mjml></mjml>"},
                    "it": {"subject": "Ciao", "preheader": "Rose", "mjmlFrom": {"configMapRef": {"name": "mails", "key": "it.mjml"}}},
                    "vip": {"subject": "First for you"},
                    "en": {},
                },
                "maxRenderErrors": 10,
                "whenRenderFails": "Skip",
            },
            "audience": {
                "csv": {"path": "people.csv", "columns": {"email": "E-mail"}, "delimiter": ";", "charset": "windows-1252"},
                "maxBadRows": "5%",
                "whenRowIsBad": "Skip",
                "outcomes": {"campaign": "spring", "run": "first", "states": ["Rejected", "Held", "Bounced", "Complained"]},
                "exclude": [
                    {"csv": {"path": "gone.csv"}, "maxBadRows": "5%"},
                    {"csv": {"path": "a.csv", "columns": {"email": "E-mail"}, "delimiter": ";", "charset": "windows-1252"}},
                    {"jsonLines": {"url": "https://example.com/gone.jsonl", "auth": {"bearer": {"tokenRef": {"name": "a", "key": "token"}}}}},
                    {"csv": {"configMapRef": {"name": "lists", "key": "gone.csv"}}, "maxBadRows": 3},
                    {"inline": [{"email": "a@example.com", "why": "asked"}]},
                    {"outcomes": {"campaign": "spring", "run": "first", "states": ["Accepted", "Unknown"]}},
                    {"xlsx": {"path": "gone.xlsx", "sheet": "Gone", "columns": {"email": "E-mail"}}, "maxBadRows": 1},
                    {"sql": {"urlRef": {"name": "database", "key": "url"}, "query": "select email from gone", "parameters": ["x"], "timeout": "10s"}},
                    {"json": {"url": "https://example.com/gone", "auth": {"basic": {"secretRef": {"name": "a"}}}, "items": "/gone", "next": {"url": "/next"}, "columns": {"email": "/0/mail"}}},
                ],
            },
            "reopen": 2,
            "run": "first",
            "whenOutcomeIsUnknown": "Resend",
            "retry": {"attempts": 5, "initialDelay": "1m", "deadline": "120h"},
            "stopWhen": {"bouncePercent": "10", "complaintPercent": "0.3", "afterMessages": 200},
            "rollout": {"steps": [{"percent": 1, "minMessages": 200, "pause": {"duration": "2h"}}, {"percent": "12.5", "pause": {}}]},
            "weighting": "Overflow",
            "unsubscribe": {"url": "https://example.com/leave?who={{ email }}", "oneClick": {"topic": "offers"}},
            "headers": [{"name": "List-Id", "value": "news.example.com"}, {"name": "X-A", "value": ""}],
            "startAt": "2026-12-01T08:00[Europe/Berlin]",
            "startingDeadline": "2h",
            "sendingHours": {"zone": "America/New_York", "days": ["Mon", "Tue", "Sun"], "from": "08:00", "to": "18:30", "zoneField": "zone"},
            "suspend": False,
        },
    },
    {
        "apiVersion": API_VERSION,
        "kind": "Campaign",
        "metadata": {"name": "x"},
        "spec": {
            "planRef": {"name": "pro"},
            "from": {"address": "a@example.com"},
            "subject": "s",
            "content": {
                "mjmlFrom": {"configMapRef": {"name": "mails", "key": "a.mjml"}}, "text": "Hello", "maxRenderErrors": "100%",
                "templates": {"configMapRef": {"name": "layouts"}},
            },
            "audience": {"maxBadRows": 0, "jsonLines": {"url": "https://example.com/people.jsonl"}},
        },
    },
    {
        "apiVersion": API_VERSION,
        "kind": "Campaign",
        "metadata": {"name": "x"},
        "spec": {
            "planRef": {"name": "pro"},
            "from": {"address": "a@example.com"},
            "subject": "s",
            "content": {
                "htmlFrom": {"configMapRef": {"name": "mails", "key": "a.html"}},
                "templates": {"path": "mails/layouts"},
                "attachments": [
                    {"path": "files/a.pdf", "filename": "Rechnung {{ name }}.pdf", "contentType": "application/pdf"},
                    {"configMapRef": {"name": "files", "key": "logo.png"}, "inline": "logo@shop.example"},
                    {"url": "https://example.com/a.ics?b", "auth": {"bearer": {"tokenRef": {"name": "crm", "key": "token"}}}, "contentType": 'text/calendar; method=REQUEST; x="a b"'},
                ],
            },
            "audience": {"inline": [{"email": "a@example.com", "name": "Ann", "tags": [1, None, {"a": None}]}, {"email": "b"}]},
        },
    },
    {
        "apiVersion": API_VERSION,
        "kind": "Campaign",
        "metadata": {"name": "x"},
        "spec": {
            "planRef": {"name": "pro"},
            "from": {"address": "a@example.com"},
            "subject": "s",
            "content": {"mjml": "<mjml></mjml>"},
            "audience": {
                "sql": {
                    "urlRef": {"name": "database", "key": "url"},
                    "caRef": {"name": "database", "key": "ca.crt"},
                    "query": "select mail from people where lang = $1",
                    "parameters": ["de", ""],
                    "columns": {"email": "mail"},
                    "timeout": "1h",
                }
            },
        },
    },
    {
        "apiVersion": API_VERSION,
        "kind": "Campaign",
        "metadata": {"name": "x"},
        "spec": {
            "planRef": {"name": "pro"},
            "from": {"address": "a@example.com"},
            "subject": "s",
            "content": {"mjml": "<mjml></mjml>"},
            "audience": {"sql": {"path": "people.sqlite", "query": "select email from people"}},
        },
    },
    *(
        {
            "apiVersion": API_VERSION,
            "kind": "Campaign",
            "metadata": {"name": "x"},
            "spec": {
                "planRef": {"name": "pro"},
                "from": {"address": "a@example.com"},
                "subject": "s",
                "content": {"mjml": "<mjml></mjml>"},
                "audience": {
                    "json": {"url": "https://example.com/people?limit=100", "items": "/a~1b/0/~0", "next": next_page, "columns": {"email": "/properties/email"}, **auth},
                    "exclude": [
                        {"json": {"url": "https://example.com/gone", "items": "", "next": next_page, **auth}},
                        {"sql": {"path": "gone.sqlite", "query": "select email from gone", "columns": {"email": "mail"}}},
                        {"sql": {"urlRef": {"name": "a", "key": "b"}, "caRef": {"name": "a", "key": "ca.crt"}, "query": "select email from gone"}},
                    ],
                },
            },
        }
        for next_page, auth in (
            ({"link": {}}, {}),
            ({"url": "/links/next"}, {"auth": {"basic": {"secretRef": {"name": "a"}}}}),
            ({"cursor": {"pointer": "/paging/next", "parameter": "page[after]"}}, {"auth": {"bearer": {"tokenRef": {"name": "a", "key": "token"}}}}),
            ({"page": {"parameter": "page", "first": 0}}, {"auth": {"header": {"name": "X-Key", "valueRef": {"name": "a", "key": "key"}}}}),
            ({"offset": {"parameter": "$skip"}}, {}),
        )
    ),
    {
        "apiVersion": API_VERSION,
        "kind": "Campaign",
        "metadata": {"name": "x"},
        "spec": {
            "planRef": {"name": "pro"},
            "from": {"address": "a@example.com"},
            "subject": "s",
            "content": {"mjml": "<mjml></mjml>"},
            "audience": {"xlsx": {"path": "people.xlsx", "sheet": "Kunden 2026", "columns": {"email": "E-mail"}}},
        },
    },
]

# The most that a rule may have to evaluate: it must stay within the API server's cost budget.
FULL.append(
    {
        "apiVersion": API_VERSION,
        "kind": "Campaign",
        "metadata": {"name": "x"},
        "spec": {
            "planRef": {"name": "pro"},
            "servers": [{"name": "a" * 250 + f"{i % 50:03}", "namespace": "b" * 61 + f"{i // 50:02}"} for i in range(100)],
            "from": {"address": "a@example.com"},
            "subject": "s",
            "content": {"text": "Hello"},
            "audience": {"inline": [{"email": "a@example.com"}] * 100},
            "headers": [{"name": "X" * 57 + f"-{i:02}", "value": "a"} for i in range(64)],
        },
    }
)

KEY = {"name": "crm", "key": "token"}
AUTHS = [{"bearer": {"tokenRef": KEY}}, {"basic": {"secretRef": {"name": "crm"}}}, {"header": {"name": "X-Api-Key", "valueRef": KEY}}]
SOURCES = [
    {"path": "a/b"},
    {"url": "http://example.com:8080/a?b"},
    {"configMapRef": {"name": "people", "key": "a.csv"}},
    *({"url": url, "auth": auth} for url, auth in zip(["https://example.com/a?b", "http://localhost:8080/a", "http://[::1]"], AUTHS)),
]
FULL += [
    {
        "apiVersion": API_VERSION,
        "kind": "Campaign",
        "metadata": {"name": "x", "namespace": "zeta"},
        "spec": {
            "planRef": {"name": "pro"},
            "from": {"address": "a@example.com"},
            "replyTo": {"name": "Help", "address": "help@example.com"},
            "subject": "s",
            "content": {"mjmlFrom": {"path": "mails/a.mjml"}, "attachments": [{**source, "filename": "a"}]},
            "audience": {kind: source, "exclude": [{kind: source}]},
        },
    }
    for kind in ("csv", "xlsx", "jsonLines")
    for source in SOURCES
]

WRONG = [None, True, False, 0, 1, -1, 1.5, 2.0, 1e3, 10**30, "", "x", "1", "true", [], ["x"], [None], {}, {"x": 1}, [{}]]
STRANGE = ["\0", "\n", "\r", "\t", " ", "\u00a0", "\u2003", "\x7f", "\x85", "\u2028", "é", "ß", "日", "😀", "\ufeff", "\u200b", "'", '"', "\\", "<", "%", "/", ":", "@", "..", "-", "_"]
TEXTS = {
    "per": ["100ms", "99ms", "744h", "745h", "743h59m60s", "744h1ms", "1h60m", "60m", "3600s", "0s", "1d", "1.5h", "99999h", "100000h", "1h1m1s1ms", "1h1m1s1ms1ms", " 1s", "1s ", "1S", "-1s", "+1s", "1", "s", "00001s"],
    "host": ["localhost", "LOCALHOST", "127.0.0.1", "127.255.255.255", "127.0.0.256", "127.0.0.01", "::1", "[::1]", "[::1", "::2", "a.example.", "a_b.example", "a..b", ".a", "-a-", "a b", "a:25", "smtp://a", "bücher.example", "ſtarttls", "localhoſt", "1:::2", "x" * 63, "x" * 64, ""],
    "address": ["a@b", "a@b.example", "a.b@c", ".a@b", "a.@b", "a..b@c", "a@@b", "@b", "a@", "a b@c", "a@b c", "a@-b", "a@b-", "a@b_c", "ä@ö", "News <a@b>", "a@b,c@d", "a@[127.0.0.1]", '"a"@b', "a\n@b", "a\u00a0@b", "a\u2003@b", "a@b.", "a@.b", "a+b@c", "x" * 65 + "@b", "a@" + "x" * 64, "a@" + "x." * 150 + "x"],
    "url": ["http://a", "https://a/b?c#d", "https:///a", "https://", "https://u:p@a/b", "https://a/@b", "ftp://a/bcd", "HTTPS://a/b", "https://a b/c", "https://a/b c", "https://a?x@y", "https://a#", "javascript:x", "mailto:a@b", "{{ url }}", "{% if x %}https://a", "https://a\nb", " https://a/b", "http://[::1]/a", "https://日本/a"],
    "domain": ["a", "a.b", "A.B", "a.b.", ".a", "a..b", "-a", "a-", "a-b", "a_b", "a b", "a@b", "ä.ö", "日本", "x" * 63, "x" * 64, "1.2", "xn--a", ""],
    "path": ["a", "a/b", "/a", "./a", "../a", "a/../b", "a/./b", "a//b", "a/", ".", "..", "...", "..a", ".a", "a\nb", "a\x7fb", "a\x80b", "", " ", "ä"],
    "header": ["X-B", "List-Id", "list-id", "LIST-ID", "x-a", "Subject", "SUBJECT", "bcc", "Content-Type", "content-", "Content", "X Y", "X:Y", "", "Ä", "x" * 60, "x" * 61, "!#$", "~", "Message-ID", "DKIM-Signature", "To", "Too"],
    "date": ["2026-12-01", "2026-02-29", "2028-02-29", "2026-13-01", "2026-00-10", "2026-01-00", "2026-1-1", "0000-01-01", "0999-01-01", "2999-12-31", "3000-01-01", "2026-12-01T00:00:00Z", "2026-12-01 ", "20261201", "２０２６-12-01", "2026-12-01\n"],
    "time": ["2026-12-01T08:00:00Z", "2026-12-01T08:00:00.123456789Z", "2026-12-01T08:00:00.1234567890Z", "2026-12-01T08:00:00.Z", "2026-12-01T08:00:00,5Z", "2026-12-01T08:00:00+01:00", "2026-12-01T08:00:00-23:59", "2026-12-01T08:00:00+24:00", "2026-12-01T08:00:00+0100", "2026-12-01T24:00:00Z", "2026-12-01T08:60:00Z", "2026-12-01T08:00:60Z", "2026-02-29T08:00:00Z", "2028-02-29T08:00:00Z", "2026-12-01t08:00:00z", "2026-12-01 08:00:00Z", "2026-12-01T08:00Z", "2026-12-01", "tomorrow", "2026-04-31T00:00:00Z", "2999-12-31T23:59:59-23:59", "1000-01-01T00:00:00+23:59", "2026-12-01T8:00:00Z", "2026-12-01T08:00[Europe/Berlin]", "2026-12-01T08:00:30.5[UTC]", "2026-12-01T08:00+01:00[Europe/Berlin]", "2026-12-01T08:00:00Z[UTC]", "2026-12-01T08:00", "2026-12-01T08:00[]", "2026-12-01T08:00[Europe/]", "2026-12-01T08:00[/UTC]", "2026-12-01T08:00[+01:00]", "2026-12-01T08:00[UTC", "2026-02-29T08:00[UTC]", "2026-12-01T08:00[" + "x" * 83 + "]", "2026-12-01T08:00[" + "x" * 84 + "]"],
    "zone": ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+12", "", "/", "Europe/", "../UTC", "Europe Berlin", "Ä", "x" * 64, "x" * 65],
    "clock": ["00:00", "08:00", "8:00", "23:59", "24:00", "24:01", "08:60", "08:00:00", "", "noon", "18:30"],
    "percent": ["0", "5", "0.3", "10", "99.999", "100", "100.0", "100.001", "101", "05", "5%", "-1", ".5", "5.", "1.2345", "1e1", "", " 5", 5, 0.3, True],
    "name": ["a", "a.b", "a-b", "1", "a..b", "a.-b", "-a", "a-", "A", "a_b", "a/b", "../a", "", " a", "a\n", "ä", "x" * 63, "x" * 253, "x" * 254],
    "key": ["a", "A.b-c_d", "a/b", "..", "", " ", "ä", "x" * 253, "x" * 254],
    "run": ["first", "2026-12-01", "a b", "-a", "a-", "a_b.c", "ä", "", "x" * 63, "x" * 64],
    "line": ["", "a", "a\nb", "a\rb", "a\0b", "ä", "\u2028", "x" * 998, "x" * 999, " ", "\t"],
    "body": ["", " ", "\n", "\t\r\n ", "\u00a0", "\u200b", "a", " a ", "\0"],
}
# Texts that are tried in a field, by the end of the field's name.
FIELDS = {
    "per": "per", "interval": "per", "timeout": "per", "retryAfter": "per", "replyTimeout": "per", "initialDelay": "per", "deadline": "per",
    "startingDeadline": "per", "host": "host", "tlsServerName": "host", "heloName": "host", "address": "address", "url": "url",
    "bouncePercent": "percent", "complaintPercent": "percent", "returnPath": "domain", "selector": "domain", "path": "path", "startDate": "date", "startAt": "time", "zone": "zone", "from": "clock", "to": "clock", "zoneField": "line", "variantField": "line", "preheader": "line", "name": "name",
    "namespace": "name", "key": "key", "run": "run", "subject": "line", "value": "line", "html": "body", "text": "body", "mjml": "body",
}


def places(value, path=()):
    """Every place in a value, except its root."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield path + (key,)
        yield from places(child, path + (key,))


def get(document, path):
    """The value at a place."""
    for step in path:
        document = document[step]
    return document


def put(document, path, value):
    """Replaces the value at an existing place."""
    get(document, path[:-1])[path[-1]] = value


def schema_at(schema, path):
    """The schema of a place; an empty one where there is none."""
    for step in path:
        below = schema.get("items") if isinstance(step, int) else schema.get("properties", {}).get(step, schema.get("additionalProperties"))
        schema = below if isinstance(below, dict) else {}
    return schema


class Mutator:
    """Changes manifests, by kind."""

    def __init__(self, random: Random, schemas: dict):
        self.random, self.schemas = random, schemas

    def schema(self, document, path):
        """The schema of a place in a manifest."""
        return schema_at(self.schemas[document["kind"]], path)

    def spec_places(self, document, fits=lambda path, value: True):
        """Places below the spec that fit."""
        found = [("spec",) + path for path in places(document["spec"])]
        return [path for path in found if fits(path, get(document, path))]

    def pick(self, found):
        """One of these places; LookupError when there is none."""
        return self.random.choice(found)

    def change(self, name, document):
        """Changes a manifest by one kind, or by another where that one does not apply."""
        try:
            getattr(self, name)(document)
        except LookupError:
            self.wrong_type(document)

    def wrong_type(self, document):
        """Any value in any place."""
        put(document, self.pick([("spec",)] + self.spec_places(document)), copy.deepcopy(self.random.choice(WRONG)))

    def bound(self, document):
        """A value at a bound, or just beyond it."""
        bounds = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties")
        path = self.pick(self.spec_places(document, lambda path, _: any(bound in self.schema(document, path) for bound in bounds)))
        schema, old, beside = self.schema(document, path), get(document, path), self.random.choice([-1, 0, 0, 1])
        name = self.random.choice([bound for bound in bounds if bound in schema])
        size = schema[name] + beside
        if name in ("minimum", "maximum"):
            value = size
        elif name in ("minLength", "maxLength"):
            value = (str(old) + "x" * size)[: max(size, 0)] if size < 5000 else "x" * size
        elif name == "maxProperties":
            value = {f"k{i}": "v" for i in range(size)}
        else:
            value = [self.distinct(old, i) for i in range(max(size, 0))]
        put(document, path, value)

    def distinct(self, old, index):
        """An item like those of the list, with another name."""
        item = copy.deepcopy(old[index % len(old)]) if old and isinstance(old, list) else {}
        if isinstance(item, dict):
            item = {key: f"{value}-{index}" if key in ("name", "email") else value for key, value in item.items()}
        return f"d{index}.example" if isinstance(item, str) else item

    def text(self, document):
        """A text of the kind that its field expects."""
        path = self.pick(self.spec_places(document, lambda path, value: isinstance(value, str) and (path[-1] in FIELDS or "domains" in path)))
        name = "header" if "headers" in path and path[-1] == "name" else "domain" if "domains" in path else FIELDS[path[-1]]
        name = "line" if path[-1] == "name" and path[-2] in ("from", "replyTo") else name
        put(document, path, self.random.choice(TEXTS[name]))

    def strange(self, document):
        """An odd character somewhere in a text."""
        path = self.pick(self.spec_places(document, lambda path, value: isinstance(value, str)))
        old, character = get(document, path), self.random.choice(STRANGE)
        at = self.random.randint(0, len(old))
        put(document, path, old[:at] + character + old[at:])

    def unknown(self, document):
        """An unknown field, anywhere."""
        rows = self.spec_places(document, lambda path, value: "inline" in path and isinstance(value, dict))
        objects = [("spec",), ("metadata",), ()] + self.spec_places(document, lambda path, value: isinstance(value, dict))
        path = self.pick(rows if rows and self.random.random() < 0.5 else objects)
        target = get(document, path)
        if target and self.random.random() < 0.5:
            key = self.random.choice(list(target))
            target[self.random.choice([key + "s", key.upper(), key[:-1], "_" + key])] = target.pop(key)
        else:
            target[self.random.choice(["x", "X", "a.b", "", "status", "name", "metadata", "kind"])] = copy.deepcopy(self.random.choice(WRONG))

    def keys(self, document):
        """Another choice of exclusive fields: none, one, two."""
        spec = document["spec"]
        source = lambda: {key: value for key, value in (("path", "a"), ("url", "https://a/b"), ("configMapRef", {"name": "a", "key": "b"})) if self.random.random() < 0.4}
        some = lambda choices: {key: value for key, value in choices.items() if self.random.random() < 0.4}
        if document["kind"] == "SendingServer":
            spec["provider"] = some({"smtp": {"host": "a"}, "outbox": {}})
            spec["warmup"] = {"startDate": "2026-12-01"} | some(
                {
                    "exponential": {"firstDay": self.random.choice([1, 9]), "growthPercent": 1, "target": self.random.choice([1, 5, 9])},
                    "linear": {"firstDay": self.random.choice([1, 9]), "dailyIncrease": 1, "target": self.random.choice([1, 5, 9])},
                    "schedule": [1],
                    "preset": self.random.choice(["Cautious", "Balanced", "Fast", "Slow"]),
                }
            )
            if self.random.random() < 0.4:
                del spec["warmup"]
        elif document["kind"] == "Plan":
            selector = {"matchLabels": {"a": "b"}}
            spec["allowedNamespaces"] = {"from": self.random.choice(["Same", "All", "Selector", "None"])} | some({"selector": selector})
            spec["senderDomains"] = [{"domains": ["a.example"]} | some({"namespaces": ["a"], "namespaceSelector": selector})]
        elif self.random.random() < 0.5:
            body = {key: {k: v for k, v in source().items() if k != "url"} for key in ("htmlFrom", "textFrom", "mjmlFrom")}
            spec["content"] = {k: v for k, v in ({"html": "a", "text": "b", "mjml": "c"} | body).items() if self.random.random() < 0.25}
        else:
            spec["audience"] = some({"csv": source(), "xlsx": source(), "jsonLines": source(), "json": source(), "inline": [{"email": "a"}]})

    def rule(self, document):
        """A change to what a rule evaluates."""
        spec, random = document["spec"], self.random
        if document["kind"] == "SendingServer":
            pers = ["1s", "1000ms", "60s", "1m", "1h", "60m", "0h1m", "99ms", "745h"]
            smtp = {"host": random.choice(TEXTS["host"][:12]), "encryption": random.choice(["None", "None", "Tls"])}
            extra = {"auth": {"secretRef": {"name": "a"}}, "caRef": {"name": "a", "key": "b"}, "tlsServerName": "a"}
            smtp |= {key: value for key, value in extra.items() if random.random() < 0.3}
            random.choice(
                [
                    lambda: spec.update(limits={"rates": [{"messages": 1, "per": random.choice(pers)} for _ in range(random.randint(0, 4))]}),
                    lambda: spec.update(limits={"perDomain": [{"domains": [random.choice(["a.example", "b.example", "A.example"]) for _ in range(random.randint(0, 3))], "rates": [{"messages": 1, "per": random.choice(pers)} for _ in range(random.randint(0, 2))]} for _ in range(random.randint(0, 3))]}),
                    lambda: spec.update(provider={"smtp": smtp}),
                    lambda: spec.update(probe={random.choice(["interval", "timeout", "retryAfter"]): random.choice(TEXTS["per"])}),
                    lambda: spec.update(warmup={"startDate": "2026-12-01", "linear": {"firstDay": random.randint(1, 5), "dailyIncrease": 1, "target": random.choice([1, 3, 3.0, 3.000000001, 5])}}),
                ]
            )()
        elif document["kind"] == "Plan":
            operator = random.choice(["In", "NotIn", "Exists", "DoesNotExist", "Is"])
            spec["serverSelector"] = {"matchExpressions": [{"key": "a", "operator": operator} | random.choice([{}, {"values": []}, {"values": ["a"]}, {"values": None}])]}
        else:
            weights = [0, 0, 1, 2.0, 1.000000001, None]
            server = lambda: {"name": random.choice("abc")} | random.choice([{}, {"namespace": random.choice("ab")}]) | random.choice([{}, {"weight": random.choice(weights)}])
            random.choice(
                [
                    lambda: spec.update(servers=[server() for _ in range(random.randint(0, 3))]),
                    lambda: spec.update(headers=[{"name": random.choice(TEXTS["header"]), "value": "a"} for _ in range(random.randint(1, 3))]),
                    lambda: spec.update(retry={random.choice(["initialDelay", "deadline"]): random.choice(TEXTS["per"])}, startingDeadline=random.choice(TEXTS["per"])),
                ]
            )()

    def null(self, document):
        """Null instead of a value, or where there was none."""
        if self.random.random() < 0.7:
            return put(document, self.pick(self.spec_places(document) + [("metadata", "name"), ("status",)] if "status" in document else self.spec_places(document)), None)
        path = self.pick(self.spec_places(document, lambda path, value: isinstance(value, dict)))
        get(document, path)[self.pick(list(self.schema(document, path).get("properties", {"x": 1})))] = None

    def removed(self, document):
        """One field or item fewer."""
        path = self.pick(self.spec_places(document))
        del get(document, path[:-1])[path[-1]]

    def word(self, document):
        """Another value of an enumeration, or one that resembles it."""
        path = self.pick(self.spec_places(document, lambda path, _: "enum" in self.schema(document, path)))
        word = self.random.choice(self.schema(document, path)["enum"])
        put(document, path, self.random.choice([word, word, word.lower(), word + " ", "", None]))

    def number(self, document):
        """Another form of a number."""
        path = self.pick(self.spec_places(document, lambda path, value: isinstance(value, (int, float)) and not isinstance(value, bool)))
        old = get(document, path)
        put(document, path, self.random.choice([float(old), old + 0.5, old * (1 + 1e-10), old * (1 + 1e-8), -old, -0.0, 1e2, 2**53, 2**63, 2**64, 1e300, str(old)]))

    def date(self, document):
        """A day or a time."""
        if document["kind"] == "Plan":
            return self.text(document)
        if document["kind"] == "Campaign":
            document["spec"]["startAt"] = self.random.choice(TEXTS["time"])
        else:
            document["spec"]["warmup"] = {"startDate": self.random.choice(TEXTS["date"]), "schedule": [1]}

    def twice(self, document):
        """An item of a list twice, or one of its fields."""
        path = self.pick(self.spec_places(document, lambda path, value: isinstance(value, list) and value))
        items = get(document, path)
        item = copy.deepcopy(self.random.choice(items))
        if isinstance(item, dict) and self.random.random() < 0.5:
            other = self.random.choice([other for other in items if isinstance(other, dict)])
            item = {key: self.random.choice([item, other]).get(key, value) for key, value in item.items()}
            if self.random.random() < 0.4 and "name" in item:
                item["name"] = "new"
        items.insert(self.random.randint(0, len(items)), item)

    def metadata(self, document):
        """Kubernetes' own rules."""
        random, metadata = self.random, document["metadata"]
        label = random.choice(["a", "a/b", "A.b/c", "a.b/c_d", "/a", "a/", "a/b/c", "", "-a", "a-", "x" * 63, "x" * 64, "ä", "Ab", "a b", "x" * 253 + "/a", "x" * 254 + "/a"])
        value = random.choice(["", "a", "A_b.c", "-a", "a b", "x" * 63, "x" * 64, "ä", 5, None, True])
        when = random.choice(TEXTS["time"][:6] + ["2026-02-29T08:00:00Z", "x", None, 5])
        owner = {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "b", "controller": True}
        owner |= random.choice([{}, {"name": ""}, {"apiVersion": "a/b/c"}, {"kind": None}, {"x": 1}, {"controller": "yes"}, {"kind": "Event"}, {"blockOwnerDeletion": None}])
        fault = random.choice(
            [
                {"labels": {label: random.choice(["a", value])}},
                {"annotations": {label: random.choice(["any thing\n", value])}},
                {"annotations": {"a": "x" * random.choice([262143, 262144])}},
                {"name": random.choice(["A", "a_b", "-a", "a..b", "a.", "", None, 5, "x" * 254, "a/b", "ä"])},
                {"name": metadata["name"] + random.choice([".a", ".-a", "x" * 230, "-", ".1.2", "a" * 243])},
                {"namespace": random.choice(NAMESPACES + ["", None, "A", "a.b", "-a", "x" * 64, 5, ["a"]])},
                {"generation": random.choice([0, 1, 7, 1.0, 1.5, "1", None])},
                {"creationTimestamp": when},
                {"deletionTimestamp": when},
                {"finalizers": random.choice([[], ["a"], ["a/b"], ["a b"], [""], [None], "a", ["orphan"], ["orphan", "foregroundDeletion"]])},
                {"ownerReferences": random.choice([[owner], [owner, owner], [], None, [None], owner])},
                {"managedFields": random.choice([None, [], [{}], [{"x": 1}], "a"])},
                {random.choice(["uid", "selfLink", "resourceVersion", "generateName"]): random.choice([None, "", 5, "A_b", "7", "0"])},
                {random.choice(["labels", "annotations"]): random.choice([None, [], "a", 5])},
                {random.choice(["lables", "Name", "clusterName", "deletionGracePeriodSeconds"]): random.choice([None, 5, "a"])},
            ]
        )
        metadata.update(fault)
        if random.random() < 0.05:
            document["metadata"] = random.choice([None, [], "a", {}])

    def status(self, document):
        """A status, which is dropped, except for names that the schema does not know."""
        schema = self.schema(document, ("status",))
        field = self.pick(list(schema["properties"]))
        document["status"] = self.random.choice(
            [{field: self.random.choice(WRONG)}, {field + "s": 1}, self.random.choice(WRONG), {"conditions": [{"type": 1, self.random.choice(["reason", "x"]): "a"}]}, {"conditions": {"x": 1}}]
        )

    def header(self, document):
        """The fields that identify a document: apiVersion, kind, metadata."""
        name, value = self.random.choice([("apiVersion", "mailfleet.dev/v1"), ("apiVersion", "mailfleet.dev/v1alpha1 "), ("kind", document["kind"].lower()), ("kind", None), ("apiVersion", None), ("kind", "")])
        document[name] = value

    def two(self, document):
        """Two changes at once."""
        for name in self.random.sample(["bound", "text", "rule", "null", "removed", "word", "number", "twice", "keys", "date"], 2):
            # The first may have left nothing to change.
            if isinstance(document.get("spec"), dict) and document["spec"]:
                self.change(name, document)

    def none(self, document):
        """The manifest as it is."""


# How often each kind is made, of 1,000; `update` and `key twice` are made by the test itself.
SHARES = {
    "none": 20, "wrong_type": 90, "bound": 90, "text": 110, "strange": 50, "unknown": 60, "keys": 70, "rule": 100, "null": 60, "removed": 40,
    "word": 30, "number": 50, "date": 50, "twice": 40, "metadata": 80, "status": 25, "header": 5, "two": 50,
}
# None of these can be valid.
NEVER_GOOD = {"header", "key twice"}
# Of these only a change within a free-form map can be valid, or two changes that are both harmless.
SELDOM_GOOD = {"unknown", "two"}


def key_twice(text: str, random: Random) -> str:
    """The JSON text with one of its fields twice."""
    marks = [at for at in range(len(text)) if text.startswith('{"', at)]
    at = random.choice(marks)
    key = text[at + 1 : text.index(":", at) + 1]
    return text[: at + 1] + key + " null, " + text[at + 1 :]


def as_sent(value):
    """The value as clients written in Go send it: a whole number without a decimal point."""
    if isinstance(value, dict):
        return {key: as_sent(child) for key, child in value.items()}
    if isinstance(value, list):
        return [as_sent(child) for child in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def text_of(value) -> str:
    """The value as JSON."""
    return json.dumps(value, ensure_ascii=False)
