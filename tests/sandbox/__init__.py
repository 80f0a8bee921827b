"""Tests that boot a real control plane."""
