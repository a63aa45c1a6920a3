# SPDX-License-Identifier: MIT
"""Random changes of images while they are trained on: more of them than there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from chainrule._record import record
from chainrule._spec import Spec

if TYPE_CHECKING:
    from chainrule.network import Network

__all__ = ["Augment", "specs"]


@record
class Augment(Spec):
    """Images flipped, then turned about their middle, then shifted, each time another way: for ``net.fit(augment=...)``.

    Done in C++ while a batch is gathered, row by row from Philox under (seed, input, step, row of the batch): the same for any number of threads.
    Validation rows and predictions see the images as they are.

    Parameters
    ----------
    shift : int or (int, int)
        Largest shift in pixels, down and across; each from -shift to shift is as likely.
    flip : {None, "left_right", "up_down", "both"}
        Each way in half of the cases.
    rotate : float
        Largest angle in degrees, either way, uniform; pixels between four are linear between them.
    fill : float
        What stands where the image has been moved away.

    Examples
    --------
    >>> import chainrule as cr
    >>> cr.Augment(shift=2, rotate=10)
    Augment(shift=(2, 2), flip=None, rotate=10.0, fill=0.0)
    """

    type_name: ClassVar[str] = "augment"

    shift: int | tuple[int, int] = 0
    flip: str | None = None
    rotate: float = 0.0
    fill: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        given = self.shift
        for value in given if isinstance(given, (tuple, list)) else (given, given):
            self._set("shift", value)
            self._whole("shift", 0)
        if isinstance(given, (tuple, list)) and len(given) != 2:
            raise ValueError(f"[Augment] shift is {given!r}: expected pixels, or (down, across)")
        down, across = given if isinstance(given, (tuple, list)) else (given, given)
        self._set("shift", (int(down), int(across)))
        if self.flip is not None:
            self._one_of("flip", ("left_right", "up_down", "both"))
        self._real("rotate", 0, 180)
        self._real("fill", -1e30)


def specs(net: Network, given: Any) -> list[dict[str, Any] | None]:
    """Return what the core takes, one an input: from an Augment (networks of one input), or a dict of them by the input's name."""
    if given is None:
        return []
    names = net.input_names
    if isinstance(given, Augment):
        if len(names) != 1:
            raise ValueError(f"[fit] augment is one Augment and the network has the inputs {', '.join(names)}: expected a dict by name")
        given = {names[0]: given}
    if not isinstance(given, Mapping):
        raise TypeError(f"[fit] augment is {given!r}: expected a cr.Augment, or a dict of them by input")
    for name, one in given.items():
        if name not in names:
            raise ValueError(f"[fit] augment names the input {name!r}: expected {' or '.join(map(repr, names))}")
        if not isinstance(one, Augment):
            raise TypeError(f"[fit] augment of {name!r} is {one!r}: expected a cr.Augment")
    return [given[name].spec() if name in given else None for name in names]
