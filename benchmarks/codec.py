"""The codec: decoding, listing and changing a real Pod and a real Deployment, as the golden objects of the tests have
them, and reading who they are. µs on one core, the best of many single calls: what else runs here only adds to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import Figure
from injector.codec import encode_value, find, list_fields, locate, read_meta, remove, replace, to_tree

__all__ = ["measure"]

_GOLDEN = Path(__file__).parents[1] / "tests" / "injector" / "golden"
_POD_BYTES = 4096
"""The size that the goals speak of. The Pod here is smaller, so its time is also told for that size, in proportion."""

_IMAGES = {"pod": "spec.containers[0].image", "deployment": "spec.template.spec.containers[0].image"}
_GOALS_US = {"to_tree, for 4 KB": 150.0, "locate and replace": 100.0, "read_meta": 50.0}


def measure(rounds: int, seconds: float, say: Callable[[str], object]) -> list[Figure]:
    """Figures for both objects; `seconds` for each of them in each round."""
    best: dict[tuple[str, str], float] = {}
    values = {name: (_GOLDEN / f"{name}.bin").read_bytes() for name in _IMAGES}
    for number in range(rounds):
        say(f"codec: round {number + 1} of {rounds}")
        for name, value in values.items():
            for what, question in _questions(value, _IMAGES[name]).items():
                found = _best_us(question, seconds / 5)
                best[name, what] = min(found, best.get((name, what), found))
    figures = []
    for (name, what), us in best.items():
        label = f"{what}, {name} of {len(values[name])} bytes"
        figures.append(Figure(name=label, value=us, unit="µs", goal=_GOALS_US.get(what)))
        if what == "to_tree":
            scaled = us * _POD_BYTES / len(values[name])
            goal = _GOALS_US["to_tree, for 4 KB"]
            figures.append(Figure(name=f"{what}, {name}, for 4 KB", value=scaled, unit="µs", goal=goal))
    return figures


def _questions(value: bytes, image: str) -> dict[str, Callable[[], object]]:
    def edit() -> bytes:
        found = locate(value, image)
        return replace(value, found, encode_value(found, "registry.test/other:1"))

    return {
        "to_tree": lambda: to_tree(value),
        "list_fields": lambda: list_fields(value),
        "locate and replace": edit,
        "find and remove": lambda: remove(value, find(value, image)),
        "read_meta": lambda: read_meta(value),
    }


def _best_us(question: Callable[[], object], seconds: float) -> float:
    question()
    best, ends = float("inf"), time.perf_counter() + seconds
    while (began := time.perf_counter()) < ends:
        question()
        best = min(best, time.perf_counter() - began)
    return best * 1e6
