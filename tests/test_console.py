"""What is drawn on a terminal: a pseudo-terminal, and as much of a screen as Rich makes use of."""

import logging
import os
import pty
import re
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO, TextIOWrapper

import pytest

from flag3d_exp.console import StdoutHandler, TimeLeft, open_streams, progress_bar, say, show

CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")
TABLE = """# Measured

| model | train ms | what it is |
| --- | ---: | --- |
| stgcn | 12 | a graph network |
| posec3d | 1234 | a network over heatmaps \\| volumes, which takes a while longer |
"""


class Terminal:
    """A pseudo-terminal of `columns`, in place of standard output while `attached`."""

    def __init__(self, columns: int, monkeypatch: pytest.MonkeyPatch):
        self.master, slave = pty.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[1] &= ~termios.OPOST  # a line feed as it was written
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        self.stdout = os.fdopen(slave, "w", encoding="utf-8")
        monkeypatch.setattr(sys, "stdout", self.stdout)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", str(columns))  # Rich asks the process's own terminal else
        os.set_blocking(self.master, False)
        self.written = ""

    def close(self) -> None:
        self.stdout.close()
        os.close(self.master)

    def once_it_shows(self, text: str, seconds: float = 10) -> list[str]:
        """The screen as soon as it holds the text; bars are drawn ten times a second."""
        deadline = time.monotonic() + seconds
        while text not in "\n".join(lines := self.screen()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert text in "\n".join(lines), lines
        return lines

    def screen(self) -> list[str]:
        """The lines that are to be seen now."""
        self.stdout.flush()
        try:
            while chunk := os.read(self.master, 65536):
                self.written += chunk.decode()
        except BlockingIOError:
            pass
        return drawn(self.written)


def drawn(written: str) -> list[str]:
    lines, row, column = [""], 0, 0
    for parameter, command, control, text in CONTROL.findall(written):
        if control == "\r":
            column = 0
        elif control == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif text:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
            column += len(text)
        elif command == "A":
            row -= int(parameter or 1)
        elif command == "K":
            lines[row] = ""
    return [line.rstrip() for line in lines if line.strip()]


@pytest.fixture
def terminal(monkeypatch) -> Iterator[Callable[[int], Terminal]]:
    opened: list[Terminal] = []

    def of_columns(columns: int) -> Terminal:
        opened.append(Terminal(columns, monkeypatch))
        return opened[-1]

    yield of_columns
    monkeypatch.undo()
    for one in opened:
        one.close()


@contextmanager
def logger() -> Iterator[logging.Logger]:
    log, handler = logging.getLogger("test_console"), StdoutHandler()
    log.propagate, log.level = False, logging.INFO
    log.addHandler(handler)
    try:
        yield log
    finally:
        log.removeHandler(handler)


@pytest.mark.parametrize("columns", [60, 120])
def test_log_lines_stand_above_the_bar_and_nothing_is_left_of_it(columns, terminal):
    terminal = terminal(columns)
    note = "train/loss 2.737  train/top1 10.00 %  clips_per_second 156"
    with logger() as log:
        log.info("a header")
        with progress_bar() as bar:
            bar.show("epoch 1/2", 3, 60, note)
            *above, last = terminal.once_it_shows(" 3/60 ")
            assert above == ["a header"]
            assert last.startswith("epoch 1/2 ━") and len(last) <= columns
            assert ("clips_per_second 156" in last) == (columns == 120)
            log.info("epoch 1/2  train/loss 2.5")
            bar.show("evaluating val", 7, 240)
            *above, last = terminal.once_it_shows(" 7/240 ")
            assert above == ["a header", "epoch 1/2  train/loss 2.5"]
            assert last.startswith("evaluating val ") and last.count("━") > 10
        log.info("the end")
    assert terminal.screen() == ["a header", "epoch 1/2  train/loss 2.5", "the end"]


def test_elsewhere_there_is_no_bar_and_a_table_is_markdown(capsys):
    with progress_bar() as bar:
        bar.show("epoch 1/2", 3, 60, "train/loss 2.7")
    show(TABLE)
    assert capsys.readouterr().out == TABLE + "\n"


def test_a_table_is_drawn_within_a_terminal(terminal):
    terminal = terminal(44)
    show(TABLE)
    heading, names, rule, *rows = terminal.screen()
    assert heading == "# Measured" and names.split() == ["model", "train", "ms", "what", "it", "is"]
    assert set(rule.strip()) == {"─"}
    assert rows[0].split()[:2] == ["stgcn", "12"] and rows[1].split()[:2] == ["posec3d", "1234"]
    assert "heatmaps | volumes" in " ".join(" ".join(rows).split())
    assert max(map(len, [names, *rows])) <= 44


def test_closed_streams_swallow_what_is_printed_and_files_keep_their_content(tmp_path):
    code = (
        "from flag3d_exp.console import open_streams, say; open_streams(); "
        "file = open('kept', 'w'); say('swallowed'); file.write('content')"
    )
    command = ["/bin/sh", "-c", 'exec "$0" -c "$1" 0<&- 1>&- 2>&-', sys.executable, code]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "kept").read_text() == "content"


def test_a_console_without_the_letters_gets_them_escaped(tmp_path, monkeypatch):
    stream = TextIOWrapper(BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    open_streams()
    say("90 ± 1, 深蹲")
    assert stream.buffer.getvalue() == b"90 \\xb1 1, \\u6df1\\u8e72\n"


def test_a_bar_says_what_it_waits_for_and_begins_again_with_each_title(terminal):
    terminal = terminal(120)
    with progress_bar("compiling") as bar:
        (waiting,) = terminal.once_it_shows("compiling")
        assert "None" not in waiting
        bar.show("epoch 1/2", 60, 60)
        terminal.once_it_shows(" 60/60 ")
        bar.show("epoch 2/2", 1, 60, left="(run 1:02:03)")
        (second,) = terminal.once_it_shows(" 1/60 ")
        assert "00:00" not in second and "(run 1:02:03)" in second


def test_the_time_left_is_that_of_the_mean_pace_since_the_first_call():
    clock = iter([100.0, 100.0, 110.0, 120.0]).__next__
    left = TimeLeft(clock)
    assert [left.text(3, 100), left.text(3, 100)] == ["", ""]  # nothing is known yet
    assert left.text(4, 100) == "16:00"  # ten seconds for one, 96 are left
    assert left.text(4, 244) == "1:20:00"
