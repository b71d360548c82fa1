"""Tests of the server on in-memory transports."""
