"""From windows to segments and words."""
