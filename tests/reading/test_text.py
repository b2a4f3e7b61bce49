import pytest

from flag3d_exp.reading import Malformed
from flag3d_exp.reading.text import MAX_PARTS, file_bytes, file_text, parsed_json, parsed_yaml


def test_plain_yaml_is_read_as_mappings_lists_texts_and_numbers():
    text = "a: 1\nb: [x, 1.5, ~, yes, '1', !!str 5, 0x1f, .inf]\n? c\n: {d: [], e: {}}\n"
    assert parsed_yaml(text) == {
        "a": 1,
        "b": ["x", 1.5, None, True, "1", "5", 31, float("inf")],
        "c": {"d": [], "e": {}},
    }
    assert parsed_yaml("") is None


def test_dates_and_times_of_day_stay_text():
    assert parsed_yaml("[2024-01-31, 2024-13-45, 1:30]") == ["2024-01-31", "2024-13-45", "1:30"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &x [1]\nb: [*x, *x]", r"line 2: aliases such as `\*x` are not accepted"),
        ("a: &x [*x]", "line 1: aliases"),
        ("a: 1\nb: {c: 1,\n c: 2}", "line 3: 'c' stands twice"),
        ("!!python/object/apply:os.system [ls]", "line 1: tags such as .*os.system.* not accepted"),
        ("- !!timestamp 2024-01-01", "tags such as"),
        ("? [1]\n: 2", "a key must be text or a number"),
        ("--- 1\n--- 2", "several documents"),
        ("a: \0", "is not YAML"),
        ("a: [", "is not YAML: .* line 2, column 1"),
        ("\ud800", "is not YAML"),
        ("!!int x", "'x' is no int"),
        ("[" * 100_000, "line 1: it is nested more than 50 deep"),
        ("[" + "1," * (MAX_PARTS + 1) + "]", "it has more than 500,000 parts"),
        ("'" + "x" * 2_000_000 + "'", "line 1: a text of 2,000,000 characters"),
    ],
)
def test_yaml_that_is_more_than_data_is_refused_with_its_line(text, reason):
    with pytest.raises(Malformed, match=reason):
        parsed_yaml(text)


def test_numbers_of_a_million_digits_are_text():
    assert parsed_yaml("9" * 1_000_000) == "9" * 1_000_000
    assert parsed_yaml("1:" * 400_000 + "1") == "1:" * 400_000 + "1"


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 10_000, b"\xff", "NaNN"])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(Malformed, match="not JSON|nested too deeply"):
        parsed_json(text)


def test_a_file_is_read_up_to_a_limit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(2 << 20))
    assert len(file_bytes(path)) == 2 << 20
    with pytest.raises(Malformed, match="it is larger than 1 MB"):
        file_bytes(path, 1 << 20)
    with pytest.raises(Malformed, match="it is a folder"):
        file_bytes(tmp_path)
    with pytest.raises(Malformed, match="it can't be read: No such file"):
        file_bytes(tmp_path / "absent")


def test_a_byte_order_mark_of_excel_is_no_text(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfdata: 1\n")
    assert parsed_yaml(file_text(tmp_path / "a.yaml")) == {"data": 1}
    assert parsed_json(b'\xef\xbb\xbf{"data": 1}') == {"data": 1}
