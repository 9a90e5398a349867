"""Texts from outside, all read in one way: whole, UTF-8, of bounded size; complaints say file:line and stay short."""

import codecs
import errno
import json
import os
import re
import stat
from pathlib import Path

LARGEST = 2**30  # bytes of a list or of annotations: some ten million videos
LONGEST_LINE = 4096  # characters: no system opens a longer path

MARKS = {  # in this order: UTF-32's begins with UTF-16's
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
# Without a mark: how many bytes a character has, and which of them alone is not NUL in ASCII and Latin letters.
WIDE = {"UTF-32LE": (4, 0), "UTF-32BE": (4, 3), "UTF-16LE": (2, 0), "UTF-16BE": (2, 1)}
CONTROLS = bytes({*range(32), 127} - set(b"\t\n\r"))
KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


class TextError(ValueError):
    """A text that cannot be used; the message says file:line, what stands there, what to do."""

    def __init__(self, said: str, advice: str = ""):
        super().__init__(f"{said} {advice}".rstrip())

    @property
    def missing(self) -> bool:
        """Whether there is no such file."""
        return isinstance(self.__cause__, FileNotFoundError | NotADirectoryError)


def shortened(text: str, most: int = 200) -> str:
    """`text` for a message: of a long one its ends and how long it is."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} ... {text[-most // 2 :]} ({len(text)} characters)"


def read_text(path: str | Path, what: str, advice: str = "", *, largest: int = LARGEST) -> str:
    """A whole text, UTF-8 with or without byte order mark, its lines ended by newlines however they were.

    `what` it is, in a word or two, and `advice`, a sentence, are for messages.

    Raises:
        TextError: no regular file of at most `largest` bytes that can be read, another encoding, or no text.
    """
    content = read_content(path, what, advice, largest=largest)
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            raise other_encoding(path, encoding, advice)
    content = content.removeprefix(codecs.BOM_UTF8)
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if len(content.translate(None, CONTROLS)) < len(content):  # many times faster than a search
        raise not_text(content, path, advice)
    if codecs.BOM_UTF8 in content:
        where = place(path, content, content.index(codecs.BOM_UTF8))
        raise TextError(f"{where}: there is a byte order mark within the text. Were files joined? Remove it.", advice)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        shown = around(content, error.start)
        raise TextError(
            f"{place(path, content, error.start)}: byte 0x{content[error.start]:02x} is not UTF-8 text: {shown}. "
            "Convert the file (iconv -f ITS_ENCODING -t UTF-8 OLD > NEW).",
            advice,
        ) from error


def read_content(path: str | Path, what: str, advice: str = "", *, largest: int = LARGEST) -> bytes:
    """The bytes of a regular file; arguments and errors as of `read_text`."""
    begun = f"Cannot read {what} {shortened(str(path))}:"
    try:
        # Without O_NONBLOCK, opening a pipe waits for who writes into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            status = os.fstat(descriptor)
            kind = KINDS.get(stat.S_IFMT(status.st_mode))
            if kind:
                raise TextError(f"{begun} it is {kind}, not a file.", advice)
            if status.st_size > largest:
                raise TextError(f"{begun} it has {status.st_size:,} bytes; at most {largest:,} are read.", advice)
            with open(descriptor, "rb", closefd=False) as file:
                return file.read()
        finally:
            os.close(descriptor)
    except OSError as error:
        why = "it is a socket or a device, not a file" if error.errno == errno.ENXIO else error.strerror
        raise TextError(f"{begun} {why}.", advice) from error


def read_lines(path: str | Path, what: str, advice: str = "", *, largest: int = LARGEST) -> list[tuple[int, str]]:
    """The lines of a text that are not blank, numbered from 1, without the white space around them.

    Raises:
        TextError: as of `read_text`; also a line longer than LONGEST_LINE.
    """
    stripped = map(str.strip, read_text(path, what, advice, largest=largest).split("\n"))
    lines = [(number, line) for number, line in enumerate(stripped, 1) if line]
    for number, line in lines:
        if len(line) > LONGEST_LINE:
            raise TextError(f"{path}:{number}: no line may be as long as {shortened(line)!r}.", advice)
    return lines


def read_json(path: str | Path, what: str, advice: str = "", *, largest: int = LARGEST):
    """What a json file holds; arguments and errors as of `read_text`."""
    text = read_text(path, what, advice, largest=largest)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise TextError(f"{path}:{error.lineno}: not valid json: {error.msg}.", advice) from error
    except RecursionError as error:
        raise TextError(f"{path}: not usable json: too many brackets within each other.", advice) from error
    except ValueError as error:  # Python limits how many digits an int may have
        raise TextError(f"{path}: not usable json: a number has thousands of digits.", advice) from error


def not_text(content: bytes, path: str | Path, advice: str) -> TextError:
    """The complaint about the first control character, or about the encoding that NUL bytes tell of."""
    head = content[:1024]
    for encoding, (width, used) in WIDE.items():
        if 0 in head and any(head) and not any(byte for i, byte in enumerate(head) if i % width != used):
            return other_encoding(path, encoding, advice)
    position = re.search(b"[" + re.escape(CONTROLS) + b"]", content).start()
    character = "a NUL byte" if content[position] == 0 else f"the control character 0x{content[position]:02x}"
    return TextError(
        f"{place(path, content, position)}: there is {character}, which is not text: {around(content, position)}. "
        "Remove it, or name another file.",
        advice,
    )


def other_encoding(path: str | Path, encoding: str, advice: str) -> TextError:
    return TextError(
        f"{path}:1: this is {encoding} text and must be UTF-8. Convert it (iconv -f {encoding} -t UTF-8 OLD > NEW).",
        advice,
    )


def place(path: str | Path, content: bytes, position: int) -> str:
    """file:line of a byte."""
    number = content.count(b"\n", 0, position) + 1
    return f"{path}:{number}"


def around(content: bytes, position: int, reach: int = 100) -> str:
    """What stands in a line around one of its bytes, in quotes; bytes that are not ASCII by their numbers."""
    start = max(content.rfind(b"\n", 0, position) + 1, position - reach)
    return repr(content[start : position + reach].split(b"\n")[0])[1:]
