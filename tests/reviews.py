#!/usr/bin/env python3
"""Pull requests: what is said of one before the merge, kept as one comment on a forge, and the status of the commit after it.

Servers are tried against a relay that asks for a login; the forges are played as their documentation says (tests/parts/forge.py).

What is printed for people is kept in tests/reviews, with PORT for the relay's; `UPDATE_GOLDEN=1` rewrites it.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from parts import actions, fleet as fleets
from parts.cache import ROOT, part
from parts.forge import TOKEN, FakeForge
from parts.kept import require_kept
from parts.process import folder, free_port, wait_until
from parts.report import Cases, require
from parts.repository import Repository
from parts.scripted import Scripted

LOGIN = ("news", "correct-horse-7")
WRONG = "battery-staple-9"
# Variables of the job, which has no Secrets in its folder.
GIVEN = {"MAILFLEET_SECRET__DEFAULT__LOGIN__USERNAME": LOGIN[0], "MAILFLEET_SECRET__DEFAULT__LOGIN__PASSWORD": LOGIN[1]}
GIVEN_WRONG = {name.replace("__LOGIN__", "__OTHER__"): value for name, value in (GIVEN | {"MAILFLEET_SECRET__DEFAULT__LOGIN__PASSWORD": WRONG}).items()}


def job(*given: dict) -> dict:
    """The environment of a job: that of this machine without Secrets, and what it is given."""
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAILFLEET_SECRET", "GITHUB_", "CI_", "FORGEJO_", "GITLAB_"))}
    for more in given:
        alone |= more
    return alone


def relay(name: str, port: int, secret: str = "login", **spec) -> dict:
    """A server that logs in; `secret` holds its login."""
    return fleets.smtp_server(name, port, {"auth": {"secretRef": {"name": secret}}}, **spec)


def plan(**weights: int) -> dict:
    return fleets.resource("Plan", "pro", {"servers": [{"name": name, "weight": weight} for name, weight in weights.items()]})


def campaign(**spec) -> dict:
    return fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}, **spec)


def masked(text: str) -> str:
    """The text without what differs from run to run."""
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", re.sub(r"port: [\d,]+", "port: PORT", re.sub(r"/tmp/\S*/state", "STATE", text)))


def results(text: str) -> dict:
    """Result and reason of each server, of the lines of `-o json`."""
    rows = [json.loads(line) for line in text.splitlines()]
    return {row["server"].partition("/")[2]: (row["result"], row["reason"]) for row in rows}


def changed_servers_are_tried(program) -> str:
    """Of four servers in a branch those are tried that are new or altered: one good, one with a wrong key, one whose Secret the job lacks."""
    with Scripted(login=LOGIN) as server:
        repository = Repository(folder("reviews-test"), program)
        base = [relay("a", server.port), relay("idle", server.port)]
        repository.commit(*base, plan(a=1, idle=1), campaign())
        repository.git("switch", "--quiet", "--create", "more")
        dead = free_port()
        added = [
            relay("good", server.port),
            relay("wrong-key", server.port, "other"),
            relay("no-secret", server.port, "elsewhere"),
            relay("no-host", dead),
            relay("off", dead, enabled=False),
        ]
        grants = plan(**{"a": 2, "good": 1, "wrong-key": 1, "no-host": 1})
        repository.commit(relay("a", server.port, limits={"connections": 3}), base[1], *added, grants, campaign(suspend=True))
        words = ("test", "config", "--changed-since", "git:main", "--state", repository.fleet.state)
        environment = job(GIVEN, GIVEN_WRONG)
        code, output, errors = repository.command(*words, "-o", "json", environment=environment)
        found = results(output)
        expected = {
            "a": ("Passed", "ProbeSucceeded"),
            "good": ("Passed", "ProbeSucceeded"),
            "wrong-key": ("Failed", "AuthenticationFailed"),
            "no-secret": ("NotTried", "SecretNotFound"),
            "no-host": ("Failed", "ConnectionRefused"),
        }
        require(code == 1 and found == expected, f"exit {code}: {found} {errors}")
        # A greeting each, and no message.
        require(server.taken.total() == 0 and not server.asked, f"{server.taken} {server.asked}")
        told = {}
        for form in ("text", "yaml", "markdown", "json"):
            code, told[form], errors = repository.command(*words, "-o", form, environment=environment)
            require(code == 1, f"{form}: exit {code}: {errors}")
            require(WRONG not in told[form] + errors and LOGIN[1] not in told[form] + errors, f"{form} shows a password:\n{told[form]}")
        require_kept("test.md", masked(told["markdown"]))
        require_kept("test.txt", masked(told["text"]))
        require("MAILFLEET_SECRET__DEFAULT__ELSEWHERE__PASSWORD" in told["markdown"], told["markdown"])
        # The words are those of the condition of a process that sends.
        repository.fleet.write("secrets.yaml", fleets.secret("login", username=LOGIN[0], password=LOGIN[1]), fleets.secret("other", username=LOGIN[0], password=WRONG))
        code, output = repository.fleet.run_once()
        rows = {row["server"]: row for row in (json.loads(line) for line in told["json"].splitlines())}
        for name in ("good", "wrong-key", "no-host"):
            condition = repository.fleet.condition("SendingServer", name, "Probed")
            row = rows[f"default/{name}"]
            require(condition, f"{name} has no condition: exit {code}: {output[-1000:]}")
            require((row["reason"], row["message"]) == (condition["reason"], condition["message"]), f"{row} and {condition}")
        return "2 passed, 2 failed, 1 not tried, 1 switched off"


def exit_codes_tell_what_was_tried(program):
    """0, 1, 2 and 3; a Secret that is a document and lacks a key is a failure, and one that is not here at all is none."""
    with Scripted(login=LOGIN) as server:
        repository = Repository(folder("reviews-codes"), program)
        repository.commit(relay("a", server.port))
        state = ("--state", repository.fleet.state)
        login = fleets.secret("login", username=LOGIN[0], password=LOGIN[1])
        for expected, documents, given, words in (
            (0, [relay("a", server.port)], {}, ("--changed-since", "git:main")),
            (0, [relay("b", server.port)], GIVEN, ("--changed-since", "git:main")),
            (0, [relay("a", server.port), login], {}, ("--changed-since", "git:main")),
            (3, [relay("b", server.port)], {}, ("--changed-since", "git:main")),
            (3, [relay("b", server.port)], {}, ()),
            (1, [relay("b", server.port), fleets.secret("login", username=LOGIN[0])], {}, ()),
            (1, [relay("b", server.port, "other")], GIVEN_WRONG, ("--changed-since", "git:main")),
            (2, [relay("b", server.port)], GIVEN, ("--changed-since", "git:nobody")),
            (2, [relay("b", server.port)], GIVEN, ("--changed-since", "git:main", "--server", "a")),
            (2, [fleets.resource("SendingServer", "b", {"provider": {}})], GIVEN, ("--changed-since", "git:main")),
        ):
            repository.fleet.write("all.yaml", *documents)
            code, output, errors = repository.command("test", "config", *words, *state, environment=job(given))
            require(code == expected, f"{words} {list(given)}: exit {code} instead of {expected}: {output}{errors}")
        repository.fleet.write("all.yaml", relay("a", server.port))
        _, output, _ = repository.command("test", "config", "--changed-since", "git:main", *state, environment=job())
        require("No server to be tried is added or changed since git:main" in output, output)


EVENT = {
    "number": 7,
    "pull_request": {"number": 7, "head": {"sha": "ab" * 20, "repo": {"full_name": "shop/mail"}}, "base": {"repo": {"full_name": "shop/mail"}}},
}


def pull_request(repository: Repository, port: int):
    """main, and a branch in which weights change, a server is added, and one has a wrong key; the branch is checked out."""
    (repository.fleet.config / "mail.txt").write_text("Dear {{ name }},\n\nthis is the news.\n", encoding="utf-8")
    letter = {"content": {"textFrom": {"path": "mail.txt"}}}
    servers = [relay("a", port), relay("b", port)]
    repository.commit(*servers, plan(a=3, b=1), campaign(**letter, suspend=True))
    repository.git("switch", "--quiet", "--create", "more")
    (repository.fleet.config / "mail.txt").write_text("Dear {{ name }} ({{ email }}),\n\nthis is the news.\n", encoding="utf-8")
    repository.commit(*servers, relay("c", port), relay("d", port, "other"), plan(a=2, b=1, c=5, d=2), campaign(**letter))


def event_file(place: Path, event: dict) -> str:
    path = place / "event.json"
    path.write_text(json.dumps(event), encoding="utf-8")
    return str(path)


def a_pull_request_is_reviewed_merged_and_sent(program) -> str:
    """What `review` says before the merge is what status says after it."""
    place = folder("reviews-whole")
    with Scripted(login=LOGIN) as server:
        repository = Repository(place, program)
        pull_request(repository, server.port)
        words = ("git:main", "config", "--state", repository.fleet.state)
        code, review, errors = repository.command("review", *words, environment=job(GIVEN, GIVEN_WRONG))
        require(code == 1, f"exit {code}: {review}{errors}")
        require_kept("review.md", masked(review))
        code, diff, _ = repository.command("diff", *words, "-o", "markdown", environment=job())
        require_kept("diff.md", masked(diff))
        require(code == 0, diff)
        for text in (review, diff, errors):
            require(not any(value in text for value in (WRONG, LOGIN[1])), f"it shows a password: {text}")
        predicted = json.loads(repository.command("diff", *words, "-o", "json", environment=job())[1])
        (spring,) = predicted["campaigns"]
        tried = [json.loads(line) for line in repository.command("test", "config", "--changed-since", "git:main", "-o", "json", environment=job(GIVEN, GIVEN_WRONG))[1].splitlines()]
        repository.git("switch", "--quiet", "main")
        repository.git("merge", "--quiet", "--ff-only", "more")
        process = repository.fleet.start(variables=GIVEN | GIVEN_WRONG)
        process.wait(120)
        fleet = repository.fleet
        for row in tried:
            condition = fleet.condition("SendingServer", row["server"].partition("/")[2], "Probed")
            require((row["reason"], row["message"]) == (condition["reason"], condition["message"]), f"{row}: {condition}")
        status = fleet.status("Campaign", "spring")
        require(status["state"] == "Completed" and spring["state"] == "Sending" and spring["starts"], f"{spring} {status}")
        require(status["recipients"]["accepted"] == spring["recipients"], f"{status['recipients']}")
        sent = {row["server"] for row in status["servers"] if row["accepted"]}
        require(sent == {"default/a", "default/b", "default/c"}, f"{status['servers']}")
        return f"{status['recipients']['accepted']} mailed as predicted, through those that passed"


def review(repository: Repository, forge: FakeForge, *words: str, given: dict | None = None, event: dict | None = None) -> tuple[int, str, str]:
    """`mailfleet review --comment` as a job runs it."""
    path = event_file(repository.folder, event or EVENT) if forge.kind != "gitlab" else None
    environment = job(forge.variables(path), GIVEN if given is None else given)
    return repository.command("review", "git:main", "config", "--comment", forge.kind, "--state", repository.fleet.state, *words, environment=environment)


def one_comment_is_kept(program, kind: str) -> str:
    """Created once, found among 250 others over pages, edited when the review changes, and left alone when it does not."""
    with Scripted(login=LOGIN) as server, FakeForge(kind, page=100) as forge:
        repository = Repository(folder(f"reviews-{kind}"), program)
        pull_request(repository, server.port)
        repository.fleet.write("all.yaml", relay("a", server.port), relay("c", server.port), plan(a=1, c=1), campaign())
        for number in range(120):
            forge.say(f"comment {number}")
        forge.say("> <!-- mailfleet review: config --> quoted by somebody")
        code, printed, errors = review(repository, forge)
        require(code == 0 and len(forge.comments) == 122, f"exit {code}: {errors} {len(forge.comments)}")
        ours = forge.comments[-1]
        require(ours["body"] == printed and ours["body"].startswith("<!-- mailfleet review: config -->"), ours["body"])
        for number in range(130):
            forge.say(f"later {number}")
        asked = len(forge.requests)
        code, _, errors = review(repository, forge)
        require(code == 0 and len(forge.comments) == 252, f"exit {code}: {errors}")
        require(all(method == "GET" for method, _ in forge.requests[asked:]), f"nothing changed, and it was written: {forge.requests[asked:]}")
        repository.fleet.write("all.yaml", relay("a", server.port), relay("c", server.port), plan(a=1, c=3), campaign())
        code, printed, errors = review(repository, forge)
        require(code == 0 and len(forge.comments) == 252 and ours["body"] == printed and "75.0%" in printed, f"exit {code}: {errors} {printed}")
        # Another folder has a comment of its own, and a stranger with our mark does not keep us from ours.
        code, _, errors = review(repository, forge, "--label", "other")
        require(code == 0 and len(forge.comments) == 253, f"exit {code}: {errors}")
        forge.comments = []
        forge.say("<!-- mailfleet review: config --> mine!", "eve")
        code, _, errors = review(repository, forge)
        require(code == 0 and len(forge.comments) == 2 and forge.comments[0]["body"].endswith("mine!"), f"exit {code}: {errors}")
        return f"{len(forge.requests)} requests"


def a_forge_that_refuses_is_told(program) -> str:
    """401, 403, 404, 422, a redirect, 429 with Retry-After, 5xx, and an answer that is lost after the comment was made."""
    with Scripted(login=LOGIN) as server, FakeForge("github") as forge:
        repository = Repository(folder("reviews-refused"), program)
        repository.commit(relay("a", server.port), plan(a=1))
        for code, words in ((401, "does not take the token"), (403, "pull-requests: write"), (404, "finds no such pull request"), (422, "rejects the request"), (302, "redirect")):
            forge.fail(code, {"Location": "http://127.0.0.1:9/"} if code == 302 else {}, json.dumps({"message": f"no {TOKEN}"}))
            ended, printed, errors = review(repository, forge)
            require(ended == 3 and words in errors and "nothing blocks" in printed, f"{code}: exit {ended}: {errors}")
            require(TOKEN not in printed + errors, f"the token is shown: {errors}")
        require(forge.comments == [] and forge.failures == type(forge.failures)(), f"{forge.comments}")
        forge.fail(429, {"Retry-After": "1"})
        forge.fail(503)
        forge.fail(403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"})
        code, _, errors = review(repository, forge)
        require(code == 0 and len(forge.comments) == 1, f"exit {code}: {errors}")
        # The comment was made, and the answer says otherwise: the next attempt finds it.
        forge.comments = []
        forge.fail(200, body="[]")
        forge.fail(502, is_done=True)
        code, _, errors = review(repository, forge)
        require(code == 0 and len(forge.comments) == 1, f"exit {code}: {errors} {len(forge.comments)}")
        forge.fail(429, {"Retry-After": "3600"})
        code, _, errors = review(repository, forge)
        require(code == 3 and "too long to wait" in errors, f"exit {code}: {errors}")
        for number in range(4):
            forge.fail(500)
        code, _, errors = review(repository, forge)
        require(code == 3 and "failed (500" in errors, f"exit {code}: {errors}")
        environment = job({"GITHUB_REPOSITORY": "shop/mail"})
        code, _, errors = repository.command("review", "git:main", "config", "--comment", "github", environment=environment)
        require(code == 2 and "GITHUB_API_URL is not set" in errors, f"exit {code}: {errors}")
        return "11 refusals"


def a_fork_is_reviewed_without_secrets(program):
    """No server is tried for it, whatever the job has; that its token may not write is no failure."""
    with Scripted(login=LOGIN) as server, FakeForge("github") as forge:
        repository = Repository(folder("reviews-fork"), program)
        pull_request(repository, server.port)
        fork = {**EVENT, "pull_request": {**EVENT["pull_request"], "head": {"repo": {"full_name": "eve/mail"}}}}
        forge.reads_only = True
        before = server.sessions
        code, printed, errors = review(repository, forge, given=GIVEN | GIVEN_WRONG, event=fork)
        require(code == 0 and "is from a fork" in printed, f"exit {code}: {printed}{errors}")
        require(server.sessions == before, "a server was contacted for a fork")
        require("the comment is not written" in errors and forge.comments == [], errors)
        with FakeForge("gitlab") as gitlab:
            environment = job(gitlab.variables() | {"CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "666"}, GIVEN)
            code, printed, errors = repository.command("review", "git:main", "config", "--comment", "gitlab", environment=environment)
            require(code == 0 and "is from a fork" in printed and len(gitlab.comments) == 1, f"exit {code}: {errors}")
        require(server.sessions == before, "a server was contacted for a fork")


def a_long_review_fits_into_a_comment(program) -> str:
    """150 servers and 60 campaigns are added, with long letters: what a comment does not hold is left out, and said to be."""
    with FakeForge("github") as forge:
        repository = Repository(folder("reviews-long"), program)
        repository.commit(fleets.smtp_server("a", 1))
        text = {"content": {"html": "<p>" + "Long words. " * 400 + "</p>", "text": "Long words.\n" * 300}}
        servers = [fleets.smtp_server(f"server-{number}", 1) for number in range(150)]
        campaigns = [fleets.campaign(f"campaign-{number}", "pro", {"csv": {"path": "people.csv"}}, **text) for number in range(60)]
        repository.fleet.write("all.yaml", fleets.smtp_server("a", 1), *servers, plan(**{f"server-{number}": 1 for number in range(150)}), *campaigns)
        code, printed, errors = review(repository, forge, "--no-test")
        require(code == 0 and len(forge.comments) == 1, f"exit {code}: {errors}")
        body = forge.comments[0]["body"]
        require(len(body) <= 65_536 and "Left out, because a comment has a maximum length" in body, f"{len(body)}: {body[-300:]}")
        return f"{len(body):,} characters"


def documents_and_dangers_decide_the_exit_code(program):
    """2 for a fault, 1 for a server, 11 for a danger where that is asked for; a hostile name is no markup."""
    with Scripted(login=LOGIN) as server:
        repository = Repository(folder("reviews-exits"), program)
        base = (relay("a", server.port), relay("b", server.port), plan(a=1, b=1), campaign())
        repository.commit(*base)
        for expected, options, documents in (
            (0, ("--fail-on-danger",), (*base[:3], campaign(subject="Another"))),
            (0, (), (relay("a", server.port), base[1], plan(a=1), campaign())),
            (11, ("--fail-on-danger",), (relay("a", server.port), base[1], plan(a=1), campaign())),
            (1, ("--fail-on-danger",), (relay("a", server.port, "other"), base[1], plan(a=1), campaign())),
            (2, (), (*base, fleets.resource("Plan", "broken", {"servers": "all"}))),
            (2, ("--strict",), (*base, fleets.plan("more", "nobody"))),
            (0, (), (*base, fleets.plan("more", "nobody"))),
        ):
            repository.fleet.write("all.yaml", *documents)
            code, printed, errors = repository.command("review", "git:main", "config", *options, environment=job(GIVEN, GIVEN_WRONG))
            require(code == expected, f"{options}: exit {code} instead of {expected}: {printed}{errors}")
        hostile = "</details><img src=x> @team"
        repository.fleet.write("all.yaml", *base[:3], campaign(subject=hostile))
        _, printed, _ = repository.command("review", "git:main", "config", environment=job(GIVEN))
        # In a fence it is code.
        text = re.sub(r"```.*?```", "", printed, flags=re.DOTALL)
        require("<img" not in text.replace("\\<img", "") and "@team" not in text and "&#64;<!-- -->team" in text, printed)


def commits_get_the_conditions_as_statuses(program, kind: str) -> str:
    """`wait` sets pending, then failure with the words of the condition, and success once the server is well; a state folder beside a process."""
    with Scripted(login=LOGIN) as server, FakeForge(kind) as forge:
        repository = Repository(folder(f"reviews-status-{kind}"), program)
        repository.commit(relay("a", server.port), plan(a=1), campaign(suspend=True))
        fleet = repository.fleet
        words = ("wait", "config", "--state", fleet.state, "--commit-status", kind, "--timeout", "60s")
        success, failure = ("success", "failed") if kind == "gitlab" else ("success", "failure")
        process = fleet.start(once=False, variables=GIVEN | GIVEN_WRONG)
        try:
            code, printed, errors = repository.command(*words, environment=job(forge.variables()))
            require(code == 0 and "3 objects are ready" in printed, f"exit {code}: {printed}{errors}")
            states = [(status["state"], status["name"]) for _, status in forge.statuses]
            pending = "running" if kind == "gitlab" else "pending"
            require(states == [(pending, "mailfleet"), (success, "mailfleet")], f"{forge.statuses}")
            fleet.write("all.yaml", relay("a", server.port, "other"), plan(a=1), campaign(suspend=True))
            code, printed, errors = repository.command(*words, environment=job(forge.variables()))
            commit, last = forge.statuses[-1]
            require(code == 1 and last["state"] == failure and "AuthenticationFailed" in last["description"], f"exit {code}: {last} {printed}{errors}")
            condition = fleet.condition("SendingServer", "a", "Stalled")
            require(condition["message"] in printed, f"{printed} and {condition}")
            require(commit == forge.variables().get("GITHUB_SHA", forge.variables().get("CI_COMMIT_SHA")), commit)
            fleet.write("all.yaml", relay("a", server.port), plan(a=1), campaign(suspend=True))
            forge.fail(500)
            code, printed, errors = repository.command(*words, environment=job(forge.variables()))
            require(code == 0 and forge.statuses[-1][1]["state"] == success, f"exit {code}: {printed}{errors} {forge.statuses[-1]}")
            forge.reads_only = True
            code, _, errors = repository.command(*words, environment=job(forge.variables()))
            require(code == 3 and "cannot be set" in errors, f"exit {code}: {errors}")
        finally:
            process.stop(60)
        # Nobody decides on this any more.
        fleet.write("all.yaml", relay("a", server.port, limits={"connections": 2}), plan(a=1), campaign(suspend=True))
        code, printed, _ = repository.command("wait", "config", "--state", fleet.state, "--timeout", "1s", environment=job())
        require(code == 1 and "still has another spec" in printed, f"exit {code}: {printed}")
        return last["description"]


INTEGRATIONS = ROOT / "integrations"


def checkout(repository: Repository) -> Path:
    """A job's checkout of the branch, beside a remote that has it and main; the base is not there yet."""
    origin, work = repository.folder / "origin.git", repository.folder / "work"
    repository.git("clone", "--quiet", "--bare", ".", str(origin))
    repository.git("clone", "--quiet", "--no-tags", "--depth=1", "--branch", "more", f"file://{origin}", str(work))
    (work / "objects").symlink_to("config")
    return work


