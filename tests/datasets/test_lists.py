import csv
import io
import os
import re

import pytest

from slowfast.datasets.lists import NO_LABEL, Entry, ListError, quoted, read_frame_list, read_video_list


@pytest.fixture
def video_list(tmp_path):
    def read(content, **options):
        path = tmp_path / "train.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_video_list(path, num_classes=101, **options)

    return read


@pytest.fixture
def frame_list(tmp_path):
    def read(content):
        path = tmp_path / "list.txt"
        path.write_text(content)
        return read_frame_list(path, num_classes=101)

    return read


@pytest.mark.parametrize(
    ("line", "separator", "path", "label"),
    [
        ("v_Surf_g01_c01.avi 87", " ", "v_Surf_g01_c01.avi", 87),
        ("my videos/a b.mp4 3", " ", "my videos/a b.mp4", 3),
        ("видео/跳舞.mp4 4", " ", "видео/跳舞.mp4", 4),
        ("a, b.mp4,2", ",", "a, b.mp4", 2),
        ("a.mp4, 2", ",", "a.mp4", 2),
        ("a.mp4\t2", "\t", "a.mp4", 2),
        ("a b.mp4\t2", r"\t", "a b.mp4", 2),
        ("a.mp4;;2", ";;", "a.mp4", 2),
        ("a.mp4 2 \r", " ", "a.mp4", 2),
    ],
)
def test_a_line_is_split_at_its_last_separator(video_list, line, separator, path, label):
    assert video_list(line + "\n", separator=separator) == [Entry(path, label, None, 1)]


def test_blank_lines_are_skipped_and_lines_keep_their_numbers(video_list):
    entries = video_list("\n\na.mp4 1\n  \nb.mp4 2")
    assert [(entry.path, entry.line) for entry in entries] == [("a.mp4", 3), ("b.mp4", 5)]


def test_a_byte_order_mark_is_not_part_of_the_first_path(video_list):
    assert video_list(b"\xef\xbb\xbfa.mp4 1\n")[0].path == "a.mp4"


def test_the_prefix_goes_before_relative_paths_only(video_list):
    entries = video_list("a.mp4 1\n/b/c.mp4 2\n", prefix="/data")
    assert [entry.path for entry in entries] == ["/data/a.mp4", "/b/c.mp4"]


@pytest.mark.parametrize("label", ["-1", "1.0", "one", "²", "video.mp4,3"])
def test_a_label_that_is_no_whole_number_is_an_error_with_file_and_line(video_list, label):
    with pytest.raises(ListError, match=r"train\.csv:2: label .* is not a whole number"):
        video_list(f"a.mp4 1\nb.mp4 {label}\n")


def test_a_label_beyond_the_classes_says_which_key_to_set(video_list):
    assert video_list("a.mp4 100\n")[0].label == 100
    with pytest.raises(ListError, match=r"train\.csv:1: label 101 with MODEL\.NUM_CLASSES 101 .* Set MODEL"):
        video_list("a.mp4 101\n")


@pytest.mark.parametrize("line", ["a.mp4", " 3", "a.mp4,3"])
def test_a_line_without_path_or_label_names_the_separator_key(video_list, line):
    with pytest.raises(ListError, match=r"train\.csv:1: .*DATA\.PATH_LABEL_SEPARATOR"):
        video_list(line)


def test_an_empty_separator_is_an_error(video_list):
    with pytest.raises(ListError, match=r"DATA\.PATH_LABEL_SEPARATOR is empty"):
        video_list("a.mp4 1", separator="")


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_list_without_videos_is_an_error(video_list, content):
    with pytest.raises(ListError, match=r"train\.csv names no video\. Write a line .*DATA\.PATH_TO_DATA_DIR"):
        video_list(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfea\x00", r"train\.csv:1: this is UTF-16 text and must be UTF-8.* Set DATA\.PATH_TO_DATA_DIR"),
        (b"a.b.mp4 1\0c.mp4 0\n", r"train\.csv:1: there is a NUL byte, which is not text: 'a\.b\.mp4 1\\x00c\.mp4 0'"),
        (b"a.mp4 1\n" + 10**7 * b"x" + b" 0\n", r"train\.csv:2: no line may be as long"),
        (b"a.mp4 " + 4000 * b"1" + b"\n", r"train\.csv:1: label 111.* with MODEL\.NUM_CLASSES"),
        (4000 * b"a" + b" b\n", r"train\.csv:1: 'aaa.* has no label"),
    ],
)
def test_a_list_that_is_not_text_or_has_endless_lines_is_one_short_message(video_list, content, said):
    with pytest.raises(ListError, match=said) as caught:
        video_list(content)
    assert len(str(caught.value)) < 1000


