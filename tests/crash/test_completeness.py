"""Every failpoint that is declared anywhere is struck by kill -9 in some case; a new one without a case fails here.

That a case reaches its failpoint is asserted where the case runs (``found.struck``).
"""

from __future__ import annotations

import ast
import functools

from platforms.base import Effect
from tests.crash.cases import CASES
from tests.crash.commits import BY_PERSONS, IN_THE_MATRIX, NOT_STRUCK, READS
from tests.crash.rig import ROOT
from tests.crash.test_adversity import SCHEDULING

PACKAGES = ("db", "media", "platforms", "scheduler", "stack", "workers")


def names_in(source: str) -> set[str]:
    """The failpoints of a module; one that is named after the effect of a request is one for each effect."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        called = node.func if isinstance(node, ast.Call) else None
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        if name != "hit" or not isinstance(node, ast.Call) or not node.args:
            continue
        words = node.args[0]
        if isinstance(words, ast.Constant):
            found.add(str(words.value))
        elif isinstance(words, ast.JoinedStr):
            for effect in Effect:
                found.add("".join(
                    str(part.value) if isinstance(part, ast.Constant) else effect.value for part in words.values
                ))  # fmt: skip
    return found


def declared() -> set[str]:
    """All of them."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    return {name for file in files if file != ROOT / "db" / "failpoints.py" for name in names_in(file.read_text())}


def test_every_failpoint_is_struck_by_a_kill() -> None:
    killed = {case.point for case in CASES if case.action == "kill"} | set(SCHEDULING)
    assert declared() - killed == set(), "no case kills a process there"


def test_no_case_is_about_a_failpoint_that_is_gone() -> None:
    named = {case.point for case in CASES} | {case.first for case in CASES if case.first} | set(SCHEDULING)
    assert named - declared() == set()


def test_a_failpoint_without_a_case_would_be_noticed() -> None:
    said = 'hit("a.b", 1)\nfailpoints.hit(f"http.{effect.value}.c")\nself.hit(name)\nother("d")\n'
    assert names_in(said) == {"a.b", *(f"http.{effect.value}.c" for effect in Effect)}


def committing(source: str, module: str) -> set[str]:
    """The functions of a module that have a transaction, by their full names."""
    found: set[str] = set()

    def look(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                look(child, f"{name}.{child.name}")
                continue
            if isinstance(child, ast.withitem) and isinstance(called := child.context_expr, ast.Call):
                said = called.func.attr if isinstance(called.func, ast.Attribute) else getattr(called.func, "id", "")
                if said in {"transaction", "database", "_connection"}:
                    found.add(name)
            look(child, name)

    look(ast.parse(source), module)
    return found


@functools.cache
def all_committing() -> set[str]:
    return {
        name
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        for name in committing(file.read_text(), ".".join(file.relative_to(ROOT).with_suffix("").parts))
    }


def test_every_commit_is_struck_or_it_is_said_why_not() -> None:
    lists = (set(IN_THE_MATRIX), set(BY_PERSONS), set(READS), set(NOT_STRUCK))
    named = set().union(*lists)
    assert sum(map(len, lists)) == len(named), "in two lists"
    assert all_committing() - named == set(), "a transaction that is in none of the lists of tests/crash/commits.py"
    assert named - all_committing() == set(), "named there, and gone"


def test_a_commit_in_no_list_would_be_noticed() -> None:
    said = "class A:\n def b(self):\n  def c():\n   with db.transaction(u) as x: pass\n  with other(): pass\n"
    assert committing(said, "m") == {"m.A.b.c"}


def test_names_of_cases_are_unique() -> None:
    names = [case.full_name + case.needs for case in CASES]
    assert len(names) == len(set(names))