def actions_run_as_they_are_written(program) -> str:
    """The steps of the composite action and of Forgejo's workflow, and the scripts of GitLab's jobs: one comment each, and its exit code."""
    told = []
    with Scripted(login=LOGIN) as server:
        repository = Repository(folder("reviews-actions"), program)
        pull_request(repository, server.port)
        base = repository.git("rev-parse", "main").strip()
        work = checkout(repository)
        state = repository.folder / "state"
        path = f"{program.parent}:{os.environ['PATH']}"
        require(shutil.which("mailfleet", path=path), "no mailfleet on the path")
        for kind in ("github", "forgejo", "gitlab"):
            with FakeForge(kind) as forge:
                given = forge.variables(event_file(repository.folder, EVENT)) if kind != "gitlab" else forge.variables()
                summary = repository.folder / "summary.md"
                # The token comes by the action's input.
                environment = job(given, GIVEN, GIVEN_WRONG, {"PATH": path, "GITHUB_STEP_SUMMARY": str(summary), "MAILFLEET_STATE": str(state)})
                environment.pop("GITHUB_TOKEN", None)
                if kind == "github":
                    action = actions.read(INTEGRATIONS / "github/action.yml")
                    inputs = {f"inputs.{name}": spec.get("default", "") for name, spec in action["inputs"].items()}
                    context = inputs | {"github.base_ref": "main", "inputs.path": "config", "inputs.token": TOKEN}
                    code, output = actions.run_steps(action["runs"]["steps"], work, environment, context)
                    require(summary.read_text(encoding="utf-8") == forge.bodies()[-1], "the summary is another text")
                elif kind == "forgejo":
                    steps = actions.read(INTEGRATIONS / "forgejo/workflow.yml")["jobs"]["review"]["steps"]
                    # Its checkout has the whole history, and every branch.
                    require(steps[0]["with"] == {"fetch-depth": "0"}, f"{steps[0]}")
                    repository.git("-C", str(work), "fetch", "--quiet", "--unshallow", "origin", "+refs/heads/*:refs/remotes/origin/*")
                    secrets = {f"secrets.RELAY_{name}": value for name, value in zip(("USERNAME", "PASSWORD"), LOGIN)}
                    context = {"github.base_ref": "main", "secrets.MAIL_REVIEW_TOKEN": TOKEN} | secrets
                    code, output = actions.run_steps(steps, work, environment, context)
                else:
                    review = actions.read(INTEGRATIONS / "gitlab/mailfleet.gitlab-ci.yml")["mailfleet-review"]
                    variables = review["variables"] | {"MAILFLEET_OBJECTS": "config", "CI_MERGE_REQUEST_DIFF_BASE_SHA": base}
                    code, output = actions.run_script("\n".join(review["script"]), work, environment | variables)
                require(code == 1 and len(forge.comments) == 1, f"{kind}: exit {code}: {output}")
                body = forge.bodies()[0]
                for words in ("a server failed its test", "AuthenticationFailed", "default/c", "Messages that change"):
                    require(words in body, f"{kind}: no `{words}` in {body}")
                require(TOKEN not in output and WRONG not in output + body, f"{kind}: a secret is shown: {output}")
                told.append(f"{kind} {len(body):,} characters")
    return ", ".join(told)


