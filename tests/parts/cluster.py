"""A real control plane on loopback: etcd, kube-apiserver and, when asked for, kube-controller-manager.

scripts/setup builds them. Each plane has its own CA, ports and data, is up in about three seconds, and does
not outlive the suite. The controller-manager (deletion of namespaces, garbage collection, Deployments) stays out unless
asked for, since most cases need nothing of it.
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from .cache import ROOT, part, version
from .certificates import Authority
from .kubeapi import ApiError, KubeApi
from .process import Process, free_port, listens, wait_until

KUBERNETES = version("KUBERNETES")
START_SECONDS = 90
CLASHES_MAX = 5
CONTROLLERS = [
    "namespace-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "job-controller",
    "clusterrole-aggregation-controller",
]
# Every answered request, without bodies: who, what, which verb, which code.
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    omitManagedFields: true
"""


def folder_of_programs() -> Path:
    """The folder of the programs that scripts/setup builds."""
    return part("kubernetes") / "bin"


def missing(*programs: str) -> str:
    """What is missing; empty when nothing is."""
    wanted = programs or ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
    absent = [name for name in wanted if not os.access(folder_of_programs() / name, os.X_OK)]
    return f"{', '.join(absent)} of Kubernetes {KUBERNETES} (scripts/setup builds it)" if absent else ""


