"""Tests of the policies: clients, relaying, limits."""
