import json

from slowfast.evaluation.report import Report, Training, write_report


def report(num_classes, **changes):
    names = [f"class {k}" for k in range(num_classes)]
    accuracy = {
        "top1_acc": 50.0,
        "top5_acc": 100.0,
        "per_class": {k: float(k) for k in range(num_classes)},
        "unreadable_videos": [],
        "nonfinite_videos": [],
    }
    values = {
        "accuracy": accuracy,
        "class_names": names,
        "views": (3, 3),
        "model_name": "SVFormer",
        "parameters": 1234567,
        "flops": 2_500_000_000,
        "firing": {"a": (1.0, 4), "b": (1.0, 12)},
        "ailing": {},
        "training": Training(61.0, 300, 0.2, 0, 0, 0),
        "test_seconds": 2.0,
        "weights": "w.pyth",
        "files": ["p.pkl"],
        "seed": 7,
        "config_sha256": "ab12",
        "machine": {"processor": "Z80", "threads": 1},
    }
    return Report(**(values | changes))


def test_the_table_has_what_a_person_looks_for():
    table = report(3).table()
    time = "0:01:01 (0.200 s a step)"
    for text in ("50.00 %", "100.00 %", "1,234,567", "2.500 G", "0.1250 spikes", time, "class 2", "p.pkl"):
        assert text in table


def test_many_classes_are_cut_to_the_worst_and_best():
    table = report(101).table()
    assert "5 worst, 5 best" in table
    assert "class 0\n" in table
    assert "class 100" in table
    assert "class 50" not in table


def test_unreadable_videos_and_silent_models_are_said():
    bad = report(2)
    bad.accuracy["unreadable_videos"] = [4, 9]
    assert "2, scored as wrong" in bad.table()
    bad.accuracy["nonfinite_videos"] = [1, 2, 3]
    assert "3, scored as wrong" in bad.table()
    assert bad.as_dict()["nonfinite_videos"] == [1, 2, 3]
    assert "no spiking neurons" in report(2, firing={}).table()


def test_layers_that_hardly_take_part_are_in_the_table_and_the_json():
    ailing = report(2, ailing={"silent": [f"blocks.{i}.lif" for i in range(7)], "saturated": ["head (0.950)"]})
    rows = [line.split("  ") for line in ailing.table().splitlines()]
    shown = {row[1]: row[-1].strip() for row in rows if len(row) > 2}
    assert shown["silent layers"] == "7 of 2: " + ", ".join(f"blocks.{i}.lif" for i in range(5)) + ", and 2 more"
    assert shown["saturated layers"] == "1 of 2: head (0.950)"
    assert ailing.as_dict()["ailing_layers"]["saturated"] == ["head (0.950)"]
    assert "silent" not in report(2).table()


def test_a_rate_that_is_no_number_is_null_in_the_json(tmp_path):
    write_report(tmp_path, report(3, firing={"a": (float("nan"), 4)}))
    content = json.loads((tmp_path / "report.json").read_text(), parse_constant=lambda constant: 0 / 0)
    assert content["firing_rate"] == {"mean": None, "per_layer": {"a": None}}


def test_the_json_says_the_same(tmp_path):
    write_report(tmp_path, report(3))
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["firing_rate"] == {"mean": 0.125, "per_layer": {"a": 0.25, "b": 1 / 12}}
    assert content["model"]["flops_per_video"] == 9 * 2_500_000_000
    assert content["per_class_acc"]["class 2"] == 2.0
    assert content["files"][-1].endswith("report.json")


def test_the_json_says_how_and_where_the_run_was_made(tmp_path):
    write_report(tmp_path, report(3, training=Training(61.0, 300, 0.2, 1, 5, 2)))
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["train_seconds"] == 61.0
    went_on = {"from_epoch": 1, "from_step": 5}
    assert content["training"] == {"steps": 300, "seconds_per_step": 0.2, **went_on, "skipped_steps": 2}
    assert (content["seed"], content["config_sha256"], content["machine"]["processor"]) == (7, "ab12", "Z80")
    assert content["versions"].keys() == {"slowfast", "torch", "python"}
    assert "0:01:01\n" in report(3, training=Training(61.0, 0, None, 1, 60, 0)).table()
    write_report(tmp_path, report(3, training=None))
    content = json.loads((tmp_path / "report.json").read_text())
    assert (content["train_seconds"], content["training"]) == (None, None)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]  # nothing is left of writing it aside
