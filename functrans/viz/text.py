"""How wide text is drawn, without a font at hand."""

from __future__ import annotations

FONT = "'DejaVu Sans', Verdana, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

# Advance widths of the printable ASCII characters in DejaVu Sans, in 1/100 em: the widest of the fonts above.
_WIDTHS = [32, 40, 46, 84, 64, 95, 78, 28, 39, 39, 50, 84, 32, 36, 32, 34, 64, 64, 64, 64, 64, 64, 64,
           64, 64, 64, 34, 34, 84, 84, 84, 53, 100, 69, 69, 70, 77, 63, 58, 78, 75, 30, 30, 66, 56, 86,
           75, 79, 60, 79, 70, 64, 61, 73, 69, 99, 69, 61, 69, 39, 34, 39, 84, 50, 50, 61, 64, 55, 64,
           62, 35, 64, 63, 28, 28, 58, 28, 97, 63, 61, 64, 64, 41, 52, 39, 63, 59, 82, 59, 59, 53, 64,
           34, 64, 84]


def width(text: str, size: float, bold: bool = False) -> float:
    """Pixels that ``text`` takes at most, in letters of ``size`` pixels."""
    total = sum([_WIDTHS[ord(c) - 32] if 32 <= ord(c) < 127 else 90 for c in text])
    return total * size / 100 * (1.12 if bold else 1.0)
