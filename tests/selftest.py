#!/usr/bin/env python3
"""The test parts themselves, with clients other than Mailfleet: when these fail, the fault is not Mailfleet's."""

import base64
import contextlib
import itertools
import os
import smtplib
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from parts import cluster, kubeapi, policy, statusyaml
from parts import fleet as fleets
from parts.certificates import Authority
from parts.cluster import ControlPlane
from parts.dovecot import Dovecot
from parts.mailpit import Mailpit
from parts.postfix import Postfix
from parts.process import Process, answers, folder, free_port, wait_until
from parts.report import Cases, need, require
from parts.sinks import Sink, SmtpSink, delayed

MAIL = "Subject: x\nMessage-ID: <1@example.com>\n\nhello"


def client(port: int, **options) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", port, timeout=20, **options)


def codes(function, *arguments) -> int:
    """The reply code that a call ends with, whether smtplib raises it or not."""
    try:
        return function(*arguments)[0]
    except smtplib.SMTPResponseException as fault:
        return fault.smtp_code
    except smtplib.SMTPRecipientsRefused as fault:
        return next(iter(fault.recipients.values()))[0]


def send(smtp: smtplib.SMTP, recipient: str) -> int:
    return codes(lambda: smtp.sendmail("a@example.com", [recipient], MAIL) or (250,))


SUITE = """
from parts.report import Cases, Shared, need, require

def wrong(): require(False, "\\n".join(["a breach", *["more"] * 50]))
def absent(): need("a part")

cases = Cases("A suite of the selftest.")
cases.parse()
rows = cases.table("a", "b")
cases.add("right", rows.append, [1, 2])
cases.add("wrong", wrong)
cases.add("absent", absent)
cases.add("shared", lambda value: value, Shared(lambda: 7))
cases.add("not made", print, Shared(lambda: 1 / 0), needs=lambda: "another part")
cases.end()
"""


def counted_cases() -> str:
    """A suite counts what passed, failed and was skipped; a skip is recorded, and a failure with CI=true."""
    place = folder("selftest")
    suite, skipped, failed = place / "suite.py", place / "skipped", place / "failed"
    suite.write_text(SUITE)

    def run(*words: str, **environment: str) -> tuple[int, list[str]]:
        inherited = {name: value for name, value in os.environ.items() if name != "CI"}
        variables = {**inherited, "PYTHONPATH": str(Path(__file__).parent), "MAILFLEET_SKIPPED": str(skipped), "MAILFLEET_FAILED": str(failed), **environment}
        done = subprocess.run([sys.executable, suite, *words], capture_output=True, text=True, timeout=20, env=variables)
        return done.returncode, done.stdout.splitlines()

    code, lines = run()
    require(code == 1 and lines[-1] == "2 passed, 1 failed, 2 skipped", f"exit {code}: {lines}")
    lines = [line for line in lines if line != "more"]
    require([line.split()[0] for line in lines[:5]] == ["ok", "FAILED", "skipped", "ok", "skipped"], f"{lines}")
    require(lines[3].endswith(": 7") and "| 1 | 2 |" in lines, f"{lines}")
    told = failed.read_text().splitlines()
    require((told[:2], told[-1]) == (["suite: wrong: Breach: a breach", "  more"], "  … 11 lines more above"), f"{told}")
    require(skipped.read_text() == "suite: absent: needs a part\nsuite: not made: needs another part\n", skipped.read_text())
    for words, environment, expected, last in (
        (["--only", "right"], {}, 0, "1 passed, 0 failed, 0 skipped"),
        (["--only", "absent"], {}, 0, "0 passed, 0 failed, 1 skipped"),
        (["--only", "absent"], {"CI": "true"}, 1, "0 passed, 0 failed, 1 skipped"),
        (["--only", "right", "--only", "shared"], {"CI": "true"}, 0, "2 passed, 0 failed, 0 skipped"),
        (["--list"], {}, 0, "not made"),
    ):
        code, lines = run(*words, **environment)
        require(code == expected and lines[-1] == last, f"{words} {environment}: exit {code}: {lines}")
    require(run("--only", "nobody")[0] == 2, "a case that does not exist is run")


