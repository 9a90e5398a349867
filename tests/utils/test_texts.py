"""The one reader of texts: what is no text, or another's encoding, is one short message with its line, at once."""

import os
import socket

import pytest

from slowfast.utils.texts import TextError, read_json, read_lines, read_text, shortened


@pytest.fixture
def refused(tmp_path):
    """A function of content: what `read_text` says of a file `list` with it."""

    def message(content):
        (tmp_path / "list").write_bytes(content)
        with pytest.raises(TextError) as caught:
            read_text(tmp_path / "list", "list", "Look at KEY.")
        return str(caught.value).replace(f"{tmp_path}/", "")

    return message


def test_utf8_with_or_without_its_mark_and_with_any_ends_of_lines_is_one_text(tmp_path):
    path = tmp_path / "text"
    for content in ("é 1\nb\t2\n", "\ufeffé 1\nb\t2\n", "é 1\r\nb\t2\r\n", "é 1\rb\t2\r"):
        path.write_bytes(content.encode())
        assert read_text(path, "text") == "é 1\nb\t2\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_wider_encodings_are_named_with_how_to_convert_them(refused, encoding):
    said = refused("a.mp4 0\r\nb é.mp4 1\r\n".encode(encoding))
    name = encoding.upper().replace("-LE", "LE").replace("-BE", "BE")
    assert said == (
        f"list:1: this is {name} text and must be UTF-8. Convert it (iconv -f {name} -t UTF-8 OLD > NEW). Look at KEY."
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a 0\ncaf\xe9.mp4 0\n", r"list:2: byte 0xe9 is not UTF-8 text: 'caf\xe9.mp4 0'. Convert the file (iconv"),
        (b"a 0\rcaf\xe9.mp4 0\r", r"list:2: byte 0xe9 is not UTF-8 text: 'caf\xe9.mp4 0'."),
        (b"a 0\n\nb 1\0c 0\nd 1", r"list:3: there is a NUL byte, which is not text: 'b 1\x00c 0'. Remove it"),
        (b"a\x1b[0m 0\n", r"list:1: there is the control character 0x1b, which is not text: 'a\x1b[0m 0'."),
        (bytes(5000), r"list:1: there is a NUL byte, "),
        (b"\x01", r"list:1: there is the control character 0x01, "),
        (b"\x80\x02}q\x00.", r"list:1: there is the control character 0x02, "),
        (b"a 0\n\xef\xbb\xbfb 1\n", "list:2: there is a byte order mark within the text. Were files joined?"),
    ],
)
def test_what_is_no_text_is_said_with_its_line(refused, content, said):
    message = refused(content)
    assert message.startswith(said)
    assert message.endswith("Look at KEY.")


@pytest.mark.parametrize("bad", [b"\xff", b"\0", b"\x01"])
def test_a_message_is_short_however_long_the_line(refused, bad):
    assert len(refused(b"x" * 10**7 + bad + b"x" * 10**7)) < 1000


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for path, kind in {"pipe": "a pipe", "socket": "a socket", ".": "a folder", "/dev/zero": "a device"}.items():
            with pytest.raises(TextError, match=rf"Cannot read list \S*: it is {kind}.*, not a file\. Look at KEY\.$"):
                read_text(tmp_path / path, "list", "Look at KEY.")


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(TextError, match=r"huge: it has 1,099,511,627,776 bytes; at most 1,073,741,824 are read"):
        read_text(tmp_path / "huge", "list")
    (tmp_path / "small").write_text("12345")
    assert read_text(tmp_path / "small", "list", largest=5) == "12345"
    with pytest.raises(TextError, match=r"it has 5 bytes; at most 4"):
        read_text(tmp_path / "small", "list", largest=4)


def test_a_missing_file_is_told_from_one_that_cannot_be_read(tmp_path):
    (tmp_path / "file").write_text("")
    for path, missing in (("gone", True), ("file/gone", True), (".", False), ("x" * 5000, False)):
        with pytest.raises(TextError) as caught:
            read_text(tmp_path / path, "list")
        assert caught.value.missing is missing
        assert len(str(caught.value)) < 500


def test_lines_keep_their_numbers_and_none_is_endless(tmp_path):
    path = tmp_path / "list"
    path.write_text("\n a b \n\t\nc\x85d\n")
    assert read_lines(path, "list") == [(2, "a b"), (4, "c\x85d")]
    path.write_text("a\n" + "x" * 10**6)
    with pytest.raises(TextError, match=r"list:2: no line may be as long as 'xxx.* \(1000000 characters\)'"):
        read_lines(path, "list")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"a": 1,\n"b" 2}', r"json:2: not valid json: Expecting ':' delimiter\. Look at KEY\.$"),
        ("[" * 10**6, r"json: not usable json: too many brackets"),
        ("[" + "9" * 10**5 + "]", r"json: not usable json: a number has thousands of digits"),
    ],
)
def test_json_that_cannot_be_read_is_one_message(tmp_path, content, said):
    (tmp_path / "json").write_text(content)
    with pytest.raises(TextError, match=said):
        read_json(tmp_path / "json", "annotations", "Look at KEY.")


def test_a_long_text_keeps_its_ends():
    assert shortened("short") == "short"
    assert shortened("a" * 500 + "b" * 500) == "a" * 100 + " ... " + "b" * 100 + " (1000 characters)"
