from __future__ import annotations

import ast
from itertools import pairwise
from pathlib import Path

from classifiers import numbers


def test_every_number_has_its_unit_and_reason_beside_it() -> None:
    body = ast.parse(Path(numbers.__file__).read_text()).body
    documented = {
        node.target.id
        for node, after in pairwise(body)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and len(str(after.value.value)) > 40
    }
    assert documented == set(numbers.__all__)


def test_no_classifier_compares_with_a_number_of_its_own() -> None:
    folder = Path(numbers.__file__).parent
    own = []
    for path in [*folder.glob("*.py"), *folder.glob("symptoms/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                literals = [c.value for c in ast.walk(node) if isinstance(c, ast.Constant)]
                own += [
                    (path.name, v) for v in literals if isinstance(v, (int, float)) and v not in (0, 1, True, False)
                ]
    assert own == []