def postfix_with_logins() -> str:
    need(Postfix.missing() or Dovecot.missing())
    place = folder("selftest")
    authority = Authority(place)
    trusting = ssl.create_default_context(cafile=authority.certificate)
    with Postfix(place, certificate=authority.issue("good"), sasl=Dovecot(place, "ann", "secret", "token")) as postfix:
        with client(postfix.port) as smtp:
            smtp.starttls(context=trusting)
            smtp.ehlo()
            for extension in ("pipelining", "chunking", "smtputf8", "8bitmime"):
                require(smtp.has_extn(extension), f"no {extension}")
            require(send(smtp, "b@example.com") == 554, "it relays without a login")
            require(codes(smtp.login, "ann", "wrong") == 535, "a wrong password")
            require(codes(smtp.login, "ann", "secret") == 235, "the right password")
            require(send(smtp, "b@example.com") == 250, "it does not relay after the login")
        for token, code in (("wrong", 535), ("token", 235)):
            with client(postfix.port) as smtp:
                smtp.starttls(context=trusting)
                smtp.ehlo()
                bearer = base64.b64encode(f"user=ann\1auth=Bearer {token}\1\1".encode()).decode()
                # A refusal comes as a challenge first, which needs an empty response.
                answer = codes(smtp.docmd, "AUTH", f"XOAUTH2 {bearer}")
                require((codes(smtp.docmd, "") if answer == 334 else answer) == code, f"the token {token}")
        with smtplib.SMTP_SSL("127.0.0.1", postfix.tls_port, context=trusting, timeout=20) as smtp:
            smtp.login("ann", "secret")
            require(send(smtp, "c@example.com") == 250, "TLS from the first byte")
        require(postfix.wait_delivered(["b@example.com", "c@example.com"]) == Counter(["b@example.com", "c@example.com"]), f"delivered {postfix.delivered()}")
        mechanisms = "SCRAM-SHA-256 XOAUTH2"
        with client(postfix.port) as smtp:
            smtp.starttls(context=trusting)
            smtp.ehlo()
            require(all(word in smtp.esmtp_features["auth"] for word in mechanisms.split()), smtp.esmtp_features["auth"])
    return mechanisms


def postfix_with_policies() -> str:
    need(Postfix.missing())
    place = folder("selftest")
    with Postfix(place, verdict=policy.greylist(), without="chunking,pipelining") as postfix:
        with client(postfix.port) as smtp:
            smtp.ehlo()
            require(not smtp.has_extn("chunking") and not smtp.has_extn("pipelining"), "extensions are offered")
            require([send(smtp, "b@example.com") for _ in range(2)] == [450, 250], "greylisting")
            postfix.policy.verdict = policy.unknown_users
            require([send(smtp, address) for address in ("gone@example.com", "b@example.com")] == [550, 250], "unknown users")
            postfix.policy.verdict = policy.too_busy
            require(send(smtp, "b@example.com") == 421, "421")
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: postfix.delivered().total() >= 2, 10, "the delivery")
        require(postfix.delivered() == Counter({"b@example.com": 2}), f"delivered {postfix.delivered()}")


def certificates() -> str:
    place = folder("selftest")
    good, stranger = Authority(place), Authority(place, "Mailfleet another")
    context = ssl.create_default_context(cafile=good.certificate)
    verdicts = []
    for certificate in (good.issue("good"), good.issue("other", "DNS:other.example"), good.issue("old", days=-1), stranger.issue("stranger")):
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate.certificate, certificate.key)
        verdicts.append(handshake(context, server))
    require(verdicts[0] == "ok", f"the good one: {verdicts[0]}")
    for verdict, word in zip(verdicts[1:], ("Hostname mismatch", "expired", "unable to get local issuer")):
        require(word in verdict, f"expected {word}: {verdict}")
    return f"{len(verdicts)} certificates"


