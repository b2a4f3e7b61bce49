"""What a message looks like when names from files are in it."""

import logging
import sys
from pathlib import Path

import pytest

from flag3d_exp.console import PrintableFormatter, say, show
from flag3d_exp.errors import UserError, nearest, printable
from flag3d_exp.main import leave

HOSTILE = "\x1b]0;owned\x07\x1b[2Jname\u202e\ud800"
SHOWN = "\\x1b]0;owned\\x07\\x1b[2Jname\\u202e\\ud800"


def test_a_refusal_shows_control_characters_as_in_a_python_literal():
    assert str(UserError(f"no split {HOSTILE!s}\nhere")) == f"no split {SHOWN}\\nhere"


def test_letters_of_any_script_and_tabs_stay_as_they_are():
    text = "Kniebeuge\tüber 深蹲 \U0001f3cb\u3000приседание"
    assert printable(text) == text


def test_a_name_of_a_megabyte_is_shortened_in_the_middle():
    line = str(UserError(f"no split `{'x' * 10**6}`; there: train, val."))
    assert line.startswith("no split `xxx") and line.endswith("; there: train, val.")
    assert len(line) < 400
    line = printable("begins " + "many words " * 10**5 + "ends")
    assert line.startswith("begins many") and line.endswith("words ends") and len(line) < 2000


def test_making_a_line_printable_twice_changes_nothing():
    line = printable(f"{HOSTILE} {'x' * 5000} {'a b ' * 5000}")
    assert printable(line) == line


@pytest.mark.parametrize(
    "error", [UserError(HOSTILE), ValueError(HOSTILE), OSError(5, "fails", f"a{HOSTILE}")]
)
def test_the_last_line_of_a_run_is_safe_for_a_terminal(error, capsys):
    with pytest.raises(SystemExit):
        leave(error, Path("run"))
    (line,) = capsys.readouterr().err.splitlines()
    assert SHOWN in line and "\x1b" not in line


def test_the_log_is_safe_for_a_terminal_and_cannot_be_imitated():
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        raised = sys.exc_info()
    record = logging.LogRecord("a", 20, "f", 1, "%s", (f"{HOSTILE}\nINFO forged",), raised)
    lines = PrintableFormatter("%(levelname)s %(message)s").format(record).splitlines()
    assert lines[:2] == [f"INFO {SHOWN}", "  INFO forged"]
    assert lines[-1] == f"ValueError: {SHOWN}"


def test_what_is_printed_is_safe_for_a_terminal(capsys):
    say(HOSTILE)
    show(f"| a |\n| - |\n| {HOSTILE} |")
    assert capsys.readouterr().out == f"{SHOWN}\n| a |\n| - |\n| {SHOWN} |\n"


def test_names_too_long_to_compare_have_no_nearest():
    assert nearest("x" * 10**6, ["x" * (10**6 - 1), "y"]) == ""
    assert nearest("stgc", ["stgcn", "x" * 10**6]) == " Did you mean `stgcn`?"
