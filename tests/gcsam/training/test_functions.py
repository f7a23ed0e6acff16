"""Names given by a user, and functions of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcsam.training.functions import call_with_accepted, check_name, find_function, is_function_name, nearest

NETS = "tests.gcsam.training.nets"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a.b:c", True), ("a:c", True), ("a", False), ("a:", False), (":c", False), ("a b:c", False), ("C:/x.npz", False)],
)
def test_form_of_a_function_name(text: str, expected: bool) -> None:
    assert is_function_name(text) is expected


def test_nearest_name() -> None:
    assert nearest("gcsma", ["sgd", "gcsam"]) == "; did you mean 'gcsam'?"
    assert nearest("zzz", ["sgd", "gcsam"]) == ""


def test_names_are_checked() -> None:
    assert check_name("sgd", ["sgd", "sam"], "method") == "sgd"
    assert check_name("a.b:c", ["cnn"], "model", functions=True) == "a.b:c"
    with pytest.raises(ValueError, match=r"^method 'sdg' is unknown; choose one of sgd, sam; did you mean 'sgd'[?]$"):
        check_name("sdg", ["sgd", "sam"], "method")
    with pytest.raises(ValueError, match=r"choose one of cnn, or give package.module:function$"):
        check_name("zzz", ["cnn"], "model", functions=True)


def test_a_function_is_found() -> None:
    from tests.gcsam.training.nets import data

    assert find_function(f"{NETS}:data", "data") is data


def test_a_module_in_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    (tmp_path / "my_own_net.py").write_text("def build():\n    return 7\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert find_function("my_own_net:build", "model")() == 7
    with pytest.raises(ValueError, match=r"no module 'my_own_nett' in .* or installed; did you mean 'my_own_net'"):
        find_function("my_own_nett:build", "model")


def test_mistakes_name_setting_and_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "broken_one.py").write_text("import math\nmath.sqrt(-1)\n", encoding="utf-8")
    (tmp_path / "broken_two.py").write_text("def build(:\n", encoding="utf-8")
    (tmp_path / "broken_three.py").write_text("import not_there_at_all\n", encoding="utf-8")
    for text, message in (
        ("broken_one:build", r"importing 'broken_one' failed: ValueError: .* \(.*broken_one.py, line 2\)$"),
        ("broken_two:build", "importing 'broken_two' failed: SyntaxError: .*line 1"),
        ("broken_three:build", "importing 'broken_three' failed: ModuleNotFoundError: .*not_there_at_all"),
        ("no such", "must be package.module:function, for example nets:build for nets.py"),
        (f"{NETS}:dat", "module '.*' has no function 'dat'; did you mean 'data'"),
        (f"{NETS}:NUMBER", "has no function 'NUMBER'"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            find_function(text, "model")
        assert str(caught.value).startswith(f"model {text}: ")
        assert "\n" not in str(caught.value)


def test_only_accepted_arguments_are_passed() -> None:
    available = {"a": 1, "b": 2}
    assert call_with_accepted(lambda a: a, available, "f") == 1
    assert call_with_accepted(lambda: 0, available, "f") == 0
    assert call_with_accepted(lambda **given: given, available, "f") == available
    assert call_with_accepted(dict, {}, "f") == {}  # written in C


def test_what_a_function_raises_is_one_line_with_its_place() -> None:
    def failing(a: int) -> None:
        raise KeyError("one\ntwo")

    with pytest.raises(ValueError, match=r"^f: calling it failed: KeyError: .*test_functions.py, line \d+\); it is"):
        call_with_accepted(failing, {"a": 1}, "f")
    with pytest.raises(ValueError, match=r"missing 1 required positional argument: 'z'.*it is offered a") as caught:
        call_with_accepted(lambda z: z, {"a": 1}, "f")
    assert "\n" not in str(caught.value)
