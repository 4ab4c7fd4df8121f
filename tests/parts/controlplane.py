"""A real control plane on loopback: etcd, kube-apiserver with an audit log, kube-controller-manager; and kubectl and helm for it."""

import base64
import contextlib
import json
import os
import shutil
import ssl
import subprocess
import urllib.request
from pathlib import Path

from .process import Process, free_port, wait_until

KUBERNETES = "1.36.3"
CRDS = ("sendingservers.mailfleet.dev", "plans.mailfleet.dev", "campaigns.mailfleet.dev")
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "helm")
# What grants, collects and aggregates; no nodes, no pods.
CONTROLLERS = "namespace-controller,garbage-collector-controller,serviceaccount-controller,clusterrole-aggregation-controller"
# Who did what and what came of it; bodies are not kept.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
}


def programs() -> Path:
    """The folder of the programs, built by scripts/setup."""
    cache = os.environ.get("MAILFLEET_CACHE")
    base = Path(cache) if cache else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mailfleet"
    return base / f"kubernetes-{KUBERNETES}" / "bin"


def missing() -> str:
    """What is not there, in words; empty when all is."""
    lacking = [name for name in PROGRAMS if not (programs() / name).exists()]
    if not shutil.which("openssl"):
        lacking.append("openssl")
    return f"{', '.join(lacking)} (scripts/setup builds Kubernetes {KUBERNETES} into {programs()})" if lacking else ""


