"""What every HTML page shares: one file without scripts, for light and dark, desk, phone, print."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Mapping, Sequence

from headgate.export.figures import DARK, LIGHT, NARROW_IN, WIDE_IN, Theme

NARROW_PX = 640

# A number and its unit stay on one line.
UNIT_SPACE = re.compile(r"(?<=\d) (?=%|(?:ms|s|B|kB|MB|kbit/s|Mbit/s|px)\b)")

# Draws a figure at a width in inches, on light or dark paper.
Draw = Callable[[float, Theme], bytes]


def page(title: str, body: str) -> str:
    """Return a whole HTML document around `body`, which is trusted to be escaped."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(title)}</title>
<style>
{STYLE}
</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def paragraphs(lines: Sequence[str]) -> str:
    """Return each line as a paragraph."""
    return "".join(f"<p>{_text(line)}</p>\n" for line in lines)


def bullets(lines: Sequence[str]) -> str:
    """Return the lines as a list."""
    items = "".join(f"<li>{_text(line)}</li>\n" for line in lines)
    return f"<ul>\n{items}</ul>"


def facts(pairs: Mapping[str, str]) -> str:
    """Return names and values, as at the foot of a report."""
    rows = "".join(
        f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>\n"
        for key, value in pairs.items()
    )
    return f"<dl>\n{rows}</dl>"


def text_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str,
    marked: Sequence[bool] = (),
) -> str:
    """Return a table of plain text; `marked` rows are set off. The first column names the row."""
    body = ""
    for number, row in enumerate(rows):
        own = " class=own" if number < len(marked) and marked[number] else ""
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        body += f'<tr{own}><th scope="row">{html.escape(row[0])}</th>{cells}</tr>\n'
    heads = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in columns)
    return (
        f'<div class="scroll"><table><caption>{_text(caption)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>\n{body}</tbody></table></div>"
    )


def details(summary: str, body: str) -> str:
    """Return a part that is folded until someone asks for it."""
    return f"<details>\n<summary>{html.escape(summary)}</summary>\n{body}\n</details>"


def themed_picture(draw: Draw, *, alt: str) -> str:
    """Return a figure in two widths and on two papers; the browser takes the one that fits."""
    narrow = f"(max-width: {NARROW_PX}px)"
    dark = "(prefers-color-scheme: dark)"
    sources = (
        (f"{narrow} and {dark}", draw(NARROW_IN, DARK)),
        (narrow, draw(NARROW_IN, LIGHT)),
        (dark, draw(WIDE_IN, DARK)),
    )
    found = "".join(f'<source media="{media}" srcset="{inline(png)}">' for media, png in sources)
    image = f'<img src="{inline(draw(WIDE_IN, LIGHT))}" alt="{html.escape(alt)}">'
    return f"<picture>{found}{image}</picture>"


def picture(wide: bytes, narrow: bytes, *, alt: str) -> str:
    """Return a figure that exists on light paper only, in two widths."""
    return (
        f'<picture><source media="(max-width: {NARROW_PX}px)" srcset="{inline(narrow)}">'
        f'<img class="paper" src="{inline(wide)}" alt="{html.escape(alt)}"></picture>'
    )


def _text(line: str) -> str:
    return UNIT_SPACE.sub("\u00a0", html.escape(line))


def inline(png: bytes) -> str:
    """Return PNG bytes as a URL that needs no second file."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


STYLE = """:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1f23; --quiet: #57606a;
  --line: #d0d7de; --own: #e8f1f8; --split: 0, 114, 178; --picture: 213, 94, 0;
  --local: 0, 158, 115; }
@media (prefers-color-scheme: dark) { :root { --paper: #161b22; --ink: #e6edf3; --quiet: #9aa4ae;
  --line: #30363d; --own: #1c2f41; --split: 77, 166, 224; --picture: 255, 138, 76;
  --local: 43, 199, 154; } }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; margin: 0.5rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2rem 0 0.5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 0.3rem; }
p { margin: 0.4rem 0; max-width: 46rem; }
ul { margin: 0.4rem 0; max-width: 46rem; padding-left: 1.2rem; }
li { margin: 0.25rem 0; }
p.note, ul.note { color: var(--quiet); font-size: 0.9rem; }
section.lead p:first-child { font-size: 1.1rem; }
img { width: 100%; height: auto; display: block; margin: 0.5rem 0; }
img.paper { background: #ffffff; border-radius: 4px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--quiet); padding: 0.3rem 0; }
th, td { padding: 0.25rem 0.6rem; text-align: right; border-bottom: 1px solid var(--line); }
th[scope=row], th[scope=col]:first-child { text-align: left; font-weight: normal; }
th[scope=row] { white-space: nowrap; }
td { white-space: nowrap; }
table.words td:nth-child(2) { text-align: left; }
thead th { font-weight: 600; vertical-align: bottom; }
tr.own { background: var(--own); }
tr.own th { font-weight: 600; }
table.map td, table.map th { text-align: center; padding: 0.3rem 0.45rem; }
table.map th[scope=row] { text-align: right; white-space: nowrap; }
table.map td small { display: block; font-size: 0.85em; }
td.split { background: rgba(var(--split), 0.24); }
td.picture { background: rgba(var(--picture), 0.26); }
td.local { background: rgba(var(--local), 0.22); }
.key span { display: inline-block; padding: 0 0.5rem; margin-right: 0.6rem; border-radius: 3px; }
.key .split { background: rgba(var(--split), 0.24); }
.key .picture { background: rgba(var(--picture), 0.26); }
.key .local { background: rgba(var(--local), 0.22); }
@media (max-width: 640px) { table { font-size: 0.8rem; } th, td { padding: 0.2rem 0.35rem; }
  caption { max-width: calc(100vw - 2rem); }
  table.map td, table.map th { padding: 0.25rem 0.2rem; font-size: 0.72rem; } }
details { margin: 0.8rem 0; }
summary { cursor: pointer; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1rem; margin: 0; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
@media print { main { max-width: none; padding: 0; } .scroll { overflow: visible; }
  table { font-size: 0.75rem; } th, td { padding: 0.15rem 0.35rem; }
  p, li, tr, picture, .scroll { break-inside: avoid; } h2, h3, h2 + p { break-after: avoid; }
  details::details-content { content-visibility: visible; height: auto; } }"""
