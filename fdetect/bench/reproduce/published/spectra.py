"""Published figures of heads on a published table of spectra: a handful of numbers a picture, nothing else."""

from __future__ import annotations

from fdetect.bench.reproduce.published.base import DataSet, OnSpectra, Reproduction, reproduction

__all__: list[str] = []

_CELEBA = DataSet(
    what="azimuthal power spectra of 1000 photographs of CelebA and 1000 made faces, a row a picture",
    fakes=1000,
    reals=1000,
    table=True,
    layout="a file .npz with spectra (2000, 80) float32 and label (2000,) of 0 and 1; nothing pickled is read",
    source="Experiments_CelebA of github.com/cc-hpc-itwm/DeepFakeDetection holds them as a pickle, which has to be "
    "turned into .npz where pickles are trusted",
)
_SPLITS = (
    "400 rows are tested in each of 10 splits, whose standard error is 0.002; the authors' splits are not seeded, and "
    "estimators differ"
)
_NOTE = (
    "the code that made the table writes 1 for made faces, the code that plots it calls 0 fake: accuracy is the same "
    "either way"
)
_SCALED = "columns are standardised here"


@reproduction(name="durall-celeba-logreg")
def durall_celeba_logreg() -> Reproduction:
    """Logistic regression on Durall's spectra of CelebA: accuracy 0.9975."""
    differs = f"{_SCALED}; lbfgs in place of liblinear, which shrinks the intercept too"
    return _celeba("logreg:c=1", 0.9975, differs)


@reproduction(name="durall-celeba-svm")
def durall_celeba_svm() -> Reproduction:
    """Linear SVM on Durall's spectra of CelebA: accuracy 0.9995."""
    return _celeba("svm_linear:c=1", 0.9995, f"{_SCALED}; squared hinge loss in place of the hinge loss")


@reproduction(name="durall-celeba-svm-rbf")
def durall_celeba_svm_rbf() -> Reproduction:
    """RBF SVM on Durall's spectra of CelebA: accuracy 1."""
    return _celeba("svm_rbf:c=6.37", 1.0, f"{_SCALED}; gamma = 1 / (80 variance) in place of 0.86 on raw columns")


def _celeba(head: str, figure: float, differs: str) -> Reproduction:
    return Reproduction(
        way=OnSpectra(head, rows=1000, bins=80, repeats=10, differs=differs), data=_CELEBA,
        metric="accuracy_of_repeats", figure=figure, margin=0.005, why=_SPLITS,
        source="C: stored outputs of Experiments_CelebA/CelebA.ipynb in github.com/cc-hpc-itwm/DeepFakeDetection "
        "(Durall et al. 2019, arXiv 1911.00686, whose abstract says 100 %)",
        preprocessing="none are read: 20 log |F| of the grey picture, mean over rings, 80 bins, divided by the first",
        note=_NOTE,
    )  # fmt: skip
