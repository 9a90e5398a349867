import pytest

from slowfast.utils.registry import Registry


def test_names_lead_to_what_was_registered():
    registry = Registry("KEY")

    @registry.register()
    class Plain:
        pass

    @registry.register(name="other")
    class Named:
        pass

    assert registry.get("Plain") is Plain
    assert registry.get("other") is Named


def test_an_unknown_name_lists_those_that_exist_and_the_nearest():
    registry = Registry("MODEL.MODEL_NAME")
    registry.register(int, name="SVFormer")
    registry.register(str, name="Spikformer")
    with pytest.raises(KeyError) as error:
        registry.get("SVFromer")
    assert error.value.args[0] == (
        "MODEL.MODEL_NAME 'SVFromer' is not registered. Did you mean SVFormer? Registered: SVFormer, Spikformer."
    )
