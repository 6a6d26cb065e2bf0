"""Benchmarks, from images to a report.

    layouts/, data/               what there is to judge: published sets, the built-in one, checks, perturbed copies
    audit.py, protocols.py        what else tells the classes apart; which images train, and which are tested
    plan.py, run.py, steps.py     what a run will do; a whole benchmark; one step at a time
    contenders.py, models.py      what is compared, as a run asks it; computing.py and running.py compute and keep
    training/                     heads, networks, fused detectors and pairs in the trials of a run
    scores/                       from a table of scores to cells, curves, differences and placebos; foreign scores
    report/, output.py            the page, charts, tables, LaTeX; the files of a run
    leaderboard/                  several runs in one table
    gate/                         a run against a baseline: pass or fail
    reproduce/                    published figures
    attacks/, explaining/         what a detector can be made to say, and what its answers rest on
"""
