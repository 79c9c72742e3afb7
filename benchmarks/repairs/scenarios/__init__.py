"""Families of scenarios."""
