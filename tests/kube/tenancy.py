"""How a customer may try to reach what belongs to others, as a table: each attempt gets a condition and nothing else.

acme is the customer, zeta another customer, mail-admin the operator. Everything that acme names exists.
"""

import re
import socket
import time
from dataclasses import dataclass, field

from parts import fleet as fleets
from parts.controller import Controller
from parts.honeypot import Honeypot
from parts.kubeapi import ApiError, condition_of, config_map, secret
from parts.process import wait_until
from parts.report import require, table

from .place import LEASE, QUICK_PROBE, Clusters, csv, people, within

REFUSED = "refused"
ZETA_PASSWORD, ZETA_LETTER, ADMIN_LETTER = "zetas-password-9", "zetas private letter", "the operators private letter"
PRO = {"planRef": {"name": "pro", "namespace": "mail-admin"}}


@dataclass(frozen=True)
class Attempt:
    """One attempt of acme's: a campaign that differs from a good one by `spec`, and what else it applies."""

    what: str
    expected: str
    spec: dict = field(default_factory=dict)
    more: tuple = ()
    # The object whose condition is checked; the campaign unless given.
    judged: tuple = ()
    # Attempts with the same word must read the same except for the names.
    reads_like: str = ""


def plan_of(name: str, namespace: str = "") -> dict:
    return {"planRef": {"name": name, **({"namespace": namespace} if namespace else {})}}


def chosen(name: str, namespace: str = "") -> dict:
    return {**PRO, "servers": [{"name": name, **({"namespace": namespace} if namespace else {})}]}


def audience(**source) -> dict:
    return {**PRO, "audience": {"csv": source}}


def text_from(**source) -> dict:
    return {**PRO, "content": {"textFrom": source}}


def parts_from(**templates) -> dict:
    return {**PRO, "content": {"text": "{% include 'a.txt' %}", "templates": templates}}


def own_server(name: str, port: int, **auth) -> dict:
    return fleets.smtp_server(name, port, {"auth": auth})


