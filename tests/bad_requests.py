"""More than a hundred requests that no server of recordings may answer, and what each must hear."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

JSON = "application/json"


@dataclass(frozen=True)
class Bad:
    """A request's content, and the status and a part of the one line that answers it."""

    title: str
    content: bytes
    said: str
    status: int = 400
    kind: str = JSON


def bad_requests(good: dict[str, Any]) -> Iterator[Bad]:
    """Requests made of a good recording (3D) by one change each, then requests of other kinds."""
    yield from _changed_numbers(good)
    yield from _changed_shapes(good)
    yield from _changed_fields(good)
    yield from _not_recordings(good)
    yield from _not_json(good)


def _with(good: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A copy of the recording, no list of it shared, with other fields; None leaves one out."""
    changed = json.loads(json.dumps(good)) | fields
    return {key: value for key, value in changed.items() if value is not None}


def _inputs(*recordings: Any) -> bytes:
    return json.dumps({"inputs": recordings}).encode()


def _text(good: dict[str, Any], literal: str, key: str = "keypoints") -> bytes:
    """The recording with a literal in place of its first number."""
    changed = _with(good)
    _edit(changed[key], lambda joint: joint.__setitem__(0, "@"))
    return _inputs(changed).replace(b'"@"', literal.encode(), 1)


def _edit(nested: list, change: Callable[[list], None]) -> None:
    """Change the innermost first list."""
    while isinstance(nested[0], list):
        nested = nested[0]
    change(nested)


def _changed_numbers(good: dict[str, Any]) -> Iterator[Bad]:
    scores = [[[1.0] * len(frame) for frame in person] for person in good["keypoints"]]
    scored = _with(good, scores=scores)
    values = {
        "3e38": "within",
        "-3e38": "within",
        "1e39": "within",
        "1000001": "within",
        "-1e7": "within",
        "1e999": "within",
        "-1e999": "within",
        "1" + "0" * 400: "within",
        "-1" + "0" * 400: "within",
        "1" + "0" * 5000: "JSON",
        "NaN": "NaN",
        "Infinity": "Infinity",
        "-Infinity": "Infinity",
        '"1.5"': "numbers",
        '"NaN"': "numbers",
        '"<script>"': "numbers",
        '"\\u001b[2J"': "numbers",
        "true": "numbers",
        "false": "numbers",
        "null": "numbers",
        "[]": "numbers",
        "[1]": "numbers",
        "{}": "numbers",
        '{"a": 1}': "numbers",
    }
    for literal, said in values.items():
        yield Bad(f"a coordinate {literal[:12]}", _text(good, literal), said)
    for literal, said in values.items():
        yield Bad(f"a score {literal[:12]}", _text(scored, literal, "scores"), said)
    for literal in ("-0.1", "-1", "-1e-9"):
        yield Bad(f"a score {literal}", _text(scored, literal, "scores"), "within")


def _changed_shapes(good: dict[str, Any]) -> Iterator[Bad]:
    keypoints = good["keypoints"]
    frame = keypoints[0][0]
    for title, value, said in (
        ("no persons", [], "none"),
        ("a person without frames", [[]], "none"),
        ("a frame without joints", [[[]]], "none"),
        ("a joint without coordinates", [[[[]]]], "none"),
        ("one axis", [1.0, 2.0], "numbers"),
        ("two axes", [[1.0, 2.0]], "numbers"),
        ("three axes", keypoints[0], "`keypoints` m"),
        ("five axes", [keypoints], "numbers"),
        ("a number", 3, "numbers"),
        ("a text", "keypoints", "numbers"),
        ("a truth value", True, "numbers"),
        ("an object", {"0": keypoints}, "numbers"),
        ("persons of unequal length", [keypoints[0], keypoints[0][:-1]], "equal"),
        ("frames of unequal length", [[frame, frame[:-1]]], "equal"),
        ("joints of unequal length", [[[*frame[:-1], frame[-1][:-1]]]], "equal"),
        ("a frame that is a number", [[frame, 1]], "numbers"),
        ("a frame too few joints", [[frame[:-1]]], "joints"),
        ("a frame too many joints", [[[*frame, frame[0]]]], "joints"),
        ("two coordinates", [[[joint[:2] for joint in frame]]], "coordinates"),
        ("four coordinates", [[[[*joint, 1.0] for joint in frame]]], "coordinates"),
        ("one coordinate", [[[joint[:1] for joint in frame]]], "coordinates"),
        ("33 persons", [[frame]] * 33, "33 persons"),
        ("a thousand persons", [[frame]] * 1000, "1000 persons"),
        ("10,001 frames", [[[[0]]] * 10_001], "10001 frames"),
    ):
        yield Bad(title, _inputs(_with(good, keypoints=value)), said)
    yield Bad("no keypoints", _inputs(_with(good, keypoints=None)), "no `keypoints`")
    frame = json.dumps([[0.125] * 3] * 25).encode()
    long = b'{"inputs": [{"keypoints": [[' + (frame + b",") * 30_000 + frame + b"]]}]}"
    yield Bad("30,001 frames of 25 joints", long, "MiB", 413)


def _changed_fields(good: dict[str, Any]) -> Iterator[Bad]:
    shapes: dict[str, str] = {
        "[1e999, 640]": "image_shape",
        "[Infinity, 640]": "Infinity",
        "[NaN, 640]": "NaN",
        "[1e308, 1e308]": "image_shape",
        f"[1{'0' * 400}, 640]": "image_shape",
        "[0, 640]": "image_shape",
        "[-480, 640]": "image_shape",
        "[480.5, 640]": "image_shape",
        "[100001, 640]": "image_shape",
        "[480]": "image_shape",
        "[480, 640, 3]": "image_shape",
        "[[480, 640]]": "image_shape",
        "[]": "image_shape",
        "480": "image_shape",
        '"480x640"': "image_shape",
        '["480", "640"]': "image_shape",
        "[true, true]": "image_shape",
        "[null, null]": "image_shape",
        '{"height": 480}': "image_shape",
    }
    marked = _inputs(_with(good, image_shape="@"))
    for literal, said in shapes.items():
        content = marked.replace(b'"@"', literal.encode())
        yield Bad(f"image_shape {literal[:14]}", content, said)
    for title, name in (
        ("an empty name", ""),
        ("a name of a megabyte", "n" * 1_000_000),
        ("a number as name", 7),
        ("a list as name", ["a"]),
        ("half a character as name", "\ud800"),
    ):
        yield Bad(title, _inputs(_with(good, name=name)), "name")
    for title, fields in (
        ("a field misspelt", {"score": [[[1.0]]]}),
        ("a field of a megabyte", {"k" * 1_000_000: 1}),
        ("a field with an escape", {"\x1b[2J": 1}),
    ):
        yield Bad(title, _inputs(_with(good, **fields)), "is not a field")
    half = [[[1.0] * len(frame) for frame in person[:1]] for person in good["keypoints"]]
    yield Bad("scores of other frames", _inputs(_with(good, scores=half)), "`scores` must have")
    yield Bad("scores of four axes", _inputs(_with(good, scores=good["keypoints"])), "numbers")


def _not_recordings(good: dict[str, Any]) -> Iterator[Bad]:
    row = json.dumps(good).encode()
    for title, content, said in (
        ("a list", b"[" + row + b"]", "object"),
        ("a number", b"3", "object"),
        ("a text", b'"inputs"', "object"),
        ("null", b"null", "object"),
        ("an empty object", b"{}", "exactly one"),
        ("two forms", b'{"inputs": [], "instances": []}', "exactly one"),
        ("a recording alone", row, "exactly one"),
        ("parameters", b'{"inputs": [' + row + b'], "params": {"top_k": 1}}', "params"),
        ("an unknown form of a megabyte", b'{"' + b"f" * 1_000_000 + b'": []}', "exactly one"),
        ("no recordings", b'{"inputs": []}', "no recording"),
        ("no list", b'{"inputs": 3}', "list"),
        ("a text for a list", b'{"inputs": "keypoints"}', "list"),
        ("one recording for a list", b'{"inputs": ' + row + b"}", "list"),
        ("a recording that is a number", b'{"inputs": [3]}', "object"),
        ("a recording that is null", b'{"inputs": [null]}', "object"),
        ("a recording that is a list", b'{"inputs": [[1]]}', "object"),
        ("instances of numbers", b'{"instances": [1, 2]}', "object"),
        ("records of lists", b'{"dataframe_records": [[1]]}', "object"),
        ("a table without columns", b'{"dataframe_split": {"data": [[1]]}}', "columns"),
        ("a table that is a list", b'{"dataframe_split": [1]}', "columns"),
        ("a row too short", b'{"dataframe_split": {"columns": ["a"], "data": [[]]}}', "columns"),
        ("a good one, then a bad one", _inputs(good, {"name": "b"}), "no `keypoints`"),
    ):
        yield Bad(title, content, said)
    yield Bad("101 recordings", _inputs(*[{"keypoints": [[[[0]]]]}] * 101), "this has 101.")


def _not_json(good: dict[str, Any]) -> Iterator[Bad]:
    row = _inputs(good)
    for title, content, said in (
        ("nothing", b"", "JSON"),
        ("half a request", row[: len(row) // 2], "JSON"),
        ("a comma too many", row[:-1] + b",}", "JSON"),
        ("two requests", row + row, "JSON"),
        ("bytes", bytes(range(256)), "JSON"),
        ("a pickle", b"\x80\x04\x95\x10\x00", "JSON"),
        ("UTF-16", b"\xff\xfe" + row.decode().encode("utf-16-le"), "JSON"),
        ("an invalid byte", row.replace(b"keypoints", b"key\xffoints"), "JSON"),
        ("markup", b"<script>alert(1)</script>", "JSON"),
        ("brackets 100,000 deep", b"[" * 100_000, "nested"),
        ("objects 100,000 deep", b'{"a":' * 100_000, "nested"),
        ("13 MB of spaces", b" " * 13_000_000, "JSON"),
        ("13 MB of letters", b"x" * 13_000_000, "JSON"),
        (
            "100,000 frames of one joint",
            b'{"inputs": [{"keypoints": [[' + b"[[0,0,0]]," * 99_999 + b"[[0,0,0]]]]}]}",
            "100000 frames",
        ),
        ("a million recordings", b'{"inputs": [' + b"{}," * 999_999 + b"{}]}", "lists"),
        ("13 MB of zeros", b'{"inputs": [' + b"0," * 6_500_000 + b"0]}", "this has 6500001."),
        ("13 MB of lists", b'{"inputs": [' + b"[]," * 4_300_000 + b"[]]}", "lists"),
    ):
        yield Bad(title, content, said)
    yield Bad("20 MB", b" " * 20_000_000, "MiB", 413)
    for kind in ("text/csv", "application/vnd.apache.parquet", "text/plain", "image/png", ""):
        yield Bad(f"content of type {kind!r}", row, "application/json", 415, kind)
    yield Bad("another character set", row, "application/json", 415, f"{JSON}; charset=latin-1")
