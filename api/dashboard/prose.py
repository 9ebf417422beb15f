"""A report's Markdown as HTML that can do nothing: an LLM wrote it, of names that anybody may have chosen."""

from __future__ import annotations

from typing import Final

from markdown_it import MarkdownIt
from markupsafe import Markup

_RENDERER: Final = (
    MarkdownIt("commonmark", {"html": False, "linkify": False})
    .enable("table")
    .disable(["image", "link", "autolink", "html_block", "html_inline", "reference"])
)
"""No HTML, and neither links nor images: a report needs none, and one that it had could lead or call elsewhere."""


def render_prose(markdown: str) -> Markup:
    """HTML of a report, its headings one level below the page's own."""
    tokens = _RENDERER.parse(markdown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1:]) + 1)}"
    return Markup(_RENDERER.renderer.render(tokens, _RENDERER.options, {}))  # noqa: S704 - all text in it is escaped