def environment(**more: str) -> dict:
    """The environment of a child: no proxy for this machine, and no other cluster by accident."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("KUBECONFIG",)}
    return {**inherited, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost", **more}


class ControlPlane:
    """etcd and kube-apiserver. `api` acts as an administrator, and `kubeconfig` is a file for the same user."""

    def __init__(self, folder: Path, *, audit: bool = False, controllers: bool = False):
        self.programs = folder_of_programs()
        self.folder = folder / "control-plane"
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o700)
        self.audit_log = self.folder / "audit.jsonl" if audit else None
        self.authority = Authority(self.folder, "Mailfleet test cluster")
        names = "IP:127.0.0.1,IP:10.0.0.1,DNS:localhost,DNS:kubernetes.default.svc"
        self.serving = self.authority.issue("apiserver", names)
        self.admin = self.authority.issue_client("admin", "/O=system:masters/CN=admin")
        self.manager = self.authority.issue_client("manager", "/CN=system:kube-controller-manager")
        self.tokens = self.authority.key_pair("tokens")
        (self.folder / "audit-policy.yaml").write_text(AUDIT_POLICY)
        self.etcd = self.apiserver = self.controllers = None
        self.port = 0
        self.starts = 0
        begin = time.monotonic()
        try:
            self._start_etcd()
            self._start_first_apiserver()
            if controllers:
                self.start_controllers()
        except BaseException:
            self.stop()
            raise
        self.seconds_to_start = time.monotonic() - begin

    # What runs

    def _start_etcd(self):
        """etcd without any data."""
        data, clients = self.folder / "etcd", 0

        def start():
            nonlocal clients
            # Data of an etcd whose port was taken names the ports of its peers.
            shutil.rmtree(data, ignore_errors=True)
            clients, peers = free_port(), free_port()
            self.etcd_url = f"http://127.0.0.1:{clients}"
            peer = f"http://127.0.0.1:{peers}"
            # No fsync: this data is thrown away.
            words = [self.programs / "etcd", "--data-dir", data, "--name", "e", "--unsafe-no-fsync", "--log-level", "warn"]
            words += ["--listen-client-urls", self.etcd_url, "--advertise-client-urls", self.etcd_url]
            words += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"e={peer}"]
            self.etcd = Process(words, self._log("etcd"), env=environment())
            return self.etcd

        # kube-apiserver waits for etcd; only a taken port must be noticed here, where another process would answer too.
        self._start_without_clash(start, lambda etcd: listens(etcd.pid, clients))

    def _start_first_apiserver(self):
        def start():
            self.port = free_port()
            return self._spawn_apiserver()

        self._start_without_clash(start, lambda _: self._is_ready())
        self.kubeconfig = self._write_kubeconfig("admin", self._certificate_user(self.admin))

    def _start_without_clash(self, start, ready):
        """Starts a process on free ports, and on others when they were taken in the meantime."""
        for turn in range(CLASHES_MAX):
            process = start()
            wait_until(lambda: not process.running() or ready(process), START_SECONDS, f"the start of {process.command[0]}, see {process.output}", every=0.05)
            if process.running():
                return
            if "address already in use" not in process.text() or turn == CLASHES_MAX - 1:
                raise RuntimeError(f"{process.command[0]} ended with {process.code}: {process.tail()}")

    def _spawn_apiserver(self) -> Process:
        words = [self.programs / "kube-apiserver", "--etcd-servers", self.etcd_url]
        words += ["--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", self.port]
        words += ["--tls-cert-file", self.serving.certificate, "--tls-private-key-file", self.serving.key]
        words += ["--client-ca-file", self.authority.certificate, "--authorization-mode", "RBAC"]
        words += ["--service-account-issuer", "https://kubernetes.default.svc"]
        words += ["--service-account-key-file", self.tokens.certificate, "--service-account-signing-key-file", self.tokens.key]
        words += ["--service-cluster-ip-range", "10.0.0.0/24", "--endpoint-reconciler-type", "none"]
        words += ["--allow-privileged=true", "--profiling=false", "--shutdown-delay-duration", "0s"]
        if self.audit_log:
            words += ["--audit-policy-file", self.folder / "audit-policy.yaml", "--audit-log-path", self.audit_log]
        self.apiserver = Process(words, self._log("kube-apiserver"), env=environment())
        self.api = KubeApi(self.port, self.authority.certificate, certificate=self.admin.certificate, key=self.admin.key)
        return self.apiserver

    def _is_ready(self) -> bool:
        try:
            return self.api.raw("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def stop_apiserver(self):
        """Stops the API server; etcd keeps the data."""
        self.apiserver.kill()

    def start_apiserver(self, meanwhile=lambda: None) -> float:
        """Starts it again on the same port; returns the seconds until it was ready. `meanwhile` is called while it starts."""
        begin = time.monotonic()
        self._spawn_apiserver()

        def is_decided():
            meanwhile()
            return not self.apiserver.running() or self._is_ready()

        wait_until(is_decided, START_SECONDS, "the API server's return", every=0.005)
        if not self.apiserver.running():
            raise RuntimeError(f"kube-apiserver did not come back: {self.apiserver.tail()}")
        return time.monotonic() - begin

    def wipe(self):
        """A new, empty cluster at the same address, as after a disaster."""
        had_controllers = self.controllers is not None
        self.stop()
        self._start_etcd()
        self.start_apiserver()
        if had_controllers:
            self.start_controllers()

    def start_controllers(self):
        """kube-controller-manager: namespaces end, owned objects are collected, service accounts appear."""
        config = self._write_kubeconfig("manager", self._certificate_user(self.manager))

        def start():
            words = [self.programs / "kube-controller-manager", "--kubeconfig", config, "--bind-address", "127.0.0.1"]
            words += ["--secure-port", free_port(), "--leader-elect=false", "--controllers", ",".join(CONTROLLERS)]
            # Without credentials of their own, collection and the deletion of namespaces hang.
            words += ["--use-service-account-credentials=true", "--service-account-private-key-file", self.tokens.key]
            words += ["--root-ca-file", self.authority.certificate]
            self.controllers = Process(words, self._log("kube-controller-manager"), env=environment())
            return self.controllers

        self._start_without_clash(start, lambda _: self.api.get("ServiceAccount", "default", "default") is not None)

    def stop(self):
        """Stops everything, the users of the API server first."""
        for process in (self.controllers, self.apiserver, self.etcd):
            if process:
                process.kill()
        self.controllers = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _log(self, name: str) -> Path:
        self.starts += 1
        return self.folder / f"{name}-{self.starts}.log"

    # Who asks

    def _certificate_user(self, certificate) -> dict:
        return {"client-certificate": str(certificate.certificate), "client-key": str(certificate.key)}

    def _write_kubeconfig(self, name: str, user: dict) -> Path:
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": str(self.authority.certificate)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": name, "context": {"cluster": "test", "user": name}}],
            "current-context": name,
        }
        path = self.folder / f"{name}.kubeconfig"
        path.touch(mode=0o600)
        # JSON is YAML.
        path.write_text(json.dumps(config, indent=1))
        return path

    def service_account(self, namespace: str, name: str) -> Path:
        """A kubeconfig whose user is a service account, created if missing; its token is valid for an hour."""
        self.api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}})
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        token = self.api.request("POST", path, body)["status"]["token"]
        return self._write_kubeconfig(f"{namespace}-{name}", {"token": token})

    def impersonating(self, user: str, *groups: str) -> Path:
        """A kubeconfig of the administrator, impersonating somebody else."""
        who = {**self._certificate_user(self.admin), "as": user, "as-groups": list(groups)}
        return self._write_kubeconfig(user.replace(":", "-"), who)

    def kubectl(self, *words, kubeconfig: Path | None = None, stdin: str | None = None, check: bool = True, seconds: float = 120) -> str:
        """The output of kubectl.

        Raises:
            RuntimeError: it failed, and `check` holds.
        """
        command = [str(word) for word in (self.programs / "kubectl", "--kubeconfig", kubeconfig or self.kubeconfig, *words)]
        # Each plane has its own discovery cache.
        env = environment(KUBECACHEDIR=str(self.folder / "kubectl-cache"))
        done = subprocess.run(command, input=stdin or "", capture_output=True, text=True, timeout=seconds, env=env)
        if check and done.returncode:
            raise RuntimeError(f"kubectl {' '.join(map(str, words))}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def apply_files(self, *paths: Path):
        """kubectl apply --server-side, as the documentation says it."""
        self.kubectl("apply", "--server-side", *(word for path in paths for word in ("-f", path)))

    def install_crds(self, *paths: Path):
        """The CRDs of the repository, or others; waits until they are served."""
        self.apply_files(*(paths or (ROOT / "crds",)))
        for kind in ("SendingServer", "Plan", "Campaign"):
            wait_until(lambda kind=kind: self._serves(kind), 30, f"{kind} being served", every=0.05)

    def _serves(self, kind: str) -> bool:
        try:
            self.api.list(kind)
            return True
        except ApiError as fault:
            if fault.code in (404, 429, 503):
                return False
            raise

    def audit(self):
        """The audit log's entries, in the order in which they were written."""
        for line in self.audit_log.read_text().splitlines():
            yield json.loads(line)
