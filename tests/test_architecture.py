"""The code keeps to its plan: who may import whom, how large files are, what is never written."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from webapp.kinds import KINDS

ROOT = Path(__file__).resolve().parents[1]
# Below all rooms: everybody may use them (docs/architecture.md).
BELOW = {
    "config",
    "commands",
    "databases",
    "errors",
    "extensions",
    "security",
    "htmx",
    "error_pages",
    "tracing",
    "counters",
    "version",
    "installation",
} | {
    "mail",
    "data_dir",
    "lib",
}
# Which rooms each room may use. `cli` and the application itself stand above all of them.
ARROWS: dict[str, set[str]] = {
    "accounts": set(),
    "jobs": set(),
    "engine": {"jobs", "accounts"},
    "reports": {"engine", "jobs", "accounts"},
    "api": {"engine", "jobs", "accounts"},
    "delivery": {"api", "engine", "jobs", "accounts"},
    "ops": {"engine", "jobs", "accounts"},
    "files": set(),
    "intake": {"jobs", "accounts", "files"},
    "kinds": {"engine", "jobs", "files", "intake", "partner", "accounts"},
    "partner": set(),
}
PARTNER_MAY = {"errors", "lib"}
MOST_LINES = 350
# Longer than they should be: the next one to work on them finds the second noun.
LONGER: dict[str, int] = {}
# Needs met in one place each: a sign that they are met, and the files where it may stand.
ONE_MECHANISM = {
    "click.progressbar(": {"webapp/commands.py"},
    "reversed(secret_keys": {"webapp/security.py"},
    "sqlalchemy.dialects import": {"webapp/lib/upserts.py"},
    "_get_current_object(": {"webapp/extensions.py"},
    "xlsxwriter": {"webapp/lib/workbooks.py"},
    "ApiKey.key_id ==": {"webapp/accounts/keys.py"},
    "(0[1-9]|1[0-2])": {"webapp/lib/months.py", "webapp/lib/bodies.py"},
    '"+00:00"': {"webapp/lib/moments.py"},
    "\\ud800": {"webapp/lib/texts.py", "webapp/lib/bodies.py"},
    "\\x00": {"webapp/lib/texts.py", "webapp/security.py", "webapp/kinds/label_revenue/bulk.py"},
    "while batch :=": {"webapp/lib/batches.py"},
    "last month is before": {"webapp/lib/bodies.py"},
}
SLUGS = {kind.slug for kind in KINDS}


def modules(folder: str = "webapp") -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names a file imports, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            yield module
            # `from webapp import cli` imports a room by name.
            if module in {"webapp", "webapp.kinds"}:
                yield from (f"{module}.{alias.name}" for alias in node.names)


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT / "webapp").parts
    return parts[0].removesuffix(".py")


@pytest.mark.parametrize("room", ARROWS)
def test_a_room_imports_only_what_the_plan_allows(room: str) -> None:
    wrong = []
    for path in modules(f"webapp/{room}"):
        allowed = ARROWS[room] | {room} | (PARTNER_MAY if room == "partner" else BELOW)
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "webapp" and len(parts) > 1 and parts[1] not in allowed:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_the_partner_client_knows_no_flask_and_no_database() -> None:
    for path in modules("webapp/partner"):
        foreign = {name.split(".")[0] for name in imports(path)}
        assert not foreign & {"flask", "sqlalchemy", "flask_sqlalchemy", "rq"}, path


def test_what_stands_below_all_rooms_uses_none_of_them() -> None:
    wrong = []
    below = [ROOT / "webapp" / f"{name}.py" for name in BELOW - {"error_pages", "lib"}]
    for path in [*below, *modules("webapp/lib")]:
        for imported in imports(path):
            parts = imported.split(".")
            if parts[0] == "webapp" and len(parts) > 1 and parts[1] not in BELOW:
                wrong.append(f"{path.name} imports {imported}")
    assert wrong == []


def module_names() -> dict[str, Path]:
    """Return every module of the application and the stand-in by its dotted name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in [*modules(), *modules("sandbox")]
    }


def used_modules(path: Path, known: dict[str, Path]) -> set[str]:
    """Return the modules a file needs, those it imports inside of functions too."""
    tree = ast.parse(path.read_text("utf-8"))
    blocks = (node for node in ast.walk(tree) if isinstance(node, ast.If))
    for_types = {
        inner
        for block in blocks
        if "TYPE_CHECKING" in ast.unparse(block.test)
        for inner in ast.walk(block)
    }
    found = set()
    for node in set(ast.walk(tree)) - for_types:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            for alias in node.names:
                full = f"{module}.{alias.name}"
                found.add(full if full in known else module)
    return found & set(known)


