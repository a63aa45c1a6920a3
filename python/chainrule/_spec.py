# SPDX-License-Identifier: MIT
"""What schedules, optimizers, penalties and losses share: records that are compared by value and turn into a dict of plain values."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar, TypeVar, cast

from ._record import Record

S = TypeVar("S", bound="Spec")


class Spec(Record):
    """Base of the records of hyper-parameters; `type_name` is the "type" of their dict and their name."""

    type_name: ClassVar[str]

    def spec(self) -> dict[str, Any]:
        """{"type": type_name, field: value, ...} of plain values, as saved and as given to the core."""
        result: dict[str, Any] = {"type": self.type_name}
        for name, value in self._values().items():
            if isinstance(value, Spec):
                value = value.spec()
            result[name] = list(value) if isinstance(value, tuple) else value
        return result

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, Spec) and type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *self._values().values()))

    def _real(self, name: str, low: float, high: float = math.inf, *, open_low: bool = False, open_high: bool = False) -> None:
        """Field `name` becomes a finite float in the interval, or raises."""
        value = getattr(self, name)
        number = hasattr(type(value), "__float__") and not isinstance(value, (bool, str)) and getattr(value, "ndim", 0) == 0
        if not number:
            raise TypeError(f"[{type(self).__name__}] {name} is {value!r}: expected a number")
        x = float(value)
        inside = (low < x if open_low else low <= x) and (x < high if open_high else x <= high)
        if not (math.isfinite(x) and inside):
            if high == math.inf:
                allowed = f"a finite number {'>' if open_low else '>='} {low:g}"
            else:
                allowed = f"a number in {'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
            raise ValueError(f"[{type(self).__name__}] {name} is {value!r}: expected {allowed}")
        self._set(name, x)

    def _whole(self, name: str, low: int) -> None:
        """Field `name` becomes an int >= low, or raises."""
        value = getattr(self, name)
        try:
            if isinstance(value, bool):
                raise TypeError
            n = operator.index(value)
        except TypeError:
            raise TypeError(f"[{type(self).__name__}] {name} is {value!r}: expected a whole number") from None
        if not low <= n < 2**63:
            raise ValueError(f"[{type(self).__name__}] {name} is {value!r}: expected a whole number >= {low}, < 2^63")
        self._set(name, n)

    def _flag(self, name: str) -> None:
        value = getattr(self, name)
        # np.bool is no bool; 0 and 1 are more likely a wrong argument than a flag
        if type(value).__name__ not in ("bool", "bool_"):
            raise TypeError(f"[{type(self).__name__}] {name} is {value!r}: expected True or False")
        self._set(name, bool(value))

    def _one_of(self, name: str, known: Sequence[str]) -> None:
        value = getattr(self, name)
        if not isinstance(value, str):
            raise TypeError(f"[{type(self).__name__}] {name} is {value!r}: expected one of {', '.join(known)}")
        if value not in known:
            raise ValueError(f"[{type(self).__name__}] {name} is {value!r}: expected one of {', '.join(known)}")


def registry(*classes: type[S]) -> dict[str, type[S]]:
    """The classes by their `type_name`."""
    return {c.type_name: c for c in classes}


def build(what: str, known: Mapping[str, type[S]], spec: Mapping[str, Any]) -> S:
    """The object whose `.spec()` is `spec`; a ValueError names an unknown type or key. Its class checks the values."""
    if not isinstance(spec, Mapping):
        raise TypeError(f"{what}: spec is {spec!r}: expected a dict")
    arguments = dict(spec)
    name = arguments.pop("type", None)
    if name not in known:
        raise ValueError(f"{what}: unknown type {name!r}: expected one of {', '.join(known)}")
    cls = known[name]
    names = [f.name for f in fields(cast(Any, cls))]
    unknown = [k for k in arguments if k not in names]
    if unknown:
        raise ValueError(f"{what}: '{name}' has no {', '.join(map(repr, unknown))}: it has {', '.join(names)}")
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()})
    except TypeError as error:
        raise ValueError(f"{what}: {error}") from None


def choose(what: str, known: Mapping[str, type[S]], x: object) -> S:
    """`x` itself if it is one of the known classes, or the class of that name with its defaults."""
    if isinstance(x, tuple(known.values())):
        return cast(S, x)
    if isinstance(x, str):
        if x in known:
            return known[x]()
        raise ValueError(f"unknown {what} {x!r}: expected one of {', '.join(known)}")
    classes = ", ".join(c.__name__ for c in known.values())
    raise TypeError(f"{what} is {x!r}: expected one of {classes}, or a name: {', '.join(known)}")