def tries(honeypot: int, api_server: int, sink: int) -> list[Attempt]:
    """The table. The ports belong to a server that would give an audience, to the API server, and to an SMTP server."""
    here = f"{honeypot}/people.csv"
    addresses = {
        "127.0.0.1": f"http://127.0.0.1:{here}",
        "[::1]": f"http://[::1]:{here}",
        "[::ffff:127.0.0.1]": f"http://[::ffff:127.0.0.1]:{here}",
        "0.0.0.0": f"http://0.0.0.0:{here}",
        "a short form, 127.1": f"http://127.1:{here}",
        "a decimal form": f"http://2130706433:{here}",
        "a hexadecimal form": f"http://0x7f000001:{here}",
        "an octal form": f"http://0177.0.0.1:{here}",
        "a login before it": f"http://example.com@127.0.0.1:{here}",
        "the API server": f"https://127.0.0.1:{api_server}/api/v1/namespaces/zeta/secrets",
        "10.0.0.1": "http://10.0.0.1/people.csv",
        "192.168.0.1": "http://192.168.0.1/people.csv",
        "the metadata service": "http://169.254.169.254/latest/meta-data/",
    }
    names = {
        "localhost": f"http://localhost:{here}",
        "LOCALHOST with a dot": f"http://LOCALHOST.:{here}",
        "this machine's name": f"http://{socket.gethostname()}:{here}",
        "a service's name": "http://kubernetes.default.svc/people.csv",
        "a name that is not there": "http://nothing.invalid/people.csv",
    }
    return [
        Attempt("a plan for another tier", "PlanNotFound", plan_of("gold", "mail-admin"), reads_like="plan"),
        Attempt("a plan that is not there", "PlanNotFound", plan_of("absent", "mail-admin"), reads_like="plan"),
        Attempt("a plan of another customer", "PlanNotFound", plan_of("zeta-plan", "zeta"), reads_like="plan"),
        Attempt("a plan in a namespace that is not there", "PlanNotFound", plan_of("pro", "nowhere"), reads_like="plan"),
        Attempt(
            "a plan of its own over the operator's server", "PlanNotFound", plan_of("self-made"),
            more=(fleets.plan("self-made", "pool", "reserve"),),
        ),
        Attempt("the operator's server, not granted, by name", "ServerNotGranted", chosen("reserve"), reads_like="server"),
        Attempt("a server that is not there, by name", "ServerNotGranted", chosen("absent"), reads_like="server"),
        Attempt("another customer's server by name", "ServerNotGranted", chosen("zeta-own"), reads_like="server"),
        Attempt("the operator's server by namespace", "ServerNotGranted", chosen("reserve", "mail-admin"), reads_like="server of"),
        Attempt("a server that is not there by namespace", "ServerNotGranted", chosen("absent", "mail-admin"), reads_like="server of"),
        Attempt("another customer's server by namespace", "ServerNotGranted", chosen("zeta-own", "zeta"), reads_like="server of"),
        Attempt(
            "another customer's Secret", "SecretNotFound", more=(own_server("thief", sink, secretRef={"name": "zeta-login"}),),
            judged=("SendingServer", "thief"), reads_like="secret",
        ),
        Attempt(
            "a Secret that is not there", "SecretNotFound", more=(own_server("lost", sink, secretRef={"name": "absent"}),),
            judged=("SendingServer", "lost"), reads_like="secret",
        ),
        Attempt(
            "a Secret by namespace", f"Unreadable {REFUSED}",
            more=(own_server("third", sink, secretRef={"name": "zeta-login", "namespace": "zeta"}),), judged=("SendingServer", "third"),
        ),
        Attempt(
            "a Secret by path", f"SecretNotFound {REFUSED}",
            more=(own_server("fourth", sink, secretRef={"name": "../../zeta/secrets/zeta-login"}),), judged=("SendingServer", "fourth"),
        ),
        Attempt(
            "a Secret by an encoded path", f"SecretNotFound {REFUSED}",
            more=(own_server("fifth", sink, secretRef={"name": "..%2f..%2fzeta%2fsecrets%2fzeta-login"}),), judged=("SendingServer", "fifth"),
        ),
        Attempt("another customer's ConfigMap as text", "ConfigMapNotFound", text_from(configMapRef={"name": "zeta-letter", "key": "a.txt"}), reads_like="map"),
        Attempt("a ConfigMap that is not there", "ConfigMapNotFound", text_from(configMapRef={"name": "absent", "key": "a.txt"}), reads_like="map"),
        Attempt("the operator's ConfigMap as text", "ConfigMapNotFound", text_from(configMapRef={"name": "letters", "key": "a.txt"}), reads_like="map"),
        Attempt("another customer's ConfigMap as parts", "ConfigMapNotFound", parts_from(configMapRef={"name": "zeta-letter"}), reads_like="parts"),
        Attempt("parts of a ConfigMap that is not there", "ConfigMapNotFound", parts_from(configMapRef={"name": "absent"}), reads_like="parts"),
        Attempt("a folder of parts", "FileNotFound", parts_from(path="parts")),
        Attempt("/proc/self as parts", f"FileNotFound {REFUSED}", parts_from(path="/proc/self")),
        Attempt("another customer's audience", "ConfigMapNotFound", audience(configMapRef={"name": "zeta-people", "key": "people.csv"})),
        Attempt("another customer's From", "SenderNotAllowed", {"from": {"address": "news@zeta.example"}}),
        Attempt("another customer's Reply-To", "SenderNotAllowed", {"replyTo": {"address": "news@zeta.example"}}),
        Attempt("another customer's address as a name", "SenderNotAllowed", {"from": {"name": "news@zeta.example", "address": "news@news.example.com"}}),
        Attempt("another customer's Resent-From", "SenderNotAllowed", {"headers": [{"name": "Resent-From", "value": "news@zeta.example"}]}),
        Attempt("a ConfigMap by path", f"ConfigMapNotFound {REFUSED}", audience(configMapRef={"name": "../../zeta/configmaps/zeta-people", "key": "people.csv"})),
        Attempt("a relative file as audience", "FileNotFound", audience(path="people.csv"), reads_like="file"),
        Attempt("/etc/passwd as audience", f"FileNotFound {REFUSED}", audience(path="/etc/passwd"), reads_like="file"),
        Attempt("../ as audience", f"FileNotFound {REFUSED}", audience(path="../../../../../../etc/passwd"), reads_like="file"),
        Attempt("/proc/self/environ as text", f"FileNotFound {REFUSED}", text_from(path="/proc/self/environ")),
        Attempt("the service account's token as text", f"FileNotFound {REFUSED}", text_from(path="/var/run/secrets/kubernetes.io/serviceaccount/token")),
        Attempt("a ConfigMap with a query", f"ConfigMapNotFound {REFUSED}", audience(configMapRef={"name": "?fieldSelector=", "key": "people.csv"})),
        Attempt(
            "another customer's Secret for an audience", "SecretNotFound",
            audience(url="https://export.example/people.csv", auth={"bearer": {"tokenRef": {"name": "zeta-login", "key": "password"}}}),
            reads_like="secret of an audience",
        ),
        Attempt(
            "a Secret for an audience that is not there", "SecretNotFound",
            audience(url="https://export.example/people.csv", auth={"bearer": {"tokenRef": {"name": "absent", "key": "password"}}}),
            reads_like="secret of an audience",
        ),
        Attempt(
            "its own Secret in plain http", f"AudienceUnreadable {REFUSED}",
            audience(url="http://export.example/people.csv", auth={"bearer": {"tokenRef": {"name": "own", "key": "token"}}}),
        ),
        Attempt("a file by URL", f"AudienceUnreadable {REFUSED}", audience(url="file:///etc/passwd")),
        *(Attempt(f"an audience at {what}", f"AddressNotAllowed {REFUSED}", audience(url=url), reads_like=f"{of} of an audience") for of, urls in (("address", addresses), ("name", names)) for what, url in urls.items()),
    ]  # fmt: skip


