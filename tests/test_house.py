"""The house stands as docs/design.md draws it: layers, doors, sizes, and a test file for every source file."""
from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSE = ROOT / "shadowproxy"
FILES = sorted(HOUSE.rglob("*.py"))

#: Import only to the left. Rooms of one step may not import one another, unless the step is open.
STEPS: tuple[tuple[str, ...], ...] = (
    ("errors", "version"),
    ("wire",),
    ("config", "exchange", "service", "watch", "outbox"),
    ("connection",),
    ("upstream", "sessions", "interceptors", "admission", "tape"),
    ("gateway",),
    ("downstream",),
    ("server",),
    ("application",),
    ("__init__", "__main__", "cli", "testing"),
)
OPEN_STEPS = {9}
#: The rooms of the tape, likewise.
TAPE_STEPS = ("redaction", "recording", "matching", "replaying", "verifying", "comparing", "viewing", "exchanging")

#: Third-party and risky modules, and the only places that may import them.
DOORS: dict[str, tuple[str, ...]] = {
    "httpx": ("upstream/", "cli/demo.py"),
    "hypercorn": ("downstream/",),
    "httptools": ("upstream/", "downstream/"),
    "subprocess": ("upstream/child.py", "upstream/warden.py"),
    "signal": ("cli/", "upstream/child.py", "upstream/warden.py"),
    "cyclopts": ("cli/",),
    "structlog": ("cli/",),
    "rich": ("cli/", "tape/"),
    "lark": ("tape/",),
    "zstandard": ("tape/",),
    "sqlite3": ("sessions/", "tape/"),
    "asyncio": (),
    "threading": ("testing/",),
}
PURE = ("trio", "socket", "ssl", "subprocess", "httpx", "time", "os")
MAX_LINES, MAX_FUNCTION = 400, 50
BANNED_NAMES = {"utils", "helpers", "manager", "base", "common"}


def room(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def step(name: str) -> int:
    return next(number for number, rooms in enumerate(STEPS) if name in rooms)


def imports(path: Path) -> set[str]:
    """Every module that is imported at run time; what only types need does not count."""
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    typing_only = {child for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) for child in ast.walk(node)}
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def needs(path: Path) -> set[Path]:
    """The files that it imports from, for types alone too: who reads the one must read the other."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "shadowproxy":
            folder = ROOT / (node.module or "").replace(".", "/")
            found |= {folder / f"{alias.name}.py" if (folder / f"{alias.name}.py").exists() else folder.with_suffix(".py") for alias in node.names}
    return found & set(FILES)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_to_the_left(path: Path) -> None:
    own = room(path)
    for module in imports(path):
        parts = module.split(".")
        if parts[0] != "shadowproxy":
            continue
        other = parts[1] if len(parts) > 1 and any(parts[1] in rooms for rooms in STEPS) else "__init__"
        if other == own:
            continue
        if step(own) in OPEN_STEPS:
            assert step(other) <= step(own)
        else:
            assert step(other) < step(own), f"{name_of(path)} imports {module}"


def test_nobody_needs_who_needs_him() -> None:
    """No circles: every file can be read after those that it needs."""
    graph = {path: needs(path) - {path} for path in FILES}
    while read := {path for path, rest in graph.items() if not rest & graph.keys()}:
        graph = {path: rest for path, rest in graph.items() if path not in read}
    circles = {path for path in graph if path in reachable(graph, path)}
    assert sorted(map(name_of, circles)) == []


def reachable(graph: dict[Path, set[Path]], start: Path) -> set[Path]:
    found: set[Path] = set()
    ahead = list(graph[start])
    while ahead:
        path = ahead.pop()
        if path in graph and path not in found:
            found.add(path)
            ahead += graph[path]
    return found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_doors(path: Path) -> None:
    place = path.relative_to(HOUSE).as_posix()
    for module in imports(path):
        allowed = DOORS.get(module.split(".")[0])
        assert allowed is None or place.startswith(allowed), f"{place} imports {module}, whose door is {allowed}"


@pytest.mark.parametrize("path", [p for p in FILES if room(p) == "wire"], ids=name_of)
def test_the_wire_knows_no_io(path: Path) -> None:
    assert not {module for module in imports(path) if module.split(".")[0] in PURE}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_sizes(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION, f"{node.name} is longer than {MAX_FUNCTION} lines"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_names_and_docstrings(path: Path) -> None:
    assert path.stem not in BANNED_NAMES
    assert ast.get_docstring(ast.parse(path.read_text())), "a file says what comes in, what goes out, who owns the tasks, who closes"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_channel_without_bound(path: Path) -> None:
    assert not re.search(r"open_memory_channel(\[[^\]]*\])?\((math\.)?inf", path.read_text())


@pytest.mark.parametrize("path", [p for p in FILES if p.stem not in ("__init__", "__main__")], ids=name_of)
def test_every_file_has_its_test(path: Path) -> None:
    inside = path.relative_to(HOUSE)
    mirrors = [ROOT / "tests" / inside.parent / f"test_{path.stem}.py", ROOT / "tests" / "real" / f"test_{path.stem}.py"]
    assert any(mirror.exists() for mirror in mirrors), f"no {mirrors[0].relative_to(ROOT)}"


def test_the_design_names_what_exists() -> None:
    """docs/design.md shows the life of a request with file and function names; each resolves."""
    text = (ROOT / "docs" / "design.md").read_text()
    named = re.findall(r"`([a-z_0-9/]+\.py)(?::([A-Za-z_0-9.]+))?`", text)
    assert len(named) > 20
    for file, name in named:
        path = HOUSE / file if (HOUSE / file).exists() else ROOT / file
        assert path.exists(), f"docs/design.md names {file}"
        if name:
            assert _defines(ast.parse(path.read_text()), name.split(".")), f"docs/design.md names {file}:{name}"


def _defines(tree: ast.AST, names: list[str]) -> bool:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == names[0]:
            return len(names) == 1 or _defines(node, names[1:])
    return False


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name in TAPE_STEPS and path.parent.parent.name == "tape"], ids=name_of)
def test_rooms_of_the_tape_import_only_those_before_them(path: Path) -> None:
    own = TAPE_STEPS.index(path.parent.name)
    for module in imports(path):
        match module.split("."):
            case ["shadowproxy", "tape", other, *_] if other in TAPE_STEPS:
                assert TAPE_STEPS.index(other) <= own, f"{name_of(path)} imports {module}"
