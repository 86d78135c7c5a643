"""Sockets of both sides, CURVE keys, and who may connect."""
