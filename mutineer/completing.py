"""What a shell completes that several commands ask for."""

from __future__ import annotations

import click

__all__ = ["complete_sandboxes"]


def complete_sandboxes(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of the sandboxes that run."""
    from campaigns.clusters.sandbox import outside

    return [name for name in outside.running() if name.startswith(incomplete)]
