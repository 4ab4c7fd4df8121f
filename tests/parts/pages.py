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
    preheader: Roses and tulips
    variantField: language
    variants: {en: {}, de: {preheader: Rosen und Tulpen, subject: "Hallo {{ name }}", text: "Hallo {{ name }}, der Frühling ist da: {{ unsubscribe_url }}", html: '<html lang="de"><p>Hallo {{ name }}, der Frühling ist da. <a href="{{ unsubscribe_url }}">Abmelden</a></p></html>'}}
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

# What a controller finds in the cluster: the examples, whose servers listen here.
BAKERY = "sinks; kubectl apply -f $PLACE/examples/kubernetes >/dev/null"
PLANS = ("--plan-namespace", "mail-admin")
# The chart as the pages install it; a test has no image, and no node that would run it.
INSTALLED = "helm install mailfleet charts/mailfleet --namespace mail-admin --create-namespace --set image.repository=registry.example/mailfleet"

PAGES = {
    "README.md": Page(
        SHOP,
        stays=("mailfleet sink",),
        before={
            "kubectl get mailfleet": "mailfleet sink --listen 127.0.0.1:2526 & mailfleet sink --listen 127.0.0.1:2527 & kubectl apply -f $PLACE/examples/kubernetes; "
            "kubectl wait --for=condition=Completed campaigns.mailfleet.dev/december -n bakery --timeout=1m",
        },
        typed={"KUBECONFIG=… PATH=…": "CLUSTER=here", "PASSWORD=…": "PASSWORD=secret-word", "-f examples": "-f $PLACE/examples"},
        copied=("examples",),
        cluster=True,
    ),
    "docs/start-files.md": Page(
        stays=("mailfleet sink", "mailfleet run . --admin-address"),
        typed={"…": "secret-word"},
        copied=("examples",),
    ),
    "docs/start-flux.md": Page(
        SHOP + "mkdir work && cp -r charts examples work/ && git init --quiet --bare origin.git && cd work",
        before={
            # The namespace is Flux's, and the key age's.
            "kubectl create secret": "kubectl create namespace flux-system; echo AGE-SECRET-KEY-OF-A-TEST > ../age.agekey",
            # What Flux applies, once it has read the repository.
            "kubectl get mailfleet": "sinks; kubectl apply -f mail/servers; kubectl apply -f mail/campaigns",
        },
        typed={"--timeout=2h": "--timeout=1m", r"\bURL\b": "../origin.git"},
        copied=("charts", "examples"),
        cluster=True,
    ),
    "docs/start-argocd.md": Page(
        SHOP + "mkdir work && cp -r charts examples work/ && git init --quiet --bare origin.git && cd work",
        # What Argo CD applies, wave by wave.
        before={"kubectl get mailfleet": "sinks; kubectl apply -f mail/servers; kubectl apply -f mail/campaigns"},
        typed={"--timeout=2h": "--timeout=1m", r"\bURL\b": "../origin.git"},
        copied=("charts", "examples"),
        cluster=True,
    ),
    "docs/howto-outage.md": Page(copied=("examples",)),
    "docs/howto-apart.md": Page(copied=("examples",)),
    "docs/howto-cap.md": Page(copied=("examples",)),
    "docs/howto-reputation.md": Page(copied=("examples",)),
    "docs/vendors.md": Page(
        r"""
cd examples/providers
for file in *.yaml; do
  kind=${file%.yaml}; upper=$(printf %s "$kind" | tr a-z A-Z); variable=VENDOR_$upper; address=${!variable:-}
  [ -z "$address" ] || sed -i "s|^\( *\)secretRef: .*|&\n\1endpoint: $address|" "$file"
done
sed -i "/endpoint:/d; s|url: .*|url: $VENDOR_PLUGIN|" plugin.yaml
sed -i "s|via: Smtp|via: Api|; s|^\( *\)endpoint: .*|&\n\1tokenUrl: $VENDOR_GMAIL/token|" gmail.yaml
sed -i "s|host: .*|host: 127.0.0.1|; s|encryption: .*|encryption: None\n      port: $RELAY|" smtp.yaml
printf '#!/bin/sh\ncat >> %s/sent-by-sendmail\n' "$PLACE" > "$PLACE/sendmail"; chmod +x "$PLACE/sendmail"
sed -i "s|/usr/sbin/sendmail|$PLACE/sendmail|" sendmail.yaml
cd ../..
""",
        typed={"=…": "=key-0123456789", "/usr/sbin/sendmail": "$PLACE/sendmail", "--from news@shop.example": "--from news@shop.example"},
        copied=("examples",),
    ),
    "docs/check.md": Page(SHOP + "shop mails", codes={}),
    "docs/dashboard.md": Page(
        SHOP + "sinks; mkdir here && cd here && cp -r ../charts . && shop mail",
        stays=("mailfleet run",),
        before={"kubectl -n mail-admin create secret": INSTALLED},
        copied=("charts",),
        cluster=True,
    ),
    "docs/diff.md": Page(
        SHOP + "repository objects; mkdir -p overlays/production rendered; cp -r objects/. rendered/; cp objects/fleet.yaml overlays/production/; "
        "sed -i 's|path: people.csv|path: people.csv|' overlays/production/fleet.yaml; printf 'resources: [fleet.yaml]\\n' > overlays/production/kustomization.yaml; "
        "git add --all; git commit --quiet --message Rendered; shop objects; sed -i 's/weight: 3/weight: 2/' objects/fleet.yaml; kubectl create namespace shop",
        typed={"/var/lib/mailfleet": ".mailfleet", "kustomize build": "kubectl kustomize"},
        codes={"mailfleet diff git:main objects -o markdown --exit-code": 10},
        cluster=True,
    ),
    "docs/dkim.md": Page(
        "mkdir fleet",
        before={
            "mailfleet dns": 'export MAILFLEET_SECRET__DEFAULT__DKIM__S1_PEM="$(cat s1.pem)"; '
            "sed -n '/^apiVersion: mailfleet/,/^```/p' $REPOSITORY/docs/dkim.md | sed '/^```/,$d' > fleet/server.yaml",
        },
        # Nothing answers there, and so nothing is known of what is published.
        codes={"mailfleet dns": 3},
    ),
    "docs/dns.md": Page(
        r"""mkdir fleet; openssl genpkey -algorithm ed25519 -out key.pem; export MAILFLEET_SECRET__DEFAULT__DKIM__PRIVATE_PEM="$(cat key.pem)"
sed -n '/^apiVersion: mailfleet/,/^```/p' $REPOSITORY/docs/dns.md | sed '/^```/,$d' > fleet/server.yaml
mkdir zones; printf '$TTL 1\n@ SOA ns.invalid. host.invalid. 1 3600 600 86400 1\n@ NS ns.invalid.\n%s\nrelay.example.com. A 203.0.113.25\n' "$(mailfleet dns fleet/ -o zone --zone example.com | grep _domainkey)" > zones/example.com.zone
printf '$TTL 1\n@ SOA ns.invalid. host.invalid. 1 3600 600 86400 1\n@ NS ns.invalid.\n' | tee zones/com.zone > zones/in-addr.arpa.zone
cat > knot.conf <<CONF
server:
    rundir: $PWD/zones
    listen: [ 127.0.0.1@5353 ]
database:
    storage: $PWD/zones/db
log:
  - target: $PWD/knot.log
    any: info
template:
  - id: default
    storage: $PWD/zones
    file: "%s.zone"
    semantic-checks: off
zone:
  - domain: example.com
  - domain: in-addr.arpa
  - domain: com
CONF
PATH=$PATH:/usr/sbin knotd -c knot.conf > knotd.log 2>&1 &
export MAILFLEET_RESOLVER=127.0.0.1:5353
sleep 2
""",
        codes={"mailfleet dns fleet/": 1},
    ),
    "docs/gitops.md": Page(
        SHOP + "repository objects; mkdir -p srv var; (sinks; mailfleet run objects --once --state var/mailfleet) >/dev/null; "
        "sed -i 's/weight: 3/weight: 2/' objects/fleet.yaml; "
        "kubectl create namespace mail-admin; kubectl create namespace shop; kubectl label namespace shop tier=starter",
        typed={
            "REPOSITORY": "$PLACE/origin.git", "/srv/": "$PLACE/srv/", "/var/lib/": "$PLACE/var/", r"\bNAME\b": "spring -n shop", "origin status": "origin status",
            "--depth=1 ": "", "--timeout=2h": "--timeout=1m",
        },
        before={
            "kubectl wait --for=condition=Ready": "sinks; kubectl apply -f examples/kubernetes; "
            "python3 $REPOSITORY/tests/parts/inline.py objects mail-admin/starter > spring.json && kubectl apply -f spring.json",
        },
        codes={"mailfleet diff git:origin/main objects -o markdown --exit-code": 10},
        copied=("examples",),
        cluster=True,
    ),
    "docs/import.md": Page(
        r"""mkdir -p opt/kumomta/etc/policy; printf '[source."ip-1"]\nsource_address = "203.0.113.5"\n[pool."pool-1"]\n[pool."pool-1"."ip-1"]\nweight = 2\n' > opt/kumomta/etc/policy/sources.toml
""",
        typed={"/opt/": "opt/"},
        # Its policy in Lua is never carried over.
        codes={"mailfleet import kumomta": 1},
    ),
    "docs/install.md": Page(
        SHOP + "kubectl create namespace shop",
        before={"kubectl mailfleet": "sinks; mkdir shop; shop shop; python3 $REPOSITORY/tests/parts/inline.py shop > ../shop.json; kubectl apply -f ../shop.json; kubectl wait --for=condition=Ready sendingservers.mailfleet.dev --all -n shop --timeout=10s; true"},
        cluster=True,
    ),
    "docs/kubernetes.md": Page(
        SHOP + "sinks; for name in shop-a shop-b shop; do kubectl create namespace $name; done",
        typed={"REGISTRY": "registry.example", "-n NAMESPACE": "-n bakery", r"\bNAME\b": "december"},
        before={
            "kubectl get mailfleet": "kubectl apply -f examples/kubernetes",
            "helm upgrade --install mailfleet charts/mailfleet --namespace mail-admin --take-ownership": "helm uninstall mailfleet --namespace mail-admin",
            "kubectl delete campaigns": "kubectl apply --server-side --force-conflicts -f crds; helm upgrade --install mailfleet charts/mailfleet --namespace mail-admin --take-ownership; kubectl apply -f examples/kubernetes",
            "kubectl -n mail-admin delete pvc": "printf 'apiVersion: coordination.k8s.io/v1\\nkind: Lease\\nmetadata: {name: mailfleet, namespace: mail-admin}\\n' | kubectl apply -f -; "
            # The controller that protects claims of pods is not among those that run here.
            "(sleep 2; kubectl -n mail-admin patch pvc mailfleet-ledger --type=merge -p '{\"metadata\":{\"finalizers\":null}}') &",
            "helm upgrade mailfleet charts/mailfleet --namespace mail-admin --reuse-values": f"{INSTALLED} --take-ownership",
            "kubectl -n NAMESPACE patch": "kubectl apply --server-side --force-conflicts -f crds; sleep 2; kubectl apply -f examples/kubernetes",
        },
        copied=("charts", "examples", "crds"),
        cluster=True,
    ),
    "docs/ledger.md": Page(SHOP + "sent; mkdir backup; cp -r .mailfleet old", typed={r"\bDIR/": ".mailfleet/", "/backup/": "backup/"}),
    "docs/operations.md": Page(
        SHOP + r"""cp examples/minimal.yaml ../minimal.yaml; rm -r examples; sent; mkdir -p mails backup overlays/prod; echo '<p>Hello</p>' > mails/spring.html
export-mail() { cat mails/spring.html; }; export-people() { cat people.csv; }
cp fleet.yaml overlays/prod/; printf 'resources: [fleet.yaml]\n' > overlays/prod/kustomization.yaml
mkdir -p charts/mail/templates; printf 'apiVersion: v2\nname: mail\nversion: 0.1.0\n' > charts/mail/Chart.yaml
sed 's/{{/{{ "{{" }}/g' ../minimal.yaml > charts/mail/templates/fleet.yaml
""",
        typed={r"\bDIR/": ".mailfleet/", "/backup/": "backup/", "kustomize build": "kubectl kustomize", r"campaigns NAME": "campaigns spring -n shop", r"servers NAME": "servers relay -n shop", r"plans NAME": "plans basic -n shop", "CAMPAIGN": "spring -n shop", " && man .*": ""},
        copied=("examples",),
        cluster=True,
    ),
    "docs/plugin.md": Page(
        "echo 0123456789abcdef > token; PLUGIN_TOKEN=0123456789abcdef python3 $REPOSITORY/examples/plugins/python/plugin.py --port 8025 --folder out > plugin.log 2>&1 & sleep 2",
    ),
    "docs/preview.md": Page(SHOP + "sinks; shop mails"),
    "docs/reviews.md": Page(
        SHOP + "sinks; shop objects; kubectl create namespace shop; kubectl create namespace mail-admin; python3 $REPOSITORY/tests/parts/inline.py objects > ../spring.json; kubectl apply -f ../spring.json",
        # The controller needs a moment to see it.
        before={"mailfleet get campaigns spring": "kubectl wait --for=jsonpath='{.status.state}' campaigns.mailfleet.dev/spring -n shop --timeout=1m"},
        cluster=True,
    ),
    "docs/rollout.md": Page(
        SHOP + "sinks; shop . ; sed -i 's|^  unsubscribe:|  rollout: {steps: [{percent: 50, pause: {}}]}\\n&|' fleet.yaml; mailfleet run . --once; "
        "kubectl create namespace shop; kubectl create namespace mail-admin; python3 $REPOSITORY/tests/parts/inline.py . > ../spring.json; kubectl apply -f ../spring.json; "
        "kubectl wait --for=jsonpath='{.status.state}'=Waiting campaigns.mailfleet.dev/spring -n shop --timeout=1m",
        cluster=True,
    ),
    "docs/servers.md": Page(SHOP + "sent", typed={"server/NAME": "server/relay -n shop", "NAMESPACE": "shop"}),
    "docs/simulate.md": Page(SHOP + "shop objects"),
    "docs/suppressions.md": Page(
        SHOP + "sent; printf 'email\\ncleo@example.com\\n' > do-not-mail.csv",
        before={"mailfleet suppressions remove": "mailfleet suppressions add ann@example.com -n shop --reason HardBounce"},
    ),
    "docs/unsubscribe.md": Page(SHOP + "sinks; shop .", stays=("mailfleet run",)),
}

