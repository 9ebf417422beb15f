"""Keep what an operator thinks of a finding."""

from __future__ import annotations

from gistline.domain import Feedback, Person
from gistline.errors import RequestRejected
from gistline.storage import audit
from gistline.storage.feedback import LONGEST_NOTE, FindingKey, NewFeedback, save_feedback
from gistline.storage.session import Sessions, transaction


def give_feedback(sessions: Sessions, key: FindingKey, opinion: Feedback, *, note: str = "", person: Person) -> None:
    """Store an opinion with who and when; it replaces the one that counted before, which is kept.

    Raises:
        RequestRejected: the note is too long, or holds a NUL character.
        NotFound: there is no such finding on a line that the person may see.

    """
    said = note.strip()
    if len(said) > LONGEST_NOTE:
        raise RequestRejected(
            f"The note has {len(said)} characters, at most {LONGEST_NOTE} are kept.", cure="Say it shorter."
        )
    if "\0" in said:
        raise RequestRejected("The note holds a NUL character.", cure="Type it anew.")
    with transaction(sessions) as session:
        new = NewFeedback(key, opinion, said, person.name)
        line = save_feedback(session, new, lines=person.lines)
        audit.record(
            session,
            actor=person.actor,
            action="feedback.give",
            subject=f"finding {key.finding_id}",
            detail={"frame": str(key.frame_id), "line": line, "opinion": opinion.value},
        )
