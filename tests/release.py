#!/usr/bin/env python3
"""The files of a release, made of the program that the tests use: whole, the same each time, and read by those who install them."""

import hashlib
import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from parts import cache
from parts import fleet as fleets
from parts.process import folder
from parts.report import Cases, Shared, need, require

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "release"


def run(*words, **more) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=600, **more)
    require(done.returncode == 0, f"{' '.join(map(str, words[:4]))}: exit {done.returncode}: {done.stdout[-500:]}{done.stderr[-1500:]}")
    return done.stdout


def script():
    """scripts/release as a module."""
    # As where it runs: what it imports is beside it.
    sys.path.insert(0, str(SCRIPT.parent))
    loader = importlib.machinery.SourceFileLoader("release_script", str(SCRIPT))
    spec = importlib.util.spec_from_loader("release_script", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


class Made:
    """A release in a folder."""

    def __init__(self, program: Path):
        self.program = program
        self.folder = folder("release")
        self.output = self.folder / "dist"
        run(SCRIPT, "--binary", program, "--output", self.output, "--uri", "https://downloads.example/v1")

    def one(self, pattern: str) -> Path:
        found = list(self.output.glob(pattern))
        require(len(found) == 1, f"{pattern}: {[path.name for path in self.output.iterdir()]}")
        return found[0]


def the_checksums_are_those_of_all_files(made: Made):
    names = {line.split("  ")[1] for line in (made.output / "SHA256SUMS").read_text().splitlines()}
    require(names == {path.name for path in made.output.iterdir()} - {"SHA256SUMS"}, f"{names}")
    run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=made.output)
    return f"{len(names)} files"


def the_archive_holds_a_program_that_runs(made: Made):
    """With manual pages and completions that name every command."""
    place = made.folder / "archive"
    with tarfile.open(made.one("mailfleet-*-linux-*.tar.gz")) as tar:
        require(all(member.uid == 0 and not member.name.startswith(("/", "..")) for member in tar.getmembers()), "owners or paths")
        tar.extractall(place, filter="data")
    require("Run campaigns in simulated time" in run(place / "mailfleet", "--help"), "help")
    commands = re.findall(r"^  ([a-z]+)  ", run(place / "mailfleet", "--help"), re.MULTILINE)
    pages = {path.name for path in (place / "man").iterdir()}
    require({f"mailfleet-{command}.1" for command in commands if command != "help"} <= pages, f"{commands}: {pages}")
    for name in ("mailfleet.bash", "_mailfleet", "mailfleet.fish"):
        text = (place / "completions" / name).read_text()
        require(all(command in text for command in commands), name)
    run("bash", "-n", place / "completions" / "mailfleet.bash")
    return f"{len(commands)} commands, {len(pages)} pages"


def the_package_installs_into_a_root_of_its_own(made: Made):
    """By dpkg itself, with its own list of what is installed."""
    need("" if shutil.which("dpkg-deb") else "dpkg-deb (Debian)")
    package = made.one("*.deb")
    fields = dict(line.split(": ", 1) for line in run("dpkg-deb", "--field", package).splitlines() if re.match(r"[A-Z][A-Za-z-]+: ", line))
    require(fields["Package"] == "mailfleet" and fields["Architecture"] in ("amd64", "arm64"), f"{fields}")
    root = made.folder / "root"
    run("dpkg-deb", "--extract", package, root)
    require(run(root / "usr/bin/mailfleet", "--version") == run(made.program, "--version"), "another program")
    require(os.readlink(root / "usr/bin/kubectl-mailfleet") == "mailfleet", "the plugin")
    unit = (root / "usr/lib/systemd/system/mailfleet.service").read_text()
    require("ExecStart=/usr/bin/mailfleet run " in unit and "User=mailfleet" in unit, unit)
    control = made.folder / "control"
    run("dpkg-deb", "--control", package, control)
    run("sh", "-n", control / "postinst")
    require(os.access(control / "postinst", os.X_OK), "postinst cannot be run")
    # What it needs is what the program's symbols need, or nothing at all.
    needed = re.search(r"libc6 \(>= ([\d.]+)\)", fields["Depends"])
    symbols = {tuple(map(int, found.split("."))) for found in re.findall(r"GLIBC_(\d+(?:\.\d+)+)", run("objdump", "-T", made.program))}
    require(bool(needed) == bool(symbols) and (not needed or tuple(map(int, needed[1].split("."))) == max(symbols)), f"{fields['Depends']}")
    # dpkg's own judgement of the version between releases: it sorts before the release.
    run("dpkg", "--compare-versions", fields["Version"], "le", re.match(r"[\d.]+", fields["Version"])[0])
    return f"{fields['Version']}, {fields['Depends']}"


