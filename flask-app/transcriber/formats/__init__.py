"""A transcription as srt, vtt, ass, tsv, text, json, verbose_json and docx. Pure: values in, text or bytes out."""
