"""The strict YAML reader: values it accepts, texts it refuses, and the lines it names."""

from pathlib import Path

import pytest

from segbench.core.strict_yaml import Document, load, parse_scalar


@pytest.fixture
def read(tmp_path: Path):  # type: ignore[no-untyped-def]
    def reader(text: str) -> Document:
        path = tmp_path / "file.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path)

    return reader


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-2", 0.01), ("6E5", 6e5), ("5e-4", 5e-4), ("-1.5e+3", -1500.0), (".5", 0.5), ("1.", 1.0),
        ("7", 7), ("-7", -7), ("007", 7), ("1.0", 1.0),
        ("true", True), ("false", False), ("null", None), ("~", None), ("", None),
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("off", "off"), ("y", "y"), ("True", "True"), ("NULL", "NULL"),
        ("0x10", "0x10"), ("0o17", "0o17"), ("1:30", "1:30"), ("2024-01-01", "2024-01-01"), (".inf", ".inf"),
        (".nan", ".nan"), ("'1'", "1"), ('"1e-2"', "1e-2"), ("1_15 of them", "1_15 of them"), ("'1_000'", "1_000"),
        ("[1, 2.0, a]", [1, 2.0, "a"]), ("{4: 1.0, b: [2]}", {4: 1.0, "b": [2]}), ("<<", "<<"),
    ],
)  # fmt: skip
def test_values(read, text, value):
    document = read(f"key: {text}")
    assert not document.faults
    found = document.data["key"]
    assert found == value
    assert type(found) is type(value)
    assert parse_scalar(text) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: 2\na: 3", "file.yaml:3: duplicate key 'a'"),
        ('a:\n  4: x\n  "4": y', "file.yaml:3: duplicate key '4'"),
        ("a: 1\nb: 40_000", "file.yaml:2: write the integer 40_000 without underscores"),
        ("a: 1\nb: &x 2", "file.yaml:2: anchors and aliases are not allowed"),
        ("a: !!str 2", "file.yaml:1: the tag 'tag:yaml.org,2002:str' is not allowed"),
        ("a: 1\nb: !odd {c: 1}", "file.yaml:2: the tag '!odd' is not allowed"),
        ("a: !!set {b}", "file.yaml:1: the tag 'tag:yaml.org,2002:set' is not allowed"),
        ("a: !!float x", "file.yaml:1: the tag 'tag:yaml.org,2002:float' is not allowed"),
        ("- !!python/object/apply:os.system [ls]", "python/object/apply:os.system' is not allowed"),
        ("true: 1", "file.yaml:1: a key must be a word or an integer"),
        ("a: 1\n[b]: 1", "file.yaml:2: a key must be a word or an integer"),
        ("1.5: 1", "file.yaml:1: a key must be a word or an integer"),
        ("a: 1\nb: [1, 2", "file.yaml:3: while parsing a flow sequence"),
        ("a: 1\n\tb: 2", "file.yaml:2: while scanning"),
        ("a: 1\n---\nb: 2", "file.yaml:2: expected a single document in the stream but found another"),
        ("a: 1e400", "file.yaml:1: the number 1e400 is too large"),
        (f"a: {'9' * 5000}", "file.yaml:1: the number 99999999999999999999 is too large"),
        ("a: \x00", "control characters are not allowed"),
    ],
)
def test_refused(read, text, sentence):
    faults = read(text).faults
    assert len(faults) == 1
    assert sentence in faults[0]
    with pytest.raises(ValueError, match="cannot read the value"):
        parse_scalar(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("a: 1\nb: " + "[" * 31 + "]" * 31, 2, id="one list too many"),
        pytest.param("a: 1\nb: " + "[" * 1_100, 2, id="beyond the limit of a parser"),
        pytest.param("[" * 100_000, 1, id="lists"),
        pytest.param("{a: " * 100_000, 1, id="maps"),
        pytest.param("- " * 100_000, 1, id="block lists"),
        pytest.param("\n".join(" " * depth + "a:" for depth in range(2_000)), 31, id="block maps"),
    ],
)
def test_deep_nesting_is_refused_in_our_words_whatever_the_parser_does(read, text, line):
    assert read(text).faults == [f"file.yaml:{line}: more than 30 levels deep"]
    with pytest.raises(ValueError, match=r"cannot read the value.*more than 30 levels deep"):
        parse_scalar(text)


def test_thirty_levels_are_read(read):
    document = read("a: " + "[" * 29 + "]" * 29)
    assert not document.faults and document.data["a"]


def test_faults_before_too_deep_nesting_are_kept(read):
    assert read("a: &x 1\nb: " + "[" * 5_000).faults == [
        "file.yaml:1: anchors and aliases are not allowed",
        "file.yaml:2: more than 30 levels deep",
    ]


def test_aliases_are_refused_and_not_followed(read):
    text = "a: &x [1, 2]\nb: *x\nc: &y [*y]\n*x : 1"
    faults = read(text).faults
    assert [fault.split(": ")[0] for fault in faults if "anchors" in fault] == [
        f"file.yaml:{number}" for number in (1, 2, 3, 3, 4)
    ]
    laughs = "a0: &a0 [x]\n" + "\n".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]" for n in range(20))
    assert len(read(laughs).faults) == 21 + 9 * 20


def test_all_faults_of_a_file_at_once(read):
    faults = read("a: 1\na: 2\nb: 1_0\nc: &d 1\ne: {f: 1, f: 2}\nnull: 3").faults
    assert sorted(int(fault.split(":")[1]) for fault in faults) == [2, 3, 4, 5, 6]


def test_lines(read):
    document = read("a:\n  b: 1\n  c:\n    - x\n    - {d: 2}\n4: y")
    assert document.where(("a", "c", "1", "d")) == "file.yaml:5"
    assert document.where(("4",)) == "file.yaml:6"
    assert document.where(("a", "b", "nothing", "below")) == "file.yaml:2"
    assert document.where(("nothing",)) == "file.yaml:1"


def test_unreadable_files(tmp_path):
    assert "cannot be read" in load(tmp_path / "none.yaml").faults[0]
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    assert "cannot be read" in load(tmp_path / "latin.yaml").faults[0]
