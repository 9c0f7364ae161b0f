"""The source of an operator in an adapter's table, with all that it needs: no file is imported for it."""

from __future__ import annotations

import ast
import importlib.util
from functools import cached_property
from pathlib import Path
from typing import Any

PACKAGE = "pytest_inferena"


class NoSourceError(Exception):
    """An operator's source cannot stand alone."""


class Source:
    """One file; `statements` of several files grow in one mapping, in an order in which they can run."""

    def __init__(self, file: Path, statements: dict[str, str] | None = None) -> None:
        self.file, self.tree = file, ast.parse(file.read_text(encoding="utf-8"))
        self.statements: dict[str, str] = {} if statements is None else statements

    def operator(self, name: str, table_name: str = "OPERATORS") -> str:
        """The expression of an operator's function in a table.

        Raises:
            NoSourceError: the table does not have it, or in a way that is not understood here.
        """
        table = self.names.get(table_name)
        if not isinstance(table, ast.Assign | ast.AnnAssign) or table.value is None:
            raise NoSourceError(f"{self.file} has no table {table_name}")
        found = self._in_table(table.value, name)
        if found is None:
            raise NoSourceError(f"the table of {self.file} is written in another way for {name}")
        return ast.unparse(self._needed(found))

    @cached_property
    def names(self) -> dict[str, ast.stmt]:
        """What the file defines and imports."""
        found: dict[str, ast.stmt] = {}
        for statement in self.tree.body:
            match statement:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    found[name] = statement
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    found[name] = statement
                case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                    found |= {(alias.asname or alias.name).partition(".")[0]: statement for alias in aliases}
        return found

    def _in_table(self, table: ast.expr, name: str) -> ast.expr | None:
        match table:
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self._in_table(right, name) or self._in_table(left, name)
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == name:
                        return value
                    if key is None and (found := self._in_table(value, name)) is not None:
                        return found
            case ast.DictComp(value=ast.Call(args=[ast.expr() as of, *_]), generators=[one]) if self._lists(
                one.iter, name
            ):
                return ast.Attribute(of, name, ast.Load())
        return None

    def _lists(self, names: ast.expr, name: str) -> bool:
        """Whether a comprehension goes over a name: over a tuple, or over the words of a text."""
        match names:
            case ast.Tuple(elts=items):
                return any(isinstance(item, ast.Constant) and item.value == name for item in items)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=text), attr="split")):
                known = self.names.get(text)
                return isinstance(known, ast.Assign) and name in str(ast.literal_eval(known.value)).split()
        return False

    def _needed(self, tree: Any) -> Any:
        """A tree whose names all stand in `statements`; names of other files are used without the file's."""
        tree = _Unqualified(self).visit(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                self.need(node.id)
        return tree

    def need(self, name: str) -> None:
        """Have a name in `statements`, and before it what it needs."""
        statement = self.names.get(name)
        if name in self.statements or statement is None:  # a builtin, an argument, a local
            return
        if isinstance(statement, ast.ImportFrom) and (statement.level or f"{statement.module}.".startswith(PACKAGE)):
            if (other := self.beside(statement, name)) is None:
                raise NoSourceError(f"{self.file} imports {name}, which only pytest-inferena has")
            other.need(name)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            kept = [one for one in statement.names if (one.asname or one.name).partition(".")[0] == name]
            module = statement.module if isinstance(statement, ast.ImportFrom) else None
            made = ast.ImportFrom(module, kept, 0) if module else ast.Import(kept)
            self.statements[name] = ast.unparse(made)
        else:
            self.statements[name] = ""  # it may need itself
            whole = ast.unparse(_bare(self._needed(statement)))
            del self.statements[name]
            self.statements[name] = whole

    def beside(self, statement: ast.ImportFrom, name: str) -> Source | None:
        """The file that a name comes from, or that it is; None for another package."""
        folder = self.file.parent
        if statement.level == 1:
            file = folder.joinpath(*(statement.module or name).split(".")).with_suffix(".py")
        elif (statement.module or "").startswith(f"{PACKAGE}.worker."):
            spec = importlib.util.find_spec(str(statement.module))
            file = Path(spec.origin) if spec and spec.origin else folder / "none"
        else:
            return None
        return Source(file, self.statements) if file.exists() else None


class _Unqualified(ast.NodeTransformer):
    """Writes `windows.pool` as `pool`, where `windows` is a file beside, and brings it along."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """One attribute."""
        self.generic_visit(node)
        statement = self.source.names.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if not isinstance(statement, ast.ImportFrom) or statement.level != 1 or not isinstance(node.value, ast.Name):
            return node
        if (other := self.source.beside(statement, node.value.id)) is None:
            return node
        other.need(node.attr)
        return ast.Name(node.attr, ast.Load())


def _bare(tree: ast.stmt) -> ast.stmt:
    """Without annotations and docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            if ast.get_docstring(node) and len(node.body) > 1:
                node.body = node.body[1:]
    if isinstance(tree, ast.AnnAssign) and tree.value is not None:
        return ast.fix_missing_locations(ast.copy_location(ast.Assign([tree.target], tree.value), tree))
    return tree
