"""Which server a message goes to, computed anew: src/dispatch/route.rs in Python.

A server is picked by SipHash-1-3 of the ledger's seed, the run, the eligible servers with their weights, the attempt and the
recipient. With a known seed a campaign's picks are known.
"""

MASK = (1 << 64) - 1


def siphash13(key: tuple[int, int], data: bytes) -> int:
    """SipHash with one round for each block and three at the end."""
    v0, v1, v2, v3 = key[0] ^ 0x736F6D6570736575, key[1] ^ 0x646F72616E646F6D, key[0] ^ 0x6C7967656E657261, key[1] ^ 0x7465646279746573

    def rotated(value: int, bits: int) -> int:
        return ((value << bits) | (value >> (64 - bits))) & MASK

    def rounds(count: int):
        nonlocal v0, v1, v2, v3
        for _ in range(count):
            v0 = (v0 + v1) & MASK
            v1 = rotated(v1, 13) ^ v0
            v0 = rotated(v0, 32)
            v2 = (v2 + v3) & MASK
            v3 = rotated(v3, 16) ^ v2
            v0 = (v0 + v3) & MASK
            v3 = rotated(v3, 21) ^ v0
            v2 = (v2 + v1) & MASK
            v1 = rotated(v1, 17) ^ v2
            v2 = rotated(v2, 32)

    whole = len(data) - len(data) % 8
    blocks = [int.from_bytes(data[at : at + 8], "little") for at in range(0, whole, 8)]
    blocks.append(int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56)
    for block in blocks:
        v3 ^= block
        rounds(1)
        v0 ^= block
    v2 ^= 0xFF
    rounds(3)
    return v0 ^ v1 ^ v2 ^ v3


def _part(text: str) -> bytes:
    """With its length before it, so that `ab` + `c` and `a` + `bc` differ."""
    data = text.encode()
    return len(data).to_bytes(8, "little") + data


class Picker:
    """The picks of one run."""

    def __init__(self, seed: int, campaign: str, run: str = "first", namespace: str = "default"):
        self.seed = siphash13((seed & MASK, 0), b"".join(map(_part, (namespace, campaign, run))))

    def pick(self, recipient: str, weights: dict[str, int], attempt: int = 1) -> str:
        """The server, `namespace/name`, among those with a weight."""
        eligible = sorted((name, weight) for name, weight in weights.items() if weight)
        fingerprint = siphash13((0, 0), b"".join(_part(name) + weight.to_bytes(4, "little") for name, weight in eligible))
        ticket = siphash13((self.seed, fingerprint), attempt.to_bytes(4, "little") + recipient.encode())
        ticket %= sum(weight for _, weight in eligible)
        for name, weight in eligible:
            if ticket < weight:
                return name
            ticket -= weight
        raise ValueError("no server has a weight")
