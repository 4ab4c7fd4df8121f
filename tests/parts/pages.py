"""What the commands of each document need, for tests/commands.py; and those that cannot run where the tests do, with the reason."""

from .typed import Page

# Servers of the shop, a plan and a campaign in two languages, in a folder that the pages name.
SHOP = r"""
shop() {
  mkdir -p "$1/mails"
  cat > "$1/fleet.yaml" <<'YAML'
apiVersion: mailfleet.dev/v1alpha1
kind: SendingServer
metadata: {name: relay, namespace: shop}
spec:
  provider: {smtp: {host: 127.0.0.1, port: 2525, encryption: None}}
---
apiVersion: mailfleet.dev/v1alpha1
kind: SendingServer
metadata: {name: relay-a, namespace: shop}
spec:
  provider: {smtp: {host: 127.0.0.1, port: 2526, encryption: None}}
---
apiVersion: mailfleet.dev/v1alpha1
kind: Plan
metadata: {name: basic, namespace: shop}
spec:
  servers: [{name: relay, weight: 3}, {name: relay-a, weight: 1}]
---
apiVersion: mailfleet.dev/v1alpha1
kind: Campaign
metadata: {name: spring, namespace: shop}
spec:
  planRef: {name: basic}
  from: {name: Example News, address: news@news.example.com}
  subject: Hello {{ name }}
  content:
    html: <html lang="en"><p>Dear {{ name }}, spring is here. <a href="{{ unsubscribe_url }}">Unsubscribe</a></p></html>
    text: "Dear {{ name }}, spring is here. Unsubscribe: {{ unsubscribe_url }}"
    variantField: language
    variants: {de: {subject: "Hallo {{ name }}", text: "Hallo {{ name }}, der Frühling ist da: {{ unsubscribe_url }}", html: '<html lang="de"><p>Hallo {{ name }}, der Frühling ist da. <a href="{{ unsubscribe_url }}">Abmelden</a></p></html>'}}
  unsubscribe: {url: "https://shop.example/leave?who={{ email | urlencode }}", oneClick: {}}
  audience: {csv: {path: people.csv}}
YAML
  { echo email,name,language; echo ann@example.com,Ann,en; echo bob@example.com,Bob,de; seq -f 'person%g@example.com,Person,en' 120; } > "$1/people.csv"
}
sinks() {
  mailfleet sink --listen 127.0.0.1:2525 > sink-1.log 2>&1 &
  mailfleet sink --listen 127.0.0.1:2526 > sink-2.log 2>&1 &
  mailfleet sink --listen 127.0.0.1:2527 > sink-3.log 2>&1 &
  sleep 1
}
repository() {
  git init --quiet && shop "$1" && git add --all "$1" && git commit --quiet --message First && git clone --quiet --bare . origin.git
  git remote add origin origin.git && git fetch --quiet origin
}
# The campaign is sent, and the ledger is in .mailfleet.
sent() { sinks; shop . ; mailfleet run . --once > sent.log 2>&1 || { cat sent.log; false; }; }
"""

PAGES = {
    "README.md": Page(stays=("mailfleet sink",), typed={"…": "secret-word"}, codes={"mailfleet test . --send-to": 0}),
    "docs/start-files.md": Page(
        stays=("mailfleet sink", "mailfleet run . --admin-address"),
        typed={"cp examples/minimal.yaml": "cp ../docs-start-files/examples/minimal.yaml", "…": "secret-word"},
    ),
    "docs/howto-outage.md": Page(),
    "docs/howto-apart.md": Page(),
    "docs/howto-cap.md": Page(),
    "docs/howto-reputation.md": Page(),
    "docs/check.md": Page(SHOP + "shop mails"),
    "docs/dashboard.md": Page(SHOP + "sinks; shop mail", stays=("mailfleet run",)),
    "docs/diff.md": Page(SHOP + "repository objects", typed={"/var/lib/mailfleet": ".mailfleet"}),
    "docs/preview.md": Page(SHOP + "sinks; shop mails", codes={}),
    "docs/simulate.md": Page(SHOP + "shop objects"),
    "docs/suppressions.md": Page(SHOP + "sent; printf 'email\\ncleo@example.com\\n' > do-not-mail.csv"),
    "docs/ledger.md": Page(SHOP + "sent; mkdir backup", typed={r"\bDIR/": ".mailfleet/", "/backup/": "backup/"}),
    "docs/operations.md": Page(SHOP + "sent"),
}

# Pages whose control plane has our CRDs and a controller, with its options.
CLUSTER: dict[str, tuple[str, ...]] = {}

# By page (`*` is any) and the beginning of the command: why it cannot run here.
ELSEWHERE = {
    ("README.md", "make demo "): "compiles the release; tests/screens.py runs the demo",
    ("README.md", "make test"): "is what runs this",
    ("README.md", "cargo install"): "compiles everything",
    ("README.md", "make demo-kubernetes"): "is a step of its own in scripts/test",
}
