"""The one loop: any task from a batch to columns, over any number of files and conditions.

loop.py    `run`: what is missing in the store is read, decoded, perturbed and computed once; tables come back
work.py    what one worker does with one chunk of files: read, decode, condition, geometry, tasks
pool.py    where chunks are worked on: this process, or a pool of processes
store.py   finished rows as Parquet parts under content-addressed keys
"""

from fdetect.engine.loop import Extraction, run
from fdetect.engine.store import Store
from fdetect.engine.work import Task

__all__ = ["Extraction", "Store", "Task", "run"]
