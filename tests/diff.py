#!/usr/bin/env python3
"""`mailfleet diff` in pull requests: a real git repository, what the diff says of a branch, and what is sent after the merge.

Shares are compared with what the sinks took, by a ledger with a fixed seed.
"""

import json
import subprocess

from parts import fleet as fleets
from parts.process import folder, wait_until
from parts.report import Cases, require
from parts.repository import RECIPIENTS, Repository
from parts.sinks import Sink

# Percent of all messages by which a server's part may differ from its share.
WITHIN = 2.0
PASSWORD, OTHER = "correct-horse-7", "battery-staple-9"


def plan(**weights: int) -> dict:
    """A plan with a weight for each server."""
    return fleets.resource("Plan", "pro", {"servers": [{"name": name, "weight": weight} for name, weight in weights.items()]})


def campaign(name: str = "spring", **spec) -> dict:
    return fleets.campaign(name, "pro", {"csv": {"path": "people.csv"}}, **spec)


def by_name(report: dict, name: str) -> dict:
    """What is said of a campaign."""
    found = [one for one in report["campaigns"] if one["name"] == name]
    require(len(found) == 1, f"{name}: {report['campaigns']}")
    return found[0]


def shares(meaning: dict, side: str) -> dict:
    return {row["server"].partition("/")[2]: row[side] for row in meaning["servers"] if side in row}


def rules(report: dict) -> list[tuple[str, str]]:
    return sorted((danger["rule"], danger["name"]) for danger in report["dangers"])


def the_shares_are_those_that_are_sent(program) -> str:
    """Weights are changed and a server is added in a branch; after the merge each server takes its share of 10,000 messages."""
    place = folder("diff-merge")
    with Sink(program, place, "a") as a, Sink(program, place, "b") as b, Sink(program, place, "c") as c:
        repository = Repository(place / "repository", program)
        repository.fleet.seed(7)
        servers = [fleets.smtp_server(name, sink.port) for name, sink in (("a", a), ("b", b), ("c", c))]
        repository.commit(*servers[:2], plan(a=3, b=1), campaign(suspend=True))
        repository.git("switch", "--quiet", "--create", "faster")
        repository.commit(*servers, plan(a=2, b=1, c=5), campaign())
        report = repository.report("git:main", "config")
        spring = by_name(report, "spring")
        require(shares(spring, "before") == {"a": 75.0, "b": 25.0}, f"{spring}")
        after = shares(spring, "after")
        require(after == {"a": 25.0, "b": 12.5, "c": 62.5}, f"{spring}")
        require(spring["starts"] and spring["recipients"] == RECIPIENTS, f"{spring}")
        require((spring["stateBefore"], spring["state"]) == ("Suspended", "Sending"), f"{spring}")
        added = [(one["kind"], one["name"], one["change"]) for one in report["objects"]]
        wanted = [("SendingServer", "c", "Added"), ("Plan", "pro", "Changed"), ("Campaign", "spring", "Changed")]
        require(added == wanted and report["dangers"] == [], f"{added} {report['dangers']}")
        # The same from two revisions, where no audience is at hand: what is not in git is taken as there, and not counted.
        revisions = by_name(repository.report("git:main:config", "git:faster:config"), "spring")
        require(shares(revisions, "after") == after and revisions["starts"] and "recipients" not in revisions, f"{revisions}")
        require("people.csv" in revisions["notCounted"], f"{revisions}")

        repository.git("switch", "--quiet", "main")
        repository.git("merge", "--quiet", "--ff-only", "faster")
        code, output = repository.fleet.run_once()
        require(code == 0, f"run: exit {code}: {output[-1000:]}")
        took = {name: sink.count()["accepted"] for name, sink in (("a", a), ("b", b), ("c", c))}
        require(sum(took.values()) == RECIPIENTS, f"{took}")
        off = {name: abs(100 * count / RECIPIENTS - after[name]) for name, count in took.items()}
        require(max(off.values()) <= WITHIN, f"{took} of {after}")
        # Who was mailed is known now.
        repository.commit(*servers, plan(a=2, b=1, c=5), campaign(subject="Another"))
        again = by_name(repository.report("git:HEAD~1", "config"), "spring")
        require(again["again"]["who"] == "Nobody" and "completed" in again["again"]["why"] and not again["starts"], f"{again}")
        repository.commit(*servers, plan(a=2, b=1, c=5), campaign(run="second"))
        report = repository.report("git:HEAD~1", "config")
        again = by_name(report, "spring")
        require(again["again"]["who"] == "Everybody" and again["starts"] and "10,000" in again["again"]["why"], f"{again}")
        require(rules(report) == [("NewRun", "spring")], f"{report['dangers']}")
        return ", ".join(f"{name} {100 * count / RECIPIENTS:.1f}% of {after[name]}%" for name, count in took.items())


