"""What the scripts of a page say, in the language of the request: the page carries it in <meta name="words">.

{name} in a text is filled in by the script (static/words.js).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .language import translated


def _(text: str) -> str:
    """Marks a text for scripts/translations; it is translated when a page asks for it."""
    return text


WORDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "upload": {
            "choose_first": _("Choose a file first."),
            "is_empty": _("{name} is empty."),
            "is_too_large": _("{name} has {size}; up to {limit} are taken."),
            "left_out": _("Left out, since neither audio nor video: {count}."),
            "folder_empty": _("There is no audio or video in this folder."),
            "added": _("{name} added."),
            "waiting": _("waits for its turn"),
            "uploading": _("{percent} % of {size}"),
            "speed": _("{speed}/s, about {left} left"),
            "lost": _("The connection is lost. It goes on by itself as soon as it is back."),
            "submitting": _("Submitting"),
            "sent": _("sent"),
            "sent_named": _("{name} is sent."),
            "cancelled": _("cancelled"),
            "resumes": _("goes on where it was cut off"),
            "sign_in_again": _(
                "Your session has ended. Sign in again, then choose the file once more: it goes on where it was."
            ),
            "status": _("The service answered with status {status}."),
            "remove_named": _("Remove {name}"),
            "cancel_named": _("Cancel {name}"),
            "progress_named": _("Progress of {name}"),
            "recording": _("Recording"),
            "paused": _("Paused"),
            "pause": _("Pause"),
            "resume": _("Go on"),
            "no_microphone": _("The microphone can't be used: {reason}"),
            "needs_https": _("Recording needs https, or the address localhost."),
            "recording_name": _("Recording {date}"),
            "recovered": _("A recording of {length} from {date} was not sent."),
            "recovering": _("It stays in this browser until it is sent or discarded."),
        },
        "captions": {
            "connecting": _("Connecting"),
            "listening": _("Listening"),
            "lost": _("The connection is lost. Sound is kept for a minute and sent as soon as it is back."),
            "ended": _("Ended"),
            "gone": _("The service can't be reached. What was final is kept with the job."),
            "no_sound": _("There is no sound to caption: {reason}"),
            "no_tab_sound": _("the tab's sound was not shared"),
            "on_gpu": _("on the GPU ({type})"),
            "on_cpu": _("on the {device} ({type})"),
        },
        "live": {
            "fetching": _("Fetching the file"),
            "decoding": _("Reading the file"),
            "transcribing": _("Transcribing"),
            "waiting": _("Waiting for its turn"),
            "running": _("{percent} %"),
            "left": _("{percent} % · about {left} left"),
            "place": _("place {position}"),
            "place_left": _("place {position} · about {left}"),
            "ended": _("The job has ended."),
            "ready": _("The transcript is ready."),
            "language": _("Language: {name}"),
            "gpu": _("Runs on the GPU"),
            "cpu": _("Runs on the CPU"),
            "degraded": _("CPU instead of the GPU"),
        },
        "jobs": {
            "selected": _("{count} selected"),
            "deleted": _("{count} jobs deleted."),
            "deleted_named": _("{name} deleted."),
            "undo": _("Undo"),
        },
        "checks": {
            "repetition": _("Repeated {count} times"),
            "compression": _("Repetitive (compression ratio {decimal})"),
            "silence": _("Possibly no speech ({percent} %)"),
            "guess": _("Low confidence (average log probability {decimal})"),
            "hurry": _("Too fast for speech ({count} characters per second)"),
            "faint": _("Possibly no speech (voice activity uncertain)"),
            "long_line": _("{count} characters in a line ({limit} at most)"),
            "many_lines": _("{count} lines ({limit} at most)"),
            "fast": _("{count} characters per second ({limit} at most)"),
            "overlap": _("Overlaps the previous segment"),
        },
    }
)


def script_words(*pages: str) -> dict[str, str]:
    """What the scripts of these pages say."""
    return {name: translated(text) for page in pages for name, text in WORDS[page].items()}