# Pages whose control plane has our CRDs and a controller, with its options.
CLUSTER: dict[str, tuple[str, ...]] = {
    "README.md": PLANS,
    "docs/start-flux.md": PLANS,
    "docs/start-argocd.md": PLANS,
    "docs/diff.md": PLANS,
    "docs/gitops.md": (),
    "docs/install.md": PLANS,
    "docs/reviews.md": (),
    "docs/rollout.md": (),
}

# By page (`*` is any) and the beginning of the command: why it cannot run here.
ELSEWHERE = {
    ("README.md", "make demo "): "compiles the program; tests/screens.py runs the demo",
    ("README.md", "make test"): "is what runs this",
    ("*", "cargo install"): "compiles everything, for minutes",
    ("README.md", "make demo-kubernetes"): "stays until Ctrl-C; a step of scripts/test runs it",
    ("docs/start-flux.md", "age-keygen"): "age is a program of its own",
    ("docs/start-flux.md", "sops "): "SOPS is a program of its own",
    ("*", "kubectl apply -f install.yaml"): "needs the CRDs of Flux; tests/gitops.py has Flux's own code read the file",
    ("*", "flux get"): "needs Flux in the cluster",
    ("*", "kubectl apply -f applications.yaml"): "needs the CRDs of Argo CD; tests/gitops.py has its own code read the file",
    ("*", "argocd app wait"): "needs Argo CD in the cluster",
    ("docs/dashboard.md", "kubectl -n mail-admin port-forward"): "needs a node that runs the pod",
    ("docs/import.md", "mailfleet import listmonk"): "needs listmonk and its database; tests/imports.py runs it against both",
    ("docs/import.md", "mailfleet import mautic"): "needs Mautic's database; tests/imports.py runs it against MariaDB",
    ("docs/import.md", "mailfleet import acellemail"): "needs AcelleMail's database; tests/imports.py runs it against MariaDB",
    ("docs/install.md", "kubectl krew"): "krew downloads the plugin; tests/release.py reads its manifest",
    ("docs/kubernetes.md", "make image"): "is a release build; tests/image.py makes and runs the image",
    ("docs/kubernetes.md", "docker build"): "needs a container engine",
    ("docs/kubernetes.md", "kubectl -n mail-admin rollout status"): "needs a node that runs the pod",
    ("docs/kubernetes.md", "kubectl exec"): "needs a node that runs the pod",
    ("docs/kubernetes.md", "mailfleet resume"): "needs a campaign and a server that are stopped; tests/kubernetes.py resumes them",
    ("docs/kubernetes.md", "kubectl -n mail-admin logs"): "needs a node that runs the pod",
    ("docs/kubernetes.md", "kubectl -n mail-admin port-forward"): "needs a node that runs the pod",
    ("docs/ledger.md", "mailfleet run mail/ --ledger"): "needs a PostgreSQL; tests/postgres.py sends with one",
    ("docs/ledger.md", "mailfleet get runs --ledger"): "needs a PostgreSQL; tests/postgres.py asks one",
    ("docs/ledger.md", "mailfleet ledger move --from DIR"): "needs a PostgreSQL; tests/postgres.py moves a ledger into one",
    ("docs/operations.md", "mailfleet resume"): "needs a campaign that is held; tests/refusals.py resumes them",
    ("docs/reviews.md", "mailfleet review"): "asks a forge; tests/reviews.py runs it against forges that are played",
    ("docs/reviews.md", "mailfleet wait"): "asks a forge; tests/reviews.py runs it against forges that are played",
    ("docs/servers.md", "mailfleet resume server"): "needs a server that is paused; tests/guards.py resumes them",
}
