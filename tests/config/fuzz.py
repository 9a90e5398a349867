"""Seeded mutations of the experiments' configs and of what is typed after them, and what becomes of each."""

import random
import re
from pathlib import Path

from slowfast.config import assert_and_infer_cfg, load_config
from slowfast.config.compat import accepted_keys
from slowfast.config.keys import DECLARED
from slowfast.utils.logging import USER_ERRORS

REPOSITORY = Path(__file__).parents[2]
CONFIGS = sorted((REPOSITORY / "exp").glob("*/config.yaml"))
KEYS = [*DECLARED, *(key for group in accepted_keys().values() for key in group)]
NUMBERS = (
    "0 -1 1 2 3.5 -0.0 1e-300 1e300 -1e300 99999999999999999999 .nan nan .inf -inf 0x10 0o17 1_000 1:30 1e1e1".split()
)
WORDS = (
    *r"""true False None ~ null yes no off Flase '' " \0 \n % %s {} {a:1} !!set 2024-01-01 << *b # - [] [[]] [nan] [1
    [1,2 [1,,2] [None,1] ['a','b'] [true,false] [1,2,3,4,5] [[1],[2],[3],[4]] (1,2) é /etc/passwd""".split(),
    *(
        "&a [*a]",
        "&a {b: *a}",
        "{a: {b: 1}}",
        "!!python/object:os.system {}",
        "!!binary aGk=",
        "a: b: c",
        "- - -",
        "1 1",
    ),
    *("x" * 100_000, "[" * 2000, "[" + "1," * 50_000 + "]", "\u202e"),
)
VALUES = (*NUMBERS, *WORDS)


def mutated(rng: random.Random) -> tuple[str, list[str]]:
    """A config file's text with up to two changes, and KEY VALUE words with up to two odd ones."""
    lines = rng.choice(CONFIGS).read_text().replace("../../configs", f"{REPOSITORY}/configs").splitlines()
    for _ in range(rng.randint(0, 2)):
        rng.choice(CHANGES)(lines, rng)
    words = []
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        key = rng.choice(KEYS)
        usual = DECLARED[key].default if key in DECLARED else ""
        words += [key, rng.choice((rng.choice(VALUES), str(usual)))]
    if words and rng.random() < 0.1:
        words.pop(rng.randrange(len(words)))
    return "\n".join(lines), words


def other_value(lines: list[str], rng: random.Random) -> None:
    place = rng.randrange(len(lines))
    lines[place] = re.sub(r":.*", f": {rng.choice(VALUES)}".replace("\\", r"\\"), lines[place], count=1)


def known_key(lines: list[str], rng: random.Random) -> None:
    *sections, name = rng.choice(KEYS).split(".")
    for depth, section in enumerate((*sections, name)):
        lines.append("  " * depth + section + ":" + f" {rng.choice(VALUES)}" * (section == name))


def other_characters(lines: list[str], rng: random.Random) -> None:
    place = rng.randrange(len(lines))
    start = rng.randint(0, len(lines[place]))
    odd = "".join(rng.choice(" \t:,[]{}&*!|>'\"%@`#-\0\ufeff\x85é") for _ in range(rng.randint(0, 3)))
    lines[place] = lines[place][:start] + odd + lines[place][start + rng.randint(0, 3) :]


def line_twice(lines: list[str], rng: random.Random) -> None:
    lines.insert(rng.randrange(len(lines)), rng.choice(lines))


def line_less(lines: list[str], rng: random.Random) -> None:
    if len(lines) > 1:
        lines.pop(rng.randrange(len(lines)))


def line_indented(lines: list[str], rng: random.Random) -> None:
    place = rng.randrange(len(lines))
    lines[place] = rng.choice(("", " ", "  ", "\t", "    ")) + lines[place].lstrip()


def other_base(lines: list[str], rng: random.Random) -> None:
    lines.append(f"_BASE_: {rng.choice((*VALUES, '~nobody/x', 'mutated.yaml', '[mutated.yaml]'))}")


CHANGES = (other_value, other_value, known_key, other_characters, line_twice, line_less, line_indented, other_base)


def what_becomes_of(text: str, words: list[str], folder: Path) -> str:
    """The message that refuses it, empty for a config that is valid; another error is raised.

    Raises:
        AssertionError: a message that is long, or of several lines; a valid config that is not valid when read again.
    """
    path = folder / "mutated.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        cfg = assert_and_infer_cfg(load_config(path, words))
    except USER_ERRORS as error:
        said = str(error.args[0] if isinstance(error, KeyError) else error)
        assert len(said) < 1500, said[:300]
        assert said.strip(), type(error)
        return said
    assert assert_and_infer_cfg(cfg.clone()) == cfg
    return ""
