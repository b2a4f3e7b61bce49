"""Rules for the names of splits, which become part of file names and of metric names.

`test` gives `predictions/test.npz`, `test/top1`, `gap/test/top1`, and `test_ema/top1` for averages.
"""

import re
import reprlib
from collections.abc import Iterable
from typing import Any

from flag3d_exp.errors import UserError

AVERAGED = "_ema"
UNSEEN = "_unseen"  # ends the name of a split of the classes of `dataset.unseen`
NAME = re.compile(
    r"\w[\w.-]{0,99}"
)  # a subset of MLflow's metric names: no spaces, colons or slashes


def check_split_names(names: Iterable[Any], where: str, averaged: bool = False) -> None:
    """Refuse split names that cannot be part of a file name and of a metric name.

    Args:
        where: the source of the names, for the message: a key in backticks or a file.
        averaged: accept the names of splits that were evaluated with averaged weights.

    Raises:
        UserError: a name is refused; the message shows it and what is accepted.
    """
    for name in names:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise UserError(
                f"{where}: {reprlib.repr(name)} can't be the name of a split; it must be 1 to 100 "
                "letters, digits, `_`, `-` and `.`, and begin with a letter, a digit or `_`."
            )
        if name.endswith(AVERAGED) and not averaged:
            raise UserError(
                f"{where}: {reprlib.repr(name)} can't be the name of a split, because `{AVERAGED}` "
                "marks the metrics of averaged weights (`task.ema_decay`)."
            )
