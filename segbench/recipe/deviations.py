"""Differences between the protocol that ran and the published one."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import BaseModel

from segbench.core import registry
from segbench.core.spec import Choice, DataSpec, Options, StageSpec, TrainingSpec

from .phrases import phrase
from .protocol import Protocol

Place = tuple[str, ...]
_Pair = tuple[Place, BaseModel, BaseModel]
_Stage = tuple[Place, StageSpec, StageSpec]


@dataclass(frozen=True)
class Deviation:
    """One difference. A material one makes the result incomparable with the publication.

    Attributes:
        path: dotted path, preceded by the stage and the stream if there are several.
        published: the published value, as plain data.
        ran: the value that ran.
        material: True if the schema marks the field as material.
        says: the difference in words.
    """

    path: str
    published: Any
    ran: Any
    material: bool
    says: str

    def __str__(self) -> str:
        return self.says

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Difference:
    """A field that differs.

    Attributes:
        field: dotted path inside its stage or stream.
        place: names of the stage and the stream, if there are several.
        dataset: name of the published data set, for the words.
        says: the words, unless they follow from the two values.
    """

    field: str
    published: Any
    ran: Any
    material: bool
    place: Place = ()
    dataset: str = ""
    says: str = ""

    @property
    def words(self) -> str:
        return self.says or phrase(self.field, self.published, self.ran, dataset=self.dataset)


def between(published: Protocol, ran: Protocol) -> list[Deviation]:
    """Return all differences between two protocols of one row: streams, stages, evaluation; each field once."""
    found: list[_Difference] = []
    deviations: list[Deviation] = []
    if published.training is not None and ran.training is not None:
        for pairs in (_streams(published.training, ran.training), _stages(published.training, ran.training)):
            differences = [
                _worded(each, theirs, ours) for place, theirs, ours in pairs for each in _walk(theirs, ours, place)
            ]
            deviations += [_deviation(each, differences, len(pairs)) for each in differences]
            found += differences
    if published.evaluation is not None and ran.evaluation is not None:
        # The evaluation inherits the data of the training; those differences are not repeated.
        said = [(f"evaluation.{each.field}", each.published, each.ran) for each in found]
        differences = _walk(published.evaluation, ran.evaluation, (), "evaluation.")
        differences = [each for each in differences if (each.field, each.published, each.ran) not in said]
        deviations += [_deviation(each, differences, 1) for each in differences]
    return deviations


def _deviation(each: _Difference, found: list[_Difference], places: int) -> Deviation:
    """Return the deviation, with its place in the words unless it is the same everywhere."""
    alike = sum((other.field, other.words) == (each.field, each.words) for other in found)
    says = each.words if alike == places else f"{'/'.join(each.place)}: {each.words}"
    path = ".".join([*each.place, each.field])
    return Deviation(path, each.published, each.ran, each.material, says)


def _worded(each: _Difference, published: BaseModel, ran: BaseModel) -> _Difference:
    """Return the difference with the words of a micro-batch, which depend on the batch and the method."""
    if each.field != "schedule.micro_batch" or not isinstance(published, StageSpec) or not isinstance(ran, StageSpec):
        return each
    options: Any = Options()
    if registry.is_registered("method", ran.method.name):
        options = registry.chosen("method", ran.method)
    was, now = options.across_images_of(published.images_at_once), options.across_images_of(ran.images_at_once)
    uncut = options.across_images_of(ran.images_at_once * ran.micro_batches)
    subjects: dict[str, list[str]] = {}
    statistics = f"of {ran.images_at_once} instead of {published.images_at_once} images"
    subjects[statistics] = ["batch statistics"]
    for name, sizes in now.items():
        if sizes * ran.micro_batches != uncut[name]:  # as many groups of the same sizes: none of them is divided
            some, others = _distinct(sizes), _distinct(was[name])
            words = f"of {some} instead of {others} images" if some != others else "of other images"
            subjects.setdefault(words, []).append(name)
    return replace(each, says=" and ".join(f"{_listed(names)} {words}" for words, names in subjects.items()))


def _listed(names: list[str]) -> str:
    return " and ".join(text for text in (", ".join(names[:-1]), names[-1]) if text)


def _distinct(sizes: tuple[int, ...]) -> str:
    return "/".join(map(str, sorted(set(sizes), reverse=True)))


def _streams(published: TrainingSpec, ran: TrainingSpec) -> list[_Pair]:
    found: list[_Pair] = []
    for place, theirs, ours in _stages(published, ran):
        for name, stream in theirs.streams.items():
            found.append(((*place, name) if len(theirs.streams) > 1 else place, stream, ours.streams[name]))
    return found


def _stages(published: TrainingSpec, ran: TrainingSpec) -> list[_Stage]:
    many = len(published.stages) > 1
    pairs = zip(published.stages, ran.stages, strict=True)
    return [((theirs.name,) if many else (), theirs, ours) for theirs, ours in pairs]


def _walk(published: BaseModel, ran: BaseModel, place: Place, prefix: str = "", kind: str = "") -> list[_Difference]:
    if isinstance(published, Choice) and isinstance(ran, Choice):
        return _choices(published, ran, place, prefix, kind)
    found: list[_Difference] = []
    for name, info in type(published).model_fields.items():
        theirs, ours = getattr(published, name), getattr(ran, name)
        if theirs == ours or (name == "streams" and isinstance(published, StageSpec)):
            continue
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        if isinstance(theirs, BaseModel) and isinstance(ours, type(theirs)):
            found += _walk(theirs, ours, place, f"{prefix}{name}.", name)
        else:
            material = bool(extra.get("material", True))
            dataset = published.name if isinstance(published, DataSpec) else ""
            found.append(_Difference(f"{prefix}{name}", _plain(theirs), _plain(ours), material, place, dataset))
    return found


def _choices(published: Choice, ran: Choice, place: Place, prefix: str, kind: str) -> list[_Difference]:
    if published.name != ran.name:
        return [_Difference(f"{prefix}name", published.name, ran.name, True, place)]
    if registry.is_registered(kind, published.name):
        options: Any = registry.options_of(kind, published.name)
        was, now = (options.model_validate(each.options) for each in (published, ran))
        unread = {f"{prefix}{name}" for name in was.unread() & now.unread()}
        return [each for each in _walk(was, now, place, prefix) if each.field not in unread]
    theirs, ours = published.options, ran.options
    return [
        _Difference(f"{prefix}{name}", theirs.get(name), ours.get(name), True, place)
        for name in {**theirs, **ours}
        if theirs.get(name) != ours.get(name)
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True)
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
