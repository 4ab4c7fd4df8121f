#!/usr/bin/env python3
"""The image that scripts/image makes: unpacked and inspected, and the program run from it as the image's user, with nothing from this machine."""

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

from parts import fleet as fleets
from parts.process import folder
from parts.report import Cases, need, require
from parts.sinks import Sink

SIZE_MAX = 64_000_000  # bytes, with the program of a debug build


class Image:
    """An OCI archive; every blob is checked against its digest."""

    def __init__(self, archive: Path):
        with tarfile.open(archive) as tar:
            self.files = {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()}
        require(json.loads(self.files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}, "the layout's version")
        for name, data in self.files.items():
            if name.startswith("blobs/sha256/"):
                require(hashlib.sha256(data).hexdigest() == name.rsplit("/")[-1], f"{name} is not what its digest says")
        (described,) = json.loads(self.files["index.json"])["manifests"]
        self.manifest = json.loads(self.blob(described))
        self.config = json.loads(self.blob(self.manifest["config"]))

    def blob(self, described: dict) -> bytes:
        data = self.files["blobs/" + described["digest"].replace(":", "/")]
        require(len(data) == described["size"], f"{described['digest']} has another size")
        return data

    def unpack(self, place: Path) -> list[tarfile.TarInfo]:
        """Lays the only layer out below a folder, and gives its entries."""
        (described,) = self.manifest["layers"]
        layer = place / "layer.tar.gz"
        layer.write_bytes(self.blob(described))
        plain = subprocess.run(["gzip", "-dc", layer], check=True, capture_output=True).stdout
        require([f"sha256:{hashlib.sha256(plain).hexdigest()}"] == self.config["rootfs"]["diff_ids"], "the layer's digest is not the one in the config")
        root = place / "root"
        root.mkdir()
        with tarfile.open(layer) as tar:
            # Owners and modes are what is checked; older Pythons have no filters, and keep both.
            tar.extractall(root, numeric_owner=True, **({"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}))
            return tar.getmembers()


def make(program: Path, output: Path) -> str:
    """scripts/image with a built program."""
    words = [sys.executable, fleets.ROOT / "scripts/image", "--binary", program, "--output", output]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    require(done.returncode == 0, f"scripts/image: {done.stdout}{done.stderr}")
    return done.stdout


def judged(program: Path) -> str:
    """The same bytes twice; small, and nothing in it that an image does not need."""
    place = folder("image")
    first, second = place / "first.tar", place / "second.tar"
    make(program, first)
    make(program, second)
    require(first.read_bytes() == second.read_bytes(), "two runs made different images")
    size = first.stat().st_size
    require(size < SIZE_MAX, f"{size} bytes")
    image = Image(first)
    config = image.config["config"]
    require(config["User"] == "65532:65532" and config["Entrypoint"] == ["/usr/bin/mailfleet"], f"{config}")
    version = re.search(r'^version = "(.*)"', (fleets.ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)
    require(config["Labels"]["org.opencontainers.image.version"] == version, f"{config['Labels']}")
    entries = image.unpack(place)
    names = [entry.name for entry in entries]
    require(names == sorted(set(names)), "names are not sorted, or twice")
    for entry in entries:
        require(not entry.mode & (stat.S_ISUID | stat.S_ISGID), f"{entry.name} is run as another user")
        require(entry.isfile() or entry.isdir(), f"{entry.name} is neither file nor folder")
        writable = entry.name in ("tmp", "var/lib/mailfleet")
        require(writable or (entry.uid == entry.gid == 0 and not entry.mode & 0o022), f"{entry.name} is writable: {entry.uid}, {entry.mode:o}")
    programs = [entry.name for entry in entries if entry.isfile() and entry.mode & 0o111]
    libraries = [name for name in programs if re.search(r"/[^/]+\.so[.0-9]*$", name)]
    require(sorted(set(programs) - set(libraries)) == ["usr/bin/mailfleet"], f"other programs: {programs}")
    # Debian's CA certificates, each whole, and none of this machine's own.
    bundle = (place / "root/etc/ssl/certs/ca-certificates.crt").read_text()
    authorities = sorted(path.read_text().strip() for path in Path("/usr/share/ca-certificates/mozilla").glob("*.crt"))
    found = sorted(f"{part.strip()}\n-----END CERTIFICATE-----" for part in bundle.split("-----END CERTIFICATE-----") if part.strip())
    require(found == authorities and len(found) > 50, f"{len(found)} CA certificates, and Debian has {len(authorities)}")
    shutil.rmtree(place)
    return f"{size / 1e6:.1f} MB, {len(libraries)} libraries"


def runs(program: Path) -> str:
    """From the image alone, as its user: its version, its CRDs, the whole demo, and a test of a server by its host name."""
    need("" if os.geteuid() == 0 else "root, for chroot")
    place = folder("image-run")
    make(program, place / "image.tar")
    image = Image(place / "image.tar")
    image.unpack(place)
    root = place / "root"

    def inside(*words: str, user: str = "65532:65532") -> str:
        environment = dict(variable.split("=", 1) for variable in image.config["config"]["Env"])
        command = ["chroot", f"--userspec={user}", "--groups=", str(root), *image.config["config"]["Entrypoint"], *words]
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, env={**environment, "PATH": path})
        require(done.returncode == 0, f"{' '.join(words)}: exit {done.returncode}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
        return done.stdout + done.stderr

    version = inside("--version").strip()
    outside = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    require(version == outside, f"{version}, expected {outside}")
    require(inside("crds").count("kind: CustomResourceDefinition") == 3, "not three CRDs")
    require("2,000" in inside("demo"), "the demo")
    # What a container engine mounts; the image's C library resolves the name.
    (root / "etc/hosts").write_text("127.0.0.1 relay.example.com\n")
    with Sink(program, place) as sink:
        server = fleets.smtp_server("relay", sink.port, {"host": "relay.example.com"}, enabled=True)
        (root / "tmp/server.yaml").write_text(json.dumps(server))
        told = inside("test", "/tmp/server.yaml")
        require("relay" in told, f"the test said {told}")
    return version


def main():
    cases = Cases(__doc__)
    cases.parse()
    program = fleets.binary()
    cases.add("the image is reproducible, small, and holds nothing else", judged, program)
    cases.add("the program runs from it", runs, program)
    cases.end()


if __name__ == "__main__":
    main()
