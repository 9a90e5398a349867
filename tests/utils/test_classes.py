"""Class names and subsets: what a person can write wrongly gets one message with the place."""

import json

import pytest

from slowfast.utils.classes import load_class_names, read_subset

NAMES = ["ApplyLipstick", "Archery", "HandstandWalking"]


@pytest.fixture
def write(tmp_path):
    """A function of content (text or bytes): the path of a file with it."""

    def to_file(content):
        path = tmp_path / "file"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


def test_names_come_in_the_order_of_their_labels(write):
    path = write(json.dumps({"HandstandWalking": 2, "ApplyLipstick": 0, "Archery": 1}))
    assert load_class_names(path, 3) == NAMES


def test_without_a_path_names_are_beside_the_lists_or_numbers(tmp_path):
    assert load_class_names("", 2) == ["0", "1"]
    assert load_class_names("", 2, data_dir=tmp_path) == ["0", "1"]
    (tmp_path / "classes.json").write_text('{"walk": 0, "run": 1}')
    assert load_class_names("", 2, data_dir=tmp_path) == ["walk", "run"]


def test_a_named_file_goes_before_the_one_beside_the_lists(write, tmp_path):
    (tmp_path / "classes.json").write_text('{"walk": 0, "run": 1}')
    assert load_class_names(write('{"a": 0, "b": 1}'), 2, data_dir=tmp_path) == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("walk 0\nrun 1\n", r"file:1: not valid json"),
        ('{"walk": 0,\n"run" 1}', r"file:2: not valid json"),
        ('["walk", "run"]', r"file: class names are a json object \{name: label\}"),
        ('{"walk": 0, "run": "1"}', r"with whole labels"),
        ('{"walk": false, "run": true}', r"with whole labels"),
        ('{"walk": 0, "run": 0}', r"file: label 0 of 'run' is 'walk' too"),
        ('{"walk": 0, "run": 1, "jump": 2}', r"file: label 2 of 'jump' is not one of 0 \.\. 1.*MODEL\.NUM_CLASSES"),
        ('{"walk": -1, "run": 1}', r"label -1 of 'walk' is not one of 0 \.\. 1"),
        (b"\x00\xff\xfe", r"file:1: there is a NUL byte, .* Check TENSORBOARD\.CLASS_NAMES_PATH"),
        ('{"w' + "x" * 10**6 + '": 7}', r"file: label 7 of 'wxxx"),
        ('{"walk": ' + "9" * 4000 + "}", r"file: label 999"),
    ],
)
def test_wrong_class_names_get_one_message(write, content, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_class_names(write(content), 2)
    assert len(str(caught.value)) < 1000


def test_a_label_without_a_name_goes_by_its_number(write):
    assert load_class_names(write('{"run": 1, "walk": 0}'), 4) == ["walk", "run", "2", "3"]


def test_a_missing_file_is_named_with_its_key(tmp_path):
    with pytest.raises(ValueError, match=r"none\.json: No such file.*TENSORBOARD\.CLASS_NAMES_PATH"):
        load_class_names(tmp_path / "none.json", 2)
    with pytest.raises(ValueError, match=r"none\.txt: No such file.*SUBSET_PATH"):
        read_subset(tmp_path / "none.txt", NAMES)


def test_a_subset_keeps_its_own_order_and_no_path_means_all(write):
    assert read_subset(write("HandstandWalking\r\n\n  ApplyLipstick \n"), NAMES) == [2, 0]
    assert read_subset("", NAMES) == [0, 1, 2]


def test_a_byte_order_mark_is_not_part_of_the_first_name(write):
    assert read_subset(write("Archery\n".encode("utf-8-sig")), NAMES) == [1]
    assert load_class_names(write('{"walk": 0}'.encode("utf-8-sig")), 1) == ["walk"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Archery\nHandstandwalk\n", r"file:2: there is no class 'Handstandwalk'\. Did you mean 'HandstandWalking'\?"),
        ("ARCHERY\n", r"file:1: there is no class 'ARCHERY'\. Did you mean 'Archery'\?"),
        ("77\n", r"file:1: there is no class '77'\. Classes are named like 'ApplyLipstick'"),
        ("Archery\n\nArchery\n", r"file:3: class 'Archery' is named a second time"),
        ("\n \n", r"file: names no class"),
        (b"\xff\xfe", r"file:1: this is UTF-16 text .*Check TENSORBOARD\.CONFUSION_MATRIX\.SUBSET_PATH"),
        (b"Archery\nYo\xe9\n", r"file:2: byte 0xe9 is not UTF-8 text: 'Yo\\xe9'"),
        ("x" * 3000, r"file:1: there is no class 'xxx"),
    ],
)
def test_wrong_subsets_get_one_message(write, content, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_subset(write(content), NAMES)
    assert len(str(caught.value)) < 1000
