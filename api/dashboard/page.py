"""How every page is rendered: who looks, in which language and theme, and what the browser may do with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from api.dashboard import figures
from api.dashboard.assets import asset_url
from api.dashboard.words import LANGUAGES, Words, choose, words_of
from api.deps import Services, ServicesOf
from api.people import PersonOf, csrf_token
from gistline.domain import Person, Role

THEMES: Final = ("auto", "light", "dark")
LANGUAGE_COOKIE: Final = "gistline_language"
THEME_COOKIE: Final = "gistline_theme"
YEAR_S: Final = 31_536_000
PLOTLY_STYLES: Final = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",  # an empty element, which its script fills rule by rule
    "'sha256-ji27qzEtxXZW+7dun6UwjHXJ18e6WAin1VvNtkzIE/o='",  # of its maps, which nothing here draws
)
"""The two style elements that Plotly's script makes; by their digests, so that no other inline style is let in."""
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' {' '.join(PLOTLY_STYLES)}",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Cookie, Accept-Language",
}

_templates: Final = Environment(
    loader=PackageLoader("api.dashboard"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals |= {
    "asset": asset_url,
    "duration": figures.duration,
    "moment": figures.moment,
    "number": figures.number,
    "points": figures.points,
    "share": figures.share,
    "usd": figures.usd,
}


@dataclass(frozen=True, slots=True)
class Look:
    """How the page is shown: language, theme, and large for a screen on the wall."""

    words: Words
    theme: str
    wall: bool

    @classmethod
    def of(cls, request: Request) -> Look:
        """What this browser chose before, else what it asks for."""
        language = request.cookies.get(LANGUAGE_COOKIE, "")
        if language not in LANGUAGES:
            language = choose(request.headers.get("accept-language", ""))
        theme = request.cookies.get(THEME_COOKIE, "")
        return cls(words_of(language), theme if theme in THEMES else "auto", "wall" in request.query_params)


@dataclass(frozen=True, slots=True)
class View:
    """One request of one person."""

    request: Request
    person: Person
    services: Services
    look: Look

    def page(self, template: str, *, status: int = 200, **context: Any) -> Response:
        """Render a template; a choice of language or theme in the query is remembered and taken out of the address."""
        chosen = _choices(self.request)
        if chosen is not None:
            return chosen
        shared = {"person": self.person, "csrf": csrf_token(self.request), "may_judge": self.person.may(Role.OPERATOR)}
        return render(self.request, template, self.look, status=status, **shared, **context)


def render(request: Request, template: str, look: Look, *, status: int = 200, **context: Any) -> Response:
    """Render a template for whoever it may be; ``person`` in the context makes the navigation appear."""
    known = {"person": None, "csrf": "", "may_judge": False}
    html = _templates.get_template(template).render(
        known
        | context
        | {"t": look.words, "look": look, "languages": LANGUAGES, "themes": THEMES, "here": Here(request)}
    )
    return HTMLResponse(html, status, dict(HEADERS))


@dataclass(frozen=True, slots=True)
class Here:
    """The address of the page, for links to nearly the same one."""

    request: Request

    @property
    def path(self) -> str:
        """Without the query."""
        return self.request.url.path

    def but(self, **changes: str | None) -> str:
        """This address with other parameters in the query; None takes one out."""
        kept = [(name, value) for name, value in self.request.query_params.multi_items() if name not in changes]
        kept += [(name, value) for name, value in changes.items() if value is not None]
        return f"{self.path}?{urlencode(kept)}" if kept else self.path


def get_view(request: Request, person: PersonOf, services: ServicesOf) -> View:
    """What a page's route works with."""
    return View(request, person, services, Look.of(request))


ViewOf = Annotated[View, Depends(get_view)]


def _choices(request: Request) -> Response | None:
    language, theme = request.query_params.get("language"), request.query_params.get("theme")
    if language is None and theme is None:
        return None
    answer = RedirectResponse(Here(request).but(language=None, theme=None), 303, {"Cache-Control": "no-store"})
    options: dict[str, Any] = {"max_age": YEAR_S, "samesite": "lax", "httponly": True}
    if language is not None and language in LANGUAGES:
        answer.set_cookie(LANGUAGE_COOKIE, language, **options)
    if theme is not None and theme in THEMES:
        answer.set_cookie(THEME_COOKIE, theme, **options)
    return answer
