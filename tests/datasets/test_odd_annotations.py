"""Annotations that are not as published, or no text at all: one message with file and place."""

import re

import pytest
from annotation_files import MAKERS, PLACES

V1, V2 = "something-something-v1-", "something-something-v2-"
COLUMNS = b"label,youtube_id,time_start,time_end\n"


@pytest.mark.parametrize(
    ("name", "file", "content", "said"),
    [
        ("kinetics", "train.csv", b"\xff\xfea\0", r"train\.csv:1: this is UTF-16 text and must be UTF-8"),
        ("kinetics", "train.csv", COLUMNS + b"z\xe9,x,1,2\n", r"train\.csv:2: byte 0xe9 is not UTF-8"),
        ("kinetics", "train.csv", b"", r"train\.csv:1: no column label; expected label, youtube_id"),
        (
            "kinetics",
            "train.csv",
            COLUMNS + b"zumba,x,1,2\nzumba,y\n",
            r"train\.csv:3 has no time_start; expected text",
        ),
        ("kinetics", "train.csv", COLUMNS + b"zumba,x,one,2\n", r"train\.csv:2: time_start 'one' is no number of sec"),
        ("kinetics", "train.csv", COLUMNS + b"zumba,x,nan,2\n", r"train\.csv:2: time_start 'nan' is no number of sec"),
        ("kinetics", "train.csv", COLUMNS + b"zumba,x,1,1e400\n", r"train\.csv:2: time_end '1e400' is no number of"),
        ("kinetics", "train.csv", COLUMNS + b",x,1,2\n", r"train\.csv:2 has no label"),
        (
            "kinetics",
            "train.csv",
            COLUMNS + b"zumba,/etc/x,1,2\n",
            r"train\.csv:2: '/etc/x' is not the name of a video",
        ),
        ("kinetics", "train.csv", COLUMNS + b"zumba,../x,1,2\n", r"train\.csv:2: '\.\./x' is not the name of a video"),
        ("kinetics", "train.csv", COLUMNS + b'zumba,"x\ny",1,2\n', r"train\.csv:3 has youtube_id 'x\\ny'"),
        ("kinetics", "train.csv", COLUMNS + b'"zumba,x,1,2\n', r"train\.csv:2: not valid csv: unexpected end"),
        ("kinetics", "train.csv", COLUMNS + b"z" * 200_000, r"train\.csv:2: not valid csv: field larger"),
        (
            "ssv2",
            f"{V2}train.json",
            b'[{"template": "Up"}]',
            r"train\.json: record 1 has no id; expected text at id, te",
        ),
        ("ssv2", f"{V2}train.json", b'[{"id": "7"}]', r"train\.json: record 1 has no template"),
        ("ssv2", f"{V2}train.json", b'[{"id": "7", "template": 3.5}]', r"record 1 has template 3\.5; expected text"),
        ("ssv2", f"{V2}train.json", b'[{"id": null, "template": "U"}]', r"record 1 has no id"),
        ("ssv2", f"{V2}train.json", b'[{"id": "\\u0000", "template": "U"}]', r"record 1 has id '\\x00'"),
        ("ssv2", f"{V2}train.json", b'[{"id": "..", "template": "U"}]', r"record 1: '\.\.' is not the name of a video"),
        ("ssv2", f"{V2}train.json", b"[7]", r"train\.json: record 1 is 7 and not an object with id, template"),
        ("ssv2", f"{V2}train.json", b'{"id": 7}', r"train\.json: expected a json list of objects with id, template"),
        ("ssv2", f"{V2}train.json", b"[{]", r"train\.json:1: not valid json"),
        ("ssv2", f"{V2}labels.json", b'["Up"]', r"labels\.json: expected a json object \{class name: label\}"),
        ("ssv2", f"{V2}labels.json", b'{"Up": "x"}', r"labels\.json: class 'Up' has label 'x', no whole number from 0"),
        ("ssv2", f"{V2}labels.json", b'{"Up": true}', r"labels\.json: class 'Up' has label 'True'"),
        ("ssv2", f"{V2}labels.json", b'{"Up": null}', r"labels\.json: class 'Up' has label 'None'"),
        ("ssv2", f"{V2}labels.json", b'{"Up": "\xc2\xb2"}', r"labels\.json: class 'Up' has label '\u00b2'"),
        ("ssv2", f"{V2}labels.json", b'{"a": 0, "b": 0}', r"labels\.json: class 'b' has label 0, which belongs to 'a'"),
        ("sthv1", f"{V1}train.csv", b"7;Up\n8\n", r"train\.csv:2: '8' is not `ID;CLASS`"),
        ("sthv1", f"{V1}train.csv", b"7;Up;3\n", r"train\.csv:1: '7;Up;3' is not `ID;CLASS`"),
        ("sthv1", f"{V1}labels.csv", b"Up\nUp\n", r"labels\.csv:2: class 'Up' is there twice"),
        (
            "ucf101",
            "classInd.txt",
            b"one YoYo\n",
            r"classInd\.txt:1: class 'YoYo' has label 'one', no whole number from 1",
        ),
        ("ucf101", "classInd.txt", b"0 YoYo\n", r"classInd\.txt:1: class 'YoYo' has label '0', no whole number from 1"),
        (
            "ucf101",
            "classInd.txt",
            b"1 YoYo\n1 Archery\n",
            r"classInd\.txt:2: class 'Archery' has label 1, which belongs",
        ),
        ("ucf101", "trainlist01.txt", b"a b c\n", r"trainlist01\.txt:1: 'a b c' is not `CLASS/VIDEO \[NUMBER\]`"),
        (
            "ucf101",
            "trainlist01.txt",
            b"YoYo/../../x 1\n",
            r"trainlist01\.txt:1: '\S+' is not the name of a video with",
        ),
        ("ucf101", "trainlist01.txt", b"x" * 10**6, r"trainlist01\.txt:1: no line may be as long as 'xxx"),
        ("hmdb51", "wave_test_split1.txt", b"a.avi 1 2\n", r"split1\.txt:1: 'a\.avi 1 2' is not `VIDEO USE`"),
        ("hmdb51", "wave_test_split1.txt", b"a.avi 3\n", r"split1\.txt:1: '3' is not 1 \(train\), 2 \(test\) or 0"),
    ],
)
def test_odd_annotations_are_one_message_with_file_and_place(tmp_path, run_python, name, file, content, said):
    MAKERS[name](tmp_path)
    (tmp_path / "videos").mkdir(exist_ok=True)
    (tmp_path / "annotations" / file).unlink(missing_ok=True)
    (tmp_path / "annotations" / file).write_bytes(content)
    folders = [f"--{key}={tmp_path / folder}" for key, folder in PLACES.items()]
    result = run_python("-m", "slowfast.datasets.prepare", name, *folders)
    assert result.returncode == 1
    message = result.stderr.strip()
    assert re.search(rf"^error: \S*.*{said}", message), message
    assert "\n" not in message
    assert len(message) < 1000
    assert message.endswith("Set --annotations to the official annotations.")
