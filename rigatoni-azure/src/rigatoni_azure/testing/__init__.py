"""Helpers for tests that write to Azure Storage: an emulator in a process."""
