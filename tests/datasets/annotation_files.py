"""Small official annotations of every data set that has some, and the videos they name."""

import json

PLACES = {"root": "videos", "annotations": "annotations", "out": "lists"}


def make_files(folder, contents):
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))


def make_videos(tmp_path, names):
    make_files(tmp_path / "videos", dict.fromkeys(names, ""))


def make_kinetics(tmp_path):
    header = "label,youtube_id,time_start,time_end,split\n"
    make_videos(tmp_path, ["train/abseiling/-a_000005_000015.mp4", "x.mkv", "val/z_000000_000010.mp4"])
    make_files(
        tmp_path / "annotations",
        {
            "train.csv": header + 'zumba,x,1,11,train\n"abseiling",-a,5,15,train\nabseiling,gone,0,10,train\n',
            "validate.csv": header + "zumba,z,0,10,validate\n",
        },
    )


def make_ssv2(tmp_path):
    make_files(
        tmp_path / "annotations",
        {
            "something-something-v2-labels.json": {"Holding something": "1", "Moving something up": "0"},
            "something-something-v2-train.json": [{"id": "7", "template": "Holding [something]"}],
            "something-something-v2-validation.json": [{"id": "8", "template": "Moving [something] up"}],
        },
    )


def make_sthv1(tmp_path):
    prefix = "something-something-v1-"
    contents = {"labels.csv": "Up\nDown\n", "train.csv": "7;Up\n8;Down\n", "validation.csv": "9;Up\n"}
    make_files(tmp_path / "annotations", {prefix + name: content for name, content in contents.items()})


def make_ucf(tmp_path):
    lists = {
        "classInd.txt": "1 YoYo\n2 Archery\n",
        "trainlist01.txt": "YoYo/a.avi 1\n",
        "testlist01.txt": "YoYo/b.avi\n",
    }
    make_files(tmp_path / "annotations", lists)


def make_hmdb(tmp_path):
    make_files(tmp_path / "annotations", {"wave_test_split1.txt": "a.avi 1\nb.avi 2\n"})


VIDEOS = {  # that the annotations name
    "kinetics": [],  # made with them
    "ssv2": ["7.webm", "8.webm"],
    "sthv1": ["7/00001.jpg", "8/00001.jpg", "9/00001.jpg"],
    "ucf101": ["YoYo/a.avi", "YoYo/b.avi"],
    "hmdb51": ["wave/a.avi", "wave/b.avi"],
}
MAKERS = {"kinetics": make_kinetics, "ssv2": make_ssv2, "sthv1": make_sthv1, "ucf101": make_ucf, "hmdb51": make_hmdb}
