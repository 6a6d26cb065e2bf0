"""The protocol of a run in one paragraph, ready for a paper: every number of it stands in result.json.

What a header lacks, as that of an earlier version may, is not stated.  The fixed rules of the house (5 % thresholds,
the JPEG that ends a condition, how pairs are counted) are stated as constants of the code that keeps them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from fdetect.bench.report.verdict import audit_mark, histories_in_words, looked_at
from fdetect.errors import ParameterError
from fdetect.perturb import LAUNDER, condition, condition_names, perturbation
from fdetect.registry import Entry
from fdetect.types import RunResult

__all__ = ["protocol_paragraph"]

_PROTOCOLS = {  # what a protocol trains on and tests; with `{}` for the names that were given
    "leave_one_generator_out": "every generator is tested by detectors that were trained on all others",
    "cross_generator": "detectors are trained on one generator at a time{} and tested on every other",
    "train_on": "detectors are trained on{} alone and tested on all generators",
    "leave_one_real_source_out": "every source of real images is tested by detectors that were trained on all others, "
    "so that all generators are seen in training",
    "fixed_split": "training and test images are those that the data's own split names",
}
_SHOWN = ("fdetect", "python", "numpy", "scipy", "numba", "scikit-learn", "torch", "transformers")
_NONE = "not installed"
_CROP = "a crop at an offset drawn from the image's content"


def protocol_paragraph(result: RunResult) -> str:
    """Return the paragraph as plain text, names as they are: whoever shows it escapes it."""
    sentences: tuple[Callable[[RunResult], str], ...] = (
        _data, _protocol, _conditions, _thresholds, _metrics, _audit, _failures, _software)  # fmt: skip
    return " ".join(filter(None, (_stated(one, result) for one in sentences)))


def _stated(sentence: Callable[[RunResult], str], result: RunResult) -> str:
    try:
        return sentence(result)
    except KeyError:  # it is not known
        return ""


def _data(result: RunResult) -> str:
    data = result.header["data"]
    reals = _parted(data["n_real"], "real image", data["real_sources"], "source")
    fakes = _parted(data["n_fake"], "generated image", data["generators"], "generator")
    doubles = f", {_count(data['n_same_content'], 'file')} of the same content as another" if (
        data.get("n_same_content")) else ""  # fmt: skip
    groups = f"{_count(data['n_groups'], 'group')} of images that belong together and are never split"
    return f"Data: {data['name']}, content hash {data['hash']}: {reals} and {fakes}, in {groups}{doubles}."


def _protocol(result: RunResult) -> str:
    config = result.header["config"]
    how = config["protocol"]
    named = f" ({', '.join(how['train'])})" if how["name"] == "cross_generator" else f" {', '.join(how['train'])}"
    what = _PROTOCOLS.get(how["name"], "").format(named if how["train"] else "")
    folds = "" if how["name"] == "fixed_split" else f" whole groups in {_count(how['folds'], 'fold')},"
    trials = f"{_count(result.header['trials'], 'trial')}, seed {result.header['seed']}"
    kept = f"{100 * how['calibration']:g} % of each trial's training reals, whole groups, were kept for thresholds"
    return f"Protocol: {how['name']}{f' ({what})' if what else ''},{folds} {trials}; {kept} and not fitted on."


def _conditions(result: RunResult) -> str:
    config = result.header["config"]
    names, crop = config["conditions"]["names"], config["conditions"]["crop"]
    coded = any(name != "native" for name in names)
    encoder = f"; encoded and decoded by {result.header['versions']['decoder']}" if coded else ""
    parts = ", ".join(f"{name}{f' ({what})' if (what := _condition(name)) else ''}" for name in condition_names(names))
    first, crop_of, others = parts.partition(_CROP)
    parts = first + crop_of + others.replace(_CROP, "such a crop")
    together = "+".join(config["heads"]["train_conditions"])
    trained = f"trained under {together}, thresholds frozen under matched" if together else (
        "trained, and thresholds frozen, under matched")  # fmt: skip
    native = "trained, and thresholds frozen, under native"
    under = trained if "native" not in names else f"{trained}, and for native {native}" if coded else native
    return f"Conditions, the same for both classes, at {crop} px: {parts}{encoder}. Detectors were {under}."


def _condition(name: str) -> str:
    """Say what a condition does, each operation in the words of its registration; "" for a name that is not known."""
    if name == "native":
        return "centre crop of the stored pixels, no encoding"
    front, _, rest = name.partition("+") if name.startswith(LAUNDER) else ("", "", name)
    try:
        read = condition(rest or "matched")
    except ParameterError:
        return ""
    said = [f"the stored picture through the autoencoder {front.removeprefix(LAUNDER)}"] if front else []
    said.append("a larger crop made smaller by a factor drawn from the content" if read.rescaled else _CROP)
    last = len(read.steps) - 1
    for k, (step, amount) in enumerate(read.steps):
        entry = perturbation.get(step)
        if step == "jpeg" and not (k and "quality" in perturbation.get(read.steps[k - 1][0]).meta):  # else it was said
            alone = " alone" if k == last == 0 and name == rest != "matched" and not read.rescaled else ""
            said.append(f"JPEG Q{amount:g} 4:2:0{alone}")
        elif step != "jpeg":
            said.append(_operation(entry, amount))
    return ", then ".join(said)


def _operation(entry: Entry, amount: float) -> str:
    """Return the first words of an operation's docstring, before its shapes, with the amount in its place."""
    words = entry.summary.partition(": (H, W, 3)")[0].rstrip(".").replace("`amount`", f"{amount:g}").replace("`", "")
    words = re.sub(r"^1 (\w+)s\b", r"1 \1", words)  # one operation
    kept = words[1:2].isupper() or words.startswith("Gaussian")
    return words if kept else words[:1].lower() + words[1:]


