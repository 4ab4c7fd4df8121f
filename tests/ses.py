#!/usr/bin/env python3
"""Amazon SES by its API: moto takes messages and verifies signatures, botocore validates every request, boto3 sends the same."""

import json
from collections import Counter

from parts import aws
from parts import fleet as fleets
from parts.letters import LETTERS, letter
from parts.process import folder
from parts.report import Cases, need, require
from parts.sinks import Sink

TYPE = "ses"
PERSON = "bob@example.com"
JUDGED = ("type", "judge", "requests judged", "rejected")


def server(ses: aws.Ses, **more) -> list[dict]:
    """A server with the user's key, and its Secret."""
    values = {"accessKeyId": ses.key["AccessKeyId"], "secretAccessKey": ses.key["SecretAccessKey"]}
    provider = ses.provider(secretRef={"name": "ses"}, **more)
    return [fleets.secret("ses", **values), fleets.resource("SendingServer", TYPE, {"provider": provider})]


def without_secret(ses: aws.Ses) -> list[dict]:
    """A server that uses the machine's credentials."""
    return [fleets.resource("SendingServer", TYPE, {"provider": ses.provider()})]


def test(fleet: fleets.Fleet, *words, code: int = 0, environment: dict | None = None) -> str:
    """The output of `mailfleet test`, which must end with `code`."""
    ended, text = fleet.command("test", fleet.config, *words, "-o", "json", environment=environment or aws.environment())
    require(ended == code, f"exit {ended}: {text}")
    return text


def nothing_wrong(ses: aws.Ses, judge: str, rows: list) -> int:
    """Requires that no judge refused a request; returns how many were judged."""
    judged = ses.judged()
    wrong = [f"{one['method']} {one['path']}: {violation}" for one in judged for violation in one["violations"]]
    rows.append([TYPE, judge, len(judged), len(wrong)])
    require(judged and not wrong, "\n".join(wrong) or "nothing was judged")
    return len(judged)


def send_letters(ses: aws.Ses, fleet: fleets.Fleet, home):
    """Sends a message of each kind; yields its name and its bytes after each."""
    fleet.write("all.yaml", *server(ses, configurationSet="news"))
    for name in LETTERS:
        file, raw = home / f"{name}.eml", letter(name)
        file.write_bytes(raw)
        test(fleet, "--message", file, "--send-to", PERSON)
        yield name, raw


def requests(program, rows: list) -> str:
    """Messages of every kind and of a campaign: each signature and each parameter is checked, and the content is unchanged."""
    need(aws.missing())
    home = folder("ses-requests")
    with aws.Ses(home) as ses:
        fleet = fleets.Fleet(home / "fleet", program)
        for name, raw in send_letters(ses, fleet, home):
            parameters, content = ses.sent()[-1]
            require(content == raw, f"{name} was changed in transit")
            require(parameters["Destination"] == {"ToAddresses": [PERSON]} and parameters["ConfigurationSetName"] == "news", f"{parameters}")
        campaign = fleets.campaign("spring", "pro", {"inline": [{"email": f"{name}@example.com", "name": "Bob"} for name in "abc"]}, **{"from": {"address": "ann@shop.example"}})
        fleet.write("all.yaml", *server(ses, configurationSet="news"), fleets.plan("pro", TYPE), campaign)
        code, text = fleet.run_once()
        require(code == 0, f"exit {code}: {text[-1000:]}")
        tags = {one["Name"]: one["Value"] for one in ses.sent()[-1][0]["EmailTags"]}
        require(tags.get("mailfleet_campaign") == "default_spring" and tags.get("mailfleet_run") == "first", f"{tags}")
        require(len(ses.sent()) == len(LETTERS) + 3, f"{len(ses.sent())} messages")
        judged = nothing_wrong(ses, "moto's and botocore's signature, botocore's validator", rows)
    return f"{judged} requests, none refused"


def by_boto3(program, rows: list) -> str:
    """boto3 sends the same messages: the same path and the same parameters."""
    need(aws.missing())
    home, compared = folder("ses-boto3"), 0
    with aws.Ses(home) as ses:
        fleet = fleets.Fleet(home / "fleet", program)
        for name, raw in send_letters(ses, fleet, home):
            ours = ses.judged()[-1]
            parameters = json.loads(ours["body"])
            tags = {one["Name"]: one["Value"] for one in parameters.get("EmailTags", [])}
            ses.by_boto3(PERSON, raw, tags, "news")
            theirs = ses.judged()[-1]
            require(ours is not theirs and theirs["status"] == 200, f"{theirs}")
            compared += 1
            wanted = json.loads(theirs["body"])
            require(ours["path"] == theirs["path"] and parameters == wanted, f"{name}: {parameters}, theirs {wanted}")
    rows.append([TYPE, "boto3, the vendor's other SDK", compared, 0])
    return f"{compared} requests, equal to boto3's"


