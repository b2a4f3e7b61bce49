"""README and docs/: the site is built, its commands compose, and those that can be run are run.

A command stands in a fenced block marked `bash` (or, in README, not marked). `# needs ...` behind
it, or as the first line of its block, says what a plain machine lacks: it is composed, not run.
`make demo` stands for the runs in its recipe.
"""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from cli import TINY, command

from flag3d_exp.config.refusals import check_command_line

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
OTHER_PROGRAMS = ("curl", "docker", "git", "make", "mlflow", "pip", "pre-commit", "source", "eval")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUICK_TASKS = {
    "calibrate": ["device=cpu", "device.jit=false"],
    "adapt": ["device=cpu", "device.jit=false"],
    "robustness": ["device=cpu", "device.jit=false", "task.limit_batches=1"],
    "evaluate": ["device=cpu", "device.jit=false", "task.limit_batches=2"],
    "predict": ["device=cpu", "device.jit=false"],
    "explain": ["device=cpu", "device.jit=false", "task.num_steps=2", "task.num_random=2"],
    "lift": ["device=cpu", "device.jit=false"],
    "generate": ["device=cpu", "device.jit=false"],
    "fidelity": ["device=cpu", "device.jit=false"],
    "best": ["task.train={epochs:1}"],
}
QUICK_MODELS = {"aagcn": ["model.base_channels=8"]}
# Starting each command afresh would take longer than what it does.
RUNNER = """
import json, runpy, sys
from flag3d_exp.main import main
for words in json.load(sys.stdin):
    print("$", *words, flush=True)
    sys.argv = words
    if words[0].endswith(".py"):
        runpy.run_path(words[0], run_name="__main__")
    else:
        main()
"""


@dataclass(frozen=True)
class Command:
    """A command of a page, and what it needs that a plain machine lacks."""

    words: tuple[str, ...]
    needs: str

    @property
    def arguments(self) -> list[str] | None:
        """What follows `flag3d_exp`; None for another program."""
        for name in ("flag3d_exp", "flag3d-exp"):
            if name in self.words:
                return list(self.words[self.words.index(name) + 1 :])
        return None


def commands(page: Path) -> list[Command]:
    found = []
    for language, text in FENCE.findall(page.read_text(encoding="utf-8")):
        assert language or page.name == "README.md" or not text.startswith("python"), text
        lines = text.replace("\\\n", " ").splitlines()
        unmarked = page.name == "README.md" and not language and text[0] not in "{$"
        if language != "bash" and not unmarked:
            continue
        block = re.match(r"# needs (.*)", lines[0])
        for line in lines:
            own = re.search(r"# needs (.*)", line) or block
            if words := shlex.split(re.sub(r"^(\w+=\S* )+", "", line), comments=True):
                found.append(Command(tuple(words), own[1] if own else ""))
    return found


def last_lines(page: Path) -> list[tuple[Command, str]]:
    """The commands of a page behind which it shows what they print, and the last line of that.

    A block of output stands behind the block of its command, with nothing but text between them.
    """
    text = page.read_text(encoding="utf-8")
    fences = list(FENCE.finditer(text))
    found = []
    for block, output in zip(fences, fences[1:], strict=False):
        unmarked = page.name == "README.md" and not block[1]
        if (block[1] != "bash" and not unmarked) or output[1] != "text":
            continue
        inside = block[2].replace("\\\n", " ").strip().splitlines()
        mine = [one for one in commands(page) if " ".join(one.words) in map(plain, inside)]
        if ("make", "demo") in [one.words for one in mine]:
            mine = recipe("demo")
        run = [one for one in mine if one.arguments is not None and not one.needs]
        if run:
            found.append((run[-1], output[2].strip().splitlines()[-1]))
    return found


def plain(line: str) -> str:
    """A line of a shell as its words, without comments."""
    return " ".join(shlex.split(re.sub(r"^(\w+=\S* )+", "", line), comments=True))


def as_printed(line: str) -> re.Pattern[str]:
    """What a line of a page stands for: other numbers, counts and folders are as good."""
    counts = r"\d+ [a-z]+(?:, \d+ [a-z]+)*"
    parts = re.split(rf"({counts}(?=;)|\.\.\.|(?<!\w)\d[\d.,e+-]*)", line)
    for number, part in enumerate(parts):
        if number % 2 == 0:
            parts[number] = re.escape(part)
        elif part == "...":
            parts[number] = ".*"
        else:
            parts[number] = counts if " " in part else r"\d[\d.,e+-]*"
    return re.compile("".join(parts))


def recipe(target: str) -> list[Command]:
    """The program's runs in the recipe of a target of the Makefile."""
    text = (ROOT / "Makefile").read_text()
    lines = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)[0].splitlines()
    return [Command(tuple(shlex.split(line)), "") for line in lines if " -m flag3d_exp" in line]