def test_a_pipe_in_place_of_a_list_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "train.csv")
    with pytest.raises(ListError, match=r"train\.csv: it is a pipe, not a file\. Set DATA\.PATH_TO_DATA_DIR"):
        read_video_list(tmp_path / "train.csv", num_classes=2)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ('"my (1).mp4"', "my (1).mp4"),
        ('" a.mp4 "', " a.mp4 "),
        ('"a ""b"" c.mp4"', 'a "b" c.mp4'),
        ('"""a"""', '"a"'),
        ('"a" b.mp4', '"a" b.mp4'),  # not in CSV's quotes: names that have quotes in them
        ('"a"b".mp4"', '"a"b".mp4"'),
        ('5" "disc".mp4', '5" "disc".mp4'),
        ('"a b.mp4', '"a b.mp4'),
        ('"', '"'),
    ],
)
def test_csv_quotes_around_a_path_are_not_part_of_it_and_others_are(video_list, frame_list, written, path):
    assert video_list(f"{written} 3\n") == [Entry(path, 3, None, 1)]
    assert video_list(f"{written},3\n", separator=",") == [Entry(path, 3, None, 1)]
    assert frame_list(f"{written} 8 3\n") == [Entry(path, 3, 8, 1)]


@pytest.mark.parametrize("path", ["a.mp4", "my (1).mp4", '"a"', '"a" b', ' a"', '""', '"a""b"', '"'])
def test_a_path_is_quoted_so_that_it_is_read_as_it_is(video_list, path):
    assert video_list(f"{quoted(path)} 3\n")[0].path == path
    assert quoted("my (1).mp4") == "my (1).mp4"


def test_every_list_that_pandas_writes_is_read_as_it_was(video_list):
    # pandas.DataFrame.to_csv(sep=..., header=False, index=False) writes by this writer, in this way.
    paths = ["a.mp4", "my (1).mp4", "a,b.mp4", 'say "x".mp4', '"x" y, z.mp4', "tab\tin.mp4"]
    for separator in " ,\t;":
        file = io.StringIO()
        csv.writer(file, delimiter=separator, lineterminator="\n").writerows((path, 1) for path in paths)
        assert [entry.path for entry in video_list(file.getvalue(), separator=separator)] == paths


@pytest.mark.parametrize(
    ("content", "separator", "typed"),
    [
        ("a b.mp4,0\nc.mp4,1\n", " ", '","'),
        ("a b.mp4, 0\nc.mp4, 1\n", " ", '","'),
        ("a.mp4\t0\nb.mp4\t1\n", " ", r'"\t"'),
        ("a.mp4;0\nb.mp4;1\n", ",", '";"'),
        ("a.mp4 0\nb, c.mp4 1\n", ",", '" "'),
    ],
)
def test_a_list_with_another_separator_says_how_to_set_it(video_list, content, separator, typed):
    for may_lack_labels in (False, True):
        with pytest.raises(ListError, match=rf"train\.csv:1: .*Set DATA\.PATH_LABEL_SEPARATOR {re.escape(typed)}\.$"):
            video_list(content, separator=separator, may_lack_labels=may_lack_labels)


def test_a_list_without_labels_is_for_predictions_only(video_list):
    content = 'a.mp4\n"my (1).mp4"\n\nour video.mp4\n'
    with pytest.raises(ListError, match=r"train\.csv:1: 'a\.mp4' has no label, nor .*TRAIN\.ENABLE False"):
        video_list(content)
    assert video_list(content, may_lack_labels=True, prefix="/v") == [
        Entry("/v/a.mp4", NO_LABEL, None, 1),
        Entry("/v/my (1).mp4", NO_LABEL, None, 2),
        Entry("/v/our video.mp4", NO_LABEL, None, 4),
    ]


@pytest.mark.parametrize("line", ["b.mp4 1", "b.mp4 -1", "b.mp4 1.0"])
def test_if_one_line_has_a_label_all_must(video_list, line):
    for content in (f"{line}\na.mp4", f"a.mp4\n{line}"):
        with pytest.raises(ListError, match=r"train\.csv:[12]: "):
            video_list(content, may_lack_labels=True)


def test_a_missing_list_says_what_is_there_instead_and_which_key_points_there(tmp_path):
    (tmp_path / "training.csv").write_text("a.mp4 1\n")
    with pytest.raises(ListError, match=r"that folder has training\.csv\. Set DATA\.PATH_TO_DATA_DIR"):
        read_video_list(tmp_path / "train.csv", num_classes=2)
    with pytest.raises(ListError, match=r"There is no folder .*/nowhere .*DATA\.LABEL_PATH_TEMPLATE"):
        read_frame_list(tmp_path / "nowhere" / "train.txt", num_classes=2)


def test_a_frame_list_has_folder_frames_and_label(frame_list):
    assert frame_list("100218 42 100\nmy folder 8 3\n") == [Entry("100218", 100, 42, 1), Entry("my folder", 3, 8, 2)]


@pytest.mark.parametrize("line", ["a 3", "a 0 3", "a -2 3", "a ² 3", "a b c", "a 9 b", f"a {10**20} 3"])
def test_a_bad_line_of_a_frame_list_is_an_error_with_file_and_line(frame_list, line):
    with pytest.raises(ListError, match=r"list\.txt:1: "):
        frame_list(line)
