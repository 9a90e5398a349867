from slowfast.config import get_cfg, help_config


def test_help_tells_default_meaning_unit_and_readers():
    text = help_config("SOLVER.WARMUP_EPOCHS")
    assert text.splitlines() == [
        "SOLVER.WARMUP_EPOCHS = 0.0 [epochs]",
        "    Length of the linear warm-up, may be a fraction.",
        "    may be a number from 0 to 1000000",
        "    read by slowfast/solver/lr_policy.py",
    ]


def test_patterns_are_parts_of_names_or_globs():
    assert "SNN.V_THRESHOLD" in help_config("v_thresh")
    assert help_config("SNN.*").count("read by") == len(get_cfg().SNN)
    assert "accepted, has no effect" in help_config("MVIT.DEPTH")
    assert "must stay at its default: non-local blocks not built here" in help_config("NONLOCAL.LOCATION")
    assert help_config("no_such_key") == "No config key matches 'no_such_key'."
