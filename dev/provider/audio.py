"""POST /audio/speech, billed by the character, and /audio/transcriptions, billed by the second."""

import io
import time
import wave
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from dev.provider import answer, field
from dev.provider.asking import body_of, call_of, keyed, model_of
from dev.provider.demand import Demand
from dev.provider.form import form_of
from dev.provider.refusal import JsonObject, invalid, missing
from dev.provider.shape import SPEECH, TRANSCRIPTION

MOST_CHARACTERS: Final = 4_096
SOUND: Final = b"ID3" + bytes(253)
"""What stands for sound: nobody listens to it."""

FORMATS: Final = ("json", "text", "srt", "verbose_json", "vtt")
TEXT: Final = "word"


@keyed
async def speak(request: Request) -> Response:
    """Read a text out."""
    body, call = await body_of(request), call_of(request)
    SPEECH.check(body)
    model, text = model_of(request, body, "audio_speech"), str(body["input"])
    if len(text) > MOST_CHARACTERS:
        raise invalid("input", f"at most {MOST_CHARACTERS} characters, got {len(text)}")
    demand = Demand.of(text)
    await demand.meet()
    price_micros = model.price.input_micros_per_character or 0
    call.charge(model.name, len(text) * price_micros, characters=len(text))
    return Response(SOUND, media_type="audio/mpeg")


@keyed
async def transcribe(request: Request) -> Response:
    """Write down what a sound says; translations are made alike."""
    form, call = await form_of(request), call_of(request)
    TRANSCRIPTION.check(form.fields)
    sound, model = form.file("file"), model_of(request, form.fields, "audio_transcription")
    wanted = field.one_of(form.fields, "response_format", FORMATS) or "json"
    seconds = seconds_of(sound.content)
    demand = Demand.of(str(form.fields.get("prompt", "")))
    await demand.meet()
    cost_micros = round(seconds * (model.price.input_micros_per_second or 0))
    call.charge(model.name, cost_micros, audio_seconds=seconds)
    if wanted in ("text", "srt", "vtt"):
        return PlainTextResponse(_subtitles(wanted, seconds))
    return answer.whole(call, demand, _transcription(wanted, seconds))


def seconds_of(content: bytes) -> float:
    """How long a WAV file plays, by the samples that it really has; other kinds are refused."""
    if not content:
        raise missing("file")
    try:
        with wave.open(io.BytesIO(content)) as sound:
            frame_bytes = sound.getnchannels() * sound.getsampwidth()
            frames = len(sound.readframes(sound.getnframes())) // frame_bytes
            return float(frames / sound.getframerate())
    except (wave.Error, EOFError, ZeroDivisionError):
        raise invalid("file", "expected a WAV file") from None


def _transcription(wanted: str, seconds: float) -> JsonObject:
    if wanted == "json":
        return {"text": TEXT, "usage": {"type": "duration", "seconds": seconds}}
    return {
        "task": "transcribe",
        "language": "english",
        "duration": seconds,
        "text": TEXT,
        "segments": [],
        "usage": {"type": "duration", "seconds": seconds},
    }


def _subtitles(wanted: str, seconds: float) -> str:
    if wanted == "text":
        return f"{TEXT}\n"
    end = time.strftime("%H:%M:%S", time.gmtime(seconds)) + f"{seconds % 1:.3f}"[1:]
    if wanted == "vtt":
        return f"WEBVTT\n\n00:00:00.000 --> {end}\n{TEXT}\n"
    return f"1\n00:00:00,000 --> {end.replace('.', ',')}\n{TEXT}\n"