def what_is_dangerous_is_told_with_exit_11(program):
    """A campaign is renamed, a guard removed, a plan opened and a campaign narrowed, each in a commit of its own."""
    repository = Repository(folder("diff-danger"), program)
    server = fleets.smtp_server("a", 1)
    guarded = fleets.smtp_server("b", 1, feedback={"pauseWhen": {"bouncePercent": "5"}})
    pro = plan(a=1, b=1)
    repository.commit(server, guarded, pro, campaign())
    opened = {**pro, "spec": {**pro["spec"], "allowedNamespaces": {"from": "All"}}}
    for expected, objects in (
        (("Renamed", "spring-2"), (server, guarded, pro, campaign("spring-2"))),
        (("GuardWeakened", "b"), (server, fleets.smtp_server("b", 1), pro, campaign())),
        (("GuardWeakened", "spring"), (server, guarded, pro, campaign(stopWhen={"bouncePercent": "90"}))),
        (("PlanOpened", "pro"), (server, guarded, opened, campaign())),
        (("FewServers", "spring"), (server, guarded, pro, campaign(servers=[{"name": "a"}]))),
        (("NewRun", "spring"), (server, guarded, pro, campaign(run="second"))),
    ):
        repository.commit(*objects)
        report = repository.report("git:HEAD~1:config", "git:HEAD:config")
        require(rules(report) == [expected], f"{expected}: {report['dangers']}")
        for form in ("text", "markdown"):
            code, output = repository.diff("git:HEAD~1:config", "git:HEAD:config", "--exit-code", "-o", form)
            require(code == 11 and "Dangerous" in output and expected[1] in output, f"{expected}: exit {code}\n{output}")
        repository.git("reset", "--quiet", "--hard", "HEAD~1")
    return "6 rules"


def main_against_the_folder_and_standard_input(program):
    """`git:main` against what is edited and not committed, and against what a generator prints; a list of kubectl is taken too."""
    repository = Repository(folder("diff-input"), program)
    servers = [fleets.smtp_server("a", 1), fleets.smtp_server("b", 1)]
    repository.commit(*servers, plan(a=1, b=1), campaign())
    require(repository.diff("git:main", "config", "--exit-code")[0] == 0, "nothing differs")
    repository.fleet.write("all.yaml", *servers, plan(a=1, b=3), campaign())
    edited = by_name(repository.report("git:main", "config"), "spring")
    require(shares(edited, "after") == {"a": 25.0, "b": 75.0}, f"{edited}")
    # A generator's output has other indentation and order; paths in it are relative to where the command runs.
    objects = [campaign(), plan(a=1, b=3), *servers]
    objects[0]["spec"]["audience"] = {"csv": {"path": "config/people.csv"}}
    printed = "\n---\n".join(json.dumps(one) for one in objects)
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    for text in (printed, listed):
        report = repository.report("git:main:config", "-", text=text)
        spring = by_name(report, "spring")
        require(shares(spring, "after") == {"a": 25.0, "b": 75.0} and spring["recipients"] == RECIPIENTS, f"{spring}")
        changed = {one["name"]: [field["field"] for field in one["fields"]] for one in report["objects"]}
        require(changed == {"pro": ["spec.servers[b].weight"], "spring": ["spec.audience.csv.path"]}, f"{changed}")
    code, output = repository.diff("git:main", "-", "--exit-code", text=printed)
    require(code == 10 and "standard input" in output, f"exit {code}: {output}")


def exit_codes_say_what_differs(program):
    """0, 10 and 2; without --exit-code 0 whenever it could be made."""
    repository = Repository(folder("diff-codes"), program)
    base = (fleets.smtp_server("a", 1), fleets.smtp_server("b", 1), plan(a=1, b=1))
    repository.commit(*base, campaign())
    repository.commit(*base, campaign(subject="Another"))
    for words, expected in (
        (("git:HEAD~1:config", "git:HEAD:config"), 0),
        (("git:HEAD~1:config", "git:HEAD:config", "--exit-code"), 10),
        (("git:HEAD:config", "config", "--exit-code"), 0),
        (("git:HEAD:config/all.yaml", "config/all.yaml", "--exit-code"), 0),
        (("git:nobody", "config"), 2),
        (("git:HEAD:nowhere", "config"), 2),
        (("git:HEAD:../..", "config"), 2),
        (("nowhere", "config"), 2),
        (("git:--output=x", "config"), 2),
        (("config",), 2),
    ):
        code, output = repository.diff(*words)
        require(code == expected, f"{words}: exit {code} instead of {expected}: {output}")
    require(not (repository.folder / "x").exists(), "git took an option for a revision")
    code, output = repository.diff("git:nobody", "config")
    require("no revision `nobody`" in output and "fetch" in output, output)
    code, output = repository.diff("git:HEAD:nowhere", "config")
    require("has no `nowhere`" in output, output)
    outside = folder("diff-outside")
    (outside / "all.yaml").write_text(json.dumps(plan(a=1)), encoding="utf-8")
    done = subprocess.run([program, "diff", "git:main", "all.yaml"], cwd=outside, capture_output=True, text=True, timeout=60)
    require(done.returncode == 2 and "no git repository" in done.stderr, f"{done}")
    code, output = repository.diff("git:HEAD", "config", environment={"PATH": str(outside)})
    require(code == 2 and "git is not on the PATH" in output, f"exit {code}: {output}")


