"""Helpers for tests that write to Google Cloud Storage: an emulator in a process."""
