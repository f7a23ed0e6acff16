"""The front door: the command line, and the study from training to verdicts.

Each of its rooms has one reason to exist, which its docstring says:

- `commands`: the subcommands of `landscape.cli`;
- `study`: many runs that answer questions;
- `jobs`: one run as a job, and who does it;
- `measuring`: what is done to one network or one run;
- `network`: which network that is;
- `tables`: what the terminal shows of stored numbers;
- `comparing`: two results side by side;
- `records`: what lies where in the folders of runs, and what a result file is of.

`errors`, `options` and `progress` are what all rooms use; `callbacks` and `huggingface` are for code that trains
elsewhere. A module imports from its own room and those below it: `ROOMS` in `tests/test_house.py` is the order.
"""
