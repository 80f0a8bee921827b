"""What one fault did, or would do, for the terminal: the object, the field, and the bytes around it."""

from __future__ import annotations

from rich.text import Text

from campaigns.redaction import holds_secret
from injector.rules import Firing
from mutineer.report.hexdump import compare
from mutineer.report.sentences import change_of, evidence_of, fate_of

__all__ = ["sheet_of"]

_HEX_WIDTH = 49
"""Of a line of 16 bytes, and a space."""


def sheet_of(firing: Firing, undo: str | None, field: str | None = None) -> Text:
    """What was (or would be) done, and the bytes around it. `field`: what the rule names."""
    secret = holds_secret(firing)
    bytes_ = compare(firing.before, firing.after, span=firing.span, redacted=secret)
    lines = [("object", firing.identity), *([("key", firing.key)] if firing.key else [])]
    if change := change_of(firing):
        path = f"{firing.field or field}: " if firing.field or field else ""
        lines.append(("field", f"{path}{change[0]} → {change[1]}"))
    lines.append(("size", f"{bytes_.before_bytes} → {bytes_.after_bytes} bytes"))
    fate = f"{firing.operation}, {fate_of(firing)}"
    lines.append(("done", "nothing: a dry run" if firing.operation == "preview" else fate))
    lines += evidence_of(firing)
    lines += [("note", firing.note)] if firing.note else []
    lines += [("undo", undo)] if undo else []
    sheet = Text()
    for name, what in lines:
        sheet.append(f"{name:8}", style="dim").append(f"{what}\n")
    for line in bytes_.lines:
        for pieces, mark, style in ((line.before, "-", "red"), (line.after, "+", "green")):
            if line.before == line.after and mark == "+":
                continue
            sheet.append(f"{'  ' if line.before == line.after else mark + ' '}{line.offset}  ", style="dim")
            for piece in pieces:
                sheet.append(piece.hex, style=f"bold {style}" if piece.changed else "").append(" ")
            sheet.append(" " * (_HEX_WIDTH - sum(len(piece.hex) + 1 for piece in pieces)))
            for piece in pieces:
                sheet.append(piece.text, style=f"bold {style}" if piece.changed else "dim")
            sheet.append("\n")
    sheet.rstrip()
    return sheet