def test_no_modules_stand_in_a_circle() -> None:
    known = module_names()
    # A module of a room uses the room's own front only by way of its neighbours.
    arrows = {
        name: {one for one in used_modules(path, known) if not name.startswith(f"{one}.")} - {name}
        for name, path in known.items()
    }
    while leaves := {name for name, used in arrows.items() if not used & set(arrows)}:
        arrows = {name: used for name, used in arrows.items() if name not in leaves}
    assert arrows == {}


def room_and_kind(path: Path) -> str:
    """Return the room of a file; each kind is a room of its own."""
    parts = path.relative_to(ROOT / "webapp").parts
    return "/".join(parts[:2]) if parts[0] == "kinds" and len(parts) > 2 else room_of(path)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_a_rooms_private_names_are_its_own() -> None:
    trees = {path: ast.parse(path.read_text("utf-8")) for path in modules()}
    owners: dict[str, set[str]] = {}
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and is_private(node.name):
                owners.setdefault(node.name, set()).add(room_and_kind(path))
    wrong = []
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("webapp"):
                wrong += [f"{path}: {one.name}" for one in node.names if is_private(one.name)]
            elif isinstance(node, ast.Attribute) and is_private(node.attr):
                if ast.unparse(node.value) in {"self", "cls", "super()"}:
                    continue
                rooms = owners.get(node.attr, {room_and_kind(path)})
                if room_and_kind(path) not in rooms:
                    wrong.append(f"{path}:{node.lineno} {ast.unparse(node)}")
    assert wrong == []


def test_what_is_needed_more_than_once_stands_once() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {sign}"
        for sign, allowed in ONE_MECHANISM.items()
        for path in modules()
        if sign in path.read_text("utf-8") and str(path.relative_to(ROOT)) not in allowed
    ]
    assert wrong == []


def test_the_stand_in_imports_nothing_of_the_application() -> None:
    for path in modules("sandbox"):
        assert not any(name.split(".")[0] == "webapp" for name in imports(path)), path


def test_no_kind_imports_another_kind() -> None:
    wrong = []
    for folder in (ROOT / "webapp" / "kinds").iterdir():
        if not folder.is_dir():
            continue
        for path in folder.rglob("*.py"):
            for name in imports(path):
                parts = name.split(".")
                if parts[:2] == ["webapp", "kinds"] and len(parts) > 2 and parts[2] != folder.name:
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_nothing_but_the_kinds_names_a_kind_in_a_comparison() -> None:
    """An `if kind == …` outside of the kinds is the beginning of a ladder."""
    wrong = []
    for path in modules():
        if room_of(path) in {"kinds"}:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Compare | ast.match_case):
                texts = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
                if isinstance(node, ast.Compare) and texts & SLUGS:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert wrong == []


def test_no_template_outside_of_the_kinds_names_a_kind() -> None:
    for path in (ROOT / "webapp" / "templates").rglob("*.html"):
        text = path.read_text("utf-8")
        assert not any(f'"{slug}"' in text or f"'{slug}'" in text for slug in SLUGS), path


def test_whoever_catches_everything_raises_it_again() -> None:
    wrong = []
    for path in [*modules(), *modules("sandbox"), ROOT / "worker.py"]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ExceptHandler) and _is_broad(node):
                last = node.body[-1]
                if not isinstance(last, ast.Raise):
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert wrong == []


def _is_broad(node: ast.ExceptHandler) -> bool:
    names = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else {""}
    return bool(names & {"", "Exception", "BaseException"})


def test_whoever_writes_into_the_audit_log_commits_it() -> None:
    """`audit` only adds an entry: a change and its entry are kept together, by who began them."""
    wrong = []
    for path in modules():
        if room_of(path) == "accounts":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = _called_by(node) if isinstance(node, ast.FunctionDef) else set()
            if isinstance(node, ast.FunctionDef) and "audit" in called and "commit" not in called:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert wrong == []


def _called_by(function: ast.FunctionDef) -> set[str]:
    calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    return {getattr(call, "id", "") or getattr(call, "attr", "") for call in calls}


def test_no_file_is_so_long_that_a_second_noun_hides_in_it() -> None:
    long = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for path in [*modules(), *modules("sandbox")]
    }
    allowed = {name: LONGER.get(name, MOST_LINES) for name in long}
    assert {name: lines for name, lines in long.items() if lines > allowed[name]} == {}


def test_every_module_says_what_it_holds() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in [*modules(), *modules("sandbox")]
        if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert silent == []


def test_every_public_function_is_annotated() -> None:
    bare = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in [*modules(), *modules("sandbox")]
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is None
    ]
    assert bare == []


def test_nothing_is_loaded_from_another_site() -> None:
    """Templates, styles and scripts of ours name no foreign host: all works offline."""
    for suffix in ("html", "css", "js"):
        for path in (ROOT / "webapp").rglob(f"*.{suffix}"):
            if "vendor" in path.parts:
                continue
            text = path.read_text("utf-8")
            for sign in ('src="http', "src='http", "url(http", "@import", 'href="//', 'src="//'):
                assert sign not in text, (path, sign)
