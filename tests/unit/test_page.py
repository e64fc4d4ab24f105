"""What dev.py fetches for the page, the rules that our scripts are held to, and the README's pictures."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

import dev
from demo import page, readme
from demo.browser import LOOKS, Complaints
from demo.install import HOST, SetupError

TOOLS = HOST / "scripts" / "node_modules"
posix = pytest.mark.skipif(os.name == "nt", reason="a shell script stands for a program")
tools = pytest.mark.skipif(
    not shutil.which("node") or not TOOLS.is_dir(), reason="python dev.py check fetches the checkers of scripts"
)


def program(folder: Path, name: str, says: str) -> None:
    """A program that prints one line."""
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{says}'\n")
    file.chmod(0o755)


# --- without Node.js


def test_without_node_the_checks_say_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"node was found.*Node\.js 20"):
        page.script_checks()


@posix
@pytest.mark.parametrize("version", ["v16.20.2", "nonsense"])
def test_an_old_node_is_named_with_its_version(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "node", version)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=rf"node is version {re.escape(version)}"):
        page.script_checks()


@posix
def test_npm_is_asked_for_only_where_the_tools_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "node", "v20.1.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(page, "HOST", tmp_path / "host")
    with pytest.raises(SetupError, match="npm was found"):
        page.script_checks()
    (tmp_path / "host" / "scripts").mkdir(parents=True)
    (tmp_path / "host" / "scripts" / "kiln-stamp").write_text(page.fingerprint(page.SCRIPT_TOOLS))
    assert [check.name for check in page.script_checks()] == ["tsc --checkJs web", "eslint web"]


@posix
def test_a_failing_npm_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "node", "v20.1.0")
    (tmp_path / "npm").write_text("#!/bin/sh\necho 'no such tarball' >&2\nexit 3\n")
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(page, "HOST", tmp_path / "host")
    with pytest.raises(SetupError, match=r"no such tarball[\s\S]*Check the network"):
        page.script_checks()
    assert not (tmp_path / "host" / "scripts" / "kiln-stamp").exists()


# --- what the checks catch


@tools
@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("export const show = (/** @type {any} */ box, text) => { box.innerHTML = text }", "no-restricted-syntax"),
        ("export const patch = (type) => { type.prototype.onRemoved = null }", "no-restricted-syntax"),
        ("export const draw = (node) => { node.onDrawForeground = () => {} }", "no-restricted-syntax"),
        ('import { $el } from "../../scripts/ui.js"\nexport const box = $el("div")', "no-restricted-imports"),
        ('import { html } from "https://example.org/x.js"\nexport const box = html', "no-restricted-imports"),
        ("export const run = (text) => eval(text)", "no-eval"),
        ("const unused = 1", "no-unused-vars"),
        ("export const same = (a, b) => a == b", "eqeqeq"),
        ("export const log = () => console.log(1)", "no-console"),
    ],
)
def test_the_rules_for_scripts_hold(code: str, rule: str, root: Path) -> None:
    command = ["node", str(TOOLS / "eslint" / "bin" / "eslint.js"), "--stdin", "--stdin-filename", "web/made_up.js"]
    found = subprocess.run(command, input=code, cwd=root, capture_output=True, text=True, check=False)
    assert found.returncode == 1, found.stderr
    assert rule in found.stdout


@tools
def test_a_wrong_use_of_the_page_is_a_type_error(root: Path, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    for name in ("jsconfig.json", "web/types.d.ts"):
        shutil.copyfile(root / name, tmp_path / name)
    lines = [
        'import { app } from "../../scripts/app.js"',
        'app.registerExtension({ name: "kiln.made_up", setup: () => app.noSuchThing() })',
        "export const size = (/** @type {ComfyNode} */ node) => node.widgets.length",
        "export const untyped = (value) => value",
    ]
    (tmp_path / "web" / "made_up.js").write_text("\n".join(lines) + "\n")
    command = ["node", str(TOOLS / "typescript" / "bin" / "tsc"), "--project", str(tmp_path / "jsconfig.json")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    faults = {int(line) for line in re.findall(r"made_up\.js\((\d+),", found.stdout)}
    assert faults == {2, 3, 4}, found.stdout + found.stderr


def test_no_lock_file_and_no_package_of_the_page_is_ours(root: Path) -> None:
    """A lock file names a registry, and the pack has nothing to install into the page."""
    assert [name for name in ("package.json", "package-lock.json", "node_modules") if (root / name).exists()] == []


# --- looks and complaints


def test_the_looks_are_two_frontends_with_two_renderers() -> None:
    assert [look.name for look in LOOKS] == ["own-classic", "own-nodes2", "newest-classic", "newest-nodes2"]
    assert [look.settings["Comfy.VueNodes.Enabled"] for look in LOOKS] == [False, True, False, True]


class Said:
    """A console message, as far as `Complaints` reads it."""

    def __init__(self, kind: str, text: str, url: str = "") -> None:
        self.type, self.text, self.location = kind, text, {"url": url}


@pytest.mark.parametrize(
    ("said", "ours"),
    [
        (Said("error", "TypeError: x is undefined", "http://h/extensions/lora-kiln/zoom.js"), True),
        (Said("error", "Failed to load resource: 500", "http://h/kiln/runs"), True),
        (Said("error", "Error calling extension 'kiln.preset' method 'setup'", "http://h/assets/a.js"), True),
        (Said("error", "Failed to load resource: 404", "http://h/extensions/lora-kiln/docs/KilnRecipe/en.md"), False),
        (Said("error", "Connecting to 'https://r/comfy-nodes/KilnRecipe/node' was refused", "http://h/a.js"), False),
        (Said("error", "Failed to load resource: 404", "http://h/userdata/x.json"), False),
        (Said("warning", "kiln is slow", "http://h/extensions/lora-kiln/zoom.js"), False),
    ],
)
def test_only_errors_that_name_us_are_ours(said: Said, ours: bool) -> None:
    complaints = Complaints()
    complaints.hear(said)  # type: ignore[arg-type]
    assert bool(complaints.ours()) is ours
    complaints.clear()
    assert complaints.ours() == []


# --- the README's pictures


def noise(file: Path, side: int) -> Path:
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(file)
    return file


def test_a_picture_is_made_small_enough_or_refused(tmp_path: Path) -> None:
    source, target = noise(tmp_path / "taken.png", 100), tmp_path / "kept.png"
    size = readme.shrink(source, target, limit=9_500)
    assert size == target.stat().st_size <= 9_500
    with Image.open(target) as kept:
        assert kept.size == (100, 100)
    before = target.read_bytes()
    with pytest.raises(ValueError, match=r"taken\.png.*more than 1000"):
        readme.shrink(source, target, limit=1_000)
    assert target.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["kept.png", "taken.png"]


def test_every_picture_of_the_readme_is_taken_by_a_test(root: Path) -> None:
    """Only the demo's own result is not the page's."""
    shown = set(re.findall(r"docs/images/(\w+)\.png", (root / "README.md").read_text(encoding="utf-8")))
    assert shown - set(readme.TAKEN) == {"before_after"}
    for name, (test, file) in readme.TAKEN.items():
        module, function = test.split("::")
        text = (root / "tests" / "browser" / module).read_text(encoding="utf-8")
        assert f"def {function}(" in text, name
        assert file.split("-own-classic")[0] in text, name


def test_pictures_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert dev.main(["--help"]) == 0
    assert "pictures" in capsys.readouterr().out
    assert "pictures" in dev.COMMANDS
