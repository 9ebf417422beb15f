"""Who may do what, for admins: keys of cameras and programs, people, last changes. And everybody's own password."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response

from api.dashboard.page import View, ViewOf
from api.deps import ServicesOf
from api.people import PersonOf, require
from api.schemas import Name
from gistline.domain import Person, Role
from gistline.flows.add_person import Rights
from gistline.flows.change_person import change_own_password, disable_person, enable_person, set_rights
from gistline.flows.program_keys import create_program, revoke_program, rotate_program
from gistline.flows.rekey_camera import rekey_camera
from gistline.flows.revoke_camera import revoke_camera
from gistline.storage import audit
from gistline.storage.cameras import list_cameras
from gistline.storage.people import list_people
from gistline.storage.programs import list_programs
from gistline.storage.session import transaction

router = APIRouter(prefix="/access", include_in_schema=False)
CHANGES: Final = 50
LONGEST_OVERLAP_H: Final = 8_760

AdminOf = Annotated[Person, require(Role.ADMIN)]
NameField = Annotated[Name, Form()]
LinesField = Annotated[str, Form(max_length=2_000)]
OverlapField = Annotated[float, Form(ge=0, le=LONGEST_OVERLAP_H)]


@router.get("", name="access", dependencies=[require(Role.ADMIN)])
def access(view: ViewOf) -> Response:
    """The page."""
    return _page(view)


@router.post("/cameras/rotate")
def rotate_camera_key(view: ViewOf, admin: AdminOf, name: NameField, overlap_h: OverlapField = 0) -> Response:
    """Make a camera a new key and show it, this once."""
    key = rekey_camera(view.services.sessions, name, overlap_h=overlap_h, by=admin.actor)
    return _page(view, key=key, owner=name)


@router.post("/cameras/revoke")
def revoke_camera_keys(services: ServicesOf, admin: AdminOf, name: NameField) -> Response:
    """Revoke every key of a camera."""
    revoke_camera(services.sessions, name, by=admin.actor)
    return _back()


@router.post("/programs/create")
def create_program_key(
    view: ViewOf, admin: AdminOf, name: NameField, role: Annotated[Role, Form()], lines: LinesField = ""
) -> Response:
    """Add a program and show its key, this once."""
    _, key = create_program(view.services.sessions, name, Rights(role, _lines(lines)), by=admin.actor)
    return _page(view, key=key, owner=name)


@router.post("/programs/rotate")
def rotate_program_key(view: ViewOf, admin: AdminOf, name: NameField, overlap_h: OverlapField = 0) -> Response:
    """Make a program a new key and show it, this once."""
    key = rotate_program(view.services.sessions, name, overlap_h=overlap_h, by=admin.actor)
    return _page(view, key=key, owner=name)


@router.post("/programs/revoke")
def revoke_program_keys(services: ServicesOf, admin: AdminOf, name: NameField) -> Response:
    """Revoke every key of a program."""
    revoke_program(services.sessions, name, by=admin.actor)
    return _back()


@router.post("/people/set")
def set_person_rights(
    services: ServicesOf, admin: AdminOf, name: NameField, role: Annotated[Role, Form()], lines: LinesField = ""
) -> Response:
    """Give a person a role and lines."""
    set_rights(services.sessions, name, Rights(role, _lines(lines)), by=admin.actor)
    return _back()


@router.post("/people/disable")
def disable(services: ServicesOf, admin: AdminOf, name: NameField) -> Response:
    """Let a person sign in no longer."""
    disable_person(services.sessions, name, by=admin.actor)
    return _back()


@router.post("/people/enable")
def enable(services: ServicesOf, admin: AdminOf, name: NameField) -> Response:
    """Let a person sign in again."""
    enable_person(services.sessions, name, by=admin.actor)
    return _back()


@router.get("/password", name="password")
def show_password_form(view: ViewOf) -> Response:
    """The form for one's own password."""
    return view.page("password.html", least=view.services.settings.access.min_password)


@router.post("/password")
def change_password(
    services: ServicesOf,
    person: PersonOf,
    old: Annotated[str, Form(max_length=2_000)],
    new: Annotated[str, Form(max_length=2_000)],
) -> Response:
    """Set one's own password; every session is over, this one too."""
    change_own_password(services.sessions, person.name, old=old, new=new, settings=services.settings.access)
    return RedirectResponse("/login", 303)


def _page(view: View, *, key: str = "", owner: str = "") -> Response:
    """Everything on one page, with a key that was just made, which no address and no cache keeps."""
    with transaction(view.services.sessions) as session:
        return view.page(
            "access.html",
            key=key,
            owner=owner,
            cameras=list_cameras(session),
            programs=list_programs(session),
            people=list_people(session),
            changes=audit.newest(session, limit=CHANGES),
            roles=list(Role),
        )


def _lines(text: str) -> frozenset[str] | None:
    """Names between commas; none for all lines."""
    return frozenset(name.strip() for name in text.split(",") if name.strip()) or None


def _back() -> Response:
    return RedirectResponse("/access", 303)
