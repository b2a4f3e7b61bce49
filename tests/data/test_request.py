import json

import numpy as np
import pytest

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.request import (
    MAX_BYTES,
    asked_windows,
    parse_request,
    read_recording,
    read_recordings,
    request_fields,
)
from flag3d_exp.errors import UserError

KEYPOINT = np.arange(2 * 4 * 17 * 2, dtype=np.float32).reshape(2, 4, 17, 2)


def test_a_request_holds_what_the_recording_held():
    scores = np.full((2, 4, 17), 0.1, np.float32)
    recording = Recording("a", 0, KEYPOINT, scores, (480, 640))
    content = json.dumps({"inputs": [request_fields(recording)]}).encode()
    (found,) = read_recordings(parse_request(content))
    assert (found.name, found.image_shape, found.finite) == ("a", (480, 640), True)
    np.testing.assert_array_equal(found.keypoints, KEYPOINT)
    np.testing.assert_array_equal(found.scores, scores)


def test_requests_need_keypoints_only():
    absent = {"scores": None, "image_shape": float("nan"), "name": float("nan")}
    found = read_recording({"keypoints": KEYPOINT} | absent, 7)
    assert (found.name, found.scores, found.image_shape) == ("7", None, None)


def test_requests_may_name_their_fields_as_files_do():
    fields = {"keypoint": KEYPOINT.tolist(), "keypoint_score": np.ones((2, 4, 17)).tolist()}
    found = read_recording(fields | {"img_shape": [480, 640], "frame_dir": "a"}, 7)
    assert (found.name, found.image_shape, found.scores.shape) == ("a", (480, 640), (2, 4, 17))
    with pytest.raises(UserError, match="recording 'a': `keypoint` must be numbers"):
        read_recording({"name": "a", "keypoint": [1]}, 7)
    with pytest.raises(UserError, match="`keypoint` and `keypoints` are two names of one field"):
        read_recording(fields | {"keypoints": KEYPOINT.tolist()}, 7)


@pytest.mark.parametrize("form", ["inputs", "instances", "dataframe_records"])
def test_the_three_lists_of_recordings_say_the_same(form):
    assert parse_request(json.dumps({form: [{"name": "a"}]}).encode()) == [{"name": "a"}]


def test_a_table_holds_a_recording_in_each_row():
    table = {"columns": ["name", "scores"], "data": [["a", [1]], ["b", None]]}
    rows = parse_request(json.dumps({"dataframe_split": table}).encode())
    assert rows == [{"name": "a", "scores": [1]}, {"name": "b", "scores": None}]


@pytest.mark.parametrize("value", [1e6, -1e6, 0])
def test_coordinates_reach_a_million(value):
    keypoints = np.full((1, 1, 17, 2), value)
    found = read_recording({"keypoints": keypoints.tolist()}, 0)
    np.testing.assert_array_equal(found.keypoints, keypoints)


def test_what_is_too_long_is_not_parsed():
    with pytest.raises(UserError, match="16 MiB"):
        parse_request(b"x" * (MAX_BYTES + 1))


def test_a_wrong_field_is_named_with_its_recording_and_the_likeliest_right_one():
    good = {"keypoints": KEYPOINT.tolist()}
    with pytest.raises(
        UserError, match="^recording 'a': 'score' is not a field. Did you mean `score"
    ):
        read_recordings([good, good | {"name": "a", "score": [1]}])


def test_refusals_repeat_no_more_than_a_few_letters_of_a_request():
    for fields in ({"name": "n" * 10**6}, {"k" * 10**6: 1}, {"image_shape": "s" * 10**6}):
        with pytest.raises(UserError) as caught:
            read_recording({"keypoints": KEYPOINT.tolist()} | fields, 0)
        assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"hop": 3}, "recording 4: `hop` is of a timeline, which `window` asks for"),
        ({"window": 0}, "`window` must be a whole number from 1 to 10000"),
        ({"window": 20.5}, "`window` must be a whole number"),
        ({"window": True}, "`window` must be a whole number"),
        ({"window": [20]}, "`window` must be a whole number"),
        ({"window": 20, "hop": 30}, "`hop` must be at most `window`"),
        ({"window": 20, "confidence": 2}, "`confidence` must be a number from 0 to 1"),
        ({"window": 20, "confidence": "high"}, "`confidence` must be a number from 0 to 1"),
        ({"window": 20, "count": 1}, "`count` must be true or false"),
    ],
)
def test_a_wrong_field_of_a_timeline_is_named(fields, expected):
    with pytest.raises(UserError, match=expected):
        asked_windows(fields, 4)


def test_a_timeline_is_asked_for_by_its_window():
    fields, how, counted = asked_windows({"name": "a", "window": 40.0, "count": None}, 0)
    assert (fields, counted) == ({"name": "a"}, False)
    assert (how.window, how.hop, how.min_length) == (40, 10, 20)
    assert asked_windows({"name": "a"}, 0) == ({"name": "a"}, None, False)
