"""The file with all vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from tools.vectors.accepted import HEADERS, PAYLOADS, headers_row, payload_row, possession_row
from tools.vectors.behaviour import BEHAVIOUR
from tools.vectors.parts import MASTER, NEW, Row
from tools.vectors.refused import point_rows, refused_headers_rows, refused_rows

FILE: Final = Path(__file__).resolve().parents[2] / "tests" / "vectors" / "signing.json"


def document() -> Row:
    """All vectors."""
    numbers: dict[str, int] = {}
    payloads = []
    for constant, pair, arguments in PAYLOADS:
        numbers[constant] = numbers.get(constant, 0) + 1
        payloads.append(payload_row(constant, pair, arguments, numbers[constant]))
    return {
        "about": "Vectors of docs/signing.md; bytes are hexadecimal unless an envelope or header holds them.",
        "payloads": payloads,
        "headers": [headers_row(*case) for case in HEADERS],
        "possessions": [possession_row(MASTER), possession_row(NEW)],
        "refused": refused_rows(),
        "refused_headers": refused_headers_rows(),
        "points": point_rows(),
        "behaviour": [dict(row) for row in BEHAVIOUR],
    }


def text() -> str:
    """The file."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"
