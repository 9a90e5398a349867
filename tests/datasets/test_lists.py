import pytest

from slowfast.datasets.lists import Entry, ListError, read_frame_list, read_video_list


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
    with pytest.raises(ListError, match="names no video"):
        video_list(content)


def test_a_list_that_is_not_text_is_an_error(video_list):
    with pytest.raises(ListError, match="Cannot read list"):
        video_list(b"\xff\xfe\x00a")


def test_a_missing_list_says_what_is_there_instead_and_which_key_points_there(tmp_path):
    (tmp_path / "training.csv").write_text("a.mp4 1\n")
    with pytest.raises(ListError, match=r"that folder has training\.csv\. Set DATA\.PATH_TO_DATA_DIR"):
        read_video_list(tmp_path / "train.csv", num_classes=2)
    with pytest.raises(ListError, match=r"There is no folder .*/nowhere .*DATA\.LABEL_PATH_TEMPLATE"):
        read_frame_list(tmp_path / "nowhere" / "train.txt", num_classes=2)


def test_a_frame_list_has_folder_frames_and_label(frame_list):
    assert frame_list("100218 42 100\nmy folder 8 3\n") == [Entry("100218", 100, 42, 1), Entry("my folder", 3, 8, 2)]


@pytest.mark.parametrize("line", ["a 3", "a 0 3", "a -2 3", "a ² 3", "a b c"])
def test_a_bad_line_of_a_frame_list_is_an_error_with_file_and_line(frame_list, line):
    with pytest.raises(ListError, match=r"list\.txt:1: "):
        frame_list(line)
