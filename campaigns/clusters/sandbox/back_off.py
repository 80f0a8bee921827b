"""When what has ended is started again."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["BackOff"]

_FIRST_S = 10.0
_MOST_S = 300.0
_FORGOTTEN_AFTER_S = 2 * _MOST_S
"""kubelet's crash back-off (kubernetes/pkg/kubelet/kubelet.go and client-go/util/flowcontrol/backoff.go, v1.36)."""


@dataclass(slots=True)
class BackOff:
    """At once, then after 10 s, 20 s, …, at most 5 min; forgotten 10 min after the last start. Times in seconds of any
    one clock."""

    _last: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Name → when it was last started, and how long after that it waits should it end."""

    def forget(self, name: str) -> None:
        """Somebody else starts it."""
        self._last.pop(name, None)

    def due(self, name: str, now: float) -> bool:
        """Whether what has ended is to be started now; if so, it counts as started."""
        if name not in self._last or now > self._last[name][0] + _FORGOTTEN_AFTER_S:
            self._last[name] = now, _FIRST_S
            return True
        started, wait = self._last[name]
        if now < started + wait:
            return False
        self._last[name] = now, min(2 * wait, _MOST_S)
        return True
