"""The one loop: any task from a batch to columns, over any number of images and conditions.

loop.py        `run`: what is missing in the store is read, decoded, perturbed and computed once; tables come back
listing.py     which images are there: files, folders, patterns, shards
sources.py     from a path to bytes: files, and members of tar, zip and Parquet shards
reading.py     the read lane: files in order, read and hashed ahead
chunks.py      what goes to a worker, and what comes back
work.py        what one worker does with one chunk of images: decode, condition, geometry, tasks
pool.py        where chunks are worked on: this process, or worker processes that may crash or hang
lanes.py       stations that work at the same time, and where the time went
jobs.py        which jobs are finished for which content; rows on their way to the store
store.py       finished rows as Parquet parts under content-addressed keys
index.py       which content a path had when it was last read
cluster/       the loop's second form, on Ray
extraction.py  what a run comes to: tables read from the store, whole or block by block
"""

from fdetect.engine.extraction import Extraction
from fdetect.engine.loop import run
from fdetect.engine.store import Store
from fdetect.engine.work import Task

__all__ = ["Extraction", "Store", "Task", "run"]
