"""Codecs, prediction from earlier frames, and frames that need not be sent."""
