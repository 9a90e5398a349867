"""Seeded damage to texts: what editors, disks, other programs and people do to them."""

import random
from collections.abc import Callable

TOKENS = [
    *(
        b"-1",
        b"1e999",
        b"9" * 30,
        b"9" * 5000,
        b"nan",
        b"null",
        b"true",
        b'"',
        b'""',
        b"'",
        b"\\",
        b"/",
        b"../",
        b"~x/",
    ),
    *(b",", b";", b"\t", b" ", b"\n", b"\r", b"\r\n", b"\0", b"\x1b", b"\x85", b"\xe2\x80\xa8", b"\xff", b"\xc3"),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"[", b"]", b"{", b"}", b":", b"[" * 3000, b"x" * 300_000, b"\xc2\xb2", b"\\u0000"),
    b"\\ud800",
]
SEPARATORS = [b" ", b",", b"\t", b";", b"/", b"\n", b""]
ENCODINGS = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "utf-8-sig"]


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The text after one to three kinds of damage."""
    for _ in range(rng.randint(1, 3)):
        content = rng.choice(KINDS)(content, rng)
    return content


def flip(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 5) if damaged else 0):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def insert(content: bytes, rng: random.Random) -> bytes:
    position = rng.choice([0, len(content), rng.randint(0, len(content))])
    return content[:position] + rng.choice(TOKENS) + content[position:]


def cut(content: bytes, rng: random.Random) -> bytes:
    first, last = sorted(rng.randint(0, len(content)) for _ in range(2))
    return rng.choice([content[:first], content[first:last], content[:first] + content[last:]])


def shuffle_lines(content: bytes, rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    return b"\n".join(rng.choices(lines, k=rng.randint(0, 2 * len(lines))))


def other_separator(content: bytes, rng: random.Random) -> bytes:
    return content.replace(rng.choice(SEPARATORS[:-1]), rng.choice(SEPARATORS))


def other_encoding(content: bytes, rng: random.Random) -> bytes:
    return content.decode(errors="replace").encode(rng.choice(ENCODINGS), errors="replace")


KINDS: list[Callable[[bytes, random.Random], bytes]] = [
    flip,
    insert,
    cut,
    shuffle_lines,
    other_separator,
    other_encoding,
]
