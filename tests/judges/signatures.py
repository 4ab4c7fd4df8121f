"""Verifies messages with dkimpy: the port of a name server on loopback as the argument, paths of files on standard input, JSON out."""

import json
import sys

import dkim
import dns.resolver


class Records:
    """TXT records as the name server has them, each asked for once."""

    def __init__(self, port: int):
        self.resolver = dns.resolver.Resolver(configure=False)
        self.resolver.nameservers, self.resolver.port = ["127.0.0.1"], port
        self.known: dict[str, bytes | None] = {}

    def __call__(self, name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        if name not in self.known:
            try:
                answer = self.resolver.resolve(name, "TXT", lifetime=timeout)
                self.known[name] = b"".join(answer[0].strings)
            except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
                self.known[name] = None
        return self.known[name]


def verdicts(message: bytes, records: Records) -> list:
    """Each signature of a message: domain, selector, algorithm, and whether it is right."""
    found = []
    count = sum(name.lower() == b"dkim-signature" for name, _ in dkim.DKIM(message).headers)
    for index in range(count):
        judge = dkim.DKIM(message)
        try:
            is_right = judge.verify(idx=index, dnsfunc=records)
        except dkim.DKIMException:
            is_right = False
        tags = {key.decode(): value.decode() for key, value in judge.signature_fields.items()}
        found.append((tags.get("d", ""), tags.get("s", ""), tags.get("a", ""), bool(is_right)))
    return found


def main():
    records = Records(int(sys.argv[1]))
    paths = sys.stdin.read().split("\n")
    found = {}
    for path in paths:
        with open(path, "rb") as file:
            found[path] = verdicts(file.read(), records)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