def customers_apart(place: Clusters) -> str:
    """Every attempt of the table, all at once, beside a good campaign that is sent."""
    with (
        place.own_plane("tenancy") as plane,
        place.sink() as pool,
        place.sink() as reserve,
        place.sink() as zeta,
        place.sink() as stolen,
        Honeypot(csv(3)) as honeypot,
    ):
        api = plane.api
        place.secrets.add(ZETA_PASSWORD)
        for namespace, tier in (("mail-admin", "operator"), ("acme", "pro"), ("zeta", "pro")):
            api.namespace(namespace, tier=tier)
        allowed = lambda tier: {"allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"tier": tier}}}, "ownServers": {"max": 5}, "senderDomains": [{"domains": ["news.example.com"], "namespaces": ["acme"]}, {"domains": ["zeta.example"], "namespaces": ["zeta"]}]}  # noqa: E731
        pro, gold = fleets.plan("pro", "pool"), fleets.plan("gold", "pool", "reserve")
        pro["spec"] |= allowed("pro")
        gold["spec"] |= allowed("gold")
        servers = [fleets.smtp_server(name, sink.port, probe=QUICK_PROBE) for name, sink in (("pool", pool), ("reserve", reserve))]
        api.apply(*within("mail-admin", *servers, pro, gold), config_map("mail-admin", "letters", a__txt=ADMIN_LETTER))
        api.apply(*within("zeta", fleets.smtp_server("zeta-own", zeta.port), fleets.plan("zeta-plan", "zeta-own")))
        api.apply(secret("zeta", "zeta-login", username="zeta", password=ZETA_PASSWORD))
        api.apply(config_map("zeta", "zeta-letter", a__txt=ZETA_LETTER), config_map("zeta", "zeta-people", people__csv=csv(4)))
        options = ["--plan-namespace", "mail-admin", "--lease-namespace", "mail-admin", *LEASE]
        with place.note(Controller(place.program, plane, place.new("controller-tenancy"), *options)).start() as controller:
            good = fleets.campaign("good", "pro", people(10), **PRO)
            api.apply(*within("acme", good))
            rows, all_tries = [], tries(honeypot.port, plane.port, stolen.port)
            refusals, wrong = {}, []
            for number, attempt in enumerate(all_tries):
                campaign = fleets.campaign(f"try-{number}", "pro", people(10))
                campaign["spec"] |= {**PRO, **attempt.spec}
                try:
                    api.apply(*within("acme", *attempt.more, *([] if attempt.judged else [campaign])))
                except ApiError as fault:
                    require(fault.code in (400, 422, 500) and REFUSED in attempt.expected, f"{attempt.what}: {fault}")
                    refusals[number] = fault.message
            api.wait_condition("Campaign", "acme", "good", "Completed", seconds=30, status="True")
            texts: dict[str, dict[str, str]] = {}
            for number, attempt in enumerate(all_tries):
                if number in refusals:
                    rows.append([attempt.what, REFUSED, refusals[number][:90]])
                    continue
                kind, name = attempt.judged or ("Campaign", f"try-{number}")
                try:
                    ready = wait_until(lambda: verdict(api, kind, name, attempt), 20, attempt.what)  # noqa: B023
                except TimeoutError:
                    ready = condition_of(api.status(kind, "acme", name), "Ready") or {"reason": "no condition", "message": ""}
                    wrong.append(f"{attempt.what}: {ready['reason']} instead of {attempt.expected}")
                rows.append([attempt.what, ready["reason"], ready["message"][:90]])
                if attempt.reads_like:
                    texts.setdefault(attempt.reads_like, {})[attempt.what] = without_names(ready["message"], attempt)
            print(table(["acme tries", "answer", "words"], rows))
            require(not wrong, "; ".join(wrong))
            for group, words in texts.items():
                require(len(set(words.values())) == 1, f"these {group} attempts read differently: {words}")
            # By now whatever is retried automatically was retried.
            time.sleep(2)
            sent = {"pool": len(pool.taken()), "reserve": reserve.log_size(), "zeta": zeta.log_size(), "stolen": stolen.log_size()}
            require(sent == {"pool": 10, "reserve": 0, "zeta": 0, "stolen": 0}, f"the servers took {sent}")
            require(not honeypot.visits, f"somebody asked for {honeypot.visits}")
            for obj in api.list("Campaign", "acme") + api.list("SendingServer", "acme") + api.list("Event", "acme"):
                shown = str(obj.get("status") or obj)
                found = [text for text in (ZETA_PASSWORD, ZETA_LETTER, ADMIN_LETTER, "root:") if text in shown]
                require(not found, f"{obj['metadata']['name']} shows {found}")
            require(controller.process.running(), controller.process.tail())
    return f"{len(rows)} attempts, each with a condition or refused; nothing was reached; what is not acme's reads like what is not there"


def verdict(api, kind: str, name: str, attempt: Attempt) -> dict:
    """The Ready condition once it has the expected reason."""
    ready = condition_of(api.status(kind, "acme", name), "Ready")
    return ready if ready.get("status") == "False" and ready.get("reason") in attempt.expected.split() else {}


def without_names(message: str, attempt: Attempt) -> str:
    """A message without what the customer wrote itself."""
    own = sorted(set(strings(attempt.spec)) | {value for obj in attempt.more for value in strings(obj["spec"])}, key=len, reverse=True)
    for value in own:
        message = message.replace(value, "…")
    # The URL may be normalised.
    return re.sub(r"https?://\S+(?=:)|[…/`'\"]+", "…", message)


def strings(value):
    """All texts in a value."""
    if isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value
