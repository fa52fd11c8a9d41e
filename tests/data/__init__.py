"""Real binlogs beside the SQL that made them: a folder for each case, made again by `python -m tests.data.make`."""
