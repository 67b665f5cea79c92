"""Judging delivered mail again by what is known now. Pure: frames in, frames and verdicts out."""
