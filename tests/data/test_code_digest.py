"""Digests of decoding code: words may change, what the code does may not."""

from pathlib import Path

import pytest

from segbench.data import handle
from segbench.data.prepared.code_digest import code_digest, decoding_digest

DATA = Path(handle.__file__).parent
CODE_BEFORE = '''"""Words."""

def read(path):
    """More words."""
    # and more
    if not path.exists():
        raise ValueError(f"{path} is missing")
    return path.read_bytes()[3:]
'''


def written(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "reader.py").write_text(text)
    return folder / "reader.py"


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("More words.", "Other words.", True),
        ('    """More words."""\n', "", True),
        ("    # and more\n", "\n\n", True),
        ("is missing", "is not there", True),
        ("return path", "return  path", True),
        ("[3:]", "[4:]", False),
        ("not path", "path", False),
        ("read(path)", "read(path, more)", False),
    ],
)
def test_words_do_not_count_and_code_does(old: str, new: str, same: bool, tmp_path: Path) -> None:
    before = written(tmp_path / "before", CODE_BEFORE)
    after = written(tmp_path / "after", CODE_BEFORE.replace(old, new))
    assert after.read_text() != before.read_text()
    assert (code_digest(before) == code_digest(after)) == same


def test_every_reader_has_its_own(tmp_path: Path) -> None:
    readers = [DATA / "images.py", *sorted(DATA.glob("sets/*/reader.py")), written(tmp_path / "other", CODE_BEFORE)]
    assert len({decoding_digest(reader) for reader in readers}) == len(readers)
