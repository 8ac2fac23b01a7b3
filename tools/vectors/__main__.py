"""Writes the file."""

from __future__ import annotations

from tools.vectors.file import FILE, text

FILE.write_text(text(), encoding="utf-8")