def _thresholds(result: RunResult) -> str:
    if not result.thresholds:
        return ""
    return ("Thresholds are split-conformal at 5 % false positives, on each trial's calibration reals; the rate that "
            "was achieved on test reals is reported beside them.")  # fmt: skip


def _metrics(result: RunResult) -> str:
    config = result.header["config"]
    how = config["metrics"]
    return ("AUROC is the share of concordant pairs of a generated and a real image within trials, ties half, pairs "
            "summed over trials; macro is the plain mean over generators, without those seen in training where there "
            f"are others. Intervals are {100 * how['level']:g} % percentile intervals of a bootstrap of whole groups "
            f"({how['replicates']:,} replicates, seed {result.header['seed']}).")  # fmt: skip


def _audit(result: RunResult) -> str:
    audit = result.audit
    marks = [f"{name}: {mark}" for name in audit["biased_by"] if (mark := audit_mark(audit, name))]
    probes = dict.fromkeys(p["probe"] for p in audit["probes"])
    said = "; ".join(marks) if marks else "no condition was marked"
    left = histories_in_words(audit, audit["biased_by"])
    sample = looked_at(audit)
    history = f" JPEG history was still told apart within a class (AUROC){left}." if left else ""
    return (f"Audit: probes that see {', '.join(probes)} alone mark a condition as biased where they tell the labels "
            f"apart with a balanced accuracy above {audit['threshold']:.2f}; {said}."
            f"{history}{' ' * bool(sample)}{sample}") if probes else ""  # fmt: skip


def _failures(result: RunResult) -> str:
    failed = len({one.path for one in result.failures})
    images = f"{_count(failed, 'image')} failed in some step and count as failures, not as answers" if failed else (
        "No image failed")  # fmt: skip
    names = ", ".join(one.detector for one in result.not_run)
    return f"{images}{f'; not run: {names}' if names else ''}."


def _software(result: RunResult) -> str:
    header = result.header
    known = {name: version for name, version in header["versions"].items() if name in _SHOWN and version != _NONE}
    parts = ", ".join(f"{name} {known[name]}" for name in _SHOWN if name in known)
    backend = f", on the {header['backend']['name']} backend" if header.get("backend") else ""
    return f"Software: {parts}{backend}; run fingerprint {header['fingerprint']}."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _parted(number: int, noun: str, counts: Mapping[str, Any], part: str) -> str:
    parts = ", ".join(f"{name or 'unnamed'}: {count:,}" for name, count in counts.items())
    return f"{_count(number, noun)} of {_count(len(counts), part)} ({parts})"