def a_diff_is_made_beside_a_process_that_sends(program):
    """The ledger is only read: the process that holds it goes on, and knows nothing of what was compared."""
    place = folder("diff-beside")
    with Sink(program, place, "a", "--delay", "20ms") as sink:
        repository = Repository(place / "repository", program)
        slow = fleets.smtp_server("a", sink.port, limits={"rates": [{"messages": 50, "per": "1s"}]})
        repository.commit(slow, plan(a=1), campaign())
        process = repository.fleet.start(once=False)
        try:
            wait_until(lambda: sink.count()["accepted"] > 20, 60, "the first messages")
            repository.git("switch", "--quiet", "--create", "words")
            other = {**campaign(subject="Another"), "spec": {**campaign(subject="Another")["spec"]}}
            text = "\n---\n".join(json.dumps(one) for one in (slow, plan(a=1), other))
            spring = by_name(repository.report("git:main:config", "-", text=text), "spring")
            require(spring["again"]["who"] == "Nobody" and "goes on" in spring["again"]["why"], f"{spring}")
            require(not spring["starts"] and spring["state"] == "Sending", f"{spring}")
            gone = "\n---\n".join(json.dumps(one) for one in (slow, plan(a=1)))
            report = repository.report("git:main:config", "-", text=gone)
            require(rules(report) == [("RemovedWhileSending", "spring")], f"{report['dangers']}")
            before = sink.count()["accepted"]
            wait_until(lambda: sink.count()["accepted"] > before, 60, "further messages")
            require(process.running(), process.tail())
        finally:
            process.stop(60)
        generation = repository.fleet.status("Campaign", "spring")["observedGeneration"]
        require(generation == 1, f"generation {generation}")


def no_secret_is_printed(program):
    """Passwords of Secrets, and those that somebody typed into a spec, in every form of output."""
    repository = Repository(folder("diff-secrets"), program)
    login = fleets.smtp_server("a", 1, {"auth": {"secretRef": {"name": "login"}}})
    typed = fleets.smtp_server("b", 1)
    for password in (PASSWORD, OTHER):
        typed["spec"]["provider"]["smtp"]["password"] = password
        repository.commit(fleets.secret("login", username="shop", password=password), login, typed, plan(a=1), campaign())
    for form in ("text", "markdown", "json"):
        code, output = repository.diff("git:HEAD~1:config", "config", "-o", form)
        require(code == 0 and "***" in output, f"exit {code}: {output}")
        require(PASSWORD not in output and OTHER not in output, f"{form} shows a password:\n{output}")
    (secret,) = [one for one in repository.report("git:HEAD~1:config", "config")["objects"] if one["kind"] == "Secret"]
    require([field["field"] for field in secret["fields"]] == ["data.password"], f"{secret}")


def what_is_broken_counts_as_it_was(program):
    """A fault on the new side is told with its place in the revision, and the object keeps what it had."""
    repository = Repository(folder("diff-broken"), program)
    servers = [fleets.smtp_server("a", 1), fleets.smtp_server("b", 1)]
    repository.commit(*servers, plan(a=1, b=1), campaign())
    broken = plan(a=1, b=1)
    broken["spec"]["servers"] = "all"
    repository.commit(*servers, broken, campaign())
    report = repository.report("git:HEAD~1:config", "git:HEAD:config")
    faults = [finding["file"] for finding in report["new"]["findings"] if finding["severity"] == "fault"]
    require(faults and all(file == "git:HEAD:config/all.yaml" for file in faults), f"{faults}")
    require(report["objects"] == [], f"{report['objects']}")
    require(any("Plan default/pro" in words and "counts as it was" in words for words in report["assumed"]), f"{report['assumed']}")
    code, output = repository.diff("git:HEAD~1:config", "git:HEAD:config", "--exit-code")
    require(code == 2, f"a document is broken, and it exits with {code}: {output}")
    (repository.fleet.config / "all.yaml").write_text("{", encoding="utf-8")
    code, output = repository.diff("git:main", "config")
    require(code == 2 and "nothing of config can be read" in output, f"exit {code}: {output}")


def main():
    cases = Cases(__doc__)
    cases.parse()
    cases.add_all(
        [
            the_shares_are_those_that_are_sent,
            what_is_dangerous_is_told_with_exit_11,
            main_against_the_folder_and_standard_input,
            exit_codes_say_what_differs,
            a_diff_is_made_beside_a_process_that_sends,
            no_secret_is_printed,
            what_is_broken_counts_as_it_was,
        ],
        fleets.binary(),
    )
    cases.end()


if __name__ == "__main__":
    main()
