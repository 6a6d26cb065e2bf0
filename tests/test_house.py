"""The rules of the house, executed: layers, imports, file length, no print, README tables equal the registries."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "fdetect"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Which rooms a room may import; every room may import the root modules.
BELOW = {
    "cli": {"bench", "classifiers", "rigid", "features", "nets", "forensics", "engine", "metadata"},
    "bench": {"classifiers", "rigid", "features", "nets", "forensics", "engine", "metadata"},
    "classifiers": {"rigid", "features", "nets", "forensics", "engine"},
    "rigid": {"nets", "forensics", "engine"},
    "features": {"nets", "forensics", "engine"},
    "nets": {"forensics", "engine"},
    "forensics": {"engine"},
    "engine": set(),
    "metadata": set(),
    "": set(),
}

# Where a heavy or user-facing package may be imported at all, and where only inside functions.
HOMES = {
    "sklearn": ({"classifiers"}, {"classifiers"}),
    "torch": ({"nets"}, {"nets", "rigid", "classifiers"}),
    "transformers": ({"nets"}, {"nets", "rigid", "classifiers"}),
    "cupy": (set(), {"", "forensics"}),
    "rich_click": ({"cli"}, {"cli"}),
    "click": ({"cli"}, {"cli"}),
    "rich": (set(), {"cli"}),
}


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def imports(path: Path) -> list[tuple[str, bool]]:
    """Names of imported modules, and whether the import runs when the module is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late: set[int] = set()
    for node in ast.walk(tree):
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or typing_only:
            late.update(id(inner) for inner in ast.walk(node))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in late) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(f"{node.module}.{alias.name}", id(node) not in late) for alias in node.names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downwards_and_heavy_ones_stay_home(path: Path) -> None:
    here = room(path)
    for name, at_import in imports(path):
        parts = name.split(".")
        # the two top modules, __init__ and __main__, offer the rooms by name; __init__ only lazily
        if parts[0] == "fdetect" and len(parts) > 1 and path not in (PACKAGE / "__init__.py", PACKAGE / "__main__.py"):
            other = parts[1] if (PACKAGE / parts[1]).is_dir() else ""
            assert other in ("", here) or other in BELOW[here], f"{path.name} in '{here}' imports {name}"
        if parts[0] in HOMES:
            eager, lazy = HOMES[parts[0]]
            assert here in (eager if at_import else lazy), f"{path.name} in '{here}' imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_short_documented_and_do_not_print(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300, "split this file: 300 lines at most"
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module begins by saying what it is"
    if room(path) != "cli":
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        names = [node.func.id for node in calls if isinstance(node.func, ast.Name)]
        assert "print" not in names, "only the command line prints"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_pickle(path: Path) -> None:
    for name, _ in imports(path):
        assert name.split(".")[0] not in ("pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal")


@pytest.mark.parametrize("code", ["import fdetect", "from fdetect.cli import cli"])
def test_the_light_imports_load_nothing_heavy(code: str) -> None:
    heavy = ("torch", "cupy", "sklearn", "scipy", "transformers", "pyarrow", "numpy", "jinja2", "PIL")
    check = f"{code}\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_torch_is_loaded_by_the_rooms_that_work_without_it() -> None:
    code = (
        "import fdetect.bench.run, fdetect.bench.steps, fdetect.rigid, fdetect.features, sys\n"
        "print([name for name in ('torch', 'transformers', 'cupy', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def registries() -> dict[str, object]:
    from fdetect.cli.info import KINDS

    found = {}
    for kind, home in KINDS.items():
        module, _, name = home.partition(":")
        found[kind] = getattr(importlib.import_module(module), name)
    return found


def test_every_registered_thing_is_documented() -> None:
    for kind, registry in registries().items():
        for entry in registry:  # type: ignore[attr-defined]
            assert re.match(r"\S.{10,}[.:]$", entry.summary), f"{kind} {entry.name}: {entry.summary!r}"
            if kind in ("features", "maps", "heads", "detectors", "perturbations"):
                assert "->" in entry.doc, f"{kind} {entry.name} states no shapes"
            if kind in ("features", "maps", "heads", "detectors"):
                assert re.search(r"Sources?:|References", entry.doc), f"{kind} {entry.name} names no source"


def test_tables_of_the_documents_equal_the_registries() -> None:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    assert spec
    assert spec.loader
    written = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(written)
    for (file, marker), table in written.tables().items():
        found = written.place((ROOT / file).read_text(encoding="utf-8"), marker)
        assert found, f"{file} lost its marker registry:{marker}"
        assert found[2] == table, f"{file}: the table {marker} is of another time; run python docs/tables.py"


def test_every_twin_that_is_asked_for_exists_and_every_kernel_is_asked_for() -> None:
    from fdetect.forensics import _cpu

    rooms = [path for path in MODULES if room(path) in ("forensics", "features")]
    asked = {name for path in rooms for name in re.findall(r'\btwin\("(\w+)"', path.read_text(encoding="utf-8"))}
    kernels = {name for name, value in vars(_cpu).items() if callable(value)}
    assert asked == kernels


def test_readme_names_every_command_and_default() -> None:
    from fdetect.cli import cli
    from fdetect.config import RunConfig

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in cli.commands:
        assert f"fdetect {command}" in readme
    defaults = RunConfig()
    for name in (*defaults.conditions.names, *defaults.heads.all_columns, *defaults.detectors.names):
        assert f"`{name}`" in readme


def test_torch_is_the_pinned_build_where_it_is_installed() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'deep' is not installed")
    pinned = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    assert torch.__version__.split("+")[0] == pinned[1], "something replaced torch: install with -c constraints.txt"


def test_constraints_pin_every_dependency() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["deep"], *extras["fast"], *extras["test"]]
    names = {re.split(r"[\[>=<]", name)[0].lower().replace("_", "-") for name in wanted} - {"fdetect"}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    assert names <= pinned, f"not pinned in constraints.txt: {sorted(names - pinned)}"
