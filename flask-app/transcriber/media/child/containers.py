"""The containers a decode child accepts, by the names of FFmpeg's demuxers.

Left out on purpose: everything that can lead to another file, a server, a device or a program (concat, hls,
dash, imf, sdp, rtp, rtsp, image2, lavfi, webm_dash_manifest, playlists, subtitles), pictures, raw formats that
have no header, and IAMF. FFmpeg chooses the demuxer by content first and looks here afterwards, so
a playlist called speech.mp3 is refused as a playlist.
"""

from __future__ import annotations

_EVERYDAY = (
    "wav,w64,mp3,flac,ogg,aac,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,asf,amr,amrnb,amrwb"
)
_APPLE_AND_UNIX = "aiff,caf,au,iff,sox,ircam,nistsphere,voc,avr,paf,pvf,sds"
_BROADCAST = "ac3,eac3,dts,dtshd,truehd,mlp,loas,mxf,gxf,flv,live_flv,nut,wtv,rm,dv,spdif"
_LOSSLESS = "wv,ape,tta,tak,mpc,mpc8,shn,dsf,rka,osq,bonk,qoa"
_SPEECH_AND_PHONES = "gsm,qcp,ilbc,codec2,dss,oma,aea,act,mmf,lc3"
_WINDOWS = "xwma,asf_o"

#: FFmpeg's format_whitelist.
ACCEPTED = ",".join((_EVERYDAY, _APPLE_AND_UNIX, _BROADCAST, _LOSSLESS, _SPEECH_AND_PHONES, _WINDOWS))

#: Containers whose header states how long the audio is. For the others FFmpeg reckons it from the bit rate.
DECLARES_LENGTH = frozenset(
    {
        "aiff",
        "ape",
        "asf",
        "au",
        "avi",
        "caf",
        "flac",
        "matroska,webm",
        "mov,mp4,m4a,3gp,3g2,mj2",
        "tta",
        "w64",
        "wav",
        "wv",
    }
)

#: Containers whose timestamps say when a sound is heard, relative to a picture. In the others FFmpeg counts samples.
TRUE_CLOCK = frozenset({"matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "mpegts", "flv"})