def refusals(program) -> str:
    """moto's own refusals: a wrong secret, an unknown key, an unverified sender."""
    need(aws.missing())
    home = folder("ses-refusals")
    with aws.Ses(home) as ses:
        fleet = fleets.Fleet(home / "fleet", program)
        good = dict(ses.key)
        # moto answers a probe with an unknown key without checking its signature, and refuses the message.
        ses.key = {**good, "SecretAccessKey": "a-wrong-secret-0123"}
        fleet.write("all.yaml", *server(ses))
        text = test(fleet, code=1)
        require("AuthenticationFailed" in text and "secretAccessKey" in text and "a-wrong-secret" not in text, text)
        ses.key = {**good, "AccessKeyId": "AKIAIOSFODNN7NOBODY"}
        fleet.write("all.yaml", *server(ses))
        text = test(fleet, "--message", message(home), "--send-to", PERSON, code=1)
        require("AuthenticationFailed" in text and good["SecretAccessKey"] not in text, text)
        ses.key = good
        fleet.write("all.yaml", *server(ses))
        text = test(fleet, "--message", message(home, b"somebody@else.example"), "--send-to", PERSON, code=1)
        require("SenderRefused" in text and "Identities" in text, text)
        require(not ses.sent(), "something was sent")
    return "AuthenticationFailed twice, SenderRefused"


def message(home, sender: bytes = b"ann@shop.example"):
    """A message from somebody, as a file."""
    file = home / "message.eml"
    file.write_bytes(letter("plain").replace(b"ann@shop.example", sender))
    return file


def machine_credentials(program, rows: list) -> str:
    """Without a Secret: a web identity, roles of containers and an instance, a profile, each checked by moto; no credentials at all; and no other
    source in place of one that fails."""
    need(aws.missing())
    home = folder("ses-machine")
    with aws.Ses(home) as ses:
        fleet = fleets.Fleet(home / "fleet", program)
        fleet.write("all.yaml", *without_secret(ses))
        (home / "token").write_text("a-web-identity-token-of-some-length")
        (home / "pod-token").write_text("container-token-0123\n")
        lines = ["[mailer]", f"aws_access_key_id = {ses.key['AccessKeyId']}", f"aws_secret_access_key = {ses.key['SecretAccessKey']}"]
        (home / "credentials").write_text("\n".join(lines))
        instance = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": ses.url}
        ways = {
            "web identity": {"AWS_ROLE_ARN": ses.role, "AWS_WEB_IDENTITY_TOKEN_FILE": str(home / "token"), "AWS_ROLE_SESSION_NAME": "mailfleet", "AWS_ENDPOINT_URL_STS": ses.url},
            "container": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{ses.url}/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "container-token-0123"},
            "pod identity": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{ses.url}/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(home / "pod-token")},
            "instance": instance,
            "profile": {"AWS_PROFILE": "mailer", "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials")},
            "environment": {"AWS_ACCESS_KEY_ID": ses.key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": ses.key["SecretAccessKey"]},
        }
        for number, (way, more) in enumerate(ways.items()):
            test(fleet, "--message", message(home), "--send-to", PERSON, environment=aws.environment(**more))
            require(len(ses.sent()) == number + 1, f"{way}: nothing was sent")
        nothing_wrong(ses, "the same, with the machine's credentials", rows)
        text = test(fleet, code=1)
        require("AuthenticationFailed" in text and "secretRef" in text, text)
        # A pod whose role is refused must not send as its node.
        (home / "token").write_text("not-what-the-role-trusts")
        text = test(fleet, code=1, environment=aws.environment(**ways["web identity"], **instance))
        require("AuthenticationFailed" in text and "InvalidIdentityToken" in text and "not-what-the-role-trusts" not in text, text)
    return f"{', '.join(ways)}; no credential is shown, and none stands in for another"


def quota(program) -> str:
    """The account's quota holds: what is left of the day's quota goes through SES, the rest through another server."""
    need(aws.missing())
    home, recipients, left = folder("ses-quota"), 200, 30
    with aws.Ses(home) as ses, Sink(program, home) as sink:
        account = {**aws.ACCOUNT, "SendQuota": {"Max24HourSend": 1000.0, "MaxSendRate": 500.0, "SentLast24Hours": 1000.0 - left}}
        ses.account(account)
        fleet = fleets.Fleet(home / "fleet", program)
        fleets.write_csv(fleet.config / "people.csv", recipients)
        campaign = fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}, **{"from": {"address": "ann@shop.example"}})
        fleet.write("all.yaml", *server(ses), fleets.smtp_server("other", sink.port), fleets.plan("pro", TYPE, "other"), campaign)
        code, text = fleet.run_once()
        require(code == 0, f"exit {code}: {text[-1000:]}")
        taken = Counter(one["Destination"]["ToAddresses"][0] for one, _ in ses.sent())
        by_ses = sum(taken.values())
        taken += sink.taken()
        require(len(taken) == recipients and set(taken.values()) == {1}, f"{len(taken)} people, {Counter(taken.values())}")
        require(0 < by_ses <= left, f"{by_ses} through SES, whose quota had {left} left")
        rates = fleet.status("SendingServer", TYPE)["effective"]["rates"]
        require({(left, "24h"), (500, "1s")} <= {(rate["messages"], rate["per"]) for rate in rates}, f"{rates}")
    return f"{by_ses} of the {left} left through SES, the others elsewhere, everybody once"


def main():
    cases = Cases(__doc__)
    cases.parse()
    rows = cases.table(*JUDGED)
    cases.add_all((requests, by_boto3, machine_credentials), fleets.binary(), rows, prefix="ses: ")
    cases.add_all((refusals, quota), fleets.binary(), prefix="ses: ")
    cases.end()


if __name__ == "__main__":
    main()
