"""Which images are labelled: every rule against its definition, and lists that others publish."""

import hashlib
import http.server
import pickle
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segbench.core.errors import InvalidFault, MissingFault
from segbench.core.published_file import PublishedFile
from segbench.core.spec import DataSpec, SubsetSpec
from segbench.data import subsets
from segbench.data.fetching import resources
from segbench.data.fetching.pickled import read_integers
from segbench.data.handle import find_dataset
from segbench.data.open import open_dataset
from tests.data.camvid_tree import COUNTS, arrays, png, tree_options


def never() -> np.ndarray:
    raise AssertionError("only balanced looks at labels")


def choose(keys: list[str], *, official: int | None = None, dataset: str = "cityscapes", **subset: object) -> list[int]:
    spec = SubsetSpec.model_validate(subset)
    return subsets.choose(spec, keys, dataset=dataset, official=official, shown=never)


def names(count: int) -> list[str]:
    return [f"train/{number:05d}" for number in range(count)]


@pytest.mark.parametrize(
    ("count", "of", "draw", "first", "last"),
    [
        (100, 2975, 0, [2, 5, 47, 58, 69, 112], [2903, 2936, 2940]),
        (100, 2975, 2, [3, 46, 82, 124, 144, 172], [2898, 2935, 2946]),
        (212, 10582, 0, [141, 203, 227, 383, 487, 633], [10448, 10460, 10497]),
    ],
)
def test_random_draws_stay_what_they_were(count: int, of: int, draw: int, first: list[int], last: list[int]) -> None:
    found = choose(names(of), count=count, draw=draw)
    assert found[:6] == first and found[-3:] == last
    assert found == sorted(set(found)) and len(found) == count


def test_specs_with_defaults_keep_their_ids() -> None:
    assert SubsetSpec(count=100).canonical() == {"count": 100}
    assert SubsetSpec(count=9, draw=1).id() == "a68c87c15057"
    assert SubsetSpec(count=100, rule="permutation", order="released").id() == "a23f68ee3838"
    assert SubsetSpec(count=9, draw=None).canonical() == {"count": 9, "draw": None}


# Shards: sizes as the printed numbers of images have them.


def test_two_of_ten_shards_are_the_printed_numbers() -> None:
    cityscapes, voc = subsets.shards(2975, 10), subsets.shards(10582, 10)
    assert [part.stop for part in (cityscapes[1], voc[1])] == [596, 2118]
    assert [len(part) for part in (cityscapes[-1], voc[-1])] == [293, 1051]
    assert [index for part in cityscapes for index in part] == list(range(2975))


def test_no_other_shards_give_both_numbers() -> None:
    def taken(count: int, wanted: int) -> set[tuple[int, int]]:
        every = ((number, part, shard.stop) for number in range(1, 201) for part, shard in shards(count, number))
        return {(number, part + 1) for number, part, stop in every if stop == wanted}

    def shards(count: int, number: int) -> list[tuple[int, range]]:
        return list(enumerate(subsets.shards(count, number)))

    assert taken(2975, 596) & taken(10582, 2118) == {(10, 2)}


def test_shards_of_a_list() -> None:
    ordered = names(25)  # three to a shard, the last one empty
    assert choose(ordered, official=25, count=6, rule="shards", num_shards=10, take_shards=2) == list(range(6))
    assert choose(ordered[::-1], official=25, count=6, rule="shards", num_shards=10, take_shards=2) == list(
        range(19, 25)
    ), "the sorted list is cut, whatever order the reader has"
    shuffled = {"count": 6, "rule": "shards", "order": "shuffled", "num_shards": 10, "take_shards": 2}
    drawn = {tuple(choose(ordered, official=25, draw=draw, **shuffled)) for draw in range(20)}
    assert len(drawn) == 20
    assert {index for each in drawn for index in each} == set(range(25))
    everything = choose(ordered, official=25, count=25, rule="shards", num_shards=10, take_shards=10)
    assert everything == list(range(25))
    with pytest.raises(InvalidFault, match="2 of 10 shards of 25 images are 6 images, not 5"):
        choose(ordered, official=25, count=5, rule="shards", num_shards=10, take_shards=2)
    with pytest.raises(InvalidFault, match="official list of 26 images, this one has 25"):
        choose(ordered, official=26, count=6, rule="shards", num_shards=10, take_shards=2)


