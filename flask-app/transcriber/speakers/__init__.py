"""Telling speakers apart: the parent's side of a child that is started when it is needed and ended when idle."""
