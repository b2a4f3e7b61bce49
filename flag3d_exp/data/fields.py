"""The names of a recording's fields in all files and requests, and their accepted aliases.

The fields are `name`, `label`, `subject`, `keypoints` (M, T0, V, C), `scores` (M, T0, V),
`image_shape` (height, width), `generated` (true if a network generated the recording) and
`repetitions` (R, 2). PYSKL's names are accepted as aliases.

Sizes: M persons, T0 frames of the recording, V joints, C coordinates, R repetitions.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flag3d_exp.errors import UserError

ALIASES = {
    "keypoint": "keypoints",
    "keypoint_score": "scores",
    "img_shape": "image_shape",
    "frame_dir": "name",
    "filename": "name",
}


def named_fields(given: Mapping[Any, Any]) -> dict[Any, Any]:
    """The fields by canonical name; a value of None counts as absent.

    Raises:
        UserError: a field is given under two names.
    """
    found: dict[Any, Any] = {}
    spelled: dict[Any, Any] = {}
    for key, value in given.items():
        if value is None:
            continue
        name = ALIASES.get(key, key) if isinstance(key, str) else key
        if key == "filename" and ("frame_dir" in given or "name" in given):
            continue  # these fields describe the video
        if name in spelled:
            pair = f"`{spelled[name]}` and `{key}`"
            raise UserError(f"{pair} are two names of one field; give one of them.")
        found[name], spelled[name] = value, key
    return found


@contextmanager
def as_spelled(given: Mapping[Any, Any]) -> Iterator[None]:
    """Context manager: error messages of the block use the field names of the file."""
    try:
        yield
    except UserError as error:
        text = str(error)
        for alias, name in ALIASES.items():
            if given.get(alias) is not None:
                text = text.replace(f"`{name}`", f"`{alias}`")
        raise UserError(text) from error