class ControlPlane:
    """Starts all of it, and stops it at the end of the `with`."""

    def __init__(self, place: Path):
        self.place = place
        self.pki = place / "pki"
        self.kubeconfig = place / "kubeconfig"
        self.audit_log = place / "audit.log"
        self.processes: list[Process] = []

    def __enter__(self):
        self.pki.mkdir()
        self._certificates()
        (self.place / "audit.json").write_text(json.dumps(AUDIT_POLICY))
        client, peer, self.port = free_port(), free_port(), free_port()
        etcd, pki = f"http://127.0.0.1:{client}", self.pki
        self._start(
            "etcd", "--data-dir", self.place / "etcd", "--name", "e", "--unsafe-no-fsync", "--log-level", "warn",
            "--listen-client-urls", etcd, "--advertise-client-urls", etcd,
            "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-cluster", f"e=http://127.0.0.1:{peer}",
        )  # fmt: skip
        self.api_server = [
            "kube-apiserver", "--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1",
            "--secure-port", self.port, "--tls-cert-file", pki / "server.crt", "--tls-private-key-file", pki / "server.key",
            "--client-ca-file", pki / "ca.crt", "--service-account-issuer", "https://kubernetes.default.svc",
            "--service-account-key-file", pki / "account.pub", "--service-account-signing-key-file", pki / "account.key",
            "--service-cluster-ip-range", "10.0.0.0/24", "--authorization-mode", "RBAC", "--endpoint-reconciler-type", "none",
            "--audit-policy-file", self.place / "audit.json", "--audit-log-path", self.audit_log, "--audit-log-mode", "blocking",
        ]  # fmt: skip
        self._start(*self.api_server)
        self._write_kubeconfig(self.kubeconfig, {"client-certificate": str(pki / "admin.crt"), "client-key": str(pki / "admin.key")})
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")

        def ready() -> bool:
            for process in self.processes:
                if not process.running():
                    raise RuntimeError(f"{process.command[0]} ended: {process.tail()}")
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/readyz", context=context, timeout=2) as answer:
                return answer.read() == b"ok"
            return False

        wait_until(ready, 60, "the API server", every=0.1)
        self._write_kubeconfig(self.place / "manager.yaml", {"client-certificate": str(pki / "manager.crt"), "client-key": str(pki / "manager.key")})
        self._start(
            "kube-controller-manager", "--kubeconfig", self.place / "manager.yaml", "--bind-address", "127.0.0.1",
            "--secure-port", free_port(), "--leader-elect=false", "--use-service-account-credentials=true",
            "--service-account-private-key-file", pki / "account.key", "--root-ca-file", pki / "ca.crt", "--controllers", CONTROLLERS,
        )  # fmt: skip
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.stop()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def _start(self, name: str, *words):
        self.processes.append(Process([programs() / name, *words], self.place / f"{name}.out"))

    def _openssl(self, *words, stdin: str = ""):
        subprocess.run(["openssl", *map(str, words)], input=stdin, text=True, check=True, capture_output=True, cwd=self.pki)

    def _certificates(self):
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key")
        extensions = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self._openssl("req", "-x509", "-new", "-key", "ca.key", "-sha256", "-days", "3", "-subj", "/CN=test", "-out", "ca.crt", *extensions)
        names = "subjectAltName=IP:127.0.0.1,IP:10.0.0.1,DNS:localhost,DNS:kubernetes.default.svc"
        for name, subject, extension in (
            ("server", "/CN=kube-apiserver", f"extendedKeyUsage=serverAuth\n{names}"),
            ("admin", "/O=system:masters/CN=admin", "extendedKeyUsage=clientAuth"),
            ("manager", "/CN=system:kube-controller-manager", "extendedKeyUsage=clientAuth"),
        ):
            (self.pki / f"{name}.ext").write_text(f"{extension}\n")
            self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
            self._openssl("req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
            signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "3", "-sha256", "-extfile", f"{name}.ext")
            self._openssl("x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.crt")
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "account.key")
        self._openssl("ec", "-in", "account.key", "-pubout", "-out", "account.pub")

    def _write_kubeconfig(self, path: Path, user: dict):
        ca = base64.b64encode((self.pki / "ca.crt").read_bytes()).decode()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": self.url, "certificate-authority-data": ca}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path.write_text(json.dumps(config))
        path.chmod(0o600)

    def token_kubeconfig(self, path: Path, account: str, namespace: str) -> Path:
        """A kubeconfig for a service account, with a token that the API server made."""
        token = self.kubectl("create", "token", account, "-n", namespace, "--duration", "1h").strip()
        self._write_kubeconfig(path, {"token": token})
        return path

    def _run(self, name: str, words: tuple, stdin: str | None) -> tuple[int, str]:
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HELM_CACHE_HOME": str(self.place / "helm"), "NO_PROXY": "127.0.0.1"}
        command = [str(programs() / name), *map(str, words)]
        done = subprocess.run(command, input=stdin if stdin is not None else "", text=True, capture_output=True, timeout=120, env=environment)
        return done.returncode, done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def _must(self, name: str, words: tuple, stdin: str | None) -> str:
        code, output = self._run(name, words, stdin)
        if code:
            raise RuntimeError(f"{name} {' '.join(map(str, words))}: {output[-2000:]}")
        return output

    def kubectl(self, *words, stdin: str | None = None) -> str:
        """Its output; an error when it fails."""
        return self._must("kubectl", words, stdin)

    def try_kubectl(self, *words, stdin: str | None = None) -> tuple[int, str]:
        """Its exit code and output."""
        return self._run("kubectl", words, stdin)

    def helm(self, *words) -> str:
        """Its output; an error when it fails."""
        return self._must("helm", words, None)

    def try_helm(self, *words) -> tuple[int, str]:
        """Its exit code and output."""
        return self._run("helm", words, None)

    def version(self) -> str:
        """Kubernetes' version."""
        return KUBERNETES

    def get(self, *words) -> dict:
        """An object, or a list of them."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def apply(self, *objects: dict, options: tuple[str, ...] = ()):
        """kubectl apply, on the server's side."""
        items = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.kubectl("apply", "--server-side", "--force-conflicts", *options, "-f", "-", stdin=json.dumps(items))

    def namespace(self, name: str, **labels: str):
        """A namespace, if it is not there yet."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})

    def wait_crds(self):
        """Waits until the three kinds are served."""
        self.kubectl("wait", "--for=condition=Established", "--timeout=30s", *(f"crd/{name}" for name in CRDS))

    def objects(self, text: str) -> list[dict]:
        """YAML of several documents as objects: kubectl reads it, so that no second reader has its own opinion."""
        text = self.kubectl("patch", "--local", "--type=merge", "-p", "{}", "-o", "json", "-f", "-", stdin=text).lstrip()
        found = []
        while text:
            obj, end = json.JSONDecoder().raw_decode(text)
            found.append(obj)
            text = text[end:].lstrip()
        return found

    def audit(self, containing: str = "") -> list[dict]:
        """The requests of service accounts so far, those whose line contains the text."""
        with contextlib.suppress(FileNotFoundError), open(self.audit_log, encoding="utf-8") as file:
            return [json.loads(line) for line in file if containing in line and line.endswith("\n")]
        return []
