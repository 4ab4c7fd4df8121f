"""Amazon SES as others see it: moto takes messages and checks signatures, botocore judges requests by the vendor's model.

`serve FOLDER PORT` runs moto on that port, makes a user, a role, identities and a configuration set, and listens in front of moto: each request's
signature is computed again by botocore, a message's parameters are validated, and GetAccount, which moto lacks, is answered from
FOLDER/account.json. One line of JSON says where it is and with which keys; FOLDER/judged.jsonl has a line a request.

`send URL` sends what standard input says by boto3. Runs in the environment of tests/judges/requirements.txt.
"""

import base64
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.validate import ParamValidator

REGION = "eu-west-1"
EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
MODEL = botocore.session.get_session().get_service_model("sesv2")
# What an agent of a container asks for.
CONTAINER_TOKEN = "container-token-0123"


def client(service: str, url: str, key: dict):
    """boto3's client with a key."""
    return boto3.client(
        service, endpoint_url=url, region_name=REGION, aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"], aws_session_token=key.get("SessionToken"),
    )  # fmt: skip


class Moto:
    """moto's server; after three calls it asks for signatures."""

    def __init__(self, place: Path, port: int):
        self.url = f"http://127.0.0.1:{port}"
        words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        log = (place / "moto.log").open("w")
        self.process = subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "3"})
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/moto-api/", timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.05)
        anybody = client("iam", self.url, {"AccessKeyId": "x", "SecretAccessKey": "y"})
        anybody.create_user(UserName="mailer")
        self.key = anybody.create_access_key(UserName="mailer")["AccessKey"]
        anybody.put_user_policy(UserName="mailer", PolicyName="all", PolicyDocument=EVERYTHING)
        iam = client("iam", self.url, self.key)
        self.role = iam.create_role(RoleName="mailer", AssumeRolePolicyDocument=EVERYTHING)["Role"]["Arn"]
        iam.put_role_policy(RoleName="mailer", PolicyName="all", PolicyDocument=EVERYTHING)
        client("ses", self.url, self.key).verify_domain_identity(Domain="shop.example")
        client("ses", self.url, self.key).verify_email_identity(EmailAddress="ann@shop.example")
        client("sesv2", self.url, self.key).create_configuration_set(ConfigurationSetName="news")

    def assumed(self) -> dict:
        """Temporary credentials of the role."""
        return client("sts", self.url, self.key).assume_role(RoleArn=self.role, RoleSessionName="machine")["Credentials"]


