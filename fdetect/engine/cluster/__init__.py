"""The loop's second form: the same blocks of rows, computed by the machines of a Ray cluster (extra `ray`).

connection.py  `Cluster`: rows out, answers in, streamed by Ray Data; the only file that knows Ray
workers.py     what runs on the machines: workers that read and compute, device lanes that hold networks
answers.py     what workers are asked and what they answer, as Arrow tables
batches.py     batches for the device lane, and errors, as Arrow values
ledger.py      what the store has finished, as a value that travels
"""
