"""A few inputs for every reader; `python -m fuzz` tries them for as long as is wanted."""

import pytest
from fuzz.readers import LONG_ONLY, READERS
from fuzz.trying import made, tried

NUM_INPUTS = 12


@pytest.mark.parametrize("name", [name for name in READERS if name not in LONG_ONLY])
def test_a_good_file_is_read(name):
    found = tried(READERS[name], READERS[name].good())
    assert found.kind == "result", found.text


@pytest.mark.parametrize("name", [name for name in READERS if name not in LONG_ONLY])
def test_a_changed_file_gives_a_result_or_a_refusal_in_one_line(name):
    for number in range(NUM_INPUTS):
        found = tried(READERS[name], made(READERS[name], f"{name} #short-{number}"))
        assert found.kind != "fault", f"--reader '{name}' --seed short-{number}\n{found.text}"