def jobs_set_the_status_of_a_commit(program) -> str:
    """The status jobs of all three, beside a process that sends."""
    with Scripted(login=LOGIN) as server:
        repository = Repository(folder("reviews-jobs"), program)
        repository.commit(relay("a", server.port), plan(a=1), campaign(suspend=True))
        (repository.folder / "objects").symlink_to("config")
        state = repository.fleet.state
        process = repository.fleet.start(once=False, variables=GIVEN)
        try:
            for kind in ("github", "forgejo", "gitlab"):
                with FakeForge(kind) as forge:
                    environment = job(forge.variables(), {"PATH": f"{program.parent}:{os.environ['PATH']}"})
                    here = lambda script: script.replace("/var/lib/mailfleet", str(state))  # noqa: E731
                    if kind == "gitlab":
                        status = actions.read(INTEGRATIONS / "gitlab/mailfleet.gitlab-ci.yml")["mailfleet-status"]
                        variables = {name: here(value) for name, value in status["variables"].items()}
                        code, output = actions.run_script("\n".join(status["script"]), repository.folder, environment | variables)
                    else:
                        steps = actions.read(INTEGRATIONS / kind / "workflow.yml")["jobs"]["status"]["steps"]
                        steps = [step | {"run": here(step["run"])} for step in steps if "run" in step]
                        context = {"github.token": TOKEN, "secrets.MAIL_STATUS_TOKEN": TOKEN, "env.MAILFLEET_COMMIT": "0" * 40}
                        code, output = actions.run_steps(steps, repository.folder, environment, context)
                    require(code == 0 and [status["state"] for _, status in forge.statuses][-1:] == ["success"], f"{kind}: exit {code}: {output} {forge.statuses}")
        finally:
            process.stop(60)
    return "3 jobs"