def handshake(context: ssl.SSLContext, server: ssl.SSLContext) -> str:
    """A handshake in memory; `ok` or why not."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    left = context.wrap_bio(back, there, server_hostname="localhost")
    right = server.wrap_bio(there, back, server_side=True)
    for _ in range(10):
        for side in (left, right):
            try:
                side.do_handshake()
                if side is left:
                    return "ok"
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as fault:
                return str(fault)
    return "no end"


def mailpit() -> str:
    need(Mailpit.missing())
    with Mailpit(folder("selftest")) as server:
        with client(server.port) as smtp:
            send(smtp, "b@example.com")
        message = wait_until(server.messages, 5, "the message")[0]
        require(message["Subject"] == "x", message["Subject"])
        require(server.message(message["ID"])["Text"].strip() == "hello", "the text")
        require(server.headers(message["ID"])["Message-Id"] == ["<1@example.com>"], "the header")
        require(b"Subject: x" in server.raw(message["ID"]), "the source")


def smtp_sink() -> str:
    need(SmtpSink.missing())
    place = folder("selftest")
    with SmtpSink(place) as server, Process(["smtp-source", "-d", "-s", "2", "-m", "50", f"127.0.0.1:{server.port}"], place / "out") as source:
        require(source.wait(20) == 0, source.tail())


def sink_on_a_terminal() -> str:
    """`mailfleet sink` on a terminal shows what arrives, and with --quiet only the address and the sum."""

    def shown(*options: str) -> str:
        port, (master, terminal) = free_port(), os.openpty()
        process = subprocess.Popen([fleets.binary(), "sink", "--listen", f"127.0.0.1:{port}", *options], stdout=terminal, stderr=terminal)
        os.close(terminal)
        try:
            wait_until(lambda: answers(port), 10, "the sink")
            with client(port) as line:
                line.sendmail("a@example.com", ["b@example.com"], MAIL)
            time.sleep(1.5)
        finally:
            process.terminate()
            process.wait(10)
        text = b""
        with contextlib.suppress(OSError):
            while piece := os.read(master, 4096):
                text += piece
        os.close(master)
        return text.decode().replace("\r\n", "\n")

    loud, quiet = shown(), shown("--quiet")
    require([line.split(" ")[:2] for line in loud.splitlines()] == [["listening", "on"], ["accepted", "1"], ["accepted", "1"]], loud)
    require([line.split(" ")[0] for line in quiet.splitlines()] == ["listening", "accepted"], quiet)
    return "one line for one message"


def other_clients() -> str:
    """The sink with Python's smtplib and postfix's smtp-source."""
    need(SmtpSink.missing())
    place = folder("selftest")
    with Sink(fleets.binary(), place) as server:
        with client(server.port) as smtp:
            for _ in range(3):
                smtp.sendmail("a@example.com", ["b@example.com"], "Subject: x\n\n.dot")
        require(server.count()["accepted"] == 3, f"of smtplib's 3: {server.count()}")
        with Process(["smtp-source", "-s", "4", "-m", "200", "-l", "5000", "-d", f"127.0.0.1:{server.port}"], place / "out") as source:
            require(source.wait(20) == 0, source.tail())
        require(server.count()["accepted"] == 203, f"of smtp-source's 200: {server.count()}")
    return "203 messages"


def sink() -> str:
    program, place = fleets.binary(), folder("selftest")
    with Sink(program, place) as server:
        with client(server.port) as smtp:
            require(send(smtp, "b@example.com") == 250, "it does not take a message")
        require(list(server.lines()) == [("accepted", "b@example.com", "<1@example.com>")], f"the log has {list(server.lines())}")
        require(server.count()["accepted"] == 1, f"count {server.count()}")
        server.say("421")
        require(codes(lambda: client(server.port).ehlo()) == 421, "421")
        server.say("hang")
        with contextlib.suppress(smtplib.SMTPServerDisconnected):
            smtplib.SMTP("127.0.0.1", server.port, timeout=0.5)
            require(False, "a hung sink answers")
        server.kill()
        server.start()
        with client(server.port) as smtp:
            require(send(smtp, "c@example.com") == 250, "it does not come back")
        require(server.taken() == Counter(["b@example.com", "c@example.com"]), "the log starts anew")
        line, port = delayed(program, place, server.port, "10ms")
        with line, client(port) as smtp:
            begin = time.perf_counter()
            for _ in range(20):
                smtp.noop()
            milliseconds = (time.perf_counter() - begin) / 20 * 1000
            require(20 <= milliseconds < 25, f"a round trip takes {milliseconds:.1f} ms")
    return f"a round trip of {milliseconds:.1f} ms over the delayed line"


STATUS = """\
apiVersion: mailfleet.dev/v1alpha1
kind: Plan
metadata:
  name: pro
  labels: {}
