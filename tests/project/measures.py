"""What the code is like in figures: ``./dev measures`` prints the table that ARCHITECTURE.md shows.

Counted on the syntax trees of what is installed (``agents``, ``tables``, ``streams``) and of the tests.
Nothing here passes or fails: the figures are for comparing one month with the next.
"""

import ast
import io
import re
import statistics
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.project import way

REPOSITORY = Path(__file__).parents[2]
LAYERS = ("streams", "tables", "agents")  # each may import itself and those before it
PRAGMA = re.compile(r"#\s*(noqa|type:|fmt:|pragma)")
COUNTERS = {"counts", "counters", "messages", "notes", "rejected"}
BROAD = {"Exception", "BaseException"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Measured:
    """The figures of some files.

    Attributes:
        files: lines of each.
        functions: lines of code of each, without its signature, docstring, comments and blank lines.
        code_lines: lines that are neither blank nor comments.
        comments: comments that are no pragma, behind code or on a line of their own.
        annotated: functions whose every argument and result has a type.
        climbing: imports of a higher layer.
        swallowing: ``except Exception``, ``BaseException`` or nothing, without raising it again.
        raising: the same, but what was caught is raised again in every case.
        literal_counters: counters that are named by a literal where they are counted.
        built: calls, at import, of what another module of ours has.
    """

    files: list[int] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    code_lines: int = 0
    comments: int = 0
    annotated: int = 0
    climbing: int = 0
    swallowing: int = 0
    raising: int = 0
    literal_counters: int = 0
    built: int = 0

    def add(self, module: str, text: str) -> None:
        """Count one file, which is known by its module's name."""
        tree = ast.parse(text)
        lines = text.splitlines()
        functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
        self.files.append(len(lines))
        self.functions += [length(function, lines) for function in functions]
        self.code_lines += sum(map(is_code, lines))
        self.comments += sum(not PRAGMA.match(comment) for comment in comments(text))
        self.annotated += sum(map(is_annotated, functions))
        self.climbing += sum(climbs(module, name) for name in imported(tree))
        broad = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and is_broad(node)]
        self.raising += sum(map(raises_again, broad))
        self.swallowing += sum(not raises_again(handler) for handler in broad)
        self.literal_counters += sum(map(is_literal_counter, ast.walk(tree)))
        self.built += len(list(builds(tree)))


def length(function: Function, lines: list[str]) -> int:
    """Return a function's lines of code, without signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return sum(map(is_code, lines[body[0].lineno - 1 : function.end_lineno])) if body else 0


def is_code(line: str) -> bool:
    """Tell a line of code from a blank one and a comment; a docstring counts as code."""
    return bool(line.strip()) and not line.lstrip().startswith("#")


def comments(text: str) -> Iterator[str]:
    """Yield the comments of a file."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return (token.string for token in tokens if token.type == tokenize.COMMENT)


def is_annotated(function: Function) -> bool:
    """Tell whether all that a function takes and gives has a type; ``self`` and ``cls`` need none."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    typed = all(name.annotation or name.arg in {"self", "cls"} for name in named)
    return typed and function.returns is not None


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the modules that a file imports, in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def climbs(module: str, name: str) -> bool:
    """Tell whether an import goes from a layer to a higher one."""
    here, there = module.partition(".")[0], name.partition(".")[0]
    return here in LAYERS and there in LAYERS and LAYERS.index(there) > LAYERS.index(here)


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Tell whether a handler catches whatever there is."""
    return handler.type is None or bool(BROAD & {ast.unparse(part) for part in caught(handler.type)})


def caught(kind: ast.expr) -> Iterable[ast.expr]:
    """Return the exceptions that a handler names."""
    return kind.elts if isinstance(kind, ast.Tuple) else [kind]


def raises_again(handler: ast.ExceptHandler) -> bool:
    """Tell whether a handler ends by raising, so that it keeps nothing to itself."""
    return isinstance(handler.body[-1], ast.Raise)


def is_literal_counter(node: ast.AST) -> bool:
    """Tell whether this is ``notes["some_name"]``, or another counter that is named so."""
    if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Constant):
        return False
    counter = ast.unparse(node.value).rpartition(".")[2].lstrip("_")
    return isinstance(node.slice.value, str) and counter in COUNTERS


def builds(tree: ast.Module) -> Iterator[ast.Call]:
    """Yield the calls by which importing a module builds something out of another one of ours."""
    ours = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in LAYERS
        for alias in node.names
    }
    for node in tree.body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr) else None
        if isinstance(value, ast.Call) and ast.unparse(value.func).partition(".")[0] in ours:
            yield value


def measured(packages: Iterable[str]) -> Measured:
    """Count all files of some packages."""
    found = Measured()
    for package in packages:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
            found.add(name.removesuffix(".__init__"), path.read_text())
    return found


def percentile(values: list[int], percent: int) -> int:
    """Return the smallest value that so many percent of them do not exceed."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def rows(code: Measured, tests: Measured) -> Iterator[tuple[str, str]]:
    """Yield what is measured, and what comes out."""
    functions = code.functions
    yield "lines of a file, median and most", f"{statistics.median(code.files):.0f}, {max(code.files)}"
    yield (
        "lines of code of a function, median, 90th percentile and most",
        f"{statistics.median(functions):.0f}, {percentile(functions, 90)}, {max(functions)}",
    )
    yield "comments that say why, on 100 lines of code", f"{100 * code.comments / code.code_lines:.1f}"
    yield "functions that are annotated throughout", f"{100 * code.annotated / len(functions):.0f} %"
    yield "lines of tests to a line of what is tested", f"{tests.code_lines / code.code_lines:.1f}"
    yield "imports that climb", f"{code.climbing}"
    yield "broad excepts that go on; that raise again", f"{code.swallowing}; {code.raising}"
    yield "counters named by a literal where they are counted", f"{code.literal_counters}"
    yield "things that an import builds out of other modules of ours", f"{code.built}"


def front_door(readme: str) -> tuple[str, str]:
    """Return in which line of README.md the first code stands, and how many lines there are."""
    lines = readme.splitlines()
    first = next(at for at, line in enumerate(lines, 2) if line.startswith("```"))
    return "line of the first code in README.md, and its lines", f"{first}, {len(lines)}"


def main() -> None:
    """Print the table."""
    print("| measure | ours |")
    print("|---|---|")
    found = rows(measured(LAYERS), measured(["tests"]))
    for name, figure in [*found, *way.rows(), front_door((REPOSITORY / "README.md").read_text())]:
        print(f"| {name} | {figure} |")


if __name__ == "__main__":
    main()
