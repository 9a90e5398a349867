"""Keys of the section UNIFORMER that mean the same for both of its models."""

import pytest

from slowfast.models import build_model


@pytest.mark.parametrize(("value", "scale"), [(None, 8**-0.5), (0, 8**-0.5), (0.0, 8**-0.5), (0.5, 0.5)])
@pytest.mark.parametrize("name", ["SVFormer", "Uniformer"])
def test_a_scale_of_none_or_0_is_that_of_the_heads_size(name, value, scale, tiny_cfg):
    model = build_model(tiny_cfg("MODEL.MODEL_NAME", name, "UNIFORMER.QKV_SCALE", value))
    assert {module.scale for module in model.modules() if hasattr(module, "num_heads")} == {scale}