@pytest.mark.parametrize(
    ("subset", "says"),
    [
        ({"rule": "shards"}, "requires num_shards"),
        ({"rule": "shards", "num_shards": 2, "take_shards": 3}, "take_shards that is no larger"),
        ({"num_shards": 10, "take_shards": 2}, "cannot be combined with rule random"),
        ({"rule": "permutation"}, "order released"),
        ({"order": "shuffled"}, "order sorted"),
        ({"draw": -1}, "greater than or equal to 0"),
    ],
)
def test_specs_that_make_no_sense(subset: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SubsetSpec(count=2, **subset)  # type: ignore[arg-type]


def test_generated_scenes_are_drawn_at_random_and_need_no_file() -> None:
    released = {"rule": "permutation", "order": "released"}
    cut = {"rule": "shards", "num_shards": 10, "take_shards": 2}
    plain = choose(names(24), count=4)
    assert choose(names(24), count=4, **released) == choose(names(24), count=4, **cut) == plain
    assert choose(names(24), count=4, rule="balanced") == plain
    spec = DataSpec(name="cityscapes", source="generated", images=6, size=(32, 64), subset={"count": 2, **released})
    assert len(open_dataset(spec)) == 2


# The training's seed.


def test_a_draw_may_follow_the_seed() -> None:
    data = DataSpec(name="camvid", subset=SubsetSpec(count=2, draw=None))
    assert subsets.seeded(data, 5).subset == SubsetSpec(count=2, draw=5)
    fixed = DataSpec(name="camvid", subset=SubsetSpec(count=2, draw=3))
    assert subsets.seeded(fixed, 5) == fixed
    assert subsets.seeded(DataSpec(name="camvid"), 5) == DataSpec(name="camvid")
    with pytest.raises(InvalidFault, match="seed of a training"):
        choose(names(9), count=2, draw=None)


# Published permutations.

FACTS = {  # number of images, and what the SHA-256 of a file begins with
    "city/split_0.pkl": (2975, "24c65ab25d7d788b"),
    "city/split_1.pkl": (2975, "6ee8357561573406"),
    "city/split_2.pkl": (2975, "53632cb774098b79"),
    "voc/split_0.pkl": (10582, "28a995226b364935"),
    "voc/split_1.pkl": (10582, "7d0266db9bd1dc96"),
    "voc/split_2.pkl": (10582, "2b35b6049e2afbce"),
}


def test_the_published_files_are_those_of_the_dossier() -> None:
    published = resources.RESOURCES["semiseg-splits"]
    assert {file.path for file in published.files} == set(FACTS)
    for file in published.files:
        count, begins = FACTS[file.path]
        (url,), sha256 = file.urls, file.checksums["sha256"]
        assert url.endswith(f"/dc53c6da64f91c1ebce320f6e2ce3cc9f3df7414/splits/{file.path}")
        assert sha256.startswith(begins) and len(sha256) == 64
        assert 0 < (file.size_bytes or 0) - 8 * count < 200, "numbers of eight bytes and a head"


COUNT = 40
ORDERS = [np.random.default_rng(draw).permutation(COUNT) for draw in range(3)]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A local address of three permutations of 40 images, as NumPy pickles them; returns the folder behind it."""
    folder = tmp_path / "served"
    files = []
    for draw, order in enumerate(ORDERS):
        path = folder / "city" / f"split_{draw}.pkl"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = pickle.dumps(order.astype("<i8"), protocol=3)
        path.write_bytes(data)
        files.append((f"city/split_{draw}.pkl", {"sha256": hashlib.sha256(data).hexdigest()}, len(data)))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *words: object) -> None:
            super().__init__(*words, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{running.server_port}"
    published = tuple(PublishedFile(path, (f"{here}/{path}",), sums, size) for path, sums, size in files)
    made = replace(resources.RESOURCES["semiseg-splits"], files=published)
    monkeypatch.setitem(resources.RESOURCES, "semiseg-splits", made)
    yield folder
    running.shutdown()
    running.server_close()


def released(draw: int, keys: list[str] | None = None, *, count: int = 7, dataset: str = "cityscapes") -> list[int]:
    keys = keys or names(COUNT)
    return choose(
        keys, official=len(keys), dataset=dataset, count=count, rule="permutation", order="released", draw=draw
    )


def test_the_first_of_a_published_permutation_are_labelled(server: Path) -> None:
    for draw, order in enumerate(ORDERS):
        assert released(draw) == sorted(order[:7].tolist())
    turned = names(COUNT)[::-1]
    assert sorted(turned[index] for index in released(0, turned)) == sorted(names(COUNT)[i] for i in ORDERS[0][:7])
    for path in server.rglob("*.pkl"):
        path.unlink()
    assert released(1) == sorted(ORDERS[1][:7].tolist()), "fetched once"


def test_a_plan_says_what_it_would_fetch(server: Path) -> None:
    spec = {"count": 7, "rule": "permutation", "order": "released"}
    data = DataSpec(name="cityscapes", subset=spec)
    need = subsets.published_need(data)
    assert need is not None and need.what.startswith("labelled subsets of SemiSeg-Contrastive, 1 kB.")
    assert need.next == "segbench data download semiseg-splits"
    for other in (
        DataSpec(name="cityscapes", source="generated", images=9, subset=spec),
        DataSpec(name="cityscapes", subset={"count": 7}),
        DataSpec(name="cityscapes"),
    ):
        assert subsets.published_need(other) is None
    assert resources.get_all("semiseg-splits") == resources.RESOURCES["semiseg-splits"].folder
    assert subsets.published_need(data) is None


def test_published_files_that_are_not_what_they_should_be(server: Path) -> None:
    (server / "city" / "split_0.pkl").write_bytes(pickle.dumps(ORDERS[1], protocol=3))
    with pytest.raises(MissingFault, match="SHA-256"):
        released(0)
    with pytest.raises(InvalidFault, match="permutes 40 images, the list has 41"):
        released(1, names(COUNT + 1))
    with pytest.raises(InvalidFault, match="no permutation 3 of cityscapes"):
        released(3)
    with pytest.raises(InvalidFault, match="no permutation 0 of camvid"):
        released(0, dataset="camvid")


def test_without_a_network_the_way_out_is_named(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = resources.RESOURCES["semiseg-splits"]
    lost = tuple(replace(file, urls=("http://127.0.0.1:9/lost",)) for file in here.files)
    monkeypatch.setitem(resources.RESOURCES, "semiseg-splits", replace(here, files=lost))
    with pytest.raises(MissingFault, match="labelled-split-cityscapes=random-0") as caught:
        released(0)
    assert caught.value.next == "segbench data download semiseg-splits"


class Villain:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    target = tmp_path / "made"
    evil = pickle.dumps(Villain(target), protocol=3)
    with pytest.raises(ValueError, match="is not opened"):
        read_integers(evil)
    assert not target.exists()
    pickle.loads(evil)
    assert target.exists(), "the same bytes do harm where they are unpickled"


def test_pickles_of_integers() -> None:
    values = np.array([5, -1, 1 << 40, 0])
    assert read_integers(pickle.dumps(values, protocol=3)).tolist() == values.tolist()
    # Old NumPy names another module and writes the dtype's truth values as numbers.
    old = pickle.dumps(values, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert read_integers(old).tolist() == values.tolist()
    assert read_integers(
        old.replace(b"X\x02\x00\x00\x00i8q\x08\x89\x88", b"X\x02\x00\x00\x00i8q\x08K\x00K\x01")
    ).tolist()
    whole = pickle.dumps(values, protocol=3)
    for wrong in (
        pickle.dumps([1, 2, 3], protocol=3),
        pickle.dumps(values.astype(float), protocol=3),
        pickle.dumps(values.astype(">i8"), protocol=3),
        pickle.dumps(values.reshape(2, 2), protocol=3),
        pickle.dumps(values.astype(object), protocol=3),
        whole[:-9],
        whole.replace(b"K\x04\x85", b"K\x05\x85"),
        b"",
    ):
        with pytest.raises(ValueError):
            read_integers(wrong)


# Balanced.


def by_definition(shown: np.ndarray, number: int, order: list[int]) -> list[int]:
    """The rule as its docstring says it, image by image."""
    chosen: list[int] = []
    while len(chosen) < number:
        left = [index for index in order if index not in chosen]
        candidates = []
        for each in range(shown.shape[1]):
            showing = [index for index in left if shown[index, each]]
            if showing:
                have = sum(bool(shown[index, each]) for index in chosen)
                candidates.append((have, int(shown[:, each].sum()), each, showing[0]))
        chosen.append(min(candidates)[3] if candidates else left[0])
    return sorted(chosen)


@pytest.mark.parametrize("draw", range(6))
def test_balanced_is_what_it_says(draw: int) -> None:
    rng = np.random.default_rng(100 + draw)
    shown = rng.random((30, 5)) < [0.9, 0.5, 0.2, 0.05, 0.0]
    order = np.random.default_rng([draw, 30]).permutation(30).tolist()
    for number in (1, 4, 11, 30):
        assert subsets.balanced(shown, number, draw=draw) == by_definition(shown, number, order)


def test_balanced_by_hand() -> None:
    shown = np.zeros((6, 3), bool)
    shown[:, 0] = True  # everywhere
    shown[[1, 4], 1] = True
    shown[3, 2] = True  # the rarest class is in image 3 alone
    for draw in range(10):
        assert subsets.balanced(shown, 1, draw=draw) == [3]
        two = subsets.balanced(shown, 2, draw=draw)
        assert two in ([1, 3], [3, 4])
        assert subsets.balanced(shown, 3, draw=draw) == [1, 3, 4]
    assert len({tuple(subsets.balanced(shown, 4, draw=draw)) for draw in range(30)}) == 3
    assert subsets.balanced(np.zeros((4, 2), bool), 4, draw=0) == [0, 1, 2, 3]


def test_balanced_reads_labels(tree: Path) -> None:
    rare = arrays("train", 3)[1]
    for index in range(COUNTS["train"]):
        label = np.where(rare == 2, 0, rare) if index != 3 else rare  # poles in one image alone
        (tree / "camvid" / "train" / "labels" / f"seq_{index:05d}.png").write_bytes(png(label))
    dataset = find_dataset("camvid", tree)
    found = subsets.classes_shown(dataset, dataset.pairs("train"), dataset.table())
    assert found.shape == (5, 11) and found.sum() == 5 * 10 + 1 and found[:, 2].tolist() == [0, 0, 0, 1, 0]
    for draw in range(5):
        spec = DataSpec(name="camvid", subset={"count": 1, "rule": "balanced", "draw": draw}, scale=0.5)
        assert open_dataset(spec, root=tree, options=tree_options()).key(0) == "train/seq_00003"
    (tree / "camvid" / "train" / "labels" / "seq_00000.png").write_bytes(png(np.full((24, 32), 77, np.uint8)))
    with pytest.raises(MissingFault, match="label values 77"):
        open_dataset(spec, root=tree, options=tree_options())


def test_listing_is_a_checksum_of_lines() -> None:
    spec = SubsetSpec(count=2, rule="shards", num_shards=10, take_shards=2, draw=4)
    found = subsets.listing(spec, ["train/a", "train/b"], generated=False)
    assert found["sha256"] == hashlib.sha256(b"train/a\ntrain/b\n").hexdigest()
    assert (found["count"], found["rule"], found["order"], found["draw"]) == (2, "shards", "sorted", 4)
    assert (found["num_shards"], found["take_shards"], found["keys"]) == (10, 2, ["train/a", "train/b"])
    assert subsets.listing(spec, ["a"], generated=True)["rule"] == "random"
