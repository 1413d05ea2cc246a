"""Hostile uploads: references to other files and servers, bombs, lies, wreckage. The same ones for the same seed."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from media_files import (
    ENCODINGS,
    JFK,
    Encoding,
    can_encode,
    encode,
    make_silent_flac,
    make_tone,
    make_wave,
    read_pcm,
)

#: The names that each content is uploaded under.
SUFFIXES = ("mp3", "wav", "m3u8", "mp4")

#: Codes that a refused reference may answer with.
REFUSED = frozenset({"undecodable_media", "no_audio_stream"})


@dataclass(frozen=True, kw_only=True)
class HostileFile:
    """One file of the corpus. kind: reference, bomb, lie, truncated, random or mutated."""

    name: str
    path: Path
    kind: str


def hostile_corpus(
    folder: Path, *, mutations: int = 60, seed: int = 1, suffixes: tuple[str, ...] = SUFFIXES, port: int = 9
) -> list[HostileFile]:
    """Write the corpus into `folder`. port: where references to 127.0.0.1 point."""
    folder.mkdir(parents=True, exist_ok=True)
    secret = folder / "secret.wav"
    secret.write_bytes(make_wave(make_tone(1.0)))
    files = []
    for suffix in suffixes:
        for kind, name, content in _iter_contents(folder, secret, mutations, seed, port, suffix):
            path = folder / f"{kind}-{name}.{suffix}"
            path.write_bytes(content)
            files.append(HostileFile(name=path.name, path=path, kind=kind))
    return files


def _iter_contents(
    folder: Path, secret: Path, mutations: int, seed: int, port: int, suffix: str
) -> Iterator[tuple[str, str, bytes]]:
    seeds = _seeds(folder)
    for name, text in _references(secret, port, suffix).items():
        yield "reference", name, text.encode()
    yield "reference", "quicktime-alias", _quicktime_alias(seeds["mov-video"], secret)
    yield "reference", "quicktime-movie", _quicktime_reference_movie(secret)
    yield "bomb", "flac-10-hours", make_silent_flac(10)
    for name, content in _lies(seeds).items():
        yield "lie", name, content
    for name, content in seeds.items():
        for length in (4, 24, len(content) // 20, len(content) // 2, len(content) - 7):
            yield "truncated", f"{name}-{length}", content[:length]
    generator = random.Random(seed)
    for size in (1, 16, 1000, 200_000):
        yield "random", str(size), generator.randbytes(size)
    names = sorted(seeds)
    for number in range(mutations):
        name = names[number % len(names)]
        yield "mutated", f"{number:04}-{name}", _mutate(seeds[name], generator)


def _seeds(folder: Path) -> dict[str, bytes]:
    """Half a second of speech in every encoding, by name."""
    cache = folder / ".seeds"
    cache.mkdir(exist_ok=True)
    speech = read_pcm(JFK, 1.0)[8000:]
    contents = {}
    for encoding in ENCODINGS:
        if can_encode(encoding):
            contents[encoding.name] = _encoded_once(cache / encoding.name, speech, encoding)
    return contents


def _encoded_once(path: Path, speech: object, encoding: Encoding) -> bytes:
    if not path.exists():
        encode(path, speech, encoding)  # type: ignore[arg-type]
    return path.read_bytes()


def _references(secret: Path, port: int, suffix: str) -> dict[str, str]:
    """Texts that lead FFmpeg elsewhere."""
    server = f"http://127.0.0.1:{port}"
    hls = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n"
    return {
        "concat-relative": f"ffconcat version 1.0\nfile {secret.name}\n",
        "concat-absolute": f"ffconcat version 1.0\nfile '{secret}'\n",
        "concat-url": f"ffconcat version 1.0\nfile 'file:{secret}'\nfile '{server}/a.mp3'\n",
        "concat-itself": f"ffconcat version 1.0\nfile reference-concat-itself.{suffix}\n",
        "hls-http": f"{hls}#EXTINF:10,\n{server}/a.ts\n#EXT-X-ENDLIST\n",
        "hls-file": f"{hls}#EXTINF:10,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        "hls-concat": f"{hls}#EXTINF:10,\nconcat:{secret}|{server}/a\n#EXT-X-ENDLIST\n",
        "hls-relative": f"{hls}#EXTINF:10,\n{secret.name}\n#EXT-X-ENDLIST\n",
        "hls-itself": f"{hls}#EXTINF:10,\nreference-hls-itself.{suffix}\n",
        "hls-master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nfile:///etc/hostname\n",
        "hls-key": f'{hls}#EXT-X-KEY:METHOD=AES-128,URI="{server}/key"\n#EXTINF:10,\n{server}/a.ts\n#EXT-X-ENDLIST\n',
        "hls-map": f'{hls}#EXT-X-MAP:URI="file://{secret}"\n#EXTINF:10,\n{secret.name}\n#EXT-X-ENDLIST\n',
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n",
        "dash-http": _dash(f"{server}/"),
        "dash-file": _dash(f"file://{secret}"),
        "imf-cpl": _IMF_CPL,
        "imf-assetmap": _IMF_ASSETMAP.format(secret=secret),
        "m3u": f"#EXTM3U\n{secret}\n{server}/a.mp3\n",
        "pls": f"[playlist]\nNumberOfEntries=1\nFile1=file://{secret}\n",
        "asx": f'<asx version="3.0"><entry><ref href="{server}/a.wma"/></entry></asx>',
        "wmv-reference": f"[Reference]\nRef1={server}/a.asf\n",
        "realmedia-link": f"rtsp://127.0.0.1:{port}/a.rm\n",
        "smil": f'<smil><body><audio src="{server}/a.mp3"/></body></smil>',
        "smooth": f'<SmoothStreamingMedia><StreamIndex Url="{server}/a"/></SmoothStreamingMedia>',
        "vobsub": "# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:01:000, filepos: 000000000\n",
        "svg": f'<svg xmlns:xlink="http://www.w3.org/1999/xlink"><image xlink:href="file://{secret}"/></svg>',
        "path": f"{secret}\n",
        "subtitles": "1\n00:00:00,000 --> 00:00:10,000\nhello\n",
        "text": "This is a letter, not a recording.\n" * 50,
        "html": "<!doctype html><title>x</title><audio src=x autoplay></audio>",
        "script": "#!/bin/sh\ncat /etc/passwd\n",
    }


def _dash(base: str) -> str:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT10S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
        '<AdaptationSet contentType="audio" mimeType="audio/mp4"><Representation id="1" bandwidth="1000" '
        f'codecs="mp4a.40.2"><BaseURL>{base}</BaseURL><SegmentBase indexRange="0-1"/></Representation>'
        "</AdaptationSet></Period></MPD>"
    )


_IMF_CPL = (
    '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">'
    "<Id>urn:uuid:00000000-0000-0000-0000-000000000001</Id><ContentTitle>x</ContentTitle><EditRate>25 1</EditRate>"
    "<SegmentList><Segment><SequenceList><MainAudioSequence/></SequenceList></Segment></SegmentList>"
    "</CompositionPlaylist>"
)

_IMF_ASSETMAP = (
    '<?xml version="1.0"?><AssetMap xmlns="http://www.smpte-ra.org/schemas/429-9/2007/AM"><AssetList><Asset>'
    "<Id>urn:uuid:00000000-0000-0000-0000-000000000002</Id><ChunkList><Chunk><Path>{secret}</Path></Chunk>"
    "</ChunkList></Asset></AssetList></AssetMap>"
)


def _quicktime_alias(movie: bytes, secret: Path) -> bytes:
    """A movie whose samples are said to lie in another file, by an alias record as FFmpeg reads it."""
    path = str(secret).encode()
    record = bytes(10) + b"\x00" + bytes(27) + bytes(12) + b"\x00" + bytes(63) + bytes(16)
    record += struct.pack(">HH", 1, 1) + bytes(16)
    record += struct.pack(">HH", 2, len(path)) + path + bytes(len(path) % 2) + struct.pack(">HH", 0xFFFF, 0)
    entry = _box(b"alis", bytes(4) + record)
    place = movie.rindex(b"dref") - 4
    size = struct.unpack_from(">I", movie, place)[0]
    dref = _box(b"dref", bytes(4) + struct.pack(">I", 1) + entry)
    grown = movie[:place] + dref + movie[place + size :]
    return _grow_parents(grown, place, len(dref) - size)


def _grow_parents(movie: bytes, place: int, growth: int) -> bytes:
    """Add to the size of every box around `place`. The movie box comes last, so offsets stay true."""
    data = bytearray(movie)
    start, end = 0, len(movie)
    while start < end and start < place:
        size, kind = struct.unpack_from(">I4s", data, start)
        if start < place < start + size:
            struct.pack_into(">I", data, start, size + growth)
            start += 8
        else:
            start += size or end
        if kind == b"dref":
            break
    return bytes(data)


def _quicktime_reference_movie(secret: Path) -> bytes:
    url = f"file://{secret}".encode() + b"\0"
    reference = bytes(4) + b"url " + struct.pack(">I", len(url)) + url
    return _box(b"moov", _box(b"rmra", _box(b"rmda", _box(b"rdrf", reference))))


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def _lies(seeds: dict[str, bytes]) -> dict[str, bytes]:
    """Headers that promise what is not there."""
    wave = bytearray(seeds["wav-8k-mono"])
    flac = seeds["flac"]
    return {
        "wav-1-gigabyte": _with_wave_size(wave, 2**30),
        "wav-4-gigabytes": _with_wave_size(wave, 2**32 - 1),
        "wav-rate-1": _with(wave, 24, struct.pack("<I", 1)),
        "wav-rate-huge": _with(wave, 24, struct.pack("<I", 2**31 - 1)),
        "wav-channels-65535": _with(wave, 22, struct.pack("<H", 65_535)),
        "wav-channels-0": _with(wave, 22, b"\0\0"),
        "wav-align-0": _with(wave, 32, b"\0\0"),
        "wav-no-samples": make_wave([]),
        "mp4-nested": _nested_boxes(5_000),
        "mp4-huge-table": _patched_table(seeds["mp4-video"], b"stsz", 8),
        "mp4-huge-chunks": _patched_table(seeds["mp4-video"], b"stco", 4),
        "mp4-huge-times": _patched_table(seeds["mp4-video"], b"stts", 4),
        "mkv-huge-element": seeds["mkv"][:60] + b"\x08\xff\xff\xff\xff\xff\xfe" + seeds["mkv"][60:],
        "id3-huge": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + seeds["mp3"],
        "flac-max-duration": flac[:21] + b"\xff" * 5 + flac[26:],
    }


def _with(data: bytes | bytearray, place: int, replacement: bytes) -> bytes:
    return bytes(data[:place]) + replacement + bytes(data[place + len(replacement) :])


def _with_wave_size(wave: bytearray, size: int) -> bytes:
    return _with(wave, wave.index(b"data") + 4, struct.pack("<I", size))


def _nested_boxes(depth: int) -> bytes:
    content = b""
    for _ in range(depth):
        content = struct.pack(">I", 8 + len(content)) + b"moov" + content
    return _box(b"ftyp", b"isom\0\0\2\0isom") + content


def _patched_table(movie: bytes, kind: bytes, place: int) -> bytes:
    """The last table of this kind with a count of 2^28."""
    start = movie.rindex(kind) + 4 + place
    return _with(movie, start, struct.pack(">I", 2**28))


def _mutate(content: bytes, generator: random.Random) -> bytes:
    """Overwrite, insert, delete or repeat a few stretches, mostly near the front, where the headers are."""
    data = bytearray(content)
    for _ in range(generator.randint(1, 20)):
        reach = len(data) if generator.random() < 0.5 else min(len(data), 256)
        place = generator.randrange(max(1, reach))
        length = generator.choice((1, 1, 2, 4, 16))
        change = generator.randrange(4)
        if change == 0:
            data[place : place + length] = generator.randbytes(length)
        elif change == 1:
            data[place:place] = generator.choice(
                (bytes(length), b"\xff" * length, generator.randbytes(length))
            )
        elif change == 2:
            del data[place : place + length]
        else:
            data[place:place] = data[place : place + 64]
    return bytes(data)
