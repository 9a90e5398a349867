"""The dynamics of a neuron as text, from which the CPU's and the device's operators are both made.

A neuron is its charge, `h[t] = charge(v[t-1], x[t])`, an expression of `v`, `x`, the constant or learnable `k` and
`v_reset`: numbers, + - * / and the functions of `CHARGE_FUNCTIONS`, which mean the same in Python and in C. It fires
where `h >= v_threshold` and resets hard (`v = v_reset`) or soft (`v = h - v_threshold`). Derivatives of the charge are
taken symbolically, so a new neuron states nothing else.
"""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import torch

# Surrogate derivatives ds/du at u = h - v_threshold: names and formulas of spikingjelly.activation_based.surrogate.
SURROGATES = {
    "ATan": "0.5 * alpha / (1.0 + square(1.5707963267948966 * alpha * u))",
    "Sigmoid": "alpha * sigmoid(alpha * u) * (1.0 - sigmoid(alpha * u))",
    "PiecewiseQuadratic": "where(abs(u) > 1.0 / alpha, 0.0 * u, alpha - alpha * alpha * abs(u))",
    "PiecewiseExp": "0.5 * alpha * exp(-alpha * abs(u))",
    "SoftSign": "0.5 / (alpha * square(1.0 / alpha + abs(u)))",
    "SuperSpike": "alpha / square(abs(u) + 1.0)",
    "Erf": "0.5641895835477563 * alpha * exp(-square(alpha * u))",
    "Rect": "where(abs(u) < 0.5 / alpha, alpha + 0.0 * u, 0.0 * u)",
}
CHARGE_NAMES = ("v", "x", "k", "v_reset")
CHARGE_FUNCTIONS = ("exp", "sigmoid", "square")
CHARGE_SYNTAX = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Load, ast.Constant),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.UAdd, ast.USub),
)
LARGEST = torch.finfo(torch.float32).max
NUMBER = re.compile(r"(?<![\w.])(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def of_numbers_too(function: Callable) -> Callable:
    """A function of tensors that takes a number as well, and gives one back."""

    def either(a):
        return function(a) if isinstance(a, torch.Tensor) else function(torch.tensor(a, dtype=torch.float64)).item()

    return either


FUNCTIONS = {"abs": torch.abs, "where": torch.where} | {
    name: of_numbers_too(getattr(torch, name)) for name in CHARGE_FUNCTIONS
}


class Dynamics(NamedTuple):
    """All that decides a neuron's spikes apart from its input and its learnable `k`.

    `surrogate` is a name of `SURROGATES`, `alpha` its sharpness; `k` is None where it is learnt; `v_reset` None is
    the soft reset; `round_state` keeps the membrane potential in the input's dtype instead of float32.
    """

    charge: str
    surrogate: str
    alpha: float
    v_threshold: float
    v_reset: float | None
    detach_reset: bool
    k: float | None = None
    round_state: bool = False

    @property
    def rest(self) -> float:
        """The potential before the first step, and `v_reset` of the charge."""
        return 0.0 if self.v_reset is None else self.v_reset


@cache
def charge_derivatives(charge: str) -> dict:
    """dh/dv, dh/dx and dh/dk of a charge as sympy expressions, by "v", "x", "k".

    Raises:
        ValueError: as `check_charge`, or it divides by zero, or x cancels out.
    """
    import sympy  # torch depends on it; slow to import, and needed at a first call only

    check_charge(charge)
    symbols = {name: sympy.Symbol(name, real=True) for name in CHARGE_NAMES}
    functions = {"sigmoid": lambda a: 1 / (1 + sympy.exp(-a)), "square": lambda a: a**2}
    expression = sympy.sympify(charge, locals=symbols | functions)
    derivatives = {name: sympy.diff(expression, symbols[name]) for name in ("v", "x", "k")}
    if any(value.has(sympy.zoo, sympy.oo, sympy.nan) for value in (expression, *derivatives.values())):
        raise ValueError(f"Charge {charge!r} divides by zero.")
    if derivatives["x"] == 0:
        raise ValueError(f"Charge {charge!r} does not depend on x, the input.")
    return derivatives


def check_charge(charge: str) -> None:
    """Refuses a charge that would be computed in one place and not, or otherwise, in another.

    Raises:
        ValueError: the charge is made of anything else than `CHARGE_NAMES`, numbers, + - * / and `CHARGE_FUNCTIONS`, or
            does not depend on x.
    """
    fault = next(charge_faults(charge), None)
    if fault:
        raise ValueError(
            f"Charge {charge!r} cannot be computed everywhere: {fault}. It may be made of {', '.join(CHARGE_NAMES)}, "
            f"numbers, + - * / and the functions {', '.join(CHARGE_FUNCTIONS)}."
        )


def charge_faults(charge: object) -> Iterator[str]:
    if not isinstance(charge, str):
        yield f"it is {type(charge).__name__} and no text"
    try:
        parts = list(ast.walk(ast.parse(charge, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        yield f"it is no expression ({error.args[0]})"
    # In C two signs in a row change a variable; Python reads other letters as the plain ones.
    odd = next((mark for mark in ("#", "\\", "\r", "--", "++") if mark in charge), "")
    if odd or not charge.isascii():
        yield f"{odd!r} has no place in it (two signs need a space or brackets)" if odd else "not all of it is ASCII"
    if charge[:1].isspace():
        yield "it begins with white space"
    called = {part.func for part in parts if isinstance(part, ast.Call)}
    for part in parts:
        text = ast.get_source_segment(charge, part)
        match part:
            case ast.Call(func=ast.Name(id=name), args=[_], keywords=[]) if (
                name in CHARGE_FUNCTIONS and "," not in text
            ):
                pass
            case ast.Call():
                yield f"{text} calls no function of one value (a product needs its *)"
            case ast.Name(id=name) if name in CHARGE_FUNCTIONS and part not in called:
                yield f"{name} is a function, and here it has no value in brackets"
            case ast.Name(id=name) if name not in (*CHARGE_NAMES, *CHARGE_FUNCTIONS):
                yield f"{name} is not known"
            case ast.Constant(value=value) if not (
                NUMBER.fullmatch(text) and float(text) <= LARGEST and not (isinstance(value, int) and value > 2**53)
            ):
                yield f"{text} is no plain decimal number that a float holds"
            case _ if not isinstance(getattr(part, "op", part), CHARGE_SYNTAX):
                yield f"{text or type(part).__name__} is none of its operations"
    if not any(isinstance(part, ast.Name) and part.id == "x" for part in parts):
        yield "it does not depend on x, the input"


@cache
def uses_k(charge: str) -> bool:
    return re.search(r"\bk\b", charge) is not None


@cache
def charge_functions(charge: str) -> tuple[Callable, dict[str, Callable], bool]:
    """A charge and its derivatives as functions of `CHARGE_NAMES`; whether it is linear in v and x."""
    derivatives = charge_derivatives(charge)
    linear = not any(str(symbol) in "vx" for name in "vx" for symbol in derivatives[name].free_symbols)
    functions = {name: as_function(in_python(value), CHARGE_NAMES) for name, value in derivatives.items()}
    return as_function(charge, CHARGE_NAMES), functions, linear


def in_python(expression) -> str:
    """A sympy expression as a line of Python over `FUNCTIONS`."""
    from sympy.printing.pycode import pycode

    return pycode(expression, fully_qualified_modules=False)


def in_c(expression) -> str:
    """A sympy expression, or a line of Python over `FUNCTIONS`, as a C expression in single precision."""
    if isinstance(expression, str):
        return NUMBER.sub(lambda number: f"{float(number[0])!r}f", expression)  # in C, 1 / 2 is 0
    from sympy import ccode
    from sympy.codegen.ast import float32, real

    return ccode(expression, type_aliases={real: float32})


@cache
def as_function(expression: str, names: tuple[str, ...]) -> Callable:
    """A line of Python over `FUNCTIONS` as a function of `names`, which may be tensors or numbers."""
    return eval(f"lambda {', '.join(names)}: {expression}", dict(FUNCTIONS))  # the text is code, not a user's data
