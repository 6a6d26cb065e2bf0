"""The autoencoders that make aligned pairs, and what they may meet.

What an autoencoder of our own was trained on is on its card.  Where one knows a tested photograph, by content or by
group, or made the tested images itself, it is left out of that trial; where test images would have to pass through it,
the run is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fdetect.bench.protocols import ALIGNED, Samples, Trial
from fdetect.config import RunConfig
from fdetect.errors import ParameterError, WeightsError
from fdetect.nets.autoencoders import AutoencoderCard, autoencoder_card
from fdetect.nets.laundering import Laundering
from fdetect.nets.own.card import training_contents
from fdetect.nets.shipped import SHIPPED
from fdetect.perturb import Condition
from fdetect.types import NotRun

__all__ = [
    "SHIPPED_WORD", "PairSource", "cards_of", "find_sources", "not_run", "passed_through", "refuse_known", "sources_of",
    "usable_sources",
]  # fmt: skip

SHIPPED_WORD = "shipped"  # stands for all autoencoders that come with fdetect


@dataclass(frozen=True)
class PairSource:
    """An autoencoder that makes the second half of pairs, and the contents of the photographs it was trained on."""

    laundering: Laundering
    card: AutoencoderCard
    contents: frozenset[str] = field(repr=False)

    @property
    def name(self) -> str:
        """Of the autoencoder."""
        return self.laundering.name


def find_sources(names: Sequence[str]) -> tuple[PairSource, ...]:
    """Find autoencoders by names, hub ids or folders.

    Raises WeightsError, with its fix, where one is absent; ParameterError for two of one name that are not the same.
    """
    given = [one for name in names for one in (SHIPPED if name == SHIPPED_WORD else (name,))]
    found: dict[str, PairSource] = {}
    for name in given:
        one = PairSource(Laundering.of(name), autoencoder_card(name), training_contents(name))
        known = found.setdefault(one.name, one)
        if known.laundering.identity != one.laundering.identity:
            raise ParameterError(f"two different autoencoders are called {one.name}; give one of them")
        found[one.name] = replace(known, contents=known.contents | one.contents)  # whatever either card says
    return tuple(found.values())


def sources_of(config: RunConfig) -> tuple[tuple[PairSource, ...], list[NotRun]]:
    """Find the autoencoders of a run, or say why no head is trained on aligned pairs.

    With `train_on aligned`, those that are shipped are the default, and WeightsError is raised where one is absent.
    """
    alone = ALIGNED in config.protocol.train  # where it stands, nothing stands beside it
    names = config.aligned.autoencoders or ((SHIPPED_WORD,) if alone else ())
    _check(config, alone, names)
    try:
        return find_sources(names), []
    except WeightsError as error:
        if alone:
            raise
        return (), [not_run("heads on aligned pairs", error, names)]


def not_run(what: str, error: WeightsError, names: Sequence[str]) -> NotRun:
    """Return why something is not run, without the folders of this machine."""
    reason = error.reason
    for name in names:
        reason = reason.replace(name, Path(name).name)
    return NotRun(what, reason, error.fix)


def _check(config: RunConfig, alone: bool, names: Sequence[str]) -> None:
    """Raise ParameterError where settings of aligned pairs contradict each other or would do nothing."""
    wanted = config.aligned
    if not names and (wanted.draws, wanted.generated) != (1, (0.0,)):
        raise ParameterError("--pairs and --generated go with --aligned; name autoencoders, or leave them out")
    if names and not config.features.names:
        raise ParameterError("--aligned trains heads on features, and --features names none")
    if names and (not wanted.generated or len(set(wanted.generated)) < len(wanted.generated)):
        raise ParameterError(f"--generated names each share once, and at least one; got {list(wanted.generated)}")
    if alone and any(wanted.generated):
        raise ParameterError(f"--train {ALIGNED} knows no generated image to mix in; leave --generated out, or give "
                             "--aligned AUTOENCODERS with another protocol")  # fmt: skip


def usable_sources(
    sources: Mapping[str, PairSource], samples: Samples, ids: Sequence[str], trial: Trial
) -> tuple[str, ...]:
    """Return the names of the sources that know nothing of what is tested.

    None of their training photographs has a content or group that is tested, and none is a tested generator itself, as
    those of the built-in benchmark may be.
    """
    tested, generators = set(samples.group[trial.test]), set(samples.generator[trial.test])

    def knows(source: PairSource) -> bool:
        rows = zip(ids, samples.group, strict=True) if source.contents else ()
        return any(id in source.contents and group in tested for id, group in rows)

    return tuple(name for name, source in sources.items() if name not in generators and not knows(source))


def cards_of(conditions: Sequence[Condition]) -> dict[str, tuple[AutoencoderCard, ...]]:
    """Return the card of the autoencoder of every condition that launders, by the condition's name."""
    return {one.name: (autoencoder_card(one.launder.source),) for one in conditions
            if isinstance(one.launder, Laundering)}  # fmt: skip


def passed_through(conditions: Sequence[Condition], prepared: Sequence[Any]) -> dict[tuple[str, str], frozenset[str]]:
    """Return what the autoencoders that test images pass through were trained on, by who uses them and their source.

    These are the autoencoders of conditions `launder_NAME` and of detectors that reconstruct; `prepared` have `name`
    and `cards`.  Raises DataError where a card that should say it does not.
    """
    used = [(one.name, one.launder.source) for one in conditions if isinstance(one.launder, Laundering)]
    used += [(one.name, card.source) for one in prepared for card in one.cards if isinstance(card, AutoencoderCard)]
    return {(name, source): training_contents(source) for name, source in used}


def refuse_known(contents: Mapping[tuple[str, str], frozenset[str]], ids: Sequence[str]) -> None:
    """Raise ParameterError where an autoencoder that images pass through was trained on some of them."""
    for (name, source), known in contents.items():
        if met := known & set(ids):
            raise ParameterError(f"{name}: {source} was trained on {len(met)} of these images; give one that was "
                                 "trained on others, such as those that come with fdetect")  # fmt: skip
