"""Homes in paths."""

from pathlib import Path

from mlbench.core.user_path import user_path


def test_homes_are_replaced_and_unknown_users_are_names_of_folders(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert user_path("~/x") == Path("/home/someone/x")
    assert user_path("~nobody-of-this-name/x.npz") == Path("~nobody-of-this-name/x.npz")
    assert user_path("a/~") == Path("a/~")