def pages() -> list[Path]:
    """The pages of the site in the order of its table of contents."""
    contents = re.findall(r"```{toctree}\n(.*?)```", (DOCS / "index.md").read_text(), re.DOTALL)
    names = [line for text in contents for line in text.splitlines() if line and line[0] != ":"]
    return [DOCS / "index.md", *(DOCS / f"{name}.md" for name in names)]


def write_files(page: Path, folder: Path) -> None:
    """The files that a page tells its reader to write."""
    for name, content in FILE.findall(page.read_text(encoding="utf-8")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")


def quick(arguments: list[str]) -> list[str]:
    """The command with settings that let it end in seconds."""
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    extra = ["tracking=none"]
    if "task" not in given:
        extra += TINY if not {"model", "experiment"} & set(given) else TINY[-4:]
        extra += QUICK_MODELS.get(given.get("model", ""), [])
        extra.append(f"task.epochs={2 if 'task.resume' in given else 1}")
        extra.append("task.limit_batches=2")
    else:
        extra += QUICK_TASKS.get(given["task"], [])
    if "sweep" in given:
        extra.append("hydra.sweeper.n_trials=1")
    return [*arguments, *extra]


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *pages()],
                         ids=lambda page: page.stem)  # fmt: skip
def test_the_commands_of_a_page_are_ones_the_program_accepts(page, tmp_path, monkeypatch):
    for other in pages():  # a page may build on another's files
        write_files(other, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for one in commands(page):
        if one.arguments is not None:
            check_command_line(one.arguments)
        elif one.words[0] == "python":
            assert (tmp_path / one.words[1]).is_file() or one.needs, one
        else:
            assert one.words[0] in OTHER_PROGRAMS, one
            if one.words[0] == "make":
                assert set(one.words[1:]) <= set(targets), one


def test_a_page_s_commands_are_found_with_what_they_need(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```bash\npython -m flag3d_exp a=1 \\\n    b=2 # needs luck\nflag3d-exp c=3 # a note\n```\n"
        "```bash\n# needs snow\nmsrun --join=True python -m flag3d_exp d=4\nmake x\n```\n"
        "```python\nx = 1\n```\n"
    )
    found = [(one.arguments, one.needs) for one in commands(page)]
    assert found == [(["a=1", "b=2"], "luck"), (["c=3"], ""), (["d=4"], "snow"), (None, "snow")]


def test_the_citation_is_of_this_version():
    project = (ROOT / "pyproject.toml").read_text()
    version = re.findall(r'^version = "(.*)"', project, re.MULTILINE)[0]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert version in (ROOT / "CHANGELOG.md").read_text()


def printed(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command that RUNNER ran and the lines that it printed."""
    for part in text.split("\n$ "):
        command, *lines = part.removeprefix("$ ").splitlines()
        yield command, lines


def test_a_page_s_output_stands_for_the_same_with_other_numbers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```bash\npython -m flag3d_exp a=1 # note\npython -m flag3d_exp 'b=2 3' \\\n    c=4\n```\n"
        "It prints:\n\n```text\nfirst\nval: top1 9.2 %  loss 1e-05\n```\n"
        "```bash\n# needs luck\npython -m flag3d_exp d=5\n```\n```text\nnothing\n```\n"
    )
    ((command, line),) = last_lines(page)
    assert command.arguments == ["b=2 3", "c=4"]
    assert as_printed(line).fullmatch("val: top1 100.00 %  loss 0.3")
    assert not as_printed(line).fullmatch("val: top5 100.00 %  loss 0.3")
    line = "2 complete, 4 pruned; results in .../multirun/x.yaml"
    assert as_printed(line).fullmatch("1 complete; results in /tmp/multirun/x.yaml")
    assert dict(printed("$ a=1\nx\ny\n$ b=2\n")) == {"a=1": ["x", "y"], "b=2": []}


@pytest.mark.slow
def test_the_commands_of_the_docs_can_be_run_one_after_the_other(tmp_path):
    lines = []
    for page in [ROOT / "README.md", *pages()]:
        write_files(page, tmp_path)
        found = commands(page)
        if ("make", "demo") in [one.words for one in found] and page.name == "README.md":
            found = [*recipe("demo"), *found]
        for one in found:
            if one.needs or one.words[0] in OTHER_PROGRAMS:
                continue
            ours = one.arguments is not None
            lines.append(["flag3d_exp", *quick(one.arguments)] if ours else list(one.words[1:]))
    assert lines[0][1:3] == ["task.epochs=12", "task.eval_every=3"]  # of `make demo`
    assert len(lines) > 20
    done = subprocess.run(
        [sys.executable, "-c", RUNNER], input=json.dumps(lines), cwd=tmp_path,
        capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    outputs = dict(printed(done.stdout))
    compared = [pair for page in [ROOT / "README.md", *pages()] for pair in last_lines(page)]
    assert len(compared) >= 6
    for one, line in compared:
        words = " ".join(["flag3d_exp", *quick(one.arguments or [])])
        assert any(as_printed(line).fullmatch(said) for said in outputs[words]), (words, line)
    for made in ("report/report.html", "predicted/predicted.csv", "explained/explain.png"):
        assert (tmp_path / "outputs" / made).stat().st_size > 0


@pytest.mark.slow
def test_the_site_is_built_names_everything_and_loads_nothing_from_elsewhere(tmp_path):
    """One test, because building the site takes a minute; a warning of the builder fails it."""
    html = tmp_path / "html"
    line = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"]
    line += ["-d", str(tmp_path / "trees"), str(DOCS), str(html)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    check_names(html)
    check_arguments(html)
    check_loaded(html)


def check_names(html: Path) -> None:
    """The reference has every choice and every public class and function."""
    settings = (html / "reference/settings.html").read_text()
    for path in (ROOT / "conf").glob("*/*.yaml"):
        assert f"{path.parent.name}={path.stem}<" in settings
    documented = "".join(path.read_text() for path in (html / "reference").glob("*.html"))
    for path in (ROOT / "flag3d_exp").rglob("*.py"):
        if path.stem.startswith("__") or path.stem == "main":
            continue
        if path.stem == "of_torch":  # of an extra
            continue
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name[0] == "_":
                continue
            if ast.get_docstring(node):  # ruff sees to it that there is one
                assert f'id="{module}.{node.name}"' in documented, f"{module}.{node.name}"


def check_arguments(html: Path) -> None:
    """The reference shows what a network takes."""
    text = re.sub(r"<[^>]*>", "", (html / "reference/models.html").read_text())
    assert re.search(r"class flag3d_exp\.models\.aagcn\.AAGCN\(layout", " ".join(text.split()))
    assert "(*args, **kwargs)" not in text


def check_loaded(html: Path) -> None:
    """No page loads a script, a picture, a frame or a style sheet of another site."""
    for page in html.rglob("*.html"):
        text = page.read_text()
        assert not re.search(r'<(?:script|img|iframe)[^>]*src="(?:https?:)?//', text), page
        assert not re.search(r'<link[^>]*rel="stylesheet"[^>]*href="(?:https?:)?//', text), page
    for sheet in html.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//|@import", sheet.read_text()), sheet


def test_no_property_s_text_is_taken_for_its_type():
    """Napoleon reads what stands before a colon in a property's docstring as the type."""
    for path in (ROOT / "flag3d_exp").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and "property" in ast.unparse(
                ast.Module(node.decorator_list, [])
            ):
                assert ":" not in (ast.get_docstring(node) or "").split("\n")[0], (
                    f"{path}: {node.name}"
                )


def test_the_reference_says_what_every_setting_means(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    import settings

    for group in settings.GROUPS:
        paths = sorted((settings.CONF / group).glob("*.yaml"))
        choices = {path.stem: settings.read(path) for path in paths}
        for choice in choices.values():
            assert choice.about, f"{group}={choice.name} says nothing of itself"
            for name in choice.settings:
                assert settings.meaning(name, choice, choices), f"{group}={choice.name}: {name}"


def test_the_reference_follows_comments_interpolations_and_bases(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    import settings

    text = settings.group_text("device")
    assert (
        "| `id` | `0` | an integer of at least 0 | number of the accelerator in the driver's order;"
        in text
    )
    assert "| `format` | `onnx` | mindir or onnx |" in settings.group_text("task")
    assert "### device=gpu\n\nOne NVIDIA GPU" in text and "Starts from `auto`; changes:" in text
    assert "| `classes` | `[Push-ups, ...]` |" in settings.group_text("dataset")
    assert "| that of `dataset.layout` |" in settings.group_text("model")
    assert "| `path` | must be given | text |" in settings.group_text("dataset")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flag3d-exp model=stg", {"model=stgcn", "model=stgcn_small", "model=stgcnpp"}),
        ("flag3d-exp task=ev", {"task=evaluate"}),
        ("flag3d-exp sched", {"scheduler=", "scheduler."}),
    ],
)
def test_a_shell_completes_groups_and_choices(line, expected):
    asked = {"COMP_LINE": line, "COMP_POINT": str(len(line))}
    done = subprocess.run(
        command("--shell-completion", "query=bash"),
        env=os.environ | asked, capture_output=True, text=True,
    )  # fmt: skip
    assert set(done.stdout.split()) == expected, done.stderr
