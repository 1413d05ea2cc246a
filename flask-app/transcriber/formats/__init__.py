"""A transcription as srt, vtt, tsv, text, json and verbose_json. Pure: values in, text out."""
