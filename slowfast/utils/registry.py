"""Registry: names to classes, with an error that lists what exists."""

from collections.abc import Iterable

from fvcore.common.registry import Registry as FvcoreRegistry

from slowfast.utils.wording import nearest


class Registry(FvcoreRegistry):
    """fvcore's registry, named by the config key that selects from it."""

    def register(self, obj=None, *, name: str | None = None):
        """Registers a class or function, as a decorator, by its own name or by `name`."""
        if obj is not None:
            self._do_register(name or obj.__name__, obj)
            return obj
        return lambda decorated: self.register(decorated, name=name)

    def get(self, name: str, also: Iterable[str] = ()):
        """The registered object.

        `also`: names that the key takes besides.

        Raises:
            KeyError: nothing by that name; the message has the nearest name and all there are.
        """
        if name in self:
            return self._obj_map[name]
        names = sorted(self._obj_map)
        near = nearest(str(name), (*names, *also))
        hint = f" Did you mean {near}?" if near else ""
        raise KeyError(f"{self._name} {name!r} is not registered.{hint} Registered: {', '.join(names)}.")
