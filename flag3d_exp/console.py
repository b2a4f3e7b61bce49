"""Terminal output of a run: a header, a progress bar, one line per epoch, tables."""

import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import groupby
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from flag3d_exp import markdown
from flag3d_exp.credentials import without_user
from flag3d_exp.errors import printable, printable_lines

log = logging.getLogger(__name__)

PERCENT = ("top1", "top5")


class PrintableFormatter(logging.Formatter):
    """Format log lines that are safe to print, even if they hold names from files.

    The second and later lines of a message are indented, so that a name can't imitate a log line.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The record's line, without a traceback."""
        return super().formatMessage(record).replace("\n", "\n  ")

    def format(self, record: logging.LogRecord) -> str:
        """The record's line and its traceback."""
        return printable_lines(super().format(record))


class StdoutHandler(logging.Handler):
    """Write log lines to the current `sys.stdout`, so that a progress bar there can move aside."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record."""
        try:
            print(self.format(record), flush=True)
        except Exception:
            self.handleError(record)


class ProgressBar:
    """A bar with time left, loss, accuracy and clips/s; invisible if stdout is not a terminal.

    Args:
        first: the text before the first count is known.
    """

    def __init__(self, bar: Progress | None, first: str):
        self._bar, self._title = bar, first
        self._task = bar.add_task(first, total=None, count="", left="", note="") if bar else None

    def show(self, title: str, done: int, total: int, note: str = "", left: str = "") -> None:
        """Draw `done` of `total`, with a title before the bar and a note after it.

        Args:
            left: the time that the rest of the whole run will take.
        """
        if self._bar is None or self._task is None:
            return
        if title != self._title:  # a bar that was full once would show 0 time left for ever
            self._bar.reset(self._task, total=total)
            self._title = title
        self._bar.update(
            self._task,
            description=printable(title),
            completed=done,
            total=total,
            count=f"{done}/{total}",
            note=note,
            left=left,
        )


class TimeLeft:
    """The time that work will still take, from the mean time per item since the first call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._first: tuple[int, float] | None = None

    def text(self, done: int, total: int) -> str:
        """`1:02:03` or `02:03`; empty while there is nothing to estimate it from."""
        now = self._clock()
        if self._first is None:
            self._first = (done, now)
        before, started = self._first
        if done == before:
            return ""
        seconds = round((now - started) / (done - before) * (total - done))
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"


@contextmanager
def progress_bar(first: str = "starting") -> Iterator[ProgressBar]:
    """Show a bar during the block; log lines appear above it.

    Args:
        first: the text before the first count is known.
    """
    if not sys.stdout.isatty():
        yield ProgressBar(None, first)
        return
    console = Console(file=sys.stdout)
    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[count]}", table_column=Column(no_wrap=True)),
        TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[left]}", table_column=Column(no_wrap=True)),
        # This column shrinks on a narrow terminal.
        TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, ratio=1)),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as bar:
        yield ProgressBar(bar, first)


def open_streams() -> None:
    """Make stdout and stderr accept every line.

    A closed stream is opened on the null device. Otherwise the next file that is opened would get
    its file descriptor and receive what is printed. A stream that cannot encode a letter, such as
    an ASCII console, gets the letter escaped.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free file descriptor
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print one line, made safe for a terminal even if it holds names from files."""
    print(printable(text), flush=True)


def show(text: str) -> None:
    """Print Markdown unchanged; on a terminal, draw its tables within the terminal's width."""
    text = printable_lines(text)
    if not sys.stdout.isatty():
        print(text)
        return
    console = Console(file=sys.stdout)
    for is_table, group in groupby(text.splitlines(), lambda line: line.startswith("|")):
        lines = list(group)
        plain = Text("\n".join(map(markdown.unescaped_line, lines)))
        console.print(_table(lines) if is_table else plain)


def _table(lines: Sequence[str]) -> Table:
    header, rules, *rows = (markdown.cells(line) for line in lines)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, rule in zip(header, rules, strict=True):
        justify = "right" if rule.endswith(":") else "left"
        table.add_column(Text(name), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def metric_line(metrics: Mapping[str, float], names: list[str] | None = None) -> str:
    """`name value` pairs with a unit, in the order given."""
    chosen = [name for name in (names or metrics) if name in metrics]
    return "  ".join(f"{name} {formatted_value(name, metrics[name])}" for name in chosen)


def formatted_value(name: str, value: float) -> str:
    """A metric's value with as many digits as a reader needs."""
    leaf = name.rpartition("/")[2]
    if leaf.startswith(PERCENT):
        return f"{value:.2f} %"
    if leaf == "clips_per_second":
        return f"{value:.0f}"
    return f"{value:.4g}"


def summary_lines(
    metrics: Mapping[str, float],
    splits: Sequence[str],
    names: Sequence[str] = ("top1", "top5", "loss"),
) -> list[str]:
    """The final metrics of each split, one line each."""
    return [
        f"{split}: "
        + "  ".join(
            f"{name} {formatted_value(name, metrics[f'{split}/{name}'])}"
            for name in names
            if f"{split}/{name}" in metrics
        )
        for split in splits
    ]


def browse_line(uri: str, page: str) -> str:
    """The line that tells how to open a run in the MLflow UI; `page` is its address in the UI."""
    if uri.startswith("http"):
        return f"browse the run: {without_user(uri)}/{page}"
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    server = shlex.join([str(python), "-m", "mlflow", "ui", "--backend-store-uri", uri])
    return f"browse the run: {server}  then open http://127.0.0.1:5000/{page}"