def kubectl_finds_the_plugin(made: Made):
    """The archive that krew's manifest names has this checksum; kubectl lists the plugin and runs it."""
    manifest = made.one("krew-mailfleet.yaml").read_text()
    archive = made.one("kubectl-mailfleet-*.tar.gz")
    uri, digest = re.search(r'uri: "(.*)"', manifest)[1], re.search(r'sha256: "(.*)"', manifest)[1]
    require(uri == f"https://downloads.example/v1/{archive.name}", uri)
    require(digest == hashlib.sha256(archive.read_bytes()).hexdigest(), digest)
    require("@" not in manifest, manifest)
    place = made.folder / "plugins"
    with tarfile.open(archive) as tar:
        names = sorted(tar.getnames())
        tar.extractall(place, filter="data")
    files = re.findall(r"- from: (\S+)", manifest)
    require(names == sorted(files), f"{names} {files}")
    kubectl = cache.part("kubernetes") / "bin" / "kubectl"
    need("" if kubectl.exists() else "kubectl (scripts/setup kubernetes)")
    environment = os.environ | {"PATH": f"{place}:{os.environ['PATH']}", "KUBECONFIG": os.devnull}
    require("kubectl-mailfleet" in run(kubectl, "plugin", "list", env=environment), "kubectl lists no plugin")
    require(run(kubectl, "mailfleet", "--version", env=environment) == run(made.program, "--version"), "another program")
    require("Usage: kubectl mailfleet get " in run(kubectl, "mailfleet", "get", "--help", env=environment), "its name in the help")
    # It asks the cluster, and there is none.
    done = subprocess.run([kubectl, "mailfleet", "get", "servers"], capture_output=True, text=True, timeout=60, env=environment)
    require(done.returncode and "kube" in done.stderr.lower(), f"exit {done.returncode}: {done.stdout}{done.stderr}")


def the_components_are_those_of_the_lock_file(made: Made):
    """Each crate that the program is made of, by cargo's own word, with its version; no path of this machine."""
    text = made.one("*.cdx.json").read_text()
    listed = {(one["name"], one["version"]) for one in json.loads(text)["components"]}
    tree = run("cargo", "tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}", cwd=ROOT)
    wanted = {tuple(line.split()[:2]) for line in tree.splitlines() if line.strip()}
    wanted = {(name, version.removeprefix("v")) for name, version in wanted if name != "mailfleet"}
    require(wanted and wanted <= listed, f"{sorted(wanted - listed)[:5]} are missing")
    require(str(ROOT) not in text and str(Path.home()) not in text, "a path of this machine")
    return f"{len(listed)} components"


def the_same_input_gives_the_same_bytes(made: Made):
    module = script()
    place = made.folder / "tree"
    for name, mode in (("b/two", 0o755), ("a", 0o644)):
        module.put(place, name, name, mode)
    first = module.zipped(module.tarball(place, 1_700_000_000))
    for path in place.rglob("*"):
        os.utime(path, (1, 1))
    require(first == module.zipped(module.tarball(place, 1_700_000_000)), "times of files show")


def the_version_is_that_of_the_tag(made: Made):
    """A tag that says another version, or that is not what is built, ends with words."""
    version_of = script().version_of
    require(version_of("v1.2.3", "1.2.3", "g0", False) == "1.2.3", "a tag")
    require(version_of("", "1.2.3", "gabc", False) == "1.2.3~gabc" and version_of("", "1.2.3", "gabc", True).endswith(".dirty"), "no tag")
    for tag, dirty, words in (("v1.2.4", False, "Cargo.toml says 1.2.3"), ("v1.2.3", True, "files differ")):
        try:
            version_of(tag, "1.2.3", "g0", dirty)
        except SystemExit as end:
            require(words in str(end), f"{end}")
        else:
            require(False, f"{tag} is taken")


def the_book_stands_below_its_version(made: Made):
    """With its search, and a list of versions beside it."""
    with tarfile.open(made.one("mailfleet-*-docs.tar.gz")) as tar:
        names = tar.getnames()
    version = next(name.split("/")[0] for name in names if name.endswith("/troubleshooting.html"))
    require(version.startswith(re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)), version)
    require("index.html" in names and any(re.fullmatch(rf"{re.escape(version)}/searchindex(-\w+)?\.js", name) for name in names), f"{names[:5]}")
    return f"{version}, {len(names)} files"


def main():
    cases = Cases(__doc__)
    cases.parse()
    lister = cache.part("cargo-cyclonedx") / "bin" / "cargo-cyclonedx"
    cases.add_all(
        [
            the_checksums_are_those_of_all_files,
            the_archive_holds_a_program_that_runs,
            the_package_installs_into_a_root_of_its_own,
            kubectl_finds_the_plugin,
            the_components_are_those_of_the_lock_file,
            the_book_stands_below_its_version,
            the_same_input_gives_the_same_bytes,
            the_version_is_that_of_the_tag,
        ],
        Shared(lambda: Made(fleets.binary())),
        needs=lambda: " and ".join(
            f"{name} (scripts/setup builds it)" for name, file in (("cargo-cyclonedx", lister), ("mdbook", cache.part("mdbook") / "bin" / "mdbook")) if not file.exists()
        ),
    )
    cases.end()


if __name__ == "__main__":
    main()