spec:
  servers:
    - name: a
      weight: 3
    - name: "b: x"
status:
  counts:
  - 1
  - x y
  conditions:
    - type: Ready
      status: "True"
      message: >-
        folded text
        goes on
    - type: Stalled
      message: |-
        two
        lines
      lastTransitionTime: 2026-11-25T00:00:00Z
"""


def status_files() -> str:
    value = statusyaml.read(STATUS)
    require(value["spec"]["servers"] == [{"name": "a", "weight": 3}, {"name": "b: x"}], "servers")
    require(value["metadata"] == {"name": "pro", "labels": {}} and value["status"]["counts"] == [1, "x y"], "plain values")
    conditions = value["status"]["conditions"]
    require([c["message"] for c in conditions] == ["folded text goes on", "two\nlines"], "block scalars")
    require(conditions[1]["lastTransitionTime"] == "2026-11-25T00:00:00Z", "a time")
    for cut in range(len(STATUS)):
        with contextlib.suppress(statusyaml.Broken, KeyError, IndexError, TypeError, ValueError):
            statusyaml.read(STATUS[:cut])["status"]["conditions"][1]["lastTransitionTime"]
            require(False, f"a file cut off at {cut} passes")
    return "every truncation is noticed"


def control_plane() -> str:
    """Up, used by three users, stopped and back on the same port with its data, wiped; and a namespace that is really deleted."""
    need(cluster.missing())
    with ControlPlane(folder("selftest"), audit=True, controllers=True) as plane:
        api = plane.api
        api.namespace("one")
        api.apply(kubeapi.config_map("one", "kept", a="b"))
        require("kept" in plane.kubectl("get", "configmap", "-n", "one", "-o", "name"), "kubectl does not show it")
        reader = plane.service_account("one", "reader")
        answer = plane.kubectl("get", "configmap", "-n", "one", kubeconfig=reader, check=False)
        require("forbidden" in answer, f"a service account without rights reads: {answer}")
        who = plane.kubectl("auth", "whoami", kubeconfig=plane.impersonating("ann", "people"))
        require("ann" in who and "people" in who, f"the administrator acts as {who}")
        refused = [entry for entry in plane.audit() if entry["user"]["username"] == "system:serviceaccount:one:reader"]
        require(any(entry["responseStatus"]["code"] == 403 for entry in refused), "the audit log does not have the refusal")
        port = plane.port
        plane.stop_apiserver()
        try:
            api.get("Namespace", "", "one")
            require(False, "a stopped API server answers")
        except OSError:
            pass
        away = plane.start_apiserver()
        require(plane.port == port and plane.api.get("ConfigMap", "one", "kept"), "it came back without its data")
        plane.api.delete("Namespace", "", "one")
        wait_until(lambda: plane.api.get("Namespace", "", "one") is None, 30, "the deletion of the namespace")
        plane.api.namespace("two")
        plane.wipe()
        require(plane.port == port and plane.api.get("Namespace", "", "two") is None, "the wiped cluster has its data")
        processes = [plane.etcd, plane.apiserver, plane.controllers]
    require(not any(process.running() for process in processes), "something still runs")
    return f"up in {plane.seconds_to_start:.1f} s, back in {away:.1f} s"


def taken_ports() -> str:
    """Each port is taken between its choice and its use: the plane starts on others, and keeps its data."""
    need(cluster.missing())
    # In the order of choice: etcd's port, its second one in the next attempt, then the API server's and the controller-manager's.
    unlucky, asked, chosen = (0, 3, 6, 8), itertools.count(), cluster.free_port
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as there_first:
        threading.Thread(target=there_first.serve_forever, daemon=True).start()
        taken = there_first.server_address[1]
        cluster.free_port = lambda: taken if next(asked) in unlucky else chosen()
        try:
            with ControlPlane(folder("selftest"), controllers=True) as plane:
                require(next(asked) == max(unlucky) + 2, "no taken port was chosen")
                require(all(process.running() for process in (plane.etcd, plane.apiserver, plane.controllers)), "something ended")
                require((plane.folder / "etcd/member").exists(), "etcd has lost its data")
                plane.api.namespace("one")
                require(plane.api.get("Namespace", "", "one"), "the plane does not keep its data")
        finally:
            cluster.free_port = chosen
            there_first.shutdown()
    return f"{len(unlucky)} ports, up in {plane.seconds_to_start:.1f} s"


def suites_side_by_side() -> str:
    """What runs the suites of `make test` tells of each how it ended, also of one that cannot run at all."""
    results = folder("selftest") / "results"
    words = [Path(__file__).parents[1] / "scripts/together", "--at-a-time", "2", "--results", results, "rollout:--list", "absent", "hours:--list"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    ended = sorted(line.split()[::2] for line in results.read_text(encoding="utf-8").splitlines())
    require((done.returncode, ended) == (2, [["0", "hours"], ["0", "rollout"], ["2", "absent"]]), f"exit {done.returncode}, {ended}: {done.stdout}{done.stderr}")
    require("== absent: " in done.stdout and "each by their own clock" in done.stdout, done.stdout)
    return f"{len(ended)} suites"


def ports_of_two_suites() -> str:
    """Two suites are never given the same port; what listens on one, or was given out before, is passed over."""
    code = "import sys; from parts import process; process.PORTS = range(int(sys.argv[1]), int(sys.argv[2])); "
    code += "print(*(process.free_port() for _ in range(20)), flush=True); sys.stdin.read()"
    place, ports = Path(__file__).parent, range(14_000, 14_041)
    words = [sys.executable, "-c", code, str(ports.start), str(ports.stop)]
    with socketserver.ThreadingTCPServer(("127.0.0.1", ports[7]), socketserver.BaseRequestHandler):
        suites = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=place) for _ in range(2)]
        given = [int(port) for suite in suites for port in suite.stdout.readline().split()]
        require(sorted(given) == [port for port in ports if port != ports[7]], f"{given}")
        late = subprocess.run(words, capture_output=True, text=True, cwd=place, timeout=30)
        require(late.returncode == 1 and "no port from 14000 to 14040 is free" in late.stderr, late.stderr)
    for suite in suites:
        suite.communicate()
    return f"{len(given)} ports, none twice"


def no_orphans() -> str:
    """A suite that is killed with -9 leaves none of its processes behind."""
    place = folder("selftest")
    code = "import sys, time; from pathlib import Path; from parts.process import Process; "
    code += "print(Process(['sleep', '60'], Path(sys.argv[1])).pid, flush=True); time.sleep(60)"
    suite = subprocess.Popen([sys.executable, "-c", code, place / "out"], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent)
    child = int(suite.stdout.readline())
    require(Path(f"/proc/{child}").exists(), "the child does not run")
    suite.kill()
    suite.wait()
    # A zombie waits to be reaped, and no longer runs.
    ended = lambda: not Path(f"/proc/{child}/exe").exists()  # noqa: E731
    wait_until(ended, 5, "the child's end")


def example_of_a_suite() -> str:
    """The suite in CONTRIBUTING.md runs as it stands there."""
    text = (fleets.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    suite = folder("selftest-example") / "example.py"
    suite.write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, suite], capture_output=True, text=True, timeout=120, env=environment)
    last = done.stdout.splitlines()[-1:]
    require(done.returncode == 0 and last == ["1 passed, 0 failed, 0 skipped"], f"exit {done.returncode}: {done.stdout}{done.stderr}")


def main():
    cases = Cases(__doc__)
    cases.parse()
    cases.add_all(
        (
            counted_cases,
            status_files,
            certificates,
            postfix_with_logins,
            postfix_with_policies,
            mailpit,
            smtp_sink,
            sink,
            sink_on_a_terminal,
            other_clients,
            no_orphans,
            ports_of_two_suites,
            suites_side_by_side,
            example_of_a_suite,
            control_plane,
            taken_ports,
        )
    )
    cases.end()


if __name__ == "__main__":
    main()
