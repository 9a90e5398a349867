"""Known nonsense is refused by name, before any step; some of it was trained in silence, some ended in tracebacks."""

import shlex
from pathlib import Path

import pytest

from slowfast.config import assert_and_infer_cfg, load_config
from slowfast.engine import launch, run
from slowfast.models import refuse_unregistered
from slowfast.utils.logging import USER_ERRORS

HERE = Path(__file__).parent
NONSENSE = (HERE.parent / "data/nonsense.txt").read_text().splitlines()
CONFIG = HERE.parents[1] / "exp/quickstart/config.yaml"


@pytest.mark.parametrize("line", NONSENSE)
def test_it_is_refused_by_name(line, motion_dir, tmp_path):
    words = shlex.split(line)
    usual = [*("DATA.PATH_TO_DATA_DIR", str(motion_dir), "OUTPUT_DIR", str(tmp_path / "out"))]
    with pytest.raises(USER_ERRORS) as refused:
        cfg = load_config(CONFIG, [*usual, *words])
        refuse_unregistered(cfg)
        launch(assert_and_infer_cfg(cfg), run)
    said = str(refused.value)
    assert len(said) < 700
    assert any(word and (word in said or word.rpartition(".")[2] in said) for word in words), said
    log = tmp_path / "out/stdout.log"
    assert not log.exists() or "json_stats" not in log.read_text()
