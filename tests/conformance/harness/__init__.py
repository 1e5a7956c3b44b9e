"""The parts of `run.py`: how the suite is installed and run, against what, and what its results amount to.

`processes` starts and ends programs, `suite` is the conformance suite as one of them, `legs` says what stands
between suite and fixture, `lanes` runs them, `results` reads and compares checks, `report` writes them down.
"""