def workflows_are_good_for_their_forges() -> str:
    """actionlint reads the workflows, with the action's inputs; the schemas of GitHub and GitLab fit; and none gives a stranger's change secrets."""
    place = folder("reviews-lint")
    subprocess.run(["git", "init", "--quiet", place], check=True, timeout=60)
    workflows = place / ".github/workflows"
    workflows.mkdir(parents=True)
    shutil.copytree(INTEGRATIONS, place / "integrations")
    (place / ".github/actionlint.yaml").write_text("self-hosted-runner: {labels: [mail, docker]}\n", encoding="utf-8")
    whole = (INTEGRATIONS / "github/workflow.yml").read_text(encoding="utf-8")
    published = "mailfleet/mailfleet/integrations/github@COMMIT"
    require(published in whole, "the workflow does not use the action")
    local = whole.replace(published, "./integrations/github")
    (workflows / "github.yml").write_text(local, encoding="utf-8")
    shutil.copy(INTEGRATIONS / "forgejo/workflow.yml", workflows / "forgejo.yml")

    def lint() -> tuple[int, str]:
        done = subprocess.run([part("actionlint") / "actionlint", "-shellcheck=", "-pyflakes="], cwd=place, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr

    code, output = lint()
    require(code == 0, output)
    # The judge judges.
    (workflows / "github.yml").write_text(local.replace("with: {path: objects}", "with: {paths: objects}"), encoding="utf-8")
    code, output = lint()
    require(code == 1 and '"paths" is not defined' in output, f"exit {code}: {output}")
    for schema, path in (
        ("vendor.github-actions", "github/action.yml"),
        ("vendor.github-workflows", "github/workflow.yml"),
        ("vendor.gitlab-ci", "gitlab/mailfleet.gitlab-ci.yml"),
    ):
        words = [actions.python(), "-m", "check_jsonschema", "--builtin-schema", schema, INTEGRATIONS / path]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
        require(done.returncode == 0, f"{path}: {done.stdout}{done.stderr}")
    for path in ("github/workflow.yml", "forgejo/workflow.yml"):
        triggers = actions.read(INTEGRATIONS / path)["on"]
        require(set(triggers) == {"pull_request", "push"}, f"{path}: {triggers}")
    return "2 workflows, 1 action, 1 template"


def statuses_in_git_stay_as_they_are(program) -> str:
    """A status folder is committed once the campaign has ended; a process that probes on and finds the same changes no byte of it."""
    with Scripted(login=LOGIN) as server:
        repository = Repository(folder("reviews-committed"), program)
        fleet = repository.fleet
        quick = {"probe": {"interval": "5s", "timeout": "2s"}}
        login = fleets.secret("login", username=LOGIN[0], password=LOGIN[1])
        servers = [relay("a", server.port, **quick), relay("b", server.port, **quick)]
        people = {"inline": [{"email": "ann@example.org", "name": "Ann"}]}
        fleet.write("all.yaml", *servers, login, plan(a=1, b=1), fleets.campaign("spring", "pro", people))
        process = fleet.start(once=False)
        try:
            fleet.wait_state("Campaign", "spring", "Completed", 60)
            for name in ("a", "b"):
                fleet.wait_state("SendingServer", name, "Active", 60)
            wait_until(lambda: fleet.condition("Plan", "pro", "Ready").get("status") == "True", 60, "the plan")
            # The folder keeps the rest of it out of git by itself.
            (repository.folder / ".gitignore").write_text("*.csv\n*.out\n*.new\n", encoding="utf-8")
            before = server.sessions
            wait_until(lambda: server.sessions >= before + 2, 60, "a probe of each")
            repository.git("add", "--all")
            repository.git("commit", "--quiet", "--message", "Statuses")
            kept = repository.git("ls-files", "state").split()
            require(len([name for name in kept if name.startswith("state/status/")]) == 4 and not any("ledger" in name for name in kept), f"{kept}")
            probed = server.sessions
            wait_until(lambda: server.sessions >= probed + 4, 60, "two more probes of each")
            changed = repository.git("status", "--porcelain")
            require(changed == "", f"{changed} {repository.git('diff')}")
        finally:
            process.stop(60)
        changed = repository.git("status", "--porcelain")
        require(changed == "", f"after the end: {changed} {repository.git('diff')}")
    return f"{server.sessions - probed} probes"


def main():
    cases = Cases(__doc__)
    cases.parse()
    program = fleets.binary()
    cases.add_all([changed_servers_are_tried, exit_codes_tell_what_was_tried, a_pull_request_is_reviewed_merged_and_sent], program)
    for kind in ("github", "gitlab", "forgejo"):
        cases.add(f"one comment is kept on {kind}", one_comment_is_kept, program, kind)
    cases.add_all(
        [a_forge_that_refuses_is_told, a_fork_is_reviewed_without_secrets, a_long_review_fits_into_a_comment, documents_and_dangers_decide_the_exit_code], program
    )
    for kind in ("github", "gitlab", "forgejo"):
        cases.add(f"commits get the conditions as statuses on {kind}", commits_get_the_conditions_as_statuses, program, kind)
    cases.add_all([statuses_in_git_stay_as_they_are], program)
    cases.add_all([actions_run_as_they_are_written, jobs_set_the_status_of_a_commit], program, needs=actions.missing)
    cases.add_all([workflows_are_good_for_their_forges], needs=lambda: actions.missing(actionlint=True))
    cases.end()


if __name__ == "__main__":
    main()
