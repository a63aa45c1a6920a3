# SPDX-License-Identifier: MIT
"""Immutable records: dataclasses of which only `__init__` is generated.

`dataclass(frozen=True)` writes and compiles six methods a class, 1.4 ms each on the machine of `bench/results`; with the
thirty classes of this package that was half of its import. `__init__` alone takes 0.3 ms, the others are written once, here.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, fields
from typing import Any, TypeVar, cast, dataclass_transform

C = TypeVar("C", bound=type)


class Record:
    """Base of the records: every field is set once, by `__init__`, and the rest of the world only reads."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.__dict__ or name not in (f.name for f in fields(cast(Any, self))):
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        self.__dict__[name] = value

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def _set(self, name: str, value: object) -> None:
        """Give a field its checked value: for `__post_init__` alone."""
        self.__dict__[name] = value

    def _values(self) -> dict[str, Any]:
        """{field: value}, in the order of the fields."""
        return {f.name: getattr(self, f.name) for f in fields(cast(Any, self))}

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{k}={v!r}' for k, v in self._values().items())})"


@dataclass_transform(frozen_default=True, eq_default=False)
def record(cls: C) -> C:
    """Make a subclass of `Record` a dataclass (`dataclasses.fields` and `replace` know it)."""
    return cast(C, dataclass(eq=False, repr=False)(cls))