class Front:
    """What stands before moto."""

    def __init__(self, place: Path, moto: Moto):
        self.place, self.moto, self.lock = place, moto, threading.Lock()
        # The secrets of the keys that were given out here; moto alone knows those of a web identity.
        self.secrets = {moto.key["AccessKeyId"]: moto.key}

    def temporary(self) -> dict:
        """As a machine's metadata service says them."""
        given = self.moto.assumed()
        self.secrets[given["AccessKeyId"]] = given
        until = given["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": given["AccessKeyId"], "SecretAccessKey": given["SecretAccessKey"],
            "Token": given["SessionToken"], "Expiration": until, "LastUpdated": until,
        }  # fmt: skip

    def judge(self, method: str, path: str, headers: dict, body: bytes) -> list[str]:
        """What botocore finds wrong."""
        found = []
        parts = dict(part.split("=", 1) for part in headers.get("authorization", "").removeprefix("AWS4-HMAC-SHA256 ").split(", ") if "=" in part)
        name = parts.get("Credential", "").split("/")[0]
        scope = parts.get("Credential", "").split("/")[2:]
        if scope != [REGION, "ses", "aws4_request"]:
            found.append(f"scope {scope}")
        if key := self.secrets.get(name):
            signed = {header: headers[header] for header in parts["SignedHeaders"].split(";")}
            request = AWSRequest(method, f"http://{headers['host']}{path}", data=body, headers={header: value for header, value in signed.items() if header != "host"})
            request.context["timestamp"] = headers["x-amz-date"]
            auth = SigV4Auth(Credentials(name, key["SecretAccessKey"], key.get("SessionToken")), "ses", REGION)
            auth.timestamp = headers["x-amz-date"]
            text = auth.string_to_sign(request, auth.canonical_request(request))
            if auth.signature(text, request) != parts["Signature"]:
                found.append("the signature is not botocore's")
        if path == "/v2/email/outbound-emails":
            parameters = json.loads(body)
            raw = parameters.get("Content", {}).get("Raw", {})
            if "Data" in raw:
                raw["Data"] = base64.b64decode(raw["Data"], validate=True)
            report = ParamValidator().validate(parameters, MODEL.operation_model("SendEmail").input_shape)
            if report.has_errors():
                found.append(report.generate_report())
        elif path != "/v2/email/account":
            found.append(f"{path} is no path that is needed")
        return found

    def web_identity(self, headers: dict, body: bytes) -> tuple[int, dict, bytes]:
        """A role for a token. It is asked for without a signature, which moto cannot take once it asks for them: it gets one."""
        if "authorization" in headers or b"WebIdentityToken=a-web-identity-token" not in body:
            return 400, {"Content-Type": "text/xml"}, b"<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>"
        request = AWSRequest("POST", f"{self.moto.url}/", data=body, headers={"Content-Type": headers["content-type"]})
        SigV4Auth(Credentials(self.moto.key["AccessKeyId"], self.moto.key["SecretAccessKey"]), "sts", REGION).add_auth(request)
        with urllib.request.urlopen(urllib.request.Request(request.url, data=body, headers=dict(request.headers)), timeout=30) as response:
            return response.status, {"Content-Type": "text/xml"}, response.read()

    def handle(self, method: str, path: str, headers: dict, body: bytes) -> tuple[int, dict, bytes]:
        """An answer: status, headers, body."""
        if path == "/latest/api/token":
            return 200, {"x-aws-ec2-metadata-token-ttl-seconds": "21600"}, b"metadata-token"
        if path.startswith("/latest/") or path == "/container":
            token = headers.get("x-aws-ec2-metadata-token") if path.startswith("/latest/") else headers.get("authorization")
            if token not in ("metadata-token", CONTAINER_TOKEN):
                return 401, {}, b""
            is_list = path.rstrip("/").endswith("security-credentials")
            return 200, {}, b"mailer" if is_list else json.dumps(self.temporary()).encode()
        if path == "/" and b"Action=AssumeRoleWithWebIdentity" in body:
            return self.web_identity(headers, body)
        violations = self.judge(method, path, headers, body)
        if path == "/v2/email/account":
            status, fields, answer = 200, {"Content-Type": "application/json"}, (self.place / "account.json").read_bytes()
            if any("signature" in one for one in violations):
                status, answer = 403, b'{"message": "The request signature we calculated does not match the signature you provided."}'
                fields["x-amzn-ErrorType"] = "SignatureDoesNotMatch"
        else:
            request = urllib.request.Request(self.moto.url + path, data=body or None, headers=headers, method=method)
            try:
                with urllib.request.urlopen(request, timeout=30) as response:
                    status, fields, answer = response.status, dict(response.headers), response.read()
            except urllib.error.HTTPError as error:
                status, fields, answer = error.code, dict(error.headers), error.read()
                # moto says it in the XML of older services, SES does in JSON.
                if found := re.search(rb"<Code>(\w+)</Code>\s*<Message>([^<]*)", answer):
                    fields = {"Content-Type": "application/json", "x-amzn-ErrorType": found[1].decode()}
                    answer = json.dumps({"message": found[2].decode()}).encode()
        with self.lock, (self.place / "judged.jsonl").open("a") as file:
            file.write(json.dumps({"method": method, "path": path, "body": body.decode(), "violations": violations, "status": status}) + "\n")
        return status, fields, answer


def serve(place: Path, moto_port: int):
    """Until standard input ends."""
    moto = Moto(place, moto_port)
    front = Front(place, moto)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, fields, answer = front.handle(self.command, self.path, headers, body)
            self.send_response(status)
            for name, value in fields.items():
                if name.lower() in ("content-type", "x-amzn-errortype", "x-amzn-requestid") or name.startswith("x-aws-ec2"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = answer

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    key = {name: moto.key[name] for name in ("AccessKeyId", "SecretAccessKey")}
    print(json.dumps({"url": f"http://127.0.0.1:{server.server_address[1]}", "role": moto.role, **key}), flush=True)
    sys.stdin.read()
    moto.process.terminate()
    moto.process.wait(10)


def send(url: str):
    """One message by boto3: {key, to, raw (base64), configurationSet, tags}."""
    said = json.load(sys.stdin)
    more = {"ConfigurationSetName": said["configurationSet"]} if said.get("configurationSet") else {}
    client("sesv2", url, said["key"]).send_email(
        Destination={"ToAddresses": [said["to"]]},
        Content={"Raw": {"Data": base64.b64decode(said["raw"])}},
        EmailTags=[{"Name": name, "Value": value} for name, value in said["tags"].items()],
        **more,
    )


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        send(sys.argv[2])
